import type { TensorFormat } from "../api.ts";
import type { NamedStore } from "./tensorStore.ts";

/** Rows as they were asked for; undefined where they were left out. */
export type RowRange = readonly [start: number | undefined, end: number | undefined];

/** How tensors are read that a store computes. */
export interface TensorReader<T> {
  readRows(name: string, tensor: T, range: RowRange, signal: AbortSignal | undefined): Promise<Float32Array<ArrayBuffer>>;
  readBytes(name: string, tensor: T, range: RowRange, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>>;
}

/** `store` with some tensors of its own, and without those that `isHidden`. */
export function overlaidStore<T extends { shape: readonly number[]; format: TensorFormat }>(
  store: NamedStore,
  own: ReadonlyMap<string, T>,
  isHidden: (name: string) => boolean,
  read: TensorReader<T>,
): NamedStore {
  const shown = [...store.names()].filter((name) => !isHidden(name) && !own.has(name));
  return {
    names: () => [...shown, ...own.keys()],
    has: (name) => own.has(name) || (store.has(name) && !isHidden(name)),
    shape: (name) => own.get(name)?.shape ?? store.shape(name),
    format: (name) => own.get(name)?.format ?? store.format(name),
    async readRows(name, start, end, signal) {
      const tensor = own.get(name);
      return tensor === undefined ? store.readRows(name, start, end, signal) : read.readRows(name, tensor, [start, end], signal);
    },
    async readBytes(name, start, end, signal) {
      const tensor = own.get(name);
      return tensor === undefined
        ? store.readBytes(name, start, end, signal)
        : read.readBytes(name, tensor, [start, end], signal);
    },
  };
}
