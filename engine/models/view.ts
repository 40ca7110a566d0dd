/** A WeightStore over another one that knows its tensors by other names, in other orders, or several in one. */
import type { WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";

/** Where the rows of one tensor lie in a file tensor, and what is done to its numbers. */
export interface FileRows {
  /** Name in the file. */
  name: string;
  /** Shape of the tensor as the engine sees it; its rows are as long as those of the file. */
  shape: readonly number[];
  /** Shape it must have in the file where that differs. */
  fileShape?: readonly number[];
  /** Row of the file that holds row `row`; the same order where absent. */
  fileRow?: (row: number) => number;
  /** Number that the engine sees for one in the file; only for tensors that are read as f32. */
  value?: (stored: number) => number;
  /**
   * For small tensors whose numbers lie otherwise (transposed, with other dimensions, in one with others, or fewer than the engine
   * wants): the file's tensor is read whole, as f32, whatever part is asked for, and `fileRow` is not used.
   */
  picked?: Picked;
}

/** How many numbers the file's tensor has, and which of them is the engine's number `index`; undefined is 0. */
export interface Picked {
  count: number;
  at: (index: number) => number | undefined;
}

/** The file's tensor [columns, rows] transposed, which the engine sees as [rows, columns]. */
export function transposed(rows: number, columns: number): Picked {
  return { count: rows * columns, at: (index) => (index % columns) * rows + Math.floor(index / columns) };
}

/** The same numbers in the same order under other dimensions. */
export function reshaped(count: number): Picked {
  return { count, at: (index) => index };
}

/** The view of `store` through `place`; a name without a place is not there. Formats and blocks are kept, because only whole rows move. */
export function weightView(store: WeightStore, place: (name: string) => FileRows | undefined): WeightStore {
  const placed = (name: string): FileRows => {
    const rows = place(name);
    if (rows !== undefined && store.has(rows.name)) return rows;
    const message = `the weights have no tensor ${rows?.name ?? name}`;
    throw new EngineError("weights-missing", message, "download the model again, with all its files", { name });
  };
  return {
    has: (name) => {
      const rows = place(name);
      return rows !== undefined && store.has(rows.name);
    },
    shape(name) {
      const { name: fileName, shape, fileShape, picked } = placed(name);
      const found = store.shape(fileName);
      if (fileShape === undefined && picked === undefined) return found;
      const fits = picked === undefined || numbersIn(found) === picked.count;
      if (fits && found.join() === (fileShape ?? found).join()) return shape;
      const asked = fileShape === undefined ? `${picked?.count ?? 0} numbers` : `[${fileShape.join(", ")}]`;
      const message = `tensor ${fileName} is [${found.join(", ")}] and config.json asks for ${asked}`;
      throw new EngineError("bad-weights", message, "use config.json and weights of the same model", { name: fileName });
    },
    format(name) {
      const { name: fileName, value, picked } = placed(name);
      return value === undefined && picked === undefined ? store.format(fileName) : "f32";
    },
    async readRows(name, rowStart = 0, rowEnd, signal) {
      const rows = placed(name);
      const end = rowEnd ?? rows.shape[0] ?? 1;
      const read = (start: number, stop: number) => store.readRows(rows.name, start, stop, signal);
      const values =
        rows.picked === undefined
          ? await gather(rows, rowStart, end, read, (count) => new Float32Array(count))
          : pick(await store.readRows(rows.name, undefined, undefined, signal), rows.picked, rows.shape, rowStart, end);
      return rows.value === undefined ? values : values.map(rows.value);
    },
    async readBytes(name, rowStart = 0, rowEnd, signal) {
      const rows = placed(name);
      if (rows.value !== undefined || rows.picked !== undefined)
        return new Uint8Array((await this.readRows(name, rowStart, rowEnd, signal)).buffer);
      const read = (start: number, stop: number) => store.readBytes(rows.name, start, stop, signal);
      return gather(rows, rowStart, rowEnd ?? rows.shape[0] ?? 1, read, (count) => new Uint8Array(count));
    },
  };
}

function pick(
  whole: Float32Array,
  { at }: Picked,
  shape: readonly number[],
  rowStart: number,
  rowEnd: number,
): Float32Array<ArrayBuffer> {
  const width = numbersIn(shape.slice(1));
  const first = rowStart * width;
  return Float32Array.from({ length: (rowEnd - rowStart) * width }, (_, index) => {
    const from = at(first + index);
    return from === undefined ? 0 : whole[from];
  });
}

function numbersIn(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Rows within this many times their own count are read in one piece and picked from it. */
const SPARSE = 4;

async function gather<A extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
  { fileRow }: FileRows,
  rowStart: number,
  rowEnd: number,
  read: (start: number, end: number) => Promise<A>,
  make: (count: number) => A,
): Promise<A> {
  if (fileRow === undefined || rowEnd <= rowStart) return read(rowStart, rowEnd);
  const wanted = Array.from({ length: rowEnd - rowStart }, (_, index) => fileRow(rowStart + index));
  const first = wanted.reduce((least, row) => Math.min(least, row), Infinity);
  const last = wanted.reduce((most, row) => Math.max(most, row), 0);
  const isOneRun = last - first + 1 === wanted.length && wanted.every((row, index) => row === first + index);
  if (isOneRun) return read(first, last + 1);
  if (last - first + 1 <= SPARSE * wanted.length) {
    const span = await read(first, last + 1);
    const width = span.length / (last - first + 1);
    const picked = make(wanted.length * width);
    for (const [index, row] of wanted.entries()) {
      picked.set(span.subarray((row - first) * width, (row - first + 1) * width), index * width);
    }
    return picked;
  }
  return gatherRuns(wanted, read, make);
}

/** Consecutive rows together, one read each. */
async function gatherRuns<A extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
  wanted: readonly number[],
  read: (start: number, end: number) => Promise<A>,
  make: (count: number) => A,
): Promise<A> {
  let picked: A | undefined;
  for (let index = 0; index < wanted.length;) {
    const first = wanted[index];
    let count = 1;
    while (wanted[index + count] === first + count) count++;
    const rows = await read(first, first + count);
    const width = rows.length / count;
    picked ??= make(wanted.length * width);
    picked.set(rows, index * width);
    index += count;
  }
  return picked ?? make(0);
}
