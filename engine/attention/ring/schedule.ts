/**
 * Who has which tokens, and whose keys and values, when: Ring Attention (arXiv 2310.01889). Rank p keeps its queries; at step t it holds the
 * block of rank p - t, which it had from rank p - 1 and passes to rank p + 1. A block is the keys and values of one rank's tokens.
 */
import type { DecoderSpec } from "../../api.ts";
import { EngineError } from "../../errors.ts";
import type { RingLayout } from "../api.ts";

/** Positions of one rank's tokens, rising. */
export type Shard = Uint32Array<ArrayBuffer>;

/**
 * The shards of a prompt, one per rank. `contiguous`: equal runs. `zigzag`: 2P runs, rank p has runs p and 2P - 1 - p, so that every step
 * of a causal model is the same work for all. `striped` (arXiv 2311.09431): token i on rank i mod P. Where `ranks` does not divide
 * `tokens`, shards differ by one token. Throws `bad-argument` where a rank would have none.
 */
export function shardsOf(layout: RingLayout, ranks: number, tokens: number): readonly Shard[] {
  checkRanks(ranks, tokens);
  // Sizes rise with the rank, so that in zigzag the token before a run is on the same rank or on a neighbour even where runs are missing.
  const sizes = Array.from({ length: ranks }, (_, rank) => Math.floor((tokens + rank) / ranks));
  switch (layout) {
    case "contiguous": {
      let next = 0;
      return sizes.map((size) => positionsOf([[(next += size) - size, size]]));
    }
    case "zigzag": {
      let first = 0;
      let last = tokens;
      return sizes.map((size) => {
        const early = Math.ceil(size / 2);
        const start = first;
        first += early;
        last -= size - early;
        return positionsOf([
          [start, early],
          [last, size - early],
        ]);
      });
    }
    case "striped":
      return sizes.map((_, rank) =>
        Uint32Array.from({ length: Math.ceil((tokens - rank) / ranks) }, (_none, i) => rank + i * ranks),
      );
  }
}

/** Throws `bad-argument` for a ring that cannot read a prompt of `tokens` tokens. */
export function checkRanks(ranks: number, tokens: number): void {
  if (!Number.isSafeInteger(ranks) || ranks < 1) {
    throw new EngineError("bad-argument", `a ring of ${ranks} ranks`, "give a whole number of ranks, at least 1");
  }
  if (ranks <= tokens) return;
  throw new EngineError(
    "bad-argument",
    `a ring of ${ranks} ranks cannot share ${tokens} tokens: some would have none`,
    tokens < 1 ? "give a longer prompt" : `choose at most ${tokens} ranks, or attention flash`,
    { ranks, tokens },
  );
}

/** Throws `bad-argument` where the layout does not suit the model: with ALiBi, distances would be fractions of a stripe's places. */
export function checkLayout({ alibi }: Pick<DecoderSpec, "alibi">, layout: RingLayout): void {
  if (alibi === undefined || layout !== "striped") return;
  const message = "a striped ring cannot read a prompt for a model with ALiBi";
  throw new EngineError("bad-argument", message, "choose the layout zigzag, or contiguous");
}

/** Whose block `rank` attends to at `step`. */
export function blockOwner(rank: number, step: number, ranks: number): number {
  return (((rank - step) % ranks) + ranks) % ranks;
}

export function nextRank(rank: number, ranks: number): number {
  return (rank + 1) % ranks;
}

export function previousRank(rank: number, ranks: number): number {
  return (rank + ranks - 1) % ranks;
}

/** Pairs of a query and a key it sees, causally, for each [step][rank]. */
export function causalPairs(shards: readonly Shard[]): readonly (readonly number[])[] {
  return shards.map((_, step) =>
    shards.map((queries, rank) => pairsBetween(queries, shards[blockOwner(rank, step, shards.length)] ?? new Uint32Array())),
  );
}

/** What the slowest rank of each step does, over all steps: a ring is as fast as this. */
export function criticalPath(pairs: readonly (readonly number[])[]): number {
  return pairs.reduce((sum, ofRanks) => sum + Math.max(...ofRanks), 0);
}

/** Keys of a rising block at positions not above each query's, summed. */
function pairsBetween(queries: Shard, keys: Shard): number {
  let pairs = 0;
  let seen = 0;
  for (const position of queries) {
    while (seen < keys.length && keys[seen] <= position) seen++;
    pairs += seen;
  }
  return pairs;
}

function positionsOf(runs: readonly (readonly [start: number, count: number])[]): Shard {
  return Uint32Array.from(runs.flatMap(([start, count]) => Array.from({ length: count }, (_, i) => start + i)));
}
