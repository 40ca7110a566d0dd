import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FrequencyScaling, RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { JsonFields, type JsonRecord } from "../../../engine/formats/json.ts";
import { kindOf, readScaling } from "../../../engine/position/ropeJson.ts";
import {
  checkScaling,
  isReindexing,
  ropeTable,
  type LongRope,
  type RopeBase,
  type Yarn,
} from "../../../engine/position/scaling.ts";
import { goldenFile } from "../../support/goldenModels.ts";

interface RopeCase {
  name: string;
  rope_parameters: JsonRecord & { rope_theta: number };
  head_dim: number;
  rotary_dim: number;
  max_position_embeddings: number;
  seq_len: number | null;
  attention_factor: number;
  inv_freq: number[];
}

const { cases } = goldenFile("rope_inv_freq.json") as { cases: RopeCase[] };
// 1e-12 is some thousand roundings of float64: room for another order of the same arithmetic, none for another formula.
const RELATIVE = 1e-12;

describe("inverse frequencies of every kind", () => {
  for (const entry of cases) {
    it(entry.name, () => {
      const base: RopeBase = {
        theta: entry.rope_parameters.rope_theta,
        rotaryDim: entry.rotary_dim,
        maxPositionEmbeddings: entry.max_position_embeddings,
        trainedLength: entry.max_position_embeddings,
      };
      const fields = new JsonFields(entry.rope_parameters, entry.name, "rope-invalid", "");
      const scaling = readScaling(kindOf(entry.rope_parameters), fields, {
        base,
        originalContext: entry.max_position_embeddings,
      });
      assert.ok(!isReindexing(scaling));
      const table = ropeTable(scaling, base, entry.seq_len ?? entry.max_position_embeddings);
      assert.equal(table.invFreq.length, entry.inv_freq.length);
      entry.inv_freq.forEach((expected, pair) => closeTo(table.invFreq[pair], expected));
      closeTo(table.attentionFactor, entry.attention_factor);
    });
  }
});

const base: RopeBase = { theta: 10000, rotaryDim: 16, maxPositionEmbeddings: 4096, trainedLength: 4096 };
const yarn: Yarn = { kind: "yarn", factor: 4, originalContext: 4096, betaFast: 32, betaSlow: 1, truncate: true };
const llama3: FrequencyScaling = { kind: "llama3", factor: 8, originalContext: 2048, lowFreqFactor: 1, highFreqFactor: 4 };
const ones = [1, 1, 1, 1, 1, 1, 1, 1];
const rising = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4];
const longrope: LongRope = { kind: "longrope", shortFactor: ones, longFactor: rising, originalContext: 1024 };

describe("keys of tables", () => {
  it("are equal exactly where frequencies and attention factor are", () => {
    const scalings: FrequencyScaling[] = [
      { kind: "none" },
      { kind: "linear", factor: 1 },
      { kind: "linear", factor: 4 },
      { kind: "proportional", factor: 4, rotaryShare: 1 },
      { kind: "proportional", factor: 4, rotaryShare: 0.5 },
      { kind: "ntk", factor: 4 },
      { kind: "dynamic", factor: 4 },
      yarn,
      { ...yarn, attentionFactor: 1.5 },
      longrope,
      { ...longrope, longFactor: ones },
      llama3,
    ];
    const tables = scalings.flatMap((scaling) => [512, 8192].map((length) => ropeTable(scaling, base, length)));
    for (const a of tables) {
      for (const b of tables) {
        const equal =
          a.attentionFactor === b.attentionFactor && a.invFreq.every((frequency, pair) => frequency === b.invFreq[pair]);
        assert.equal(a.key === b.key, equal);
      }
    }
  });
});

describe("proportional scaling", () => {
  it("leaves the pairs behind its share without any rotation, and divides the others", () => {
    const table = ropeTable({ kind: "proportional", factor: 2, rotaryShare: 0.25 }, base, 64);
    const plain = ropeTable({ kind: "none" }, base, 64);
    assert.deepEqual([...table.invFreq], [plain.invFreq[0] / 2, plain.invFreq[1] / 2, 0, 0, 0, 0, 0, 0]);
  });
});

