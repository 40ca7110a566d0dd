import type { DecoderSpec } from "../api.ts";

/**
 * Slopes of linear attention biases (arXiv 2108.12409): a score of distance i - j loses slope · (i - j). For H heads, H a power of two, slope h
 * is 2^(-maxBias (h + 1) / H); else the slopes of the largest power of two below come first, then every other one of twice that many.
 */
export function alibiSlopes(headCount: number, maxBias = 8): Float64Array {
  const below = 2 ** Math.floor(Math.log2(headCount));
  const slope = (index: number, heads: number): number => 2 ** ((-maxBias * (index + 1)) / heads);
  return Float64Array.from({ length: headCount }, (_, head) =>
    head < below ? slope(head, below) : slope(2 * (head - below), 2 * below),
  );
}

/** Slopes [H] of a model, zeros where it has none. */
export function slopesOf({ headCount, alibi }: Pick<DecoderSpec, "headCount" | "alibi">): Float32Array<ArrayBuffer> {
  return alibi === undefined ? new Float32Array(headCount) : Float32Array.from(alibiSlopes(headCount, alibi.maxBias));
}
