/**
 * StreamingLLM (arXiv 2309.17453): a cache of the first `sinks` tokens and the last `window`, everything between evicted, and positions
 * counted inside that cache. The query's slot is min(position, sinks + window - 1). Keys of the window keep their own distances, because
 * they and the query move together; a sink's distance stops growing once the cache is full. So keys stay rotated to the places where they
 * were written, and only the query has two positions: its own for the window, its slot for the sinks.
 */
import type { PositionPlan } from "../api.ts";
import { EngineError } from "../errors.ts";

/**
 * The plan with eviction: a query sees sinks + window keys at most, itself included, also in layers that are not rotated (ALiBi counts slots
 * too). Throws `bad-argument` for a plan whose keys have other positions than their own, and for numbers that leave a query without keys.
 */
export function sinksPlan(plan: PositionPlan, sinks: number, window: number): PositionPlan {
  if (!Number.isSafeInteger(sinks) || !Number.isSafeInteger(window) || sinks < 0 || window < 1) {
    throw new EngineError(
      "bad-argument",
      `${sinks} sinks and a window of ${window}`,
      "give whole numbers, and a window of at least 1",
    );
  }
  const [band] = plan.bands;
  if (!canEvict(plan) || band === undefined) {
    throw new EngineError(
      "bad-argument",
      "sinks: the RoPE setting gives far keys positions of its own already",
      "use sinks with a RoPE setting that only scales frequencies, or none: inside the cache no distance is larger than it",
    );
  }
  const lastSlot = sinks + window - 1;
  const border = (position: number): number => Math.min(position + 1, Math.max(sinks, position - window + 1));
  return {
    ...plan,
    key: `${plan.key}|sinks ${sinks},${window}`,
    everyLayer: true,
    bands: [
      { ...band, keys: (position) => [border(position), position + 1] },
      {
        ...band,
        keys: (position) => [0, Math.min(sinks, position + 1)],
        queryPosition: (position) => Math.min(position, lastSlot),
      },
    ],
  };
}

/** True for plans that `sinksPlan` takes: all keys in one band, at their own positions. */
export function canEvict(plan: PositionPlan): boolean {
  return plan.bands.length === 1 && plan.copies.length === 1;
}
