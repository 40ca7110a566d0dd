import { EngineError } from "../../engine/errors.ts";
import type { Stop } from "../../engine/tokenizer/tokenizer.ts";

/** Of a count or another job that was given up. */
export function countStopped(): EngineError {
  return new EngineError("aborted", "counting was stopped", 'run "Long Context: Recount Tokens"');
}

export function throwIfStopped(stop: Stop): void {
  if (stop()) throw countStopped();
}
