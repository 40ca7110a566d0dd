/**
 * The raw key in front of each token, for models that mix the two: where that token is on another rank, it is on a neighbour, which sends it.
 * Contiguous and zigzag shards need it at the beginning of a run, striped ones for every token.
 */
import { nextRank, previousRank, type Shard } from "./schedule.ts";

/** Rows of one rank's raw keys that another needs, and for which of its tokens. */
export interface NeededRows {
  from: number;
  /** Places in the shard of `from`. */
  rows: readonly number[];
  /** Places in the own shard, in the same order. */
  into: readonly number[];
}

/** What `rank` needs, one entry per rank that has some of it, itself included; the first token of the prompt needs nothing. */
export function neededRows(shards: readonly Shard[], rank: number): readonly NeededRows[] {
  const places = new Map<number, { from: number; row: number }>();
  for (const [from, shard] of shards.entries())
    for (const [row, position] of shard.entries()) places.set(position, { from, row });
  const needed = new Map<number, { from: number; rows: number[]; into: number[] }>();
  for (const [into, position] of (shards[rank] ?? []).entries()) {
    const place = places.get(position - 1);
    if (place === undefined) continue;
    const of = needed.get(place.from) ?? { from: place.from, rows: [], into: [] };
    of.rows.push(place.row);
    of.into.push(into);
    needed.set(place.from, of);
  }
  return [...needed.values()];
}

/** By which link rows go from one rank to another: the one to the next rank where both are the same. */
export function linkTo(rank: number, other: number, ranks: number): "next" | "previous" {
  if (other === nextRank(rank, ranks)) return "next";
  if (other === previousRank(rank, ranks)) return "previous";
  throw new RangeError(`rank ${rank} of ${ranks} has no link to rank ${other}`);
}

/** By which link rows come from another rank: the other end of `linkTo`. */
export function linkFrom(rank: number, other: number, ranks: number): "next" | "previous" {
  return linkTo(other, rank, ranks) === "next" ? "previous" : "next";
}

/** Rows of x [n, width], behind each other. */
export function takeRows(x: Float32Array, rows: Iterable<number> & { length: number }, width: number): Float32Array<ArrayBuffer> {
  const taken = new Float32Array(rows.length * width);
  let to = 0;
  for (const row of rows) taken.set(x.subarray(row * width, (row + 1) * width), width * to++);
  return taken;
}

/** Puts rows behind each other into those places of x [n, width]. */
export function putRows<Rows extends Float32Array | Uint32Array>(
  x: Rows,
  rows: Rows,
  into: Iterable<number>,
  width: number,
): void {
  let from = 0;
  for (const row of into) x.set(rows.subarray(width * from, width * ++from), row * width);
}
