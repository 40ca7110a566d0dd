/** Which keys a chunk of queries sees in one layer under an attention choice, in plain loops: what the choice on a device is compared with. */
import { BLOCK_TOKENS, QUEST_PAGE_TOKENS, type AttentionChoice, type Pattern } from "../attention/api.ts";
import { keptShare } from "../attention/patterns/keptMass.ts";
import {
  bestBlocks,
  blockMeans,
  blockScores,
  ESTIMATE_QUERIES,
  massSums,
  searchShapes,
  verticalSlash,
  type BlockScores,
} from "../attention/patterns/minference.ts";
import { patternOf } from "../attention/patterns/patternOf.ts";
import { bestPages, pageBounds, pageScores, pagesPattern } from "../attention/patterns/quest.ts";
import { headsPattern } from "../attention/patterns/sets.ts";
import { alibiSlopes } from "../position/alibi.ts";
import { attentionRow, type AttentionSpec, type ScoredLayer } from "./attend.ts";

/** Queries at positions start .. start + tokens - 1; one that is appended alone is decoding. */
export interface ChunkOfQueries {
  start: number;
  tokens: number;
  isDecoding: boolean;
}

/** Undefined where every key of the bands is seen. */
export type ChoosePattern = (layer: ScoredLayer, chunk: ChunkOfQueries) => Pattern | undefined;

export function patternChooser({ policy, topPages }: AttentionChoice, spec: AttentionSpec): ChoosePattern {
  const fixed = patternOf(policy);
  return (layer, chunk) => {
    if (chunk.isDecoding && topPages !== undefined) return bestPagesOf(layer, spec, chunk.start, topPages);
    switch (policy.kind) {
      case "a-shape":
        return chunk.isDecoding ? undefined : fixed;
      case "vertical-slash":
      case "blocks":
      case "minference":
        return chunk.isDecoding ? undefined : chosenByContent(policy, layer, spec, chunk);
      default:
        return fixed;
    }
  };
}

/** Exact weights of the last queries of a chunk, for one head. */
export function sampledRows(
  layer: ScoredLayer,
  spec: AttentionSpec,
  { start, tokens }: ChunkOfQueries,
  head: number,
): Float64Array[] {
  const first = Math.max(0, tokens - ESTIMATE_QUERIES);
  return Array.from({ length: tokens - first }, (_, row) => attentionRow(layer, spec, first + row, head, start + first + row));
}

function chosenByContent(
  policy: Extract<AttentionChoice["policy"], { kind: "vertical-slash" | "blocks" | "minference" }>,
  layer: ScoredLayer,
  spec: AttentionSpec,
  chunk: ChunkOfQueries,
): Pattern {
  const heads = Array.from({ length: spec.headCount }, (_, head) => head);
  const rowsOf = (head: number): Float64Array[] => sampledRows(layer, spec, chunk, head);
  if (policy.kind === "blocks") {
    return headsPattern(heads.map((head) => bestBlocks(headBlockScores(layer, spec, chunk, head), policy.blocks)));
  }
  if (policy.kind === "vertical-slash") {
    return headsPattern(heads.map((head) => verticalSlash(massSums(rowsOf(head)), policy.verticals, policy.slashes)));
  }
  const rows = heads.map(rowsOf);
  const search = searchShapes(
    rows.map((own, head) => ({ mass: massSums(own), blocks: headBlockScores(layer, spec, chunk, head) })),
    policy.recall,
  );
  let step = search.next();
  while (step.done !== true) {
    const tried = step.value;
    step = search.next(rows.map((own, head) => own.reduce((sum, row) => sum + keptShare(tried, head, row), 0) / own.length));
  }
  return step.value;
}

/** Block scores of one head; where several bands show keys of a block, the best of theirs. */
function headBlockScores(layer: ScoredLayer, spec: AttentionSpec, { start, tokens }: ChunkOfQueries, head: number): BlockScores {
  const { headCount, kvHeadCount, headDim, attentionScale: scale, alibi } = spec;
  const kvHead = Math.floor((head * kvHeadCount) / headCount);
  const slope = alibi === undefined ? 0 : alibiSlopes(headCount, alibi.maxBias)[head];
  const firstQueryBlock = Math.floor(start / BLOCK_TOKENS);
  const keyBlocks = Math.ceil((start + tokens) / BLOCK_TOKENS);
  const best = new Float64Array((keyBlocks - firstQueryBlock) * keyBlocks).fill(-Infinity);
  for (const [index, band] of layer.bands.entries()) {
    const keys = layer.keys[band.copy].subarray(0, (start + tokens) * kvHeadCount * headDim);
    const queryMeans = blockMeans(layer.queries[index], { heads: headCount, head, headDim, start });
    const keyMeans = blockMeans(keys, { heads: kvHeadCount, head: kvHead, headDim, start: 0 });
    const { scores } = blockScores(queryMeans, keyMeans, { headDim, scale, slope, firstQueryBlock });
    for (let row = 0; row < keyBlocks - firstQueryBlock; row++) {
      const [from] = band.keys(Math.max(start, (firstQueryBlock + row) * BLOCK_TOKENS));
      const [, to] = band.keys(Math.min(start + tokens, (firstQueryBlock + row + 1) * BLOCK_TOKENS) - 1);
      for (let block = Math.floor(from / BLOCK_TOKENS); block * BLOCK_TOKENS < to; block++) {
        const at = row * keyBlocks + block;
        best[at] = Math.max(best[at], scores[at]);
      }
    }
  }
  return { firstQueryBlock, keyBlocks, scores: best };
}

/**
 * Quest's pages of one query. Bounds are of scores: times the scale, less ALiBi's bias of a page's nearest key; where several bands show keys
 * of a page, the best of theirs.
 */
function bestPagesOf(layer: ScoredLayer, spec: AttentionSpec, position: number, count: number): Pattern {
  const { headCount, kvHeadCount } = spec;
  const pages = Array.from({ length: kvHeadCount }, (_, kvHead) => {
    const heads = Array.from({ length: headCount }, (_, head) => head);
    const group = heads.filter((head) => Math.floor((head * kvHeadCount) / headCount) === kvHead);
    return bestPages(
      group.map((head) => headPageScores(layer, spec, position, { head, kvHead })),
      count,
      position,
    );
  });
  return pagesPattern(pages, headCount);
}

function headPageScores(
  layer: ScoredLayer,
  { headCount, kvHeadCount, headDim, attentionScale, alibi }: AttentionSpec,
  position: number,
  { head, kvHead }: { head: number; kvHead: number },
): Float64Array {
  const slope = alibi === undefined ? 0 : alibiSlopes(headCount, alibi.maxBias)[head];
  const best = new Float64Array(Math.floor(position / QUEST_PAGE_TOKENS) + 1).fill(-Infinity);
  for (const [index, band] of layer.bands.entries()) {
    const bounds = pageBounds(layer.keys[band.copy], { tokens: position + 1, kvHeads: kvHeadCount, kvHead, headDim });
    const scores = pageScores(layer.queries[index].subarray(head * headDim, (head + 1) * headDim), bounds);
    const [from, to] = band.keys(position);
    for (let page = Math.floor(from / QUEST_PAGE_TOKENS); page * QUEST_PAGE_TOKENS < to; page++) {
      const nearest = Math.min(to, (page + 1) * QUEST_PAGE_TOKENS) - 1;
      best[page] = Math.max(best[page], scores[page] * attentionScale - slope * (band.queryPosition(position) - nearest));
    }
  }
  return best;
}
