import type { RecurrentSpec } from "../api.ts";

/** Every tensor a recurrent model reads, with its shape, in the order of the pass. */
export function recurrentShapes(_spec: RecurrentSpec): Map<string, readonly number[]> {
  return new Map();
}
