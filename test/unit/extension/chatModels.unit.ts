/** What VS Code is told of a model: how much it takes, and exact counts by its own tokenizer. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { modelLimits, windowOf, type WindowSettings } from "../../../extension/chat/modelLimits.ts";
import { type TokenAnswer, tokenCounter, type TokenJob } from "../../../extension/chat/tokenJobs.ts";
import { bundledModelFolder } from "../../../extension/models/location.ts";
import { readModel } from "../../../extension/models/modelFacts.ts";
import { readTokenizer } from "../../../extension/server/tokenizerFile.ts";
import { modelSpec } from "../webview/modelSpec.ts";

const settings: WindowSettings = { rope: { kind: "model" }, attention: WHOLE, kv: F32_CACHE };
const bundled = bundledModelFolder(process.cwd());
const frame = { opening: 3, closing: 5 };

async function counted(job: Omit<TokenJob, "id">, count = tokenCounter()): Promise<unknown> {
  const answer: TokenAnswer = await count({ id: 1, ...job });
  assert.ok("result" in answer, JSON.stringify(answer));
  return answer.result;
}

describe("a model in VS Code's picker", () => {
  it("takes what the playground's settings let it take, beside its reply and what the template writes", () => {
    const spec = { ...modelSpec(), promptFormat: "chat" as const };
    const window = windowOf(spec, settings);
    assert.equal(window, spec.maxPositionEmbeddings);
    const limits = modelLimits(spec, settings, frame);
    assert.equal(limits.maxInputTokens + limits.maxOutputTokens + frame.opening + frame.closing, window);
    assert.equal(limits.maxOutputTokens, Math.min(4096, window / 4));
    const scaled = modelLimits(spec, { ...settings, rope: { kind: "linear", factor: 2 } }, frame);
    assert.equal(scaled.maxInputTokens + scaled.maxOutputTokens + 8, 2 * window);
  });

  it("takes no more than its cache holds on any device", () => {
    const spec = { ...modelSpec(), maxPositionEmbeddings: 2 ** 24 };
    assert.ok(windowOf(spec, settings) < 2 ** 24);
    assert.ok(
      windowOf(spec, { ...settings, kv: { keys: "q4", values: "q4" } }) > windowOf(spec, settings),
      "narrower keys, more room",
    );
  });

  it("is listed under a scaling that was chosen for another model", () => {
    const spec = { ...modelSpec(), rotaryDim: 0, layers: [{ window: undefined, rotation: "none" as const }] };
    assert.equal(windowOf(spec, { ...settings, rope: { kind: "ntk", factor: 4 } }), windowOf(spec, settings));
  });

  it("that is bundled answers with a line, in a window that its own settings give", async () => {
    const { spec } = await readModel(bundled);
    const { maxOutputTokens } = modelLimits(spec, settings, frame);
    assert.ok(maxOutputTokens <= 256);
    const auto = windowOf(spec, { ...settings, rope: { kind: "auto" } });
    assert.equal(auto, 8 * windowOf(spec, settings), "auto reaches as far as the playground lets it");
  });
});

describe("counts for other extensions", () => {
  it("are those of the model's own tokenizer", async () => {
    const tokenizer = await readTokenizer(bundled);
    const count = tokenCounter();
    for (const text of ["", "export const retryCeiling = 45731;\n", "día — 你好 👋🏽", " \t\n<|absent|>"])
      assert.equal(await counted({ name: "text", path: bundled, params: { text } }, count), tokenizer.count(text), text);
    const message = { role: "user" as const, content: "const a = 1;" };
    const tokens = await counted({ name: "message", path: bundled, params: { message } }, count);
    assert.equal(tokens, tokenizer.count("=== message 1 ===\n") + tokenizer.count("const a = 1;\n"));
  });

  it("read a model once, and one that could not be read again", async () => {
    let reads = 0;
    const count = tokenCounter(async () => {
      if (++reads === 1) throw new Error("not there yet");
      return { spec: { promptFormat: "plain" }, tokenizer: await readTokenizer(bundled), chatTemplate: undefined };
    });
    const job = { id: 7, name: "text", path: "/m", params: { text: "a b" } } as const;
    assert.match(JSON.stringify(await count(job)), /"id":7.*not there yet/);
    await counted(job, count);
    await counted(job, count);
    assert.equal(reads, 2);
  });

  it("fail with a remedy where there is no model", async () => {
    const path = join(bundled, "none");
    const answer = await tokenCounter()({ id: 1, name: "text", path, params: { text: "" } });
    assert.ok("error" in answer);
    assert.notEqual(answer.error.remedy, "");
  });
});
