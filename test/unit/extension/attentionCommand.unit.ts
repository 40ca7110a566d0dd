/** `--attention` and `--kv` at the command line: every number changes what is computed, and what would change nothing is refused. */
import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseCommand } from "../../../extension/cli/args.ts";
import { ask } from "../../../extension/cli/ask.ts";
import { logits } from "../../../extension/cli/logits.ts";
import { safetensorsFile } from "../../support/memoryFiles.ts";
import { randomConfigs, randomRecurrent } from "../../support/recurrentModels.ts";
import { withTempTree } from "../../support/tempTree.ts";
import { tinyModelContents } from "../../support/tinyModel.ts";

const tree = {
  ...Object.fromEntries(Object.entries(tinyModelContents({})).map(([name, content]) => [`model/${name}`, content])),
  "src/a.ts": "export const limit = 3;\n".repeat(4),
  "mamba/config.json": JSON.stringify(randomConfigs.mamba),
  "mamba/model.safetensors": safetensorsFile(Object.fromEntries(randomRecurrent("mamba").tensors)),
};
/** Longer than three blocks of 64 keys. */
const ids = Array.from({ length: 200 }, (_, index) => (index * 7) % 300).join();
/** Each policy as it is written, and with one number after the other changed. */
const written: Readonly<Record<string, readonly string[]>> = {
  "window:4": ["window:5"],
  "sinks:2,8": ["sinks:3,8", "sinks:2,9"],
  "longformer:4,1": ["longformer:5,1", "longformer:4,2"],
  "bigbird:1,0,0": ["bigbird:2,0,0", "bigbird:1,1,0", "bigbird:1,0,1"],
  "strided:4": ["strided:5"],
  "fixed:8,2": ["fixed:10,2", "fixed:8,3"],
  "a-shape:2,8": ["a-shape:3,8", "a-shape:2,9"],
  "vertical-slash:31,101": ["vertical-slash:60,101", "vertical-slash:31,150"],
  "blocks:2": ["blocks:3"],
};

interface Printed {
  attention: string;
  kv: string;
  logits: number[][];
  keptMass?: { mean: number; least: number };
  restoredTokens: number;
}

async function print(
  folder: string,
  args: readonly string[],
  run: typeof runLogits | typeof runAsk = runLogits,
): Promise<Printed> {
  let out = "";
  const output = { out: (text: string) => void (out += text), err: () => undefined, terminal: false };
  await run(folder, ["--backend", "reference", ...args], output);
  return JSON.parse(out) as Printed;
}

type Output = Parameters<typeof logits>[2];

function runLogits(folder: string, args: readonly string[], output: Output): Promise<void> {
  const command = parseCommand(["logits", "--model", join(folder, "model"), "--ids", ids, "--json", ...args]);
  assert.ok(command.name === "logits");
  return logits(command, resolve("."), output, new AbortController().signal);
}

function runAsk(folder: string, args: readonly string[], output: Output): Promise<void> {
  const question = [
    "ask",
    join(folder, "src"),
    "Where is limit?",
    "--model",
    join(folder, "model"),
    "--max-tokens",
    "2",
    "--json",
  ];
  const command = parseCommand([...question, ...args]);
  assert.ok(command.name === "ask");
  return ask(command, resolve("."), output, new AbortController().signal);
}

describe("attention at the command line", () => {
  it("changes the logits with every policy and every number of it, and says what it was", () =>
    withTempTree(tree, async (folder) => {
      const seen = new Map<string, string>();
      for (const policy of ["flash", ...Object.entries(written).flatMap(([base, others]) => [base, ...others])]) {
        const { attention, logits: rows } = await print(folder, ["--attention", policy]);
        assert.equal(attention, policy);
        const numbers = JSON.stringify(rows);
        assert.equal(seen.get(numbers), undefined, `${policy} computes what ${seen.get(numbers) ?? ""} does`);
        seen.set(numbers, policy);
      }
    }));

  it("changes the logits with every format of keys and of values", () =>
    withTempTree(tree, async (folder) => {
      const seen = new Set<string>();
      for (const format of ["f32", "f16", "q8", "q4", "f32,q8", "q8,f32"]) {
        const { kv, logits: rows } = await print(folder, ["--kv", format]);
        assert.equal(kv, format);
        seen.add(JSON.stringify(rows));
      }
      assert.equal(seen.size, 6);
    }));

  it("stands in what ask prints, with what it kept", () =>
    withTempTree(tree, async (folder) => {
      const { attention, kv, keptMass, restoredTokens } = await print(folder, ["--attention", "window:16", "--kv", "q8"], runAsk);
      assert.deepEqual([attention, kv, restoredTokens], ["window:16", "q8", 0]);
      assert.ok(keptMass && keptMass.least <= keptMass.mean && keptMass.mean < 1);
    }));

  it("is refused where it would change nothing", () =>
    withTempTree(tree, async (folder) => {
      const refused = async (message: RegExp, args: readonly string[]): Promise<void> => {
        await assert.rejects(
          print(folder, args),
          (error) => EngineError.is(error, "bad-argument") && message.test(error.message) && error.remedy !== "",
        );
      };
      await refused(/top pages .* decodes none/, ["--attention", "top-pages:4"]);
      await refused(/mamba has no attention.* --attention would change nothing/, [
        "--model",
        join(folder, "mamba"),
        "--attention",
        "window:4",
      ]);
      await refused(/--kv would change nothing/, ["--model", join(folder, "mamba"), "--kv", "q8"]);
      await refused(/window.* does not run on WASM/, ["--backend", "ort", "--attention", "window:4"]);
      await refused(/WASM caches keys and values in f32/, ["--backend", "ort", "--kv", "q8"]);
    }));
});
