/** `lcp plan`: every option reaches the plan and changes what it should. */
import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseCommand } from "../../../extension/cli/args.ts";
import { UsageError } from "../../../extension/cli/usages.ts";
import { plan } from "../../../extension/cli/plan.ts";
import { withTempTree } from "../../support/tempTree.ts";

const config = JSON.stringify({
  ...{ model_type: "llama", vocab_size: 1000, hidden_size: 256, intermediate_size: 512, num_hidden_layers: 4 },
  ...{
    num_attention_heads: 8,
    num_key_value_heads: 2,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    torch_dtype: "float32",
  },
});

interface Printed {
  tokens: number;
  attention: string;
  kv: string;
  weightsBytes: number;
  kvBytes: number;
  prefillFlops: number;
  prefillSeconds: number | null;
  decodeBytesPerToken: number;
  decodeSecondsPerToken: number | null;
  fits: boolean;
  because: string;
  backend: string;
  hasWeights: boolean;
  policies?: { attention: string; kv: string; kvBytes: number }[];
  ring?: { ranks: number; overlaps: boolean; stepTransferSeconds: number; layout: string };
}

async function run(folder: string, line: string): Promise<string> {
  let out = "";
  const command = parseCommand(["plan", "--model", join(folder, "config.json"), ...line.split(" ")]);
  assert.ok(command.name === "plan");
  const output = { out: (text: string) => void (out += text), err: () => undefined, terminal: false };
  await plan(command, resolve("."), output, new AbortController().signal);
  return out;
}

async function planned(folder: string, line: string): Promise<Printed> {
  return JSON.parse(await run(folder, `${line} --json`)) as Printed;
}

const STATED = "--tokens 5000 --backend wgsl --flops 2 --bandwidth 50";

describe("lcp plan", () => {
  it("works out memory, operations and time from a config.json alone", () =>
    withTempTree({ "config.json": config }, async (folder) => {
      const found = await planned(folder, STATED);
      assert.equal(found.hasWeights, false);
      assert.equal(found.tokens, 5000);
      assert.equal(found.kvBytes, 2 * 4 * 2 * 32 * 4 * 5000);
      assert.equal(found.prefillSeconds, found.prefillFlops / 2e12);
      assert.equal(found.decodeSecondsPerToken, found.decodeBytesPerToken / 50e9);
      assert.match(found.because, /at the rates that were given$/);
    }));

  it("follows every option", () =>
    withTempTree({ "config.json": config }, async (folder) => {
      const before = await planned(folder, STATED);
      const after = (more: string): Promise<Printed> => planned(folder, `${STATED} ${more}`);
      assert.equal((await after("--kv q8,q4")).kv, "q8,q4");
      assert.ok((await after("--kv q8,q4")).kvBytes < before.kvBytes / 4);
      assert.ok((await after("--attention window:100")).kvBytes < before.kvBytes / 40);
      assert.ok((await after("--attention top-pages:4")).decodeBytesPerToken < before.decodeBytesPerToken);
      assert.ok((await after("--quant q4_0")).weightsBytes < before.weightsBytes / 4);
      assert.equal((await after("--bits 8")).weightsBytes / (await after("--bits 16")).weightsBytes, 0.5);
      assert.equal((await planned(folder, `${STATED} --flops 4`)).prefillSeconds, (before.prefillSeconds ?? NaN) / 2);
      assert.equal(
        (await planned(folder, `${STATED} --bandwidth 25`)).decodeSecondsPerToken,
        2 * (before.decodeSecondsPerToken ?? NaN),
      );
      const small = await after("--memory 40MiB");
      assert.deepEqual([before.fits, small.fits], [true, false]);
      assert.match(small.because, /tokens would fit/);
      assert.equal((await after("--backend ort")).backend, "ort");
      const { kvBytes } = await after("--rope self_extend");
      assert.ok(kvBytes > before.kvBytes, "keys in two rotations");
    }));

  it("measures nothing where it is told not to, and gives no time then", () =>
    withTempTree({ "config.json": config }, async (folder) => {
      const found = await planned(folder, "--tokens 5000 --backend wgsl --no-measure");
      assert.deepEqual([found.prefillSeconds, found.decodeSecondsPerToken], [null, null]);
      assert.match(found.because, /nothing was measured and no rates were given/);
    }));

  it("adds every policy with every format, and a ring of other machines", () =>
    withTempTree({ "config.json": config }, async (folder) => {
      const { policies = [], ring } = await planned(folder, `${STATED} --all --ranks 5 --link 0.01`);
      assert.ok(new Set(policies.map(({ attention }) => attention)).size >= 14);
      assert.deepEqual(new Set(policies.map(({ kv }) => kv)), new Set(["f32", "f16", "q8", "q4"]));
      assert.deepEqual([ring?.ranks, ring?.layout, ring?.overlaps], [5, "zigzag", false]);
      const faster = await planned(folder, `${STATED} --ranks 5 --link 1000 --attention ring:5,striped`);
      assert.deepEqual([faster.ring?.layout, faster.ring?.overlaps], ["striped", true]);
      const text = await run(folder, `${STATED} --all --ranks 5 --link 0.01`);
      assert.match(text, /^ring of 5 {7}zigzag, 1,000 tokens/m);
      assert.match(text, /not hidden; passing hides behind attending from/);
      assert.match(text, /^attention {2,}kv {2,}allocated/m);
    }));

  it("says what is wrong", async () => {
    const wrong: readonly [string, RegExp][] = [
      ["", /--tokens is missing/],
      ["--tokens 0", /--tokens has "0", not a whole number from 1/],
      ["--tokens 16777217", /--tokens has "16777217"/],
      ["--tokens 5 --ranks 3", /--ranks and --link go together/],
      ["--tokens 5 --link 3", /--ranks and --link go together/],
      ["--tokens 5 --ranks 0 --link 3", /--ranks has "0"/],
      ["--tokens 5 --flops 0", /--flops has "0"/],
      ["--tokens 5 --memory much", /--memory has "much"/],
      ["--tokens 5 extra", /extra/],
    ];
    for (const [line, message] of wrong) {
      const args = line === "" ? [] : line.split(" ");
      assert.throws(
        () => parseCommand(["plan", ...args]),
        (error) => error instanceof UsageError && message.test(error.message),
        line,
      );
    }
    await withTempTree({ "config.json": config }, async (folder) => {
      await assert.rejects(
        planned(join(folder, "none"), STATED),
        (error) => EngineError.is(error, "not-found") && error.remedy.includes("config.json"),
      );
      await assert.rejects(planned(folder, `${STATED} --attention window:9 --backend ort`), (error) => EngineError.is(error));
      await assert.rejects(planned(folder, `${STATED} --backend reference`), /reference backend is not planned for/);
    });
  });
});
