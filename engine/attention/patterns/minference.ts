/**
 * MInference (arXiv 2407.02490): which keys each head's queries look at, estimated from the last queries of a chunk and chosen for all of its
 * queries. Estimating (weights in, sums out) and choosing (sums in, pattern out) are apart, because a graphics card makes the sums
 * elsewhere. N is the number of keys up to the last query.
 *
 * The paper judges a whole prompt by its last 64 queries; a prompt that is read in chunks is judged chunk by chunk. Its code takes the first
 * 30 keys and the nearest 100 distances whatever their sums, and so does this, as far as the count allows.
 */
import type { Reals } from "../../position/rope.ts";
import { BLOCK_TOKENS, type Pattern } from "../api.ts";
import { largest } from "./largest.ts";
import { blocksRead, headsPattern, type HeadPattern } from "./sets.ts";

/** Queries at the end of a chunk that stand for all. */
export const ESTIMATE_QUERIES = 64;
/** A prompt whose keys are chosen by content is divided at multiples of this, so that what is seen does not depend on a machine's speed. */
export const ESTIMATE_CHUNK_TOKENS = 256;
/** Keys, and distances, that are taken first whatever their sums. */
export const FORCED_COLUMNS = 30;
export const FORCED_DISTANCES = 100;
/** What a shape of step 0 has in the search for the cheapest; each further step has twice as much. */
export const FIRST_STEP = { window: BLOCK_TOKENS, columns: 32, distances: 128, blocks: 2 } as const;

/** Softmax mass of one head's sampled queries, summed by key and by distance of query and key: [N] each. */
export interface MassSums {
  columns: Reals;
  distances: Reals;
}

/** Scores of the blocks of keys for each block of a chunk's queries: [queryBlocks, keyBlocks], -Infinity for blocks that are not seen. */
export interface BlockScores {
  firstQueryBlock: number;
  keyBlocks: number;
  scores: Reals;
}

/** Sums of weights: each row is that of one query, as long as the keys it may see, so that its position is the row's length - 1. */
export function massSums(rows: readonly Reals[]): MassSums {
  const keys = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const sums = { columns: new Float64Array(keys), distances: new Float64Array(keys) };
  for (const row of rows) {
    for (let key = 0; key < row.length; key++) {
      sums.columns[key] += row[key];
      sums.distances[row.length - 1 - key] += row[key];
    }
  }
  return sums;
}

/** Means of x [tokens, heads, D], whose first token is at position `start`, over blocks of positions: one head's [blocks, D]. */
export function blockMeans(
  x: Reals,
  { heads, head, headDim, start }: { heads: number; head: number; headDim: number; start: number },
  blockTokens = BLOCK_TOKENS,
): Float64Array {
  const tokens = x.length / (heads * headDim);
  const first = Math.floor(start / blockTokens);
  const blocks = Math.ceil((start + tokens) / blockTokens) - first;
  const means = new Float64Array(blocks * headDim);
  for (let block = 0; block < blocks; block++) {
    const from = Math.max(0, (first + block) * blockTokens - start);
    const to = Math.min(tokens, (first + block + 1) * blockTokens - start);
    for (let token = from; token < to; token++) {
      for (let i = 0; i < headDim; i++) means[block * headDim + i] += x[(token * heads + head) * headDim + i] / (to - from);
    }
  }
  return means;
}

/** Products of block means of queries and of keys [.., D], times `scale`, less `slope` for each token between the blocks (ALiBi). */
export function blockScores(
  queryMeans: Reals,
  keyMeans: Reals,
  { headDim, scale, slope = 0, firstQueryBlock }: { headDim: number; scale: number; slope?: number; firstQueryBlock: number },
  blockTokens = BLOCK_TOKENS,
): BlockScores {
  const keyBlocks = keyMeans.length / headDim;
  const queryBlocks = queryMeans.length / headDim;
  const scores = new Float64Array(queryBlocks * keyBlocks).fill(-Infinity);
  for (let row = 0; row < queryBlocks; row++) {
    for (let block = 0; block <= Math.min(firstQueryBlock + row, keyBlocks - 1); block++) {
      let sum = 0;
      for (let i = 0; i < headDim; i++) sum += queryMeans[row * headDim + i] * keyMeans[block * headDim + i];
      scores[row * keyBlocks + block] = sum * scale - slope * blockTokens * (firstQueryBlock + row - block);
    }
  }
  return { firstQueryBlock, keyBlocks, scores };
}

/** The `verticals` keys and `slashes` distances of largest sums. */
export function verticalSlash({ columns, distances }: MassSums, verticals: number, slashes: number): HeadPattern {
  const forced = (sums: Reals, first: number): Float64Array =>
    Float64Array.from(sums, (sum, place) => (place < first ? Infinity : sum));
  return {
    shape: "vertical-slash",
    columns: largest(forced(columns, FORCED_COLUMNS), verticals),
    distances: largest(forced(distances, FORCED_DISTANCES), slashes),
  };
}

/** For each block of queries its own block of keys, and the best of the others: `count` in all. */
export function bestBlocks({ firstQueryBlock, keyBlocks, scores }: BlockScores, count: number): HeadPattern {
  const lists = Array.from({ length: scores.length / keyBlocks }, (_, row) => {
    const own = firstQueryBlock + row;
    return largest(
      scores.subarray(row * keyBlocks, (row + 1) * keyBlocks).map((score, block) => (block === own ? Infinity : score)),
      count,
    );
  });
  return { shape: "blocks", firstQueryBlock, lists };
}

/** What is known of one head of a chunk. */
export interface HeadEstimate {
  mass: MassSums;
  blocks: BlockScores;
}

/**
 * The search for each head's cheapest pattern that keeps `recall` of its attention, cost being the keys read for the chunk's last queries:
 * A-shapes, vertical-slashes and blocks, each growing by doubling until it is found or dearer than what is; dense where nothing cheaper
 * will do. Yields patterns of all heads to be measured, wants the kept mass of each head in [0, 1], and returns the choice.
 */
export function* searchShapes(
  estimates: readonly HeadEstimate[],
  recall: number,
): Generator<Pattern, Pattern, ArrayLike<number>> {
  const lastBlocks = estimates.map(({ blocks }) => blocks.keyBlocks - 1);
  const costOf = (pattern: HeadPattern, head: number): number => blocksRead(pattern, lastBlocks[head] ?? 0);
  const best = estimates.map((): HeadPattern => ({ shape: "dense" }));
  for (const grown of [aShapeOf, verticalSlashOf, blocksOf]) {
    for (let size = 1; ; size *= 2) {
      const tried = estimates.map((estimate) => grown(estimate, size));
      const isCheaper = tried.map((pattern, head) => costOf(pattern, head) < costOf(best[head] ?? pattern, head));
      if (!isCheaper.includes(true)) break;
      const kept = yield headsPattern(tried);
      for (const [head, pattern] of tried.entries()) if (isCheaper[head] && kept[head] >= recall) best[head] = pattern;
    }
  }
  return headsPattern(best);
}

function aShapeOf(_: HeadEstimate, size: number): HeadPattern {
  return { shape: "a-shape", sinks: BLOCK_TOKENS, window: FIRST_STEP.window * size };
}

/** Growing in the proportion that the paper's default, 1000 to 6096, comes near to. */
function verticalSlashOf({ mass }: HeadEstimate, size: number): HeadPattern {
  return verticalSlash(mass, FIRST_STEP.columns * size, FIRST_STEP.distances * size);
}

function blocksOf({ blocks }: HeadEstimate, size: number): HeadPattern {
  return bestBlocks(blocks, FIRST_STEP.blocks * size);
}
