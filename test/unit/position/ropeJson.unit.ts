import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { defaultScaling, formatRope, parseRope, ropeKinds } from "../../../engine/position/ropeJson.ts";
import { checkScaling, ropeBase } from "../../../engine/position/scaling.ts";
import { randomModel } from "../../support/goldenModels.ts";

const { spec } = randomModel({ headDim: 16, maxPositionEmbeddings: 2048 });
const ones = [1, 1, 1, 1, 1, 1, 1, 1];

describe("RoPE settings as JSON", () => {
  const readings: [json: unknown, choice: unknown][] = [
    ["auto", { kind: "auto" }],
    ["model", { kind: "model" }],
    [{ rope_type: "auto" }, { kind: "auto" }],
    ["none", { kind: "none" }],
    [{ rope_type: "default" }, { kind: "none" }],
    [{}, { kind: "none" }],
    ["linear", { kind: "linear", factor: 2 }],
    [
      { type: "linear", factor: 4 },
      { kind: "linear", factor: 4 },
    ],
    ['{"rope_type":"ntk","factor":4}', { kind: "ntk", factor: 4 }],
    [
      { rope_type: "yarn", factor: 4 },
      { kind: "yarn", factor: 4, originalContext: 2048, betaFast: 32, betaSlow: 1, truncate: true },
    ],
    [
      { rope_type: "yarn", factor: 4, rope_theta: 10000, truncate: false, attention_factor: 1.2 },
      { kind: "yarn", factor: 4, originalContext: 2048, betaFast: 32, betaSlow: 1, truncate: false, attentionFactor: 1.2 },
    ],
    ["yarn", { kind: "yarn", factor: 2, originalContext: 2048, betaFast: 32, betaSlow: 1, truncate: true }],
    [
      { type: "su", short_factor: ones, long_factor: ones },
      { kind: "longrope", shortFactor: ones, longFactor: ones, originalContext: 2048 },
    ],
    ["llama3", { kind: "llama3", factor: 2, originalContext: 2048, lowFreqFactor: 1, highFreqFactor: 4 }],
  ];
  for (const [json, choice] of readings) {
    it(`reads ${JSON.stringify(json)}`, () => assert.deepEqual(parseRope(json, spec), choice));
  }

  const refusals: [json: unknown, inMessage: RegExp, inRemedy: RegExp][] = [
    ["yarm", /unknown RoPE kind "yarm"/, /yarn, longrope, llama3/],
    [{ rope_type: "alibi", factor: 2 }, /alibi/, /yarn/],
    [{ rope_type: 3 }, /3/, /yarn/],
    [[], /\[\]/, /yarn/],
    [4, /4/, /yarn/],
    ['{"rope_type":', /not JSON/, /yarn/],
    [{ rope_type: "linear" }, /factor is missing/, /factor/],
    [{ rope_type: "linear", factor: "4" }, /"4"/, /./],
    [{ rope_type: "linear", factor: 0.5 }, /at least 1/, /doubles/],
    [{ rope_type: "linear", factor: 4, beta_fast: 32 }, /change nothing here: "beta_fast"/, /remove/],
    [{ rope_type: "none", factor: 4 }, /"factor"/, /remove/],
    [{ rope_type: "auto", factor: 4 }, /"factor"/, /remove/],
    [{ rope_type: "yarn", factor: 4, rope_theta: 5 }, /rope_theta 5/, /ntk/],
    [{ rope_type: "yarn", factor: 4, mscale: 1 }, /only together/, /both/],
    [
      { rope_type: "longrope", short_factor: [1], long_factor: ones },
      /short_factor has 1 numbers and needs 8/,
      /per rotary pair/,
    ],
    [{ rope_type: "longrope", short_factor: ones }, /long_factor is missing/, /./],
    [{ rope_type: "llama3", factor: 8 }, /low_freq_factor is missing/, /./],
  ];
  for (const [json, inMessage, inRemedy] of refusals) {
    it(`refuses ${JSON.stringify(json)}`, () => {
      assert.throws(
        () => parseRope(json, spec),
        (error) => EngineError.is(error, "rope-invalid") && inMessage.test(error.message) && inRemedy.test(error.remedy),
      );
    });
  }

  it("gives every kind usable defaults, and writes them so that they read back the same", () => {
    for (const kind of ropeKinds) {
      const scaling: RopeScaling = defaultScaling(kind, spec);
      checkScaling(scaling, ropeBase(spec));
      assert.equal(scaling.kind, kind);
      assert.deepEqual(parseRope(JSON.stringify(formatRope(scaling)), spec), scaling);
    }
  });

  it("takes the model's own setting as the default of its kind", () => {
    const own: RopeScaling = { kind: "llama3", factor: 32, originalContext: 1024, lowFreqFactor: 1, highFreqFactor: 4 };
    assert.deepEqual(parseRope("llama3", { ...spec, rope: own }), own);
  });

  it("starts LongRoPE from YaRN's divisors: fast pairs kept, slow pairs divided by the factor", () => {
    const scaling = defaultScaling("longrope", spec, 4);
    assert.ok(scaling.kind === "longrope");
    assert.deepEqual(scaling.shortFactor, ones);
    assert.equal(scaling.longFactor[0], 1);
    assert.equal(scaling.longFactor[7], 4);
  });
});
