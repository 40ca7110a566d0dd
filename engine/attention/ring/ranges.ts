/** What the queries of a shard see of a block of keys: causality, windows and bands become ranges, because keys lie by rising position. */
import type { Band } from "../../api.ts";
import type { Shard } from "./schedule.ts";

/**
 * [queries] of (from, to): places in the block whose keys the query at each position meets in this band. An empty range has `from` equal to
 * `to`, and both rise with the query wherever the band's own ends do.
 */
export function blockRanges(queries: Shard, block: Shard, band: Pick<Band, "keys">): Uint32Array<ArrayBuffer> {
  const ranges = new Uint32Array(2 * queries.length);
  for (const [index, position] of queries.entries()) {
    const [from, to] = band.keys(position);
    const start = placeOf(block, from);
    ranges[2 * index] = start;
    ranges[2 * index + 1] = Math.max(start, placeOf(block, to));
  }
  return ranges;
}

/** Pairs of a query and a key that `blockRanges` lets meet. */
export function pairsIn(ranges: Uint32Array): number {
  let pairs = 0;
  for (let at = 0; at < ranges.length; at += 2) pairs += ranges[at + 1] - ranges[at];
  return pairs;
}

/** First place of a rising block whose position is not below `position`. */
function placeOf(block: Shard, position: number): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (block[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low;
}
