/** How long each rank computed, and how long blocks took to it: what says whether passing hides behind attending. */
import type { DecoderSpec } from "../../api.ts";
import type { RingLayout } from "../api.ts";
import { leastChunkTokens, measuredRates } from "./overlap.ts";

/** One step of one layer on one rank. */
export interface RankStep {
  step: number;
  /** Whose block it met. */
  owner: number;
  /** Pairs of a query and a key, over all bands. */
  pairs: number;
  /** Of the block, which came from the rank before; 0 where it is the rank's own. */
  bytes: number;
  computeMs: number;
  /** From the moment it was sent to the moment it was there, which was while the step before was computed, or after. */
  transferMs: number;
  /** How long the rank had nothing to do but wait for it. */
  waitedMs: number;
}

/** One step of one rank, summed over all layers. */
export interface RingStepReport extends RankStep {
  rank: number;
}

export interface RingReport {
  ranks: number;
  layout: RingLayout;
  tokens: number;
  /** Most tokens of a rank. */
  chunkTokens: number;
  totalMs: number;
  /** By rank, then by step. */
  steps: readonly RingStepReport[];
  /** Operations of attention a second and rank, and bytes a second over a link, as measured; undefined where nothing was. */
  flops: number | undefined;
  bytesPerSecond: number | undefined;
  /** Tokens a rank must have for passing to hide at these rates; undefined where one of them was not measured. */
  leastChunkTokens: number | undefined;
  /** Share of all transfer time during which the receiver computed, in [0, 1]; 1 where nothing was passed. */
  hiddenShare: number;
  /** Adapter of each rank in words. */
  devices: readonly string[];
}

/** Wall-clock milliseconds, the same in all workers of a machine up to rounding. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Steps of a rank in order, summed over its layers. */
export function summedSteps(rank: number, layers: readonly (readonly RankStep[])[]): RingStepReport[] {
  const [first = []] = layers;
  return first.map(({ step, owner }, index) => {
    const sum = (of: (step: RankStep) => number): number =>
      layers.reduce((total, steps) => total + (steps[index] === undefined ? 0 : of(steps[index])), 0);
    return {
      rank,
      step,
      owner,
      pairs: sum(({ pairs }) => pairs),
      bytes: sum(({ bytes }) => bytes),
      computeMs: sum(({ computeMs }) => computeMs),
      transferMs: sum(({ transferMs }) => transferMs),
      waitedMs: sum(({ waitedMs }) => waitedMs),
    };
  });
}

/** What a run says of itself; `bytesPerNumber` is that of keys and values on the wire. */
export function ringReport(
  spec: DecoderSpec,
  bytesPerNumber: number,
  run: Pick<RingReport, "ranks" | "layout" | "tokens" | "chunkTokens" | "totalMs" | "steps" | "devices">,
): RingReport {
  const { flops, bytesPerSecond } = measuredRates(spec, run.steps);
  const transferMs = run.steps.reduce((sum, step) => sum + step.transferMs, 0);
  const waitedMs = run.steps.reduce((sum, step) => sum + Math.min(step.waitedMs, step.transferMs), 0);
  return {
    ...run,
    flops,
    bytesPerSecond,
    leastChunkTokens:
      flops === undefined || bytesPerSecond === undefined
        ? undefined
        : leastChunkTokens(spec, run.layout, { flops, bytesPerSecond }, bytesPerNumber),
    hiddenShare: transferMs === 0 ? 1 : 1 - waitedMs / transferMs,
  };
}
