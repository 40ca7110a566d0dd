/**
 * When passing blocks hides behind attending to them, in closed form (arXiv 2310.01889, section 3): c tokens per rank compute 4 c² H D
 * operations a step and pass 2 c G D numbers, so with F operations and B bytes a second and two bytes a number c >= (F / B) (G / H).
 */
import type { DecoderSpec } from "../../api.ts";
import type { RingLayout } from "../api.ts";

export type RingShape = Pick<DecoderSpec, "headCount" | "kvHeadCount" | "headDim">;

/** What one rank does a second: operations of attention, and bytes over its link. */
export interface RingRates {
  flops: number;
  bytesPerSecond: number;
}

export interface RingStep {
  /** Operations of one layer's attention to one block, and bytes of the block. */
  flops: number;
  bytes: number;
  computeSeconds: number;
  transferSeconds: number;
  /** The block for the next step is there before this step's attention ends. */
  hidden: boolean;
}

/** Most pairs of a query and a key that any rank has at a step, with c tokens per rank: what the others wait for. */
export function stepPairs(layout: RingLayout, chunkTokens: number, step: number): number {
  const triangle = (chunkTokens * (chunkTokens + 1)) / 2;
  if (step === 0) return triangle;
  switch (layout) {
    case "contiguous":
      return chunkTokens ** 2;
    case "zigzag":
      return chunkTokens ** 2 / 2;
    case "striped":
      return triangle;
  }
}

/** One step of one layer, for the rank that has most to do. `bytesPerNumber` is that of keys and values on the link. */
export function ringStep(
  shape: RingShape,
  layout: RingLayout,
  chunkTokens: number,
  step: number,
  rates: RingRates,
  bytesPerNumber: number,
): RingStep {
  const flops = pairFlops(shape) * stepPairs(layout, chunkTokens, step);
  const bytes = blockBytes(shape, chunkTokens, bytesPerNumber);
  const computeSeconds = flops / rates.flops;
  const transferSeconds = bytes / rates.bytesPerSecond;
  return { flops, bytes, computeSeconds, transferSeconds, hidden: computeSeconds >= transferSeconds };
}

/**
 * Least c from which on every step after the first hides its block: (F / B) (G / H) (b / 2), times c² over the pairs that a causal step
 * has: 1 contiguous, 2 zigzag, nearly 2 striped. A real number; the next whole one is the answer.
 */
export function leastChunkTokens(shape: RingShape, layout: RingLayout, rates: RingRates, bytesPerNumber: number): number {
  const full = ((rates.flops / rates.bytesPerSecond) * shape.kvHeadCount * bytesPerNumber) / (2 * shape.headCount);
  switch (layout) {
    case "contiguous":
      return full;
    case "zigzag":
      return 2 * full;
    case "striped":
      // c (c + 1) / 2 pairs.
      return Math.max(0, 2 * full - 1);
  }
}

/** Seconds of one layer's attention over all steps of P ranks: at each, the longer of attending and passing; the last passes nothing. */
export function ringAttentionSeconds(
  shape: RingShape,
  layout: RingLayout,
  ranks: number,
  chunkTokens: number,
  rates: RingRates,
  bytesPerNumber: number,
): number {
  let seconds = 0;
  for (let step = 0; step < ranks; step++) {
    const { computeSeconds, transferSeconds } = ringStep(shape, layout, chunkTokens, step, rates, bytesPerNumber);
    seconds += step < ranks - 1 ? Math.max(computeSeconds, transferSeconds) : computeSeconds;
  }
  return seconds;
}

/** Operations of one pair of a query and a key in one layer: q · k and p v, of every head. */
export function pairFlops({ headCount, headDim }: RingShape): number {
  return 4 * headCount * headDim;
}

/** Bytes of the keys and values of one layer's block. */
export function blockBytes({ kvHeadCount, headDim }: RingShape, chunkTokens: number, bytesPerNumber: number): number {
  return 2 * chunkTokens * kvHeadCount * headDim * bytesPerNumber;
}

/** Rates that a measured run had, over all its steps; undefined where nothing was attended to, or nothing passed. */
export function measuredRates(
  shape: RingShape,
  steps: Iterable<{ pairs: number; computeMs: number; bytes: number; transferMs: number }>,
): { flops: number | undefined; bytesPerSecond: number | undefined } {
  let pairs = 0;
  let computeMs = 0;
  let bytes = 0;
  let transferMs = 0;
  for (const step of steps) {
    if (step.pairs > 0) {
      pairs += step.pairs;
      computeMs += step.computeMs;
    }
    bytes += step.bytes;
    transferMs += step.transferMs;
  }
  return {
    flops: computeMs > 0 ? (pairFlops(shape) * pairs * 1000) / computeMs : undefined,
    bytesPerSecond: transferMs > 0 ? (bytes * 1000) / transferMs : undefined,
  };
}
