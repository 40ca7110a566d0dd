/** Patterns of given sets, each query head with its own: what is chosen by content. */
import { BLOCK_TOKENS, type Pattern } from "../api.ts";
import { bitsOf, bitsWhere, digest, type Bits } from "./bits.ts";

/** What one query head sees. */
export type HeadPattern =
  | { shape: "dense" }
  /** The first `sinks` keys and the last `window`. */
  | { shape: "a-shape"; sinks: number; window: number }
  /** Keys, and distances of query and key; both rising. */
  | { shape: "vertical-slash"; columns: ArrayLike<number>; distances: ArrayLike<number> }
  /** Rising blocks of keys for each block of queries from `firstQueryBlock` on; there are no others. */
  | { shape: "blocks"; firstQueryBlock: number; lists: readonly (readonly number[])[] };

/**
 * One pattern of the patterns of all heads. Throws RangeError when asked about a block of queries that a head of shape `blocks` has no
 * list for: such a pattern is for one chunk.
 */
export function headsPattern(heads: readonly HeadPattern[]): Pattern {
  const columns = heads.map(columnBits);
  const diagonals = heads.map(distanceBits);
  const run = Math.min(...heads.map(nearRun));
  const headAt = <T>(list: readonly T[], head: number): T => {
    const found = list[head];
    if (found === undefined) throw new RangeError(`head ${head} of ${list.length}`);
    return found;
  };
  return {
    key: `heads ${digest(heads.flatMap(numbersOf))}`,
    perHead: true,
    near: (position) => Math.max(0, position - run + 1),
    ...(columns.some((bits) => bits !== NONE) ? { columns: (head, tokens) => headAt(columns, head)(tokens) } : {}),
    ...(diagonals.some((bits) => bits !== NONE) ? { diagonals: (head, tokens) => headAt(diagonals, head)(tokens) } : {}),
    ...(heads.some(({ shape }) => shape === "blocks")
      ? { blocks: (head, queryBlock) => blocksOf(headAt(heads, head), queryBlock) }
      : {}),
  };
}

/** Blocks of keys that queries of a block touch: what a kernel reads, whole, for them. */
export function blocksRead(head: HeadPattern, queryBlock: number, blockTokens = BLOCK_TOKENS): number {
  if (head.shape === "dense") return queryBlock + 1;
  if (head.shape === "blocks") return blocksOf(head, queryBlock).length;
  const first = queryBlock * blockTokens;
  if (head.shape === "a-shape") {
    const nearest = Math.max(0, Math.floor((first - head.window + 1) / blockTokens));
    return queryBlock - nearest + 1 + Math.min(nearest, Math.ceil(head.sinks / blockTokens));
  }
  const touched = new Uint8Array(queryBlock + 1);
  const touch = (key: number): void => {
    if (key >= 0) touched[Math.floor(key / blockTokens)] = 1;
  };
  for (let at = 0; at < head.columns.length; at++) touch(head.columns[at]);
  for (let at = 0; at < head.distances.length; at++) {
    touch(first - head.distances[at]);
    touch(first + blockTokens - 1 - head.distances[at]);
  }
  return touched.reduce((sum, isTouched) => sum + isTouched, 0);
}

const NONE: Bits = bitsWhere(() => false);
const ALL: Bits = bitsWhere(() => true);

function columnBits(head: HeadPattern): Bits {
  switch (head.shape) {
    case "dense":
      return ALL;
    case "a-shape":
      return bitsWhere((key) => key < head.sinks);
    case "vertical-slash":
      return bitsOf(head.columns);
    case "blocks":
      return NONE;
  }
}

function distanceBits(head: HeadPattern): Bits {
  switch (head.shape) {
    case "a-shape":
      return bitsWhere((distance) => distance < head.window);
    case "vertical-slash":
      return bitsOf(head.distances);
    case "dense":
    case "blocks":
      return NONE;
  }
}

/** Distances 0, 1, … that a head sees without a gap. */
function nearRun(head: HeadPattern): number {
  switch (head.shape) {
    case "dense":
      return Infinity;
    case "a-shape":
      return head.window;
    case "vertical-slash": {
      const seen = new Set(Array.from(head.distances));
      let run = 0;
      while (seen.has(run)) run++;
      return run;
    }
    case "blocks":
      return 0;
  }
}

function blocksOf(head: HeadPattern, queryBlock: number): readonly number[] {
  if (head.shape !== "blocks") return [];
  const list = head.lists[queryBlock - head.firstQueryBlock];
  if (list === undefined) throw new RangeError(`no blocks were chosen for the queries of block ${queryBlock}`);
  return list;
}

/** Everything that makes a head's pattern, as lists of numbers. */
function numbersOf(head: HeadPattern): readonly ArrayLike<number>[] {
  switch (head.shape) {
    case "dense":
      return [[0]];
    case "a-shape":
      return [[1, head.sinks, head.window]];
    case "vertical-slash":
      return [[2], head.columns, head.distances];
    case "blocks":
      return [[3, head.firstQueryBlock], ...head.lists];
  }
}
