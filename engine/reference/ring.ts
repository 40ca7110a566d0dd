/** Ring Attention in plain loops: blocks of keys and values go round, each rank's queries go on from what they have. See attention/ring/. */
import { blockRanges, pairsIn } from "../attention/ring/ranges.ts";
import { blockOwner, type Shard } from "../attention/ring/schedule.ts";
import { alibiSlopes } from "../position/alibi.ts";
import type { Reals } from "../position/rope.ts";
import type { AttentionSpec, ScoredLayer } from "./attend.ts";
import { emptyState, finish, onlineStep, type OnlineState } from "./attention.ts";
import { dot, type Alloc } from "./ops.ts";

/** Keys of every copy and values [n, G, D] of one rank's tokens, by rising position. */
export interface PlainBlock {
  shard: Shard;
  keys: readonly Reals[];
  values: Reals;
}

/** What the queries of a rank have seen so far: [n, H] states, in float64. */
export type Carry = OnlineState[];

export function emptyCarry(shard: Shard, { headCount, headDim }: AttentionSpec): Carry {
  return Array.from({ length: shard.length * headCount }, () => emptyState(headDim));
}

/**
 * One step of one rank: its queries [n, H, D] per band, at the positions of `shard`, meet a block. Changes `carry`; returns the pairs of a
 * query and a key that met, of all bands and one head.
 */
export function ringAttend(
  { queries, bands }: Pick<ScoredLayer, "queries" | "bands">,
  shard: Shard,
  block: PlainBlock,
  carry: Carry,
  spec: AttentionSpec,
): number {
  const { headCount, kvHeadCount, headDim, attentionScale, attentionSoftcap: softcap, alibi } = spec;
  const slopes = alibi === undefined ? undefined : alibiSlopes(headCount, alibi.maxBias);
  let pairs = 0;
  for (const [index, band] of bands.entries()) {
    const rows = queries[index];
    const keys = block.keys[band.copy];
    if (rows === undefined || keys === undefined) throw new RangeError(`band ${index} has no queries or keys`);
    const ranges = blockRanges(shard, block.shard, band);
    pairs += pairsIn(ranges);
    for (const [token, position] of shard.entries()) {
      const [from, to] = [ranges[2 * token], ranges[2 * token + 1]];
      if (from === to) continue;
      for (let head = 0; head < headCount; head++) {
        const kvHead = Math.floor((head * kvHeadCount) / headCount);
        const row = token * headCount + head;
        const scores = new Float64Array(to - from);
        const values = new Float64Array(scores.length * headDim);
        for (let key = from; key < to; key++) {
          const at = (key * kvHeadCount + kvHead) * headDim;
          const score = dot(rows, row * headDim, keys, at, headDim) * attentionScale;
          const capped = softcap === undefined ? score : softcap * Math.tanh(score / softcap);
          scores[key - from] = capped - (slopes?.[head] ?? 0) * (position - block.shard[key]);
          values.set(block.values.subarray(at, at + headDim), (key - from) * headDim);
        }
        carry[row] = onlineStep(carry[row], scores, values);
      }
    }
  }
  return pairs;
}

/** What a rank's queries read: out [n, H, D], and lse [n, H] of their scores. */
export function finishCarry(alloc: Alloc, carry: Carry, headDim: number): { out: Reals; lse: Float64Array } {
  const out = alloc(carry.length * headDim);
  const lse = new Float64Array(carry.length);
  for (const [row, state] of carry.entries()) {
    const { output, logSumExp } = finish(state);
    out.set(output, row * headDim);
    lse[row] = logSumExp;
  }
  return { out, lse };
}

/** attention() of a whole prompt, as the ranks of `shards` compute it in P steps -> [T, H, D] in the order of the prompt. */
export function ringAttention(alloc: Alloc, layer: ScoredLayer, v: Reals, spec: AttentionSpec, shards: readonly Shard[]): Reals {
  const { headCount, kvHeadCount, headDim } = spec;
  const keyWidth = kvHeadCount * headDim;
  const queryWidth = headCount * headDim;
  const blocks = shards.map((shard) => ({
    shard,
    keys: layer.keys.map((keys) => rowsAt(alloc, keys, shard, keyWidth)),
    values: rowsAt(alloc, v, shard, keyWidth),
  }));
  const out = alloc(shards.reduce((tokens, shard) => tokens + shard.length, 0) * queryWidth);
  for (const [rank, shard] of shards.entries()) {
    const own = { bands: layer.bands, queries: layer.queries.map((rows) => rowsAt(alloc, rows, shard, queryWidth)) };
    const carry = emptyCarry(shard, spec);
    for (let step = 0; step < shards.length; step++) {
      const block = blocks[blockOwner(rank, step, shards.length)];
      if (block !== undefined) ringAttend(own, shard, block, carry, spec);
    }
    const read = finishCarry(alloc, carry, headDim).out;
    for (const [index, position] of shard.entries()) {
      out.set(read.subarray(index * queryWidth, (index + 1) * queryWidth), position * queryWidth);
    }
  }
  return out;
}

/** Rows of x [T, width] at the positions of a shard. */
function rowsAt(alloc: Alloc, x: Reals, shard: Shard, width: number): Reals {
  const rows = alloc(shard.length * width);
  for (const [index, position] of shard.entries()) rows.set(x.subarray(position * width, (position + 1) * width), index * width);
  return rows;
}
