/** One prompt through a ring and through the reference, with everything that can be compared. */
import assert from "node:assert/strict";
import type { DecoderSpec, PositionPlan } from "../../engine/api.ts";
import type { Ring, RingRequest } from "../../engine/attention/ring/coordinator.ts";
import { floats, type RingLayer } from "../../engine/attention/ring/gather.ts";
import { finalNormNames } from "../../engine/models/weights.ts";
import { referenceCache } from "../../engine/reference/cache.ts";
import { forward, logitsOf, normRows, type Decoder } from "../../engine/reference/decoder.ts";

/** Token ids that differ, for any vocabulary. */
export function tokensOf({ vocabSize }: DecoderSpec, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 + 3) % vocabSize);
}

/** A prefill that keeps nothing but the last state. */
export function ringRequest(ids: readonly number[], plan: PositionPlan, layout: RingRequest["layout"]): RingRequest {
  return { ids, plan, layout, tap: { layers: [], positions: [] }, states: "last", onLayer: async () => undefined };
}

/** What a prompt leaves in the cache, layer by layer, and the logits behind it. */
export interface Pass {
  layers: { keys: Float32Array[]; values: Float32Array; rawKeys: Float32Array | undefined }[];
  logits: Float32Array;
}

export async function ringPass(
  ring: Ring,
  decoder: Decoder,
  plan: PositionPlan,
  tokens: number,
  layout: RingRequest["layout"],
): Promise<Pass> {
  const layers: RingLayer[] = [];
  const result = await ring.prefill({
    ...ringRequest(tokensOf(decoder.spec, tokens), plan, layout),
    onLayer: async (layer) => void layers.push(layer),
  });
  const { weight, bias } = finalNormNames(decoder.spec);
  const asNumbers = ({ keys, values, rawKeys }: RingLayer) => ({ keys: keys.map(floats), values: floats(values), rawKeys });
  return {
    layers: layers.map(asNumbers),
    logits: Float32Array.from(logitsOf(decoder, normRows(decoder, result.states, weight, bias))),
  };
}

/** The forward pass of the reference, with what it leaves in its cache. */
export async function referencePass(decoder: Decoder, plan: PositionPlan, ids: readonly number[]): Promise<Pass> {
  const cache = referenceCache(decoder.spec, "f32");
  const width = decoder.spec.kvHeadCount * decoder.spec.headDim;
  const values: Float32Array[] = [];
  const rawKeys: Float32Array[] = [];
  const states = forward(decoder, ids, plan, {
    ...cache,
    get length() {
      return cache.length;
    },
    write(layer, rows) {
      values.push(Float32Array.from(rows.values));
      rawKeys.push(Float32Array.from(rows.rawKeys));
      return cache.write(layer, rows);
    },
  });
  const layers = values.map((rows, layer) => ({
    keys: cache.keys(layer).map((keys) => Float32Array.from(keys.subarray(0, ids.length * width))),
    values: rows,
    rawKeys: decoder.spec.keyShift ? rawKeys[layer] : undefined,
  }));
  return { layers, logits: Float32Array.from(logitsOf(decoder, states.subarray(-decoder.spec.hiddenSize))) };
}

/** `tolerance` is of each number, relative above one. */
export function assertSamePass(found: Pass, expected: Pass, tolerance: number, what: string): void {
  assert.equal(found.layers.length, expected.layers.length);
  for (const [layer, { keys, values, rawKeys }] of expected.layers.entries()) {
    assert.equal(found.layers[layer].keys.length, keys.length);
    for (const [copy, rows] of keys.entries())
      assertNear(found.layers[layer].keys[copy], rows, tolerance, `${what}: keys of layer ${layer}`);
    assertNear(found.layers[layer].values, values, tolerance, `${what}: values of layer ${layer}`);
    if (rawKeys === undefined) assert.equal(found.layers[layer].rawKeys, undefined);
    else assertNear(found.layers[layer].rawKeys ?? [], rawKeys, tolerance, `${what}: raw keys of layer ${layer}`);
  }
  assertNear(found.logits, expected.logits, tolerance, `${what}: logits`);
}

export function assertNear(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(found.length, expected.length, what);
  for (let index = 0; index < expected.length; index++) {
    const off = Math.abs(found[index] - expected[index]);
    assert(
      off <= tolerance * (1 + Math.abs(expected[index])),
      `${what}: ${found[index]} instead of ${expected[index]} at ${index}`,
    );
  }
}
