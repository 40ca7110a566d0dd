import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeChoice } from "../../../engine/api.ts";
import { curveData, shownDistances } from "../../../webview/state/curveData.ts";
import {
  defaultRope,
  factorsFromYarn,
  readRopeDraft,
  ropeDraft,
  ropeFields,
  ropeKindOrder,
  ropeKindsOf,
  ropeLabel,
} from "../../../webview/state/ropeDraft.ts";
import { positionOrigin, slopeRows, stateNumbers } from "../../../webview/state/positions.ts";
import { alibiSpec, mambaSpec, modelSpec } from "./modelSpec.ts";

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

  it("carries the optional fields of re-indexing, which are absent while they are empty", () => {
    const optional: [kind: "self_extend" | "rerope" | "dual_chunk", field: string, value: number][] = [
      ["self_extend", "logBase", 1024],
      ["rerope", "leak", 4],
      ["dual_chunk", "originalContext", 512],
    ];
    for (const [kind, field, value] of optional) {
      const plain = defaultRope(kind, spec);
      assert.ok(!(field in plain), kind);
      const draft = ropeDraft(plain);
      const reading = readRopeDraft({ ...draft, text: { ...draft.text, [field]: String(value) } }, spec);
      assert.deepEqual(reading, { choice: { ...plain, [field]: value } }, kind);
    }
  });

  it("says what every field does, and of optional ones what their absence means", () => {
    for (const kind of ropeKindOrder) {
      for (const { name, help, type, empty } of ropeFields[kind]) {
        assert.ok(help.length > 10, `${kind}.${name}`);
        assert.equal(type === "optional number", empty !== undefined, `${kind}.${name}`);
      }
    }
  });

  it("offers models without rotation nothing but to stay as they are", () => {
    for (const model of [alibiSpec(), mambaSpec()]) {
      assert.deepEqual(ropeKindsOf(model), ["auto", "model"]);
      for (const kind of ["auto", "model"] as const) {
        assert.deepEqual(readRopeDraft(ropeDraft(defaultRope(kind, model)), model), { choice: { kind } });
      }
      const reading = readRopeDraft(ropeDraft({ kind: "linear", factor: 2 }), model);
      assert.match("problems" in reading ? (reading.problems[""] ?? "") : "", /no rotation to scale/);
    }
    assert.deepEqual(ropeKindsOf(spec), ropeKindOrder);
    assert.match(ropeLabel("auto", spec), /YaRN/);
    assert.doesNotMatch(ropeLabel("auto", alibiSpec()), /YaRN/);
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

  it("differs from the model's own under every scaling of frequencies", () => {
    for (const kind of ["linear", "ntk", "dynamic", "yarn", "longrope", "llama3", "proportional"] as const) {
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

  it("stays under re-indexing, which shows other distances instead", () => {
    for (const kind of ["self_extend", "rerope", "dual_chunk"] as const) {
      const scaling = scaled(defaultRope(kind, spec));
      const curve = curveData(spec, scaling, 4096);
      assert.deepEqual(curve.chosen, curve.own);
      const distances = shownDistances(spec, scaling, 4096) ?? [];
      assert.deepEqual(distances[0], { tokens: 1, shown: 1 });
      assert.equal(distances.at(-1)?.tokens, 4095);
      for (const { shown } of distances) assert.ok(shown < 1024, `${kind} shows ${shown}`);
    }
    assert.equal(shownDistances(spec, { kind: "linear", factor: 2 }, 4096), undefined);
  });

  it("has no wavelength for pairs that do not turn, and counts them apart", () => {
    const curve = curveData(spec, { kind: "proportional", factor: 1, rotaryShare: 0.25 }, 4096);
    assert.equal(curve.chosen.filter((tokens) => tokens === Infinity).length, 24);
    assert.equal(curve.stillPairs, 24);
    const still = modelSpec({ rope: { kind: "proportional", factor: 1, rotaryShare: 0.25 } });
    assert.equal(curveData(still, still.rope, 4096).unfinishedPairs, 0);
    assert.equal(curveData(spec, { kind: "none" }, 4096).stillPairs, 0);
  });

  it("has a second curve where window layers have a rotation of their own, which no setting moves", () => {
    const gemma = modelSpec({ local: { theta: 100, rotaryDim: 64, rope: { kind: "none" } } });
    const [plain, scaledCurve] = [{ kind: "none" } as const, { kind: "linear", factor: 8 } as const].map((scaling) =>
      curveData(gemma, scaling, 4096),
    );
    assert.equal(plain.local?.length, 32);
    assert.notDeepEqual(plain.local, plain.own);
    assert.deepEqual(scaledCurve.local, plain.local);
    assert.equal(curveData(spec, { kind: "none" }, 4096).local, undefined);
    const narrow = modelSpec({ local: { theta: 100, rotaryDim: 96, rope: { kind: "none" } } });
    assert.equal(curveData(narrow, { kind: "none" }, 4096).pairs.length, 48);
  });

  it("is drawn against the length the weights were trained on, also where a scaling of the model states more", () => {
    const rope = { kind: "llama3", factor: 8, originalContext: 1024, lowFreqFactor: 1, highFreqFactor: 4 } as const;
    const curve = curveData(modelSpec({ rope, maxPositionEmbeddings: 8192 }), rope, 4096);
    assert.equal(curve.trainedTokens, 1024);
    assert.deepEqual(curve.own, curve.chosen);
  });

  it("evaluates dynamic NTK at the length of the prompt", () => {
    const short = curveData(spec, { kind: "dynamic", factor: 2 }, 512);
    const long = curveData(spec, { kind: "dynamic", factor: 2 }, 8192);
    assert.deepEqual(short.chosen, short.own);
    assert.notDeepEqual(long.chosen, long.own);
  });
});

describe("positions without rotation", () => {
  it("come from biases or a recurrence", () => {
    const origins = [undefined, spec, alibiSpec(), mambaSpec()].map(positionOrigin);
    assert.deepEqual(origins, ["RoPE", "RoPE", "ALiBi", "recurrence"]);
  });

  it("ALiBi: a slope per head, and where it halves a weight", () => {
    const rows = slopeRows(alibiSpec());
    assert.equal(rows.length, 12);
    assert.deepEqual([rows[0].slope, rows[7].slope], [0.5, 1 / 256]);
    assert.ok(Math.abs(Math.exp(-rows[3].slope * rows[3].halvingTokens) - 0.5) < 1e-12);
    assert.deepEqual(slopeRows(modelSpec()), []);
  });

  it("recurrences: the numbers of their state", () => {
    assert.equal(stateNumbers(mambaSpec()), 2 * 64 * (16 + 3));
    const { vocabSize, hiddenSize, layerCount, normEps, maxPositionEmbeddings, tiedEmbeddings, embeddingMultiplier } =
      mambaSpec();
    const { bosTokenId, eosTokenIds, absentTokenId, promptFormat, answerLines } = mambaSpec();
    const common = {
      ...{ vocabSize, hiddenSize, layerCount, normEps, maxPositionEmbeddings, tiedEmbeddings, embeddingMultiplier },
      ...{ bosTokenId, eosTokenIds, absentTokenId, promptFormat, answerLines },
    };
    const mamba2 = { headCount: 4, headDim: 16, groupCount: 2, normGroupCount: 2, stateSize: 8, convKernel: 4, chunkSize: 16 };
    const limits = { timeStepLimit: [0, Infinity] as const, projectionBias: false, convBias: true };
    assert.equal(
      stateNumbers({ ...common, kind: "mamba2", modelType: "mamba2", ...mamba2, ...limits }),
      2 * (64 * 8 + (64 + 2 * 2 * 8) * 3),
    );
    const ranks = { intermediateSize: 128, decayRank: 4, gateRank: 4, aRank: 4, vRank: 4 };
    assert.equal(
      stateNumbers({ ...common, kind: "rwkv7", modelType: "rwkv7", headDim: 16, headCount: 4, ...ranks }),
      2 * (4 * 256 + 2 * 64),
    );
  });
});
