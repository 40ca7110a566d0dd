/** A whole decoder in plain loops. E hidden size, H query heads, G key/value heads, D head dimension, F feed-forward width, V vocabulary. */
import type { DecoderSpec, LayerKind, ModelSpec, PositionPlan, RopeTable, WeightFormat, WeightStore } from "../api.ts";
import type { Pattern } from "../attention/api.ts";
import { throwIfAborted } from "../errors.ts";
import { openQuantizationError, quantizeRows, roundedOnLoad, storedFormat } from "../formats/stored.ts";
import {
  EMBEDDING,
  embeddingNormNames,
  finalNormNames,
  headName,
  layerNames,
  tensorShapes,
  type TensorPair,
} from "../models/weights.ts";
import { layerBands } from "../position/bands.ts";
import { positionsFrom, rotateHeads, rotation, rotation64, type Reals } from "../position/rope.ts";
import { localTable } from "../position/scaling.ts";
import { attention, type ScoredLayer } from "./attend.ts";
import {
  addInPlace,
  alloc32,
  alloc64,
  clampInPlace,
  embed,
  gateMultiply,
  keyShift,
  layerNorm,
  linear,
  rmsNorm,
  softcapInPlace,
  type Alloc,
} from "./ops.ts";
import type { Precision, ReferenceCache } from "./cache.ts";

/** A tensor by its Hugging Face name. */
export type TensorOf = (name: string) => Reals;

export interface Decoder {
  spec: DecoderSpec;
  tensor: TensorOf;
  precision: Precision;
  /** Relative RMS error of what was quantised on load; undefined where nothing was. */
  quantizationError?: number;
}

/** Reads every tensor of the model as f32, rounded through the format it would be stored in. */
export async function readDecoder(
  spec: DecoderSpec,
  weights: WeightStore,
  format: WeightFormat,
  options: ReadOptions = {},
): Promise<Decoder> {
  return { spec, ...(await readTensors(spec, weights, format, options)), precision: "f32" };
}

export interface ReadOptions {
  signal?: AbortSignal;
  onProgress?(doneBytes: number, totalBytes: number): void;
}

/** The same for a model of any kind. */
export async function readTensors(
  spec: ModelSpec,
  weights: WeightStore,
  format: WeightFormat,
  options: ReadOptions = {},
): Promise<{ tensor: TensorOf; quantizationError: number | undefined }> {
  const shapes = tensorShapes(spec);
  const totalBytes = 4 * [...shapes.values()].reduce((sum, shape) => sum + product(shape), 0);
  const tensors = new Map<string, Reals>();
  const error = openQuantizationError();
  let doneBytes = 0;
  for (const [name, shape] of shapes) {
    throwIfAborted(options.signal);
    const values = await weights.readRows(name, 0, shape[0], options.signal);
    const columns = shape.at(-1) ?? 1;
    const file = weights.format(name);
    const rounded = roundedOnLoad(file, storedFormat(name, shape, file, format));
    const kept = rounded === undefined ? values : quantizeRows(values, columns, rounded).values;
    if (rounded !== undefined) error.add(values, kept);
    tensors.set(name, kept);
    doneBytes += values.byteLength;
    options.onProgress?.(doneBytes, totalBytes);
  }
  return { tensor: tensorsByName(tensors), quantizationError: error.relativeRms() };
}

/** A lookup that throws where the model has no such tensor. */
export function tensorsByName(tensors: ReadonlyMap<string, Reals>): TensorOf {
  return (name) => {
    const values = tensors.get(name);
    if (values === undefined) throw new Error(`the decoder asks for ${name}, which checkWeights should have missed`);
    return values;
  };
}

/** What the queries from position `start` on see in one layer; undefined where that is every key of its bands. */
export type PatternOf = (layer: number, scored: ScoredLayer, start: number, tokens: number) => Pattern | undefined;

/**
 * Runs `ids` behind what `cache` holds, adds their keys and values to it, and returns the final normalised states [T, E].
 * `onQueries` gets the queries [T, H, D] of each layer before rotation: what the attention tap keeps.
 */
