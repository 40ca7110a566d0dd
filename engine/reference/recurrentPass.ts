/** The pass of a recurrent model with its state: one call per chunk, whatever the family. */
import type { Reals } from "../position/rope.ts";
import { emptyScanStates, emptyWkvStates, stateParts } from "../recurrent/state.ts";
import { mambaForward } from "./mamba.ts";
import { mamba2Forward } from "./mamba2.ts";
import { toolsOf, type RecurrentModel } from "./recurrentModel.ts";
import { rwkv7Forward } from "./rwkv7.ts";

export interface RecurrentPass {
  /** Goes on behind what was run before; final normed states [T, E]. */
  run(ids: ArrayLike<number>): Reals;
  /** The arrays of the state, which `run` changes in place. */
  readonly parts: readonly Reals[];
}

export function openPass({ spec, tensor, precision }: RecurrentModel): RecurrentPass {
  const { alloc } = toolsOf({ spec, tensor, precision });
  switch (spec.kind) {
    case "mamba": {
      const states = emptyScanStates(spec, alloc);
      return { run: (ids) => mambaForward({ spec, tensor, precision }, ids, states), parts: stateParts(states) };
    }
    case "mamba2": {
      const states = emptyScanStates(spec, alloc);
      return { run: (ids) => mamba2Forward({ spec, tensor, precision }, ids, states), parts: stateParts(states) };
    }
    case "rwkv7": {
      const states = emptyWkvStates(spec, alloc);
      return { run: (ids) => rwkv7Forward({ spec, tensor, precision }, ids, states), parts: stateParts(states) };
    }
  }
}
