/** A connection to a hub of test/support/hubServer.ts that does not wait between attempts. */
import assert from "node:assert/strict";
import { EngineError, type ErrorCode } from "../../engine/errors.ts";
import type { Hub } from "../../extension/hub/hub.ts";

export interface TestHub extends Hub {
  /** Milliseconds it was told to wait, one after the other. */
  readonly waits: number[];
}

export function hubAt(url: string, changes: Partial<Hub> = {}): TestHub {
  const waits: number[] = [];
  return {
    url,
    token: undefined,
    offline: false,
    strictSsl: true,
    idleMs: 5000,
    sleep: async (ms) => void waits.push(ms),
    ...changes,
    waits,
  };
}

/** The error must be of that code, say what matched, and have a remedy; it is returned. */
export async function rejected(work: Promise<unknown>, code: ErrorCode, message: RegExp, remedy = /\w/): Promise<EngineError> {
  const error = await work.then(
    () => assert.fail(`nothing was thrown, and not ${code}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof EngineError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  assert.match(error.remedy, remedy);
  return error;
}