export function forward(
  decoder: Decoder,
  ids: ArrayLike<number>,
  plan: PositionPlan,
  cache: ReferenceCache,
  onQueries?: (layer: number, bareQueries: Reals) => void,
  patternOf?: PatternOf,
): Reals {
  const { spec, tensor } = decoder;
  const { hiddenSize: E, intermediateSize: F, headCount: H, headDim: D, normEps: eps } = spec;
  const alloc = allocOf(decoder);
  const project = (x: Reals, names: TensorPair, inner: number): Reals =>
    linear(alloc, x, tensor(names.weight), names.bias === undefined ? undefined : tensor(names.bias), inner);
  const norm = (x: Reals, names: TensorPair): Reals => normRows(decoder, x, names.weight, names.bias);
  const headNorm = (x: Reals, name: string | undefined): Reals =>
    name === undefined ? x : rmsNorm(alloc, x, tensor(name), eps, spec.normOffset);
  const start = cache.length;

  let x = embed(alloc, tensor(EMBEDDING), ids, E, spec.embeddingMultiplier); // [T, E]
  const embeddingNorm = embeddingNormNames(spec);
  if (embeddingNorm !== undefined) x = norm(x, embeddingNorm);
  for (const [layer, kind] of spec.layers.entries()) {
    const names = layerNames(spec, layer);
    const h = norm(x, names.attentionNorm); // [T, E]
    const rawQueries = project(h, names.query, E); // [T, H, D]
    const rawKeys = project(h, names.key, E); // [T, G, D]
    const values = project(h, names.value, E); // [T, G, D]
    for (const rows of [rawQueries, rawKeys, values]) clampInPlace(rows, spec.qkvClip);
    const mixedKeys =
      names.keyShift === undefined ? rawKeys : keyShift(alloc, rawKeys, cache.rawKeyBefore(layer, start), tensor(names.keyShift)); // [T, G, D]
    const bareQueries = headNorm(rawQueries, names.queryNorm); // [T, H, D]
    const bareKeys = headNorm(mixedKeys, names.keyNorm); // [T, G, D]
    const bands = layerBands(plan, kind);
    const queries = rotatedQueries(decoder, plan, kind, bareQueries, start); // [T, H, D] per band
    const keys = rotatedKeys(decoder, plan, kind, bareKeys, start); // [T, G, D] per copy
    onQueries?.(layer, bareQueries);
    const cached = cache.write(layer, { rawKeys, bareKeys, keys, values }); // [S + T, G, D]
    const scored: ScoredLayer = { queries, keys: cached.keys, bands };
    const pattern = patternOf?.(layer, scored, start, ids.length);
    const seen: ScoredLayer = pattern === undefined ? scored : { ...scored, patternAt: () => pattern };
    const attended = attention(alloc, seen, cached.values, spec, start); // [T, H, D]
    const output = project(attended, names.output, H * D); // [T, E]
    if (spec.residualAfterNorm) x.set(h);
    addInPlace(x, names.attentionPostNorm === undefined ? output : norm(output, names.attentionPostNorm));

    const m = norm(x, names.mlpNorm); // [T, E]
    const gate = names.gate === undefined ? undefined : project(m, names.gate, E); // [T, F]
    const active = gateMultiply(alloc, spec.activation, gate, project(m, names.up, E)); // [T, F]
    const down = project(active, names.down, F); // [T, E]
    if (spec.residualAfterNorm) x.set(m);
    addInPlace(x, names.mlpPostNorm === undefined ? down : norm(down, names.mlpPostNorm));
  }
  cache.advance(ids.length);
  return norm(x, finalNormNames(spec)); // [T, E]
}

/** Final states [T, E] -> logits [T, V]. */
export function logitsOf(decoder: Decoder, states: Reals): Reals {
  const { spec, tensor } = decoder;
  const logits = linear(allocOf(decoder), states, tensor(headName(spec)), undefined, spec.hiddenSize);
  softcapInPlace(logits, spec.finalSoftcap);
  return logits;
}

/** Keys [T, G, D] from position `start` on, rotated to the positions of every copy that the layer's bands read. */
export function rotatedKeys(
  decoder: Pick<Decoder, "spec" | "precision">,
  plan: PositionPlan,
  kind: LayerKind,
  bareKeys: Reals,
  start: number,
): readonly Reals[] {
  const { kvHeadCount, headDim } = decoder.spec;
  const count = bareKeys.length / (kvHeadCount * headDim);
  const copies = kind.rotation === "main" ? plan.copies : [(position: number) => position];
  return copies.map((at) => rotated(decoder, plan, kind, bareKeys, kvHeadCount, positionsFrom(start, count, at)));
}

/** Queries [T, H, D] from position `start` on, rotated for every band, and scaled where the plan says so. */
export function rotatedQueries(
  decoder: Decoder,
  plan: PositionPlan,
  kind: LayerKind,
  bareQueries: Reals,
  start: number,
): readonly Reals[] {
  const { headCount, headDim } = decoder.spec;
  const width = headCount * headDim;
  const count = bareQueries.length / width;
  return layerBands(plan, kind).map((band) => {
    const queries = rotated(decoder, plan, kind, bareQueries, headCount, positionsFrom(start, count, band.queryPosition));
    if (kind.rotation !== "main") return queries;
    return queries.map((value, index) => value * plan.queryScale(start + Math.floor(index / width)));
  });
}

/** A rotated copy of x [T, heads, D]. */
export function rotated(
  { spec, precision }: Pick<Decoder, "spec" | "precision">,
  plan: PositionPlan,
  kind: LayerKind,
  x: Reals,
  heads: number,
  positions: Float64Array,
): Reals {
  const copy = x.slice();
  const table: RopeTable | undefined =
    kind.rotation === "main" ? plan.table : kind.rotation === "local" ? localTable(spec) : undefined;
  if (table !== undefined)
    rotateHeads(copy, heads, spec.headDim, (precision === "f64" ? rotation64 : rotation)(table, positions));
  return copy;
}

/** x [T, E] through one of the model's norms. */
export function normRows(decoder: Decoder, x: Reals, weight: string, bias: string | undefined): Reals {
  const { spec, tensor } = decoder;
  const alloc = allocOf(decoder);
  if (spec.norm === "rms") return rmsNorm(alloc, x, tensor(weight), spec.normEps, spec.normOffset);
  return layerNorm(alloc, x, tensor(weight), bias === undefined ? undefined : tensor(bias), spec.normEps);
}

function allocOf(decoder: Pick<Decoder, "precision">): Alloc {
  return decoder.precision === "f64" ? alloc64 : alloc32;
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}
