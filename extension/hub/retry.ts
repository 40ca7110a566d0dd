import { setTimeout as sleep } from "node:timers/promises";
import { PassingError, stoppedError } from "./failures.ts";
import type { Hub } from "./hub.ts";

/** Failures in a row after which the last one is told. */
const MOST_ATTEMPTS = 5;
const FIRST_WAIT_MS = 1000;
/** A server that wants to be left alone for longer gets its wish: the user is told when. */
const LONGEST_WAIT_MS = 30_000;

/**
 * Runs `attempt` again after failures that pass, each time later, or when the server says. `progressed` is asked after a failure whether
 * anything was gained since the one before, which starts the counting of failures anew.
 */
export async function withRetries<Result>(
  hub: Hub,
  signal: AbortSignal | undefined,
  attempt: () => Promise<Result>,
  progressed: () => boolean = () => false,
): Promise<Result> {
  for (let failures = 0; ;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof PassingError)) throw error;
      failures = progressed() ? 1 : failures + 1;
      const waitMs = error.afterMs ?? FIRST_WAIT_MS * 2 ** (failures - 1);
      if (failures >= MOST_ATTEMPTS || waitMs > LONGEST_WAIT_MS) throw error;
      await hub.sleep(waitMs, signal);
    }
  }
}

/** The `sleep` of a hub outside tests. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    throw signal?.aborted ? stoppedError() : error;
  }
}
