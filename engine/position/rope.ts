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
export function rotation(table: RopeTable, positions: ArrayLike<number>): Rotation<Float32Array<ArrayBuffer>> {
  const pairs = table.invFreq.length;
  const count = positions.length * pairs;
  return fillRotation(table, positions, { cos: new Float32Array(count), sin: new Float32Array(count), pairs });
}

export function rotation64(table: RopeTable, positions: ArrayLike<number>): Rotation<Float64Array<ArrayBuffer>> {
  const pairs = table.invFreq.length;
  const count = positions.length * pairs;
  return fillRotation(table, positions, { cos: new Float64Array(count), sin: new Float64Array(count), pairs });
}

/** Positions start, start + 1, … of `count` tokens, each sent through `at`. */
export function positionsFrom(
  start: number,
  count: number,
  at: (position: number) => number = (position) => position,
): Float64Array {
  return Float64Array.from({ length: count }, (_, index) => at(start + index));
}

/** Which two dimensions a pair is: (i, i + rotaryDim / 2) in Hugging Face files, (2i, 2i + 1) in Meta's and in GGUF files of Llamas. */
export type PairLayout = "half" | "interleaved";

/** Rotates x [tokens, heads, headDim] in place, row t of x by row t of the tables; dimensions from rotaryDim on pass unchanged. */
export function rotateHeads(x: Reals, heads: number, headDim: number, turn: Rotation<Reals>, layout: PairLayout = "half"): void {
  const { cos, sin, pairs } = turn;
  const [step, apart] = layout === "half" ? [1, pairs] : [2, 1];
  const tokens = x.length / (heads * headDim);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const start = (token * heads + head) * headDim;
      for (let pair = 0; pair < pairs; pair++) {
        const c = cos[token * pairs + pair];
        const s = sin[token * pairs + pair];
        const at = start + pair * step;
        const a = x[at];
        const b = x[at + apart];
        x[at] = a * c - b * s;
        x[at + apart] = b * c + a * s;
      }
    }
  }
}

/** Row of an interleaved head [headDim] that holds row `row` of the same head in half order; rows from rotaryDim on stay. */
export function interleavedRow(row: number, rotaryDim: number): number {
  if (row >= rotaryDim) return row;
  const half = rotaryDim / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}

function fillRotation<R extends Reals>(table: RopeTable, positions: ArrayLike<number>, target: Rotation<R>): Rotation<R> {
  const { cos, sin, pairs } = target;
  for (let row = 0; row < positions.length; row++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = positions[row] * table.invFreq[pair];
      cos[row * pairs + pair] = Math.cos(angle) * table.attentionFactor;
      sin[row * pairs + pair] = Math.sin(angle) * table.attentionFactor;
    }
  }
  return target;
}
