/** How long each rank computed, and how long blocks took to it: what says whether passing hides behind attending. */
import type { DecoderSpec } from "../../api.ts";
import type { RingReport, RingStepReport } from "../api.ts";
import { leastChunkTokens, measuredRates } from "./overlap.ts";

/** One step of one layer, as a rank measures it. */
export type RankStep = Omit<RingStepReport, "rank">;

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
