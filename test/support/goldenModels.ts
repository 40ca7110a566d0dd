/** Tiny models whose weights follow from the names of their tensors, so that no weight file is stored. */
import { readFileSync } from "node:fs";
import type { DecoderSpec, ModelSpec, RecurrentSpec, WeightStore } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { checkpointPlaces, checkpointView } from "../../engine/models/checkpoint.ts";
import { tensorShapes } from "../../engine/models/weights.ts";
import { parseSpec } from "../../engine/models/spec.ts";

/** The transformers of golden_models.json. */
export const goldenDecoders = [
  "llama_llama3rope",
  "llama_tied_linear",
  "llama_dynamic_long",
  "qwen2",
  "qwen3_yarn",
  "gemma2",
  "gemma3",
  "phi3_longrope_short",
  "phi3_longrope_long",
  "smollm3",
  "mistral_swa",
] as const;

/** Its recurrent models. */
export const goldenRecurrents = ["mamba", "mamba2", "rwkv7"] as const;

export type GoldenName = (typeof goldenDecoders)[number] | (typeof goldenRecurrents)[number];

export interface GoldenNumbers {
  /** Logits [V] at position 0, at position 6 and at the last. */
  logits_first: number[];
  logits_mid_pos6: number[];
  logits_last: number[];
  /** Sum of the logits of every position. */
  logits_sum_per_position: number[];
  /** Greedy continuation; with dynamic scaling every step is a whole recomputation at its own length. */
  greedy_next_5: number[];
}

export interface GoldenModel<Spec extends ModelSpec = ModelSpec> {
  spec: Spec;
  /** Under the engine's names. */
  weights: WeightStore;
  /** The weights in float64 under the engine's names, for references at 1e-9. */
  tensors: ReadonlyMap<string, Float64Array>;
  inputIds: number[];
  golden: GoldenNumbers;
  tolerance: { float64: number; float32: number };
}

interface TensorRule {
  name: string;
  shape: number[];
  amp: number;
  offset: number;
}

interface GoldenFile {
  input_ids: number[];
  tolerance: { float64: number; float32: number };
  models: Record<string, GoldenNumbers & { config: Record<string, unknown>; tensors: TensorRule[] }>;
}

/** A file of test/golden; the caller says what it holds. */
export function goldenFile(name: string): unknown {
  return JSON.parse(readFileSync(`test/golden/${name}`, "utf8"));
}

/** config.json of any golden model, also of those the engine refuses. */
export function goldenConfig(name: string): Record<string, unknown> {
  return goldenEntry(name).config;
}

export function goldenModel(name: GoldenName): GoldenModel {
  const file = goldenFile("golden_models.json") as GoldenFile;
  const { config, tensors: rules, ...golden } = goldenEntry(name);
  const tensors = new Map(rules.map((rule) => [rule.name, { shape: rule.shape, values: ruledTensor(rule) }]));
  const spec = parseSpec(config);
  return {
    spec,
    weights: checkpointView(spec, storeOf(tensors)),
    tensors: viewed64(spec, tensors),
    inputIds: file.input_ids,
    golden,
    tolerance: file.tolerance,
  };
}

export function goldenDecoder(name: (typeof goldenDecoders)[number]): GoldenModel<DecoderSpec> {
  const model = goldenModel(name);
  if (model.spec.kind !== "decoder") throw new Error(`${name} is no transformer`);
  return { ...model, spec: model.spec };
}

export function goldenRecurrent(name: (typeof goldenRecurrents)[number]): GoldenModel<RecurrentSpec> {
  const model = goldenModel(name);
  if (model.spec.kind === "decoder") throw new Error(`${name} is a transformer`);
  return { ...model, spec: model.spec };
}

/** What `checkpointView` does, in float64. */
function viewed64(
  spec: ModelSpec,
  tensors: ReadonlyMap<string, { shape: readonly number[]; values: Float64Array }>,
): ReadonlyMap<string, Float64Array> {
  const place = checkpointPlaces(spec, { has: (name) => tensors.has(name) });
  return new Map(
    [...tensorShapes(spec)].map(([name, shape]) => {
      const rows = place(name);
      const stored = tensors.get(rows?.name ?? name);
      if (rows === undefined || stored === undefined) throw new Error(`the golden model has no tensor ${name}`);
      const width = shape.slice(1).reduce((product, size) => product * size, 1);
      const values = Float64Array.from({ length: (shape[0] ?? 1) * width }, (_, index) => {
        if (rows.picked !== undefined) return stored.values[rows.picked.at(index) ?? NaN] ?? 0;
        const row = Math.floor(index / width);
        return stored.values[(rows.fileRow?.(row) ?? row) * width + (index % width)];
      });
      return [name, rows.value === undefined ? values : values.map(rows.value)];
    }),
  );
}

