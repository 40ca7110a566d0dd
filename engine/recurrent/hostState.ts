/** A state in the host's memory with its copies: what the backends that compute on the processor share. */
import type { RecurrentSpec } from "../api.ts";
import type { Reals } from "../position/rope.ts";
import type { RecurrentBackend } from "./runner.ts";
import { slotCount } from "./slots.ts";
import { stateFloats } from "./state.ts";

export type HostState = Pick<RecurrentBackend, "clear" | "slotCount" | "save" | "load" | "readSlot" | "read" | "write">;

/** `parts` are all arrays of the state in the order of state.ts, the last token's final state behind them; they are changed in place. */
export function openHostState(spec: RecurrentSpec, parts: readonly Reals[]): HostState {
  const count = stateFloats(spec);
  const copies = Array.from({ length: slotCount(count * 4) }, () => new Float32Array(count));

  function copyTo(values: Float32Array): void {
    let offset = 0;
    for (const part of parts) {
      values.set(part, offset);
      offset += part.length;
    }
  }
  function copyFrom(values: Float32Array): void {
    let offset = 0;
    for (const part of parts) {
      part.set(values.subarray(offset, offset + part.length));
      offset += part.length;
    }
  }
  const copyAt = (slot: number): Float32Array => {
    const copy = copies[slot];
    if (copy === undefined) throw new RangeError(`copy ${slot} of ${copies.length}`);
    return copy;
  };

  return {
    clear() {
      for (const part of parts) part.fill(0);
    },
    slotCount: copies.length,
    save: (slot) => copyTo(copyAt(slot)),
    load: (slot) => copyFrom(copyAt(slot)),
    readSlot: async (slot) => copyAt(slot).slice(),
    async read() {
      const values = new Float32Array(count);
      copyTo(values);
      return values;
    },
    write: copyFrom,
  };
}
