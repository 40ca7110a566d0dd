/** Angles of RoPE as cos and sin tables, made in float64, and the rotation itself in plain loops. */
import type { RopeTable } from "../api.ts";

/** Real numbers of either precision; the reference runs in both. */
export type Reals = Float32Array | Float64Array;

/** cos and sin for positions [start, start + count), each [count, rotaryDim / 2], row-major, times the attention factor. */
export interface Rotation<R extends Reals = Float32Array> {
  readonly cos: R;
  readonly sin: R;
  readonly pairs: number;
}

/** Tables in f32 from float64 angles: an f32 angle is already off by whole thousandths of a turn at a million tokens. */
export function rotation(table: RopeTable, start: number, count: number): Rotation<Float32Array<ArrayBuffer>> {
  const pairs = table.invFreq.length;
  return fillRotation(table, start, { cos: new Float32Array(count * pairs), sin: new Float32Array(count * pairs), pairs });
}

export function rotation64(table: RopeTable, start: number, count: number): Rotation<Float64Array<ArrayBuffer>> {
  const pairs = table.invFreq.length;
  return fillRotation(table, start, { cos: new Float64Array(count * pairs), sin: new Float64Array(count * pairs), pairs });
}

/**
 * Rotates x [tokens, heads, headDim] in place, row t of x by row t of the tables. Rotate-half layout: pair i is (i, i + rotaryDim / 2);
 * dimensions from rotaryDim on pass unchanged.
 */
export function rotateHeads(x: Reals, heads: number, headDim: number, turn: Rotation<Reals>): void {
  const { cos, sin, pairs } = turn;
  const tokens = x.length / (heads * headDim);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const start = (token * heads + head) * headDim;
      for (let pair = 0; pair < pairs; pair++) {
        const c = cos[token * pairs + pair];
        const s = sin[token * pairs + pair];
        const a = x[start + pair];
        const b = x[start + pair + pairs];
        x[start + pair] = a * c - b * s;
        x[start + pair + pairs] = b * c + a * s;
      }
    }
  }
}

function fillRotation<R extends Reals>(table: RopeTable, start: number, target: Rotation<R>): Rotation<R> {
  const { cos, sin, pairs } = target;
  for (let row = 0; row * pairs < cos.length; row++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = (start + row) * table.invFreq[pair];
      cos[row * pairs + pair] = Math.cos(angle) * table.attentionFactor;
      sin[row * pairs + pair] = Math.sin(angle) * table.attentionFactor;
    }
  }
  return target;
}
