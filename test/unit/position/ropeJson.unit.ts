import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { defaultScaling, defaultYarn, formatRope, parseRope, ropeKinds } from "../../../engine/position/ropeJson.ts";
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
    [{ rope_type: "proportional" }, { kind: "proportional", factor: 1, rotaryShare: 1 }],
    [
      { rope_type: "proportional", partial_rotary_factor: 0.25, factor: 2 },
      { kind: "proportional", factor: 2, rotaryShare: 0.25 },
    ],
    ["self_extend", { kind: "self_extend", group: 8, window: 512 }],
    [
      { rope_type: "self_extend", group: 4, window: 256, log_base: 2048 },
      { kind: "self_extend", group: 4, window: 256, logBase: 2048 },
    ],
    ["rerope", { kind: "rerope", window: 1024 }],
    [
      { rope_type: "rerope", window: 512, leak: 16 },
      { kind: "rerope", window: 512, leak: 16 },
    ],
    ["dual_chunk", { kind: "dual_chunk", chunkSize: 2048, localSize: 64 }],
    [
      { rope_type: "dual_chunk", chunk_size: 1024, local_size: 128, original_max_position_embeddings: 2048 },
      { kind: "dual_chunk", chunkSize: 1024, localSize: 128, originalContext: 2048 },
    ],
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
    [{ rope_type: "self_extend", group: 4 }, /window is missing/, /./],
    [{ rope_type: "self_extend", group: 4, window: 64, factor: 4 }, /change nothing here: "factor"/, /remove/],
    [{ rope_type: "self_extend", group: 4, window: 0 }, /window must be a whole number of at least 1/, /tokens/],
    [{ rope_type: "rerope", window: 64, leak: 0.5 }, /leak must be a number above 1/, /leave it out/],
    [{ rope_type: "dual_chunk", chunk_size: 64, local_size: 64 }, /local_size must be below chunk_size/, /8192/],
    [{ rope_type: "proportional", partial_rotary_factor: 2 }, /must be in \(0, 1\]/, /./],
  ];
  for (const [json, inMessage, inRemedy] of refusals) {
    it(`refuses ${JSON.stringify(json)}`, () => {
      assert.throws(
        () => parseRope(json, spec),
        (error) => EngineError.is(error, "rope-invalid") && inMessage.test(error.message) && inRemedy.test(error.remedy),
      );
    });
  }

  it("reads back every optional field that it writes", () => {
    const full: RopeScaling[] = [
      { ...defaultYarn(4, 2048), truncate: false, attentionFactor: 1.2 },
      { ...defaultYarn(4, 2048), mscale: 1, mscaleAllDim: 0.5 },
      { kind: "longrope", shortFactor: ones, longFactor: ones, originalContext: 512, factor: 4, attentionFactor: 1.2 },
      { kind: "self_extend", group: 4, window: 256, logBase: 100 },
      { kind: "rerope", window: 256, leak: 2.5 },
      { kind: "dual_chunk", chunkSize: 256, localSize: 32, originalContext: 512 },
    ];
    for (const scaling of full) assert.deepEqual(parseRope(JSON.stringify(formatRope(scaling)), spec), scaling);
  });

  it("lets a model without rotation be as it is, and nothing else", () => {
    const bloom = { ...spec, rotaryDim: 0, alibi: { maxBias: 8 }, modelType: "bloom" };
    assert.deepEqual(parseRope("auto", bloom), { kind: "auto" });
    assert.deepEqual(parseRope("model", bloom), { kind: "model" });
    for (const json of ["yarn", { rope_type: "linear", factor: 2 }, "self_extend"]) {
      assert.throws(
        () => parseRope(json, bloom),
        (error) => EngineError.is(error, "rope-invalid") && /bloom knows positions by ALiBi/.test(error.message),
      );
    }
  });

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
