/** What is planted in a long text and asked for behind it: found under policies that can see it, not under those that cannot. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { watchMemory } from "../support/gpuMemory.ts";
import { ask, plant, type PlantedNeedle } from "../support/needles.ts";
import { seeded } from "../support/random.ts";
import { requireDevice } from "../support/requireDevice.ts";
import { retrievalModel } from "../support/retrievalModel.ts";
import { memoryModel, MEMORY_CODE_WIDTH } from "../support/retrievalRecurrent.ts";
import { latticeCodes, sparseCodes } from "../support/tokenCodes.ts";

const VOCABULARY = 600;
/** Tokens of the text are below this; those of needles are not. */
const WORDS = 500;
const LENGTH = 3008;
const random = seeded(5);
const text = Int32Array.from({ length: LENGTH }, () => Math.floor(random() * WORDS));
const needle = (number: number, at: number): PlantedNeedle => ({
  question: [WORDS, WORDS + 10 * number, WORDS + 1],
  value: [2, 3, 4, 5].map((word) => WORDS + 10 * number + word),
  at,
});
/** Among the first 64 tokens, in the middle, and among the last 600. */
const [early, middle, late] = [needle(1, 20), needle(2, 1200), needle(3, 2700)];
const prompt = plant(text, LENGTH, [early, middle, late]);

let gpu: EngineDevice;
let shaders: ShaderCache;
let watched: ReturnType<typeof watchMemory>;
before(async () => {
  watched = watchMemory(await requireDevice());
  ({ gpu } = watched);
  shaders = openShaderCache(gpu);
});
after(() => gpu.destroy());

/** Which of the needles are found. */
async function found(runner: Runner): Promise<string[]> {
  await runner.append(prompt);
  const names: string[] = [];
  for (const [name, planted] of Object.entries({ early, middle, late })) {
    const answer = await ask(runner, planted);
    if (answer.join() === planted.value.join()) names.push(name);
  }
  return names;
}

describe("a planted line", () => {
  const dense = retrievalModel(latticeCodes(VOCABULARY), VOCABULARY);
  const sparse = retrievalModel(sparseCodes(VOCABULARY, 32, 4), VOCABULARY);
  for (const [attention, expected] of [
    ["flash", ["early", "middle", "late"]],
    ["stream", ["early", "middle", "late"]],
    ["sinks:64,600", ["early", "late"]],
    ["window:600", ["late"]],
  ] as const) {
    it(`${attention}: ${expected.join(", ")}`, async () => {
      const options = { ...dense, weightFormat: "f32" as const, attention: parseAttention(attention), slabPages: 4 };
      assert.deepEqual(await found(await openRunnerOn(gpu, shaders, options)), expected);
    });
  }

  it("the best 16 of 188 pages are enough, behind a prompt that was read with a window; without them it is not seen", async () => {
    const open = (attention: string): Promise<Runner> =>
      openRunnerOn(gpu, shaders, { ...sparse, weightFormat: "f32", attention: parseAttention(attention) });
    assert.deepEqual(await found(await open("window:64+top-pages:16")), ["early", "middle", "late"]);
    assert.deepEqual(await found(await open("window:64")), []);
  });

  it("a recurrent model remembers what stands between its marks, in as much memory as before", async () => {
    const { opens, closes, ...model } = memoryModel(sparseCodes(VOCABULARY + 2, MEMORY_CODE_WIDTH, 6), VOCABULARY);
    const runner = await openRunnerOn(gpu, shaders, { ...model, weightFormat: "f32" });
    const marked = prompt.slice();
    marked[early.at - 1] = opens;
    marked[early.at + early.question.length + early.value.length] = closes;
    await runner.append(marked.subarray(0, 1000), { moreFollows: true });
    const before = watched.liveBytes();
    await runner.append(marked.subarray(1000));
    assert.equal(watched.liveBytes(), before);
    assert.deepEqual(await ask(runner, early), early.value);
    assert.notDeepEqual(await ask(runner, middle), middle.value, "what was not marked was not written");
  });
});
