/**
 * Quest (arXiv 2406.10774): decoding by the pages of keys that can matter. Each page keeps the least and the largest value of every channel of
 * its keys; sum over c of max(q_c least_c, q_c most_c) is then at least q · k of every key in it.
 */
import type { DecoderSpec } from "../../api.ts";
import { EngineError } from "../../errors.ts";
import type { Reals } from "../../position/rope.ts";
import { QUEST_PAGE_TOKENS, type AttentionChoice, type Pattern } from "../api.ts";
import { bitsWhere, digest } from "./bits.ts";
import { largest } from "./largest.ts";

/** The paper's count: its first layers spread their attention over so many keys that few pages keep little of it. */
const DENSE_LAYERS = 2;

/**
 * True for layers whose decoded tokens choose pages: not the first two, at most half of a small model's, and not those that see a window of
 * their own, which is few keys already.
 */
export function choosesPages({ layers }: Pick<DecoderSpec, "layers">, layer: number): boolean {
  return layer >= Math.min(DENSE_LAYERS, Math.floor(layers.length / 2)) && layers[layer]?.window === undefined;
}

/** Throws `bad-argument` for top pages in a model of which no layer would choose any. */
export function checkTopPages(spec: Pick<DecoderSpec, "layers">, { topPages }: AttentionChoice): void {
  if (topPages === undefined || spec.layers.some((_, layer) => choosesPages(spec, layer))) return;
  throw new EngineError(
    "bad-argument",
    "top-pages: every layer of this model that could choose pages sees a window of its own",
    "leave top-pages out",
  );
}

/** Bounds of one kv head's keys: [pages, D] each. */
export interface PageBounds {
  least: Float64Array;
  most: Float64Array;
}

/** Bounds over the first `tokens` of keys [.., G, D], for one kv head; the last page may be short. */
export function pageBounds(
  keys: Reals,
  { tokens, kvHeads, kvHead, headDim }: { tokens: number; kvHeads: number; kvHead: number; headDim: number },
  pageTokens = QUEST_PAGE_TOKENS,
): PageBounds {
  const pages = Math.ceil(tokens / pageTokens);
  const least = new Float64Array(pages * headDim).fill(Infinity);
  const most = new Float64Array(pages * headDim).fill(-Infinity);
  for (let token = 0; token < tokens; token++) {
    const row = Math.floor(token / pageTokens) * headDim;
    for (let i = 0; i < headDim; i++) {
      const value = keys[(token * kvHeads + kvHead) * headDim + i];
      least[row + i] = Math.min(least[row + i], value);
      most[row + i] = Math.max(most[row + i], value);
    }
  }
  return { least, most };
}

/** Upper bounds [pages] of q · k for one head's query [D]. */
export function pageScores(query: Reals, { least, most }: PageBounds): Float64Array {
  const headDim = query.length;
  return Float64Array.from({ length: least.length / headDim }, (_, page) => {
    let bound = 0;
    for (let i = 0; i < headDim; i++)
      bound += Math.max(query[i] * least[page * headDim + i], query[i] * most[page * headDim + i]);
    return bound;
  });
}

/**
 * The pages that a group of query heads reads, rising: the one of the query's own key, and the best of the others by the largest bound of any
 * head; `count` in all. `groupScores` has the bounds [pages] of each head, -Infinity for a page of which nothing is seen.
 */
export function bestPages(
  groupScores: readonly ArrayLike<number>[],
  count: number,
  position: number,
  pageTokens = QUEST_PAGE_TOKENS,
): number[] {
  const own = Math.floor(position / pageTokens);
  const scores = Float64Array.from({ length: own + 1 }, (_, page) =>
    page === own ? Infinity : Math.max(...groupScores.map((bounds) => bounds[page] ?? -Infinity)),
  );
  return largest(scores, count);
}

/** What a query reads when each kv head has its pages: [G] lists, for `headCount` query heads. */
export function pagesPattern(pages: readonly (readonly number[])[], headCount: number, pageTokens = QUEST_PAGE_TOKENS): Pattern {
  const columns = pages.map((list) => {
    const chosen = new Set(list);
    return bitsWhere((key) => chosen.has(Math.floor(key / pageTokens)));
  });
  return {
    key: `pages of ${pageTokens} ${digest(pages)}`,
    perHead: true,
    near: (position) => position + 1,
    columns(head, tokens) {
      const bits = columns[Math.floor((head * pages.length) / headCount)];
      if (bits === undefined) throw new RangeError(`head ${head} of ${headCount}`);
      return bits(tokens);
    },
  };
}
