import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { JsonFields, type JsonRecord } from "../../../engine/formats/json.ts";
import { kindOf, readScaling } from "../../../engine/position/ropeJson.ts";
import { ropeTable, type RopeBase } from "../../../engine/position/scaling.ts";
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
const covered = cases.filter((entry) => entry.rope_parameters["rope_type"] !== "proportional");

// 1e-12 is some thousand roundings of float64: room for another order of the same arithmetic, none for another formula.
const RELATIVE = 1e-12;

describe("inverse frequencies of every kind", () => {
  it("covers all recorded configurations but the proportional one, which no supported model has", () => {
    assert.equal(covered.length, cases.length - 1);
  });

  for (const entry of covered) {
    it(entry.name, () => {
      const base: RopeBase = {
        theta: entry.rope_parameters.rope_theta,
        rotaryDim: entry.rotary_dim,
        maxPositionEmbeddings: entry.max_position_embeddings,
      };
      const fields = new JsonFields(entry.rope_parameters, entry.name, "rope-invalid", "");
      const scaling = readScaling(kindOf(entry.rope_parameters), fields, {
        base,
        originalContext: entry.max_position_embeddings,
      });
      const table = ropeTable(scaling, base, entry.seq_len ?? entry.max_position_embeddings);
      assert.equal(table.invFreq.length, entry.inv_freq.length);
      entry.inv_freq.forEach((expected, pair) => closeTo(table.invFreq[pair], expected));
      closeTo(table.attentionFactor, entry.attention_factor);
    });
  }
});

type Kind = RopeScaling["kind"];
type Of<K extends Kind> = Extract<RopeScaling, { kind: K }>;
/** Two settings that differ in one field only, for every field of every kind; a new field does not compile without its pair. */
type FieldPairs = { [K in Kind]: { [F in Exclude<keyof Of<K>, "kind">]-?: readonly [Of<K>, Of<K>] } };

const base: RopeBase = { theta: 10000, rotaryDim: 16, maxPositionEmbeddings: 4096 };
const yarn: Of<"yarn"> = { kind: "yarn", factor: 4, originalContext: 4096, betaFast: 32, betaSlow: 1, truncate: true };
const warm: Of<"yarn"> = { ...yarn, mscale: 1, mscaleAllDim: 0.5 };
const llama3: Of<"llama3"> = { kind: "llama3", factor: 8, originalContext: 2048, lowFreqFactor: 1, highFreqFactor: 4 };
const ones = [1, 1, 1, 1, 1, 1, 1, 1];
const rising = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4];
const longrope: Of<"longrope"> = { kind: "longrope", shortFactor: ones, longFactor: rising, originalContext: 1024 };

const fieldPairs: FieldPairs = {
  none: {},
  linear: {
    factor: [
      { kind: "linear", factor: 2 },
      { kind: "linear", factor: 4 },
    ],
  },
  ntk: {
    factor: [
      { kind: "ntk", factor: 2 },
      { kind: "ntk", factor: 4 },
    ],
  },
  dynamic: {
    factor: [
      { kind: "dynamic", factor: 2 },
      { kind: "dynamic", factor: 4 },
    ],
  },
  yarn: {
    factor: [yarn, { ...yarn, factor: 8 }],
    originalContext: [yarn, { ...yarn, originalContext: 1024 }],
    betaFast: [yarn, { ...yarn, betaFast: 128 }],
    betaSlow: [yarn, { ...yarn, betaSlow: 4 }],
    truncate: [yarn, { ...yarn, truncate: false }],
    attentionFactor: [yarn, { ...yarn, attentionFactor: 1.5 }],
    mscale: [warm, { ...warm, mscale: 2 }],
    mscaleAllDim: [warm, { ...warm, mscaleAllDim: 1 }],
  },
  longrope: {
    shortFactor: [longrope, { ...longrope, shortFactor: rising }],
    longFactor: [longrope, { ...longrope, longFactor: ones }],
    originalContext: [longrope, { ...longrope, originalContext: 2048 }],
    factor: [longrope, { ...longrope, factor: 2 }],
    attentionFactor: [longrope, { ...longrope, attentionFactor: 1.5 }],
  },
  llama3: {
    factor: [llama3, { ...llama3, factor: 4 }],
    originalContext: [llama3, { ...llama3, originalContext: 1024 }],
    lowFreqFactor: [llama3, { ...llama3, lowFreqFactor: 2 }],
    highFreqFactor: [llama3, { ...llama3, highFreqFactor: 16 }],
  },
};

/** A short request and a long one, because some fields show in one of them only. */
const LENGTHS = [512, 8192];

describe("a field that changes nothing is a bug", () => {
  for (const [kind, fields] of Object.entries(fieldPairs)) {
    for (const [field, [before, after]] of Object.entries<readonly [RopeScaling, RopeScaling]>(fields)) {
      it(`${kind}.${field} changes a frequency or the attention factor`, () => {
        const changed = new Set(
          [...Object.keys(before), ...Object.keys(after)].filter((key) => valueOf(before, key) !== valueOf(after, key)),
        );
        assert.deepEqual([...changed], [field]);
        const same = LENGTHS.every((length) => ropeTable(before, base, length).key === ropeTable(after, base, length).key);
        assert.equal(same, false);
      });
    }
  }

  it("keys are equal exactly where frequencies and attention factor are", () => {
    const tables = Object.values(fieldPairs)
      .flatMap((fields) => Object.values<readonly [RopeScaling, RopeScaling]>(fields).flat())
      .flatMap((scaling) => LENGTHS.map((length) => ropeTable(scaling, base, length)));
    for (const a of tables) {
      for (const b of tables) {
        const equal =
          a.attentionFactor === b.attentionFactor && a.invFreq.every((frequency, pair) => frequency === b.invFreq[pair]);
        assert.equal(a.key === b.key, equal);
      }
    }
  });
});

describe("factor 1 is no scaling", () => {
  const none = ropeTable({ kind: "none" }, base, 8192).key;
  const neutral: RopeScaling[] = [
    { kind: "linear", factor: 1 },
    { kind: "ntk", factor: 1 },
    { ...yarn, factor: 1 },
    { ...longrope, longFactor: ones, factor: 1 },
    { ...llama3, factor: 1 },
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
    ["attention factor and mscale", { ...warm, attentionFactor: 1 }],
    ["attention factor zero", { ...yarn, attentionFactor: 0 }],
    ["list too short", { ...longrope, longFactor: [1, 2] }],
    ["zero in a list", { ...longrope, shortFactor: [0, 1, 1, 1, 1, 1, 1, 1] }],
    ["frequency factors the wrong way round", { ...llama3, lowFreqFactor: 4, highFreqFactor: 1 }],
  ];
  for (const [why, scaling, itsBase] of wrong) {
    it(why, () => {
      assert.throws(
        () => ropeTable(scaling, itsBase ?? base, 100),
        (error) => EngineError.is(error, "rope-invalid") && error.remedy.length > 0 && error.message.startsWith(scaling.kind),
      );
    });
  }
});

function valueOf(scaling: RopeScaling, key: string): unknown {
  return new Map<string, unknown>(Object.entries(scaling)).get(key);
}

function closeTo(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) <= RELATIVE * Math.abs(expected), `${found} is not ${expected}`);
}
