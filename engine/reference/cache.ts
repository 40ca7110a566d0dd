import type { DecoderSpec } from "../api.ts";
import type { KvFormat, KvFormats } from "../attention/api.ts";
import { F32_CACHE } from "../attention/wholeOnly.ts";
import { roundRow } from "../kv-cache/format.ts";
import type { Reals } from "../position/rope.ts";

/** Number format of all arithmetic: f32 as the other backends, f64 for the golden numbers. */
export type Precision = "f32" | "f64";

/** What one layer adds for T tokens, each [T, G, D]; raw keys are before shift and norm, bare ones before rotation. */
export interface NewKeys {
  rawKeys: Reals;
  bareKeys: Reals;
  /** Rotated, one per copy of the plan. */
  keys: readonly Reals[];
  values: Reals;
}

interface LayerRows {
  rawKeys: Reals;
  bareKeys: Reals;
  keys: Reals[];
  values: Reals;
}

/** Keys and values of every layer, growing by doubling; raw keys are kept where the model shifts keys, so that any cut can go on. */
export interface ReferenceCache {
  /** Tokens that went through all layers. */
  readonly length: number;
  /** Raw key [G, D] of the token before `position`; zeros before the first. */
  rawKeyBefore(layer: number, position: number): Reals;
  /** Writes behind `length`, which stays; returns keys (one array per copy) and values of all tokens including these. */
  write(layer: number, rows: NewKeys): { keys: readonly Reals[]; values: Reals };
  /** Rotated keys of one layer, one array [at least length, G, D] per copy. */
  keys(layer: number): readonly Reals[];
  /** What is cached for tokens [from, to) before rotation; raw keys only where the model shifts keys, else empty. */
  bare(layer: number, from: number, to: number): { rawKeys: Reals; bareKeys: Reals; values: Reals };
  /** Replaces the rotated keys of one layer by what `rotate` makes of the bare ones [length, G, D]. */
  rotateAgain(layer: number, rotate: (bareKeys: Reals) => readonly Reals[]): void;
  /** Counts the tokens that every layer has written. */
  advance(tokens: number): void;
  /** Forgets everything from `lengthTokens` on. */
  cut(lengthTokens: number): void;
}

/** `formats` round what is attended to, as the device does; bare and raw keys stay as they are. */
export function referenceCache(spec: DecoderSpec, precision: Precision, formats: KvFormats = F32_CACHE): ReferenceCache {
  const width = spec.kvHeadCount * spec.headDim;
  const make = (length: number): Reals => (precision === "f64" ? new Float64Array(length) : new Float32Array(length));
  const layers: LayerRows[] = Array.from({ length: spec.layerCount }, () => ({
    rawKeys: make(0),
    bareKeys: make(0),
    keys: [],
    values: make(0),
  }));
  let length = 0;

  const layerAt = (layer: number): LayerRows => {
    const rows = layers[layer];
    if (rows === undefined) throw new RangeError(`layer ${layer} of ${layers.length}`);
    return rows;
  };
  const rounded = (format: KvFormat, rows: Reals): Reals => {
    if (format === "f32") return rows;
    const heads = make(rows.length);
    for (let at = 0; at < rows.length; at += spec.headDim) {
      heads.set(roundRow(format, Float32Array.from(rows.subarray(at, at + spec.headDim))), at);
    }
    return heads;
  };
  /** The array with `added` behind the cached rows, moved to a larger one when full. */
  const extended = (rows: Reals, added: Reals): Reals => {
    const needed = length * width + added.length;
    let target = rows;
    if (needed > rows.length) {
      target = make(Math.max(needed, 2 * rows.length));
      target.set(rows.subarray(0, length * width));
    }
    target.set(added, length * width);
    return target;
  };

  return {
    get length() {
      return length;
    },
    rawKeyBefore(layer, position) {
      if (position === 0) return make(width);
      return layerAt(layer).rawKeys.slice((position - 1) * width, position * width);
    },
    write(layer, rows) {
      const held = layerAt(layer);
      if (spec.keyShift) held.rawKeys = extended(held.rawKeys, rows.rawKeys);
      held.bareKeys = extended(held.bareKeys, rows.bareKeys);
      held.keys = rows.keys.map((keys, copy) => extended(held.keys[copy] ?? make(0), rounded(formats.keys, keys)));
      held.values = extended(held.values, rounded(formats.values, rows.values));
      return { keys: held.keys, values: held.values };
    },
    keys: (layer) => layerAt(layer).keys,
    bare(layer, from, to) {
      const held = layerAt(layer);
      const rows = (all: Reals): Reals => all.subarray(from * width, to * width);
      return { rawKeys: rows(held.rawKeys), bareKeys: rows(held.bareKeys), values: rows(held.values) };
    },
    rotateAgain(layer, rotate) {
      const held = layerAt(layer);
      held.keys = rotate(held.bareKeys.subarray(0, length * width)).map((keys) => rounded(formats.keys, keys));
    },
    advance(tokens) {
      length += tokens;
    },
    cut(lengthTokens) {
      length = Math.min(length, lengthTokens);
    },
  };
}
