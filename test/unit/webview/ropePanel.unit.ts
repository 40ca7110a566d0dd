import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeChoice } from "../../../engine/api.ts";
import { curveData } from "../../../webview/state/curveData.ts";
import {
  defaultRope,
  factorsFromYarn,
  readRopeDraft,
  ropeDraft,
  ropeFields,
  ropeKindOrder,
} from "../../../webview/state/ropeDraft.ts";
import { modelSpec } from "./modelSpec.ts";

const spec = modelSpec();

function scaled(choice: RopeChoice): Exclude<RopeChoice, { kind: "model" } | { kind: "auto" }> {
  assert.ok(choice.kind !== "model" && choice.kind !== "auto");
  return choice;
}

describe("RoPE settings in the panel", () => {
  it("reads back every default as it was written", () => {
    for (const kind of ropeKindOrder) {
      const choice = defaultRope(kind, spec);
      assert.deepEqual(readRopeDraft(ropeDraft(choice), spec), { choice }, kind);
    }
  });

  it("has a field for every field of every kind", () => {
    for (const kind of ropeKindOrder) {
      const fields = new Set(ropeFields[kind].map((field) => field.name));
      for (const name of Object.keys(defaultRope(kind, spec)))
        assert.ok(name === "kind" || fields.has(name), `${kind} lacks ${name}`);
    }
  });

  it("carries optional fields when they are filled in", () => {
    const plain = defaultRope("yarn", spec);
    const draft = ropeDraft(plain);
    const read = (text: Record<string, string>): RopeChoice | undefined => {
      const reading = readRopeDraft({ ...draft, text: { ...draft.text, ...text } }, spec);
      return "choice" in reading ? reading.choice : undefined;
    };
    assert.deepEqual(read({ attentionFactor: "1.25" }), { ...plain, attentionFactor: 1.25 });
    assert.deepEqual(read({ mscale: "1", mscaleAllDim: "0.5" }), { ...plain, mscale: 1, mscaleAllDim: 0.5 });
  });

  it("names the field that cannot be read", () => {
    const draft = ropeDraft(defaultRope("linear", spec));
    const reading = readRopeDraft({ ...draft, text: { factor: "four" } }, spec);
    assert.deepEqual(Object.keys("problems" in reading ? reading.problems : {}), ["factor"]);
  });

  it("wants one LongRoPE factor per pair, all above 0", () => {
    const draft = ropeDraft(defaultRope("longrope", spec));
    const short = readRopeDraft({ ...draft, text: { ...draft.text, shortFactor: "1, 1, 1" } }, spec);
    assert.match("problems" in short ? (short.problems["shortFactor"] ?? "") : "", /32 numbers.*3/);
    const zero = readRopeDraft({ ...draft, text: { ...draft.text, longFactor: new Array(32).fill("0").join(" ") } }, spec);
    assert.ok("problems" in zero && zero.problems["longFactor"]);
  });

  it("passes on the engine's own refusal", () => {
    const draft = ropeDraft(defaultRope("linear", spec));
    const reading = readRopeDraft({ ...draft, text: { factor: "0.5" } }, spec);
    assert.ok("problems" in reading && reading.problems[""]);
  });

  it("fills LongRoPE factors from YaRN: fast pairs kept, slow ones divided by the factor", () => {
    const factors = factorsFromYarn(spec, 8, 1024);
    assert.equal(factors.length, 32);
    assert.equal(factors[0], 1);
    assert.equal(factors.at(-1), 8);
    for (let i = 1; i < factors.length; i++) assert.ok((factors[i] ?? 0) >= (factors[i - 1] ?? 0));
  });
});

describe("wavelength curve", () => {
  it("draws the model's own rotation under `none`: one turn of the fastest pair is 2π tokens", () => {
    const curve = curveData(spec, { kind: "none" }, 4096);
    assert.equal(curve.pairs.length, 32);
    assert.deepEqual(curve.chosen, curve.own);
    // theta^0 = 1, so the first wavelength is 2π up to one rounding of the division.
    assert.ok(Math.abs((curve.own[0] ?? 0) - 2 * Math.PI) < 1e-12);
    assert.deepEqual([curve.trainedTokens, curve.promptTokens, curve.attentionFactor], [1024, 4096, 1]);
  });

  it("differs from the model's own under every scaling", () => {
    for (const kind of ropeKindOrder) {
      if (kind === "auto" || kind === "model" || kind === "none") continue;
      const curve = curveData(spec, scaled(defaultRope(kind, spec)), 4096);
      assert.notDeepEqual(curve.chosen, curve.own, kind);
      assert.ok((curve.chosen.at(-1) ?? 0) > (curve.own.at(-1) ?? 0), `${kind} slows the slowest pair`);
    }
  });

  it("stretches all pairs alike under linear scaling", () => {
    const curve = curveData(spec, { kind: "linear", factor: 4 }, 4096);
    // Dividing a frequency by 4 and inverting is exact up to one rounding each.
    for (const pair of curve.pairs) assert.ok(Math.abs((curve.chosen[pair] ?? 0) / (curve.own[pair] ?? 1) - 4) < 1e-12);
  });

  it("evaluates dynamic NTK at the length of the prompt", () => {
    const short = curveData(spec, { kind: "dynamic", factor: 2 }, 512);
    const long = curveData(spec, { kind: "dynamic", factor: 2 }, 8192);
    assert.deepEqual(short.chosen, short.own);
    assert.notDeepEqual(long.chosen, long.own);
  });
});