/**
 * A small random model with any features: give the fields of ModelSpec that matter to the test, the rest is a Llama of two layers.
 * The same overrides give the same weights; `seedName` gives others.
 */
export function randomModel(overrides: Partial<DecoderSpec> = {}, seedName = ""): { spec: DecoderSpec; weights: WeightStore } {
  const layerCount = overrides.layerCount ?? 2;
  const headDim = overrides.headDim ?? 8;
  const base: DecoderSpec = {
    kind: "decoder",
    modelType: "llama",
    vocabSize: 40,
    hiddenSize: 32,
    intermediateSize: 48,
    layerCount,
    headCount: 4,
    kvHeadCount: 2,
    headDim,
    layers: Array.from({ length: layerCount }, () => ({ window: undefined, rotation: "main" as const })),
    rotaryDim: headDim,
    local: undefined,
    alibi: undefined,
    queryTemperature: undefined,
    norm: "rms",
    normBias: false,
    normOffset: 0,
    embeddingNorm: false,
    postNorms: false,
    residualAfterNorm: false,
    mlp: "gated",
    activation: "silu",
    attentionScale: 1 / Math.sqrt(headDim),
    attentionSoftcap: undefined,
    finalSoftcap: undefined,
    qkvClip: undefined,
    normEps: 1e-5,
    maxPositionEmbeddings: 256,
    ropeTheta: 10000,
    rope: { kind: "none" },
    tiedEmbeddings: false,
    embeddingMultiplier: 1,
    qkvBias: false,
    outBias: false,
    mlpBias: false,
    qkNorm: false,
    keyShift: false,
    bosTokenId: 1,
    eosTokenIds: [2],
    absentTokenId: undefined,
    promptFormat: "plain",
    answerLines: "one",
  };
  const spec = { ...base, ...overrides };
  const tensors = new Map(
    [...tensorShapes(spec)].map(([name, shape]) => [
      name,
      { shape, values: fill(seedName + name, shape, ...randomRange(name, shape)) },
    ]),
  );
  return { spec, weights: storeOf(tensors) };
}

/** FNV-1a over the UTF-8 bytes of the name, 32 bits. */
export function fnv1a32(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** The mulberry32 stream: uniforms in [0, 1). */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Row-major values offset + amplitude * (2u - 1), the stream seeded by the name. */
export function fill(name: string, shape: readonly number[], amplitude: number, offset = 0): Float64Array {
  const uniform = mulberry32(fnv1a32(name));
  const count = shape.reduce((product, size) => product * size, 1);
  return Float64Array.from({ length: count }, () => offset + amplitude * (2 * uniform() - 1));
}

/** Weights in memory, as the engine reads them. */
export function storeOf(tensors: ReadonlyMap<string, { shape: readonly number[]; values: ArrayLike<number> }>): WeightStore {
  const tensor = (name: string) => {
    const found = tensors.get(name);
    if (found === undefined)
      throw new EngineError("weights-missing", `no tensor ${name}`, "add it to the test's model", { name });
    return found;
  };
  return {
    has: (name) => tensors.has(name),
    shape: (name) => tensor(name).shape,
    format: (name) => (tensor(name), "f32"),
    async readBytes(name, rowStart, rowEnd, signal) {
      return new Uint8Array((await this.readRows(name, rowStart, rowEnd, signal)).buffer);
    },
    readRows: async (name, rowStart = 0, rowEnd = tensor(name).shape[0] ?? 1) => {
      const { shape, values } = tensor(name);
      const width = shape.slice(1).reduce((product, size) => product * size, 1);
      return Float32Array.from({ length: (rowEnd - rowStart) * width }, (_, index) => values[rowStart * width + index]);
    },
  };
}

function goldenEntry(name: string) {
  const entry = (goldenFile("golden_models.json") as GoldenFile).models[name];
  if (entry === undefined) throw new Error(`golden_models.json has no model ${name}`);
  return entry;
}

function ruledTensor(rule: TensorRule): Float64Array {
  return fill(rule.name, rule.shape, rule.amp, rule.offset);
}

/** Amplitude and offset: norms near one, projections that keep the variance, gates and biases of visible size. */
function randomRange(name: string, shape: readonly number[]): [amplitude: number, offset: number] {
  if (name.endsWith("norm.weight")) return [0.2, 1];
  if (name.endsWith("bias")) return [0.5, 0];
  if (name.endsWith("k_shift")) return [1.5, 0];
  if (name.endsWith("embed_tokens.weight")) return [1, 0];
  return [Math.sqrt(3 / (shape.at(-1) ?? 1)), 0];
}
