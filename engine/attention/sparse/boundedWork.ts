/** Work on the device in submissions of bounded time, by the pairs of queries and keys in them. */
import type { Recorder } from "../../gpu/dispatch.ts";

const GOAL_MS = 75;
/** Pairs of the first submission; a software adapter does about this many in the goal's time. */
const FIRST_PAIRS = 2 ** 19;

export interface BoundedWork {
  /** Pairs that one dispatch should not exceed. */
  readonly budget: number;
  /** Counts what was recorded; waits for the device where a submission is full. */
  did(pairs: number): Promise<void>;
  /** What was recorded has been submitted by somebody else. */
  submitted(): void;
}

export function openBoundedWork(recorder: Recorder): BoundedWork {
  let budget = FIRST_PAIRS;
  let pending = 0;
  let began = 0;
  return {
    get budget() {
      return budget;
    },
    async did(pairs) {
      if (pending === 0) began = performance.now();
      pending += pairs;
      if (pending < budget) return;
      await recorder.finish();
      const elapsedMs = Math.max(performance.now() - began, 0.1);
      budget = Math.max(1, Math.min(pending, budget) * Math.min(4, GOAL_MS / elapsedMs));
      pending = 0;
    },
    submitted() {
      pending = 0;
    },
  };
}
