/** `lcp logits` on folders of recurrent models: from config.json and a safetensors file to numbers. */
import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { parseCommand } from "../../../extension/cli/args.ts";
import { logits } from "../../../extension/cli/logits.ts";
import { assertClose } from "../../support/gpuArrays.ts";
import { goldenConfig, goldenRecurrent, goldenRecurrents } from "../../support/goldenModels.ts";
import { safetensorsFile } from "../../support/memoryFiles.ts";
import { randomConfigs, randomRecurrent, underBlinkNames } from "../../support/recurrentModels.ts";
import { withTempTree } from "../../support/tempTree.ts";

describe("lcp logits of recurrent models", () => {
  for (const name of goldenRecurrents) {
    for (const backend of ["reference", "ort"]) {
      it(`${name} on ${backend}`, () => {
        const { spec, tensors, inputIds, golden, tolerance } = goldenRecurrent(name);
        const file = safetensorsFile(
          Object.fromEntries(
            [...tensorShapes(spec)].map(([tensor, shape]) => [tensor, { shape, values: tensors.get(tensor) ?? [] }]),
          ),
        );
        const config = JSON.stringify(goldenConfig(name));
        return withTempTree({ "m/config.json": config, "m/model.safetensors": file }, async (folder) => {
          const rows = await run(["--model", join(folder, "m"), "--backend", backend, "--ids", inputIds.join(), "--all"]);
          assert.equal(rows.length, inputIds.length);
          assertClose(rows[0] ?? [], golden.logits_first, tolerance.float32, "first");
          assertClose(rows.at(-1) ?? [], golden.logits_last, tolerance.float32, "last");
        });
      });
    }
  }

  it("reads a bare Infinity in config.json, as real Mamba-2 checkpoints have it", () => {
    const { spec, tensors } = randomRecurrent("mamba2", { time_step_limit: [0, Infinity] });
    const stated = { ...randomConfigs.mamba2, time_step_limit: "BOUNDS" };
    const files = {
      "m/config.json": JSON.stringify(stated).replace('"BOUNDS"', "[0.0, Infinity]"),
      "m/model.safetensors": safetensorsFile(Object.fromEntries(tensors)),
    };
    return withTempTree(files, async (folder) => {
      const [row] = await run(["--model", join(folder, "m"), "--backend", "reference", "--ids", "3,1,4,1,5"]);
      assert.equal(row?.length, spec.vocabSize);
      assert.ok(row?.every((value) => Number.isFinite(value)));
    });
  });

  it("opens an RWKV-7 that is weights alone, under BlinkDL's names", () => {
    const { tensors } = randomRecurrent("rwkv7");
    const files = {
      "fla/config.json": JSON.stringify(randomConfigs.rwkv7),
      "fla/model.safetensors": safetensorsFile(Object.fromEntries(tensors)),
      "blink/model.safetensors": safetensorsFile(Object.fromEntries(underBlinkNames(tensors))),
      "other/model.safetensors": safetensorsFile({ "a.weight": { shape: [1], values: [1] } }),
    };
    return withTempTree(files, async (folder) => {
      const rows = (name: string) => run(["--model", join(folder, name), "--backend", "reference", "--ids", "7,8,9,10", "--all"]);
      assert.deepEqual(await rows("blink"), await rows("fla"));
      await assert.rejects(rows("other"), { code: "not-found", message: /no config\.json/ });
    });
  });
});

/** The logits that `lcp logits --json` prints. */
async function run(args: readonly string[]): Promise<number[][]> {
  let written = "";
  const output = { out: (text: string) => void (written += text), err: () => undefined, terminal: false };
  const command = parseCommand(["logits", ...args, "--json"]);
  assert.ok(command.name === "logits");
  await logits(command, resolve("."), output, new AbortController().signal);
  return (JSON.parse(written) as { logits: number[][] }).logits;
}
