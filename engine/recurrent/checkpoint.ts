import type { RecurrentSpec, WeightStore } from "../api.ts";
import type { FileRows } from "../models/view.ts";

/** Where the tensors of a recurrent model lie in its checkpoint. */
export function recurrentPlaces(
  _spec: RecurrentSpec,
  _store: Pick<WeightStore, "has">,
): (name: string, shape: readonly number[]) => FileRows {
  return (name, shape) => ({ name, shape });
}
