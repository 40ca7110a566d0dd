/** A whole decoder in plain loops. E hidden size, H query heads, G key/value heads, D head dimension, F feed-forward width, V vocabulary. */
import type { ModelSpec, RopeTable, WeightFormat, WeightStore } from "../api.ts";
import { throwIfAborted } from "../errors.ts";
import { dequantizeQ8, quantizeQ8 } from "../formats/q8.ts";
import { EMBEDDING, FINAL_NORM, headName, layerNames, storedFormat, tensorShapes } from "../models/weights.ts";
import { rotateHeads, rotation, rotation64, type Reals } from "../position/rope.ts";
import { addInPlace, alloc32, alloc64, attention, embed, keyShift, linear, rmsNorm, siluMultiply, type Alloc } from "./ops.ts";
import type { Precision, ReferenceCache } from "./cache.ts";

/** A tensor by its Hugging Face name. */
export type TensorOf = (name: string) => Reals;

export interface Decoder {
  spec: ModelSpec;
  tensor: TensorOf;
  precision: Precision;
}

/** Reads every tensor of the model as f32, rounded through the format it would be stored in. */
export async function readDecoder(
  spec: ModelSpec,
  weights: WeightStore,
  format: WeightFormat,
  options: { signal?: AbortSignal; onProgress?(doneBytes: number, totalBytes: number): void } = {},
): Promise<Decoder> {
  const shapes = tensorShapes(spec);
  const totalBytes = 4 * [...shapes.values()].reduce((sum, shape) => sum + product(shape), 0);
  const tensors = new Map<string, Reals>();
  let doneBytes = 0;
  for (const [name, shape] of shapes) {
    throwIfAborted(options.signal);
    const values = await weights.readRows(name, 0, shape[0], options.signal);
    const columns = shape.at(-1) ?? 1;
    tensors.set(name, storedFormat(name, shape, format) === "q8_0" ? dequantizeQ8(quantizeQ8(values, columns)) : values);
    doneBytes += values.byteLength;
    options.onProgress?.(doneBytes, totalBytes);
  }
  return { spec, tensor: tensorsByName(tensors), precision: "f32" };
}

/** A lookup that throws where the model has no such tensor. */
export function tensorsByName(tensors: ReadonlyMap<string, Reals>): TensorOf {
  return (name) => {
    const values = tensors.get(name);
    if (values === undefined) throw new Error(`the decoder asks for ${name}, which checkWeights should have missed`);
    return values;
  };
}

/**
 * Runs `ids` behind what `cache` holds, adds their keys and values to it, and returns the final normalised states [T, E].
 * `onQueries` gets the rotated queries [T, H, D] of each layer: what the attention tap keeps.
 */
export function forward(
  decoder: Decoder,
  ids: ArrayLike<number>,
  rope: RopeTable,
  cache: ReferenceCache,
  onQueries?: (layer: number, queries: Reals) => void,
): Reals {
  const { spec, tensor } = decoder;
  const { hiddenSize: E, intermediateSize: F, headCount: H, kvHeadCount: G, headDim: D, rmsNormEps: eps } = spec;
  const alloc: Alloc = decoder.precision === "f64" ? alloc64 : alloc32;
  const bias = (name: string | undefined): Reals | undefined => (name === undefined ? undefined : tensor(name));
  const norm = (x: Reals, name: string | undefined): Reals => (name === undefined ? x : rmsNorm(alloc, x, tensor(name), eps));
  const start = cache.length;
  const turn = (decoder.precision === "f64" ? rotation64 : rotation)(rope, start, ids.length); // cos, sin [T, rotaryDim / 2]

  const x = embed(alloc, tensor(EMBEDDING), ids, E, spec.embeddingMultiplier); // [T, E]
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const names = layerNames(spec, layer);
    const h = norm(x, names.attentionNorm); // [T, E]
    const rawKeys = linear(alloc, h, tensor(names.key), bias(names.keyBias), E); // [T, G, D]
    const mixedKeys =
      names.keyShift === undefined ? rawKeys : keyShift(alloc, rawKeys, cache.rawKeyBefore(layer, start), tensor(names.keyShift)); // [T, G, D]
    const q = norm(linear(alloc, h, tensor(names.query), bias(names.queryBias), E), names.queryNorm); // [T, H, D]
    const k = norm(mixedKeys, names.keyNorm).slice(); // [T, G, D], a copy: the raw keys are cached unrotated
    const v = linear(alloc, h, tensor(names.value), bias(names.valueBias), E); // [T, G, D]
    rotateHeads(q, H, D, turn);
    rotateHeads(k, G, D, turn);
    onQueries?.(layer, q);
    const cached = cache.write(layer, { rawKeys, keys: k, values: v }); // [S + T, G, D]
    const attended = attention(alloc, q, cached.keys, cached.values, spec, start); // [T, H, D]
    addInPlace(x, linear(alloc, attended, tensor(names.output), bias(names.outputBias), H * D)); // [T, E]

    const m = norm(x, names.mlpNorm); // [T, E]
    const gate = linear(alloc, m, tensor(names.gate), bias(names.gateBias), E); // [T, F]
    const up = linear(alloc, m, tensor(names.up), bias(names.upBias), E); // [T, F]
    addInPlace(x, linear(alloc, siluMultiply(alloc, gate, up), tensor(names.down), bias(names.downBias), F)); // [T, E]
  }
  cache.advance(ids.length);
  return norm(x, FINAL_NORM); // [T, E]
}

/** Final states [T, E] -> logits [T, V]. */
export function logitsOf(decoder: Decoder, states: Reals): Reals {
  const alloc: Alloc = decoder.precision === "f64" ? alloc64 : alloc32;
  return linear(alloc, states, decoder.tensor(headName(decoder.spec)), undefined, decoder.spec.hiddenSize);
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}