describe("factor 1 is no scaling", () => {
  const none = ropeTable({ kind: "none" }, base, 8192).key;
  const neutral: FrequencyScaling[] = [
    { kind: "linear", factor: 1 },
    { kind: "ntk", factor: 1 },
    { ...yarn, factor: 1 },
    { ...longrope, longFactor: ones, factor: 1 },
    { ...llama3, factor: 1 },
    { kind: "proportional", factor: 1, rotaryShare: 1 },
  ];
  for (const scaling of neutral) {
    it(scaling.kind, () => {
      const table = ropeTable(scaling, base, 8192);
      const plain = ropeTable({ kind: "none" }, base, 8192);
      table.invFreq.forEach((frequency, pair) => closeTo(frequency, plain.invFreq[pair]));
      assert.equal(table.attentionFactor, 1);
    });
  }

  it("dynamic, while the request is within the stated length", () => {
    assert.equal(ropeTable({ kind: "dynamic", factor: 4 }, base, 4096).key, none);
    assert.notEqual(ropeTable({ kind: "dynamic", factor: 4 }, base, 4097).key, none);
  });

  it("dynamic counts from the length the weights were trained on, where a scaling of the model states more", () => {
    const stated = { ...base, maxPositionEmbeddings: 131072 };
    const table = ropeTable({ kind: "dynamic", factor: 4 }, stated, 8192);
    assert.equal(table.key, ropeTable({ kind: "dynamic", factor: 4 }, base, 8192).key);
  });

  it("longrope changes its list behind the original context, and keeps its attention factor on both", () => {
    const short = ropeTable(longrope, base, 1024);
    const long = ropeTable(longrope, base, 1025);
    assert.equal(short.invFreq[0], long.invFreq[0]);
    assert.notEqual(short.invFreq[7], long.invFreq[7]);
    assert.equal(short.attentionFactor, long.attentionFactor);
    assert.ok(short.attentionFactor > 1);
  });
});

describe("settings without sense are refused with a remedy", () => {
  const wrong: [why: string, scaling: RopeScaling, base?: RopeBase][] = [
    ["factor below 1", { kind: "linear", factor: 0.5 }],
    ["factor not a number", { kind: "ntk", factor: NaN }],
    ["endless factor", { kind: "dynamic", factor: Infinity }],
    ["ntk on one pair", { kind: "ntk", factor: 2 }, { ...base, rotaryDim: 2 }],
    ["original context of zero", { ...yarn, originalContext: 0 }],
    ["original context not whole", { ...llama3, originalContext: 10.5 }],
    ["original context too short for yarn", { ...yarn, originalContext: 1 }],
    ["betas the wrong way round", { ...yarn, betaFast: 1, betaSlow: 32 }],
    ["mscale alone", { ...yarn, mscale: 1 }],
    ["attention factor and mscale", { ...yarn, mscale: 1, mscaleAllDim: 0.5, attentionFactor: 1 }],
    ["attention factor zero", { ...yarn, attentionFactor: 0 }],
    ["list too short", { ...longrope, longFactor: [1, 2] }],
    ["zero in a list", { ...longrope, shortFactor: [0, 1, 1, 1, 1, 1, 1, 1] }],
    ["frequency factors the wrong way round", { ...llama3, lowFreqFactor: 4, highFreqFactor: 1 }],
    ["a share of nothing", { kind: "proportional", factor: 2, rotaryShare: 0 }],
    ["a share of more than everything", { kind: "proportional", factor: 2, rotaryShare: 1.5 }],
    ["a share without a pair", { kind: "proportional", factor: 2, rotaryShare: 0.05 }],
    ["groups of nothing", { kind: "self_extend", group: 0, window: 64 }],
    ["half a group", { kind: "self_extend", group: 1.5, window: 64 }],
    ["no neighbours", { kind: "self_extend", group: 8, window: 0 }],
    ["logarithms to base 1", { kind: "self_extend", group: 8, window: 64, logBase: 1 }],
    ["a window of nothing", { kind: "rerope", window: 0 }],
    ["a leak that is none", { kind: "rerope", window: 8, leak: 1 }],
    ["a chunk that is all local", { kind: "dual_chunk", chunkSize: 64, localSize: 64 }],
    ["a chunk of one", { kind: "dual_chunk", chunkSize: 1, localSize: 1 }],
    ["a negative original context", { kind: "dual_chunk", chunkSize: 64, localSize: 8, originalContext: -1 }],
  ];
  for (const [why, scaling, itsBase] of wrong) {
    it(why, () => {
      assert.throws(
        () => checkScaling(scaling, itsBase ?? base),
        (error) => EngineError.is(error, "rope-invalid") && error.remedy.length > 0 && error.message.startsWith(scaling.kind),
      );
    });
  }
});

function closeTo(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) <= RELATIVE * Math.abs(expected), `${found} is not ${expected}`);
}
