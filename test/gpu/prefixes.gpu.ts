/** Kept prefixes on the device: a second session restores what the first one computed, whatever positions, attention and formats were set. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Runtime } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import type { AskRequest } from "../../engine/generate/api.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { openSession, type SessionOptions } from "../../engine/session.ts";
import { MemoryPrefixes } from "../support/memoryPrefixes.ts";
import { requireDevice } from "../support/requireDevice.ts";
import { memoryWorkspace, tinyModelFiles } from "../support/tinyModel.ts";

const PAGE = 256;
const never = new AbortController().signal;

function contents(changed = ""): Record<string, string> {
  const body = (file: number): string =>
    Array.from({ length: 4 }, (_, line) => `export const limit${file * 4 + line} = ${line * 3 + file};\n`).join("");
  return Object.fromEntries([0, 1, 2, 3, 4, 5].map((file) => [`src/${file}.ts`, body(file) + (file === 4 ? changed : "")]));
}

const cases: [string, Partial<AskRequest>, Partial<SessionOptions>][] = [
  ["plainly", {}, {}],
  ["with two copies of its keys", { rope: { kind: "self_extend", group: 4, window: 64 } }, {}],
  ["with 8-bit keys and 4-bit values", {}, { kv: { keys: "q8", values: "q4" } }],
  ["in a window", { attention: parseAttention("window:64") }, {}],
];

describe("kept prefixes on the device", () => {
  let gpu: EngineDevice;
  let shaders: ShaderCache;
  before(async () => {
    gpu = await requireDevice();
    shaders = openShaderCache(gpu);
  });
  after(() => gpu.destroy());

  /** A session of its own, as after a reload; it is not closed, for the device serves the next one too. */
  async function ask(
    store: MemoryPrefixes | undefined,
    asked: Partial<AskRequest>,
    options: Partial<SessionOptions>,
    changed = "",
  ) {
    const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
    const session = await openSession(tinyModelFiles(), runtime, {
      // The device is handed to the runner below, so no adapter has to be found.
      ...{ backend: "reference", weightFormat: "f32", prefixes: store, ...options },
      openRunner: (_, runnerOptions) => openRunnerOn(gpu, shaders, runnerOptions),
    });
    const request: AskRequest = {
      ...{ question: "Where is limit7 defined?", history: [], quote: "constrained", maxAnswerTokens: 40 },
      ...{ rope: { kind: "auto" }, attention: { policy: { kind: "flash" } }, sampling: { temperature: 0, topP: 1, seed: 1 } },
      ...memoryWorkspace(contents(changed)),
      ...asked,
    };
    const plan = await session.plan(request, never);
    const result = await session.ask(request, never, () => undefined);
    await session.prefixesSettled();
    const edges = {
      queryEdges: Uint32Array.of(result.attentionFrom, result.promptTokens),
      keyEdges: Uint32Array.of(0, result.promptTokens),
    };
    const { cells } = await session.pool({ layer: "mean", head: "mean", ...edges });
    return { plan, result, mass: cells[0] ?? NaN };
  }

  for (const [how, asked, options] of cases) {
    it(`are restored by a model that attends ${how}, with the answer of computing everything`, async () => {
      const store = new MemoryPrefixes();
      const first = await ask(store, asked, options);
      assert.equal(first.result.reusedTokens, 0);
      const again = await ask(store, asked, options);
      const whole = Math.floor((first.result.promptTokens - 1) / PAGE) * PAGE;
      assert.ok(whole >= 2 * PAGE);
      assert.deepEqual([again.plan.restoredTokens, again.result.restoredTokens], [whole, whole]);
      assert.equal(again.result.answer, first.result.answer);
      assert.equal(again.result.attentionFrom, whole);
      // Softmax rows sum to one; what is pooled are the rows of computed tokens.
      assert.ok(Math.abs(again.mass - 1) < 1e-3, `${again.mass}`);
      if (how !== "plainly") return;
      const edited = await ask(store, asked, options, "// edited\n");
      assert.ok(edited.result.restoredTokens >= PAGE && edited.result.restoredTokens <= whole);
      assert.equal(edited.result.answer, (await ask(undefined, asked, options, "// edited\n")).result.answer);
    });
  }
});
