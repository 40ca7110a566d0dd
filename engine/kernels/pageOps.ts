/** What decoding by top pages (Quest, arXiv 2406.10774) needs beside attention over page lists, as operations on buffers of one model. */
import type { DecoderSpec } from "../api.ts";
import { PAGE_TOKENS, QUEST_PAGE_TOKENS } from "../attention/api.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { rowWords, type RowFormat } from "../kv-cache/format.ts";
import type { BandRows } from "./attentionOps.ts";
import { pageBounds } from "./page_bounds.ts";
import { pageScore } from "./page_score.ts";
import { pageSelect } from "./page_select.ts";
import { all, groups } from "./programs.ts";

/** Pages of one dispatch: a dimension of a grid has 65535 workgroups at most. */
const MOST_PAGES = 32768;

/** Bounds [G, 2, D, pages] of the keys of one slab. */
export interface BoundedSlab {
  bounds: GPUBuffer;
  /** Pages of QUEST_PAGE_TOKENS keys that the slab has room for. */
  room: number;
}

/** Pages of a slab that a band of one query shows keys [firstKey, keyEnd) of; the slab's pages are firstPage and `pages` - 1 more. */
export interface ScoredPages {
  /** Row of the query [H, D] where it is not the first one. */
  queryRow?: number;
  firstPage: number;
  pages: number;
  firstKey: number;
  keyEnd: number;
  /** Of the query in the band, from which ALiBi's distances are counted. */
  position: number;
  /** Keep the larger of this band's score and what is there. */
  merge: boolean;
}

/** Offsets of what page_select.wgsl reads and writes. */
export interface SelectedLists {
  bordersAt: number;
  tablesAt: number;
  pairsAt: number;
}

export type PageOperations = Awaited<ReturnType<typeof openPageOps>>;

/** Compiles them for the model's shapes. */
export async function openPageOps(
  spec: DecoderSpec,
  shaders: ShaderCache,
  recorder: Recorder,
  { slopes, keys: format }: { slopes: GPUBuffer; keys: RowFormat },
) {
  const { headCount, kvHeadCount, headDim, attentionScale: scale } = spec;
  const HEAD_DIM4 = headDim / 4;
  const programs = await all({
    bounds: shaders.program(pageBounds(format), {
      ...{ HEAD_DIM4, PAGE_TOKENS, UNIT: QUEST_PAGE_TOKENS },
      KEY_ROW: rowWords(format, headDim),
    }),
    score: shaders.program(pageScore, { HEAD_DIM4, GROUP: headCount / kvHeadCount, UNIT: QUEST_PAGE_TOKENS }),
    select: shaders.program(pageSelect, {}),
  });

  return {
    /** Bounds of pages [firstPage, ceil(end / QUEST_PAGE_TOKENS)) of a slab whose keys before `end` are written. */
    boundPages(keys: GPUBuffer, { bounds, room }: BoundedSlab, firstPage: number, end: number): void {
      const pageEnd = Math.ceil(end / QUEST_PAGE_TOKENS);
      for (let first = firstPage; first < pageEnd; first += MOST_PAGES) {
        const params = { firstPage: first, end, stride: room, kvHeads: kvHeadCount };
        const grid = [groups(kvHeadCount * HEAD_DIM4, 64), Math.min(MOST_PAGES, pageEnd - first)] as const;
        recorder.run(programs.bounds, params, { bounds, keys }, grid);
      }
    },

    /** Scores [G, scoreStride] of the pages of one slab for one query. */
    scorePages(band: BandRows, slab: BoundedSlab, scores: GPUBuffer, scoreStride: number, asked: ScoredPages): void {
      const { queryRow = 0, merge, ...rest } = asked;
      const queryAt = queryRow * headCount * HEAD_DIM4;
      const params = { ...rest, queryAt, stride: slab.room, scoreStride, merge: merge ? 1 : 0, scale };
      const buffers = { rotated: band.rows, bounds: slab.bounds, slopes, scores };
      recorder.run(programs.score, params, buffers, [groups(asked.pages, 64), kvHeadCount]);
    },

    /** The best `count` of `pages` pages for each kv head, as lists for `slabs` slabs. */
    selectPages(
      scores: GPUBuffer,
      lists: GPUBuffer,
      { bordersAt, tablesAt, pairsAt }: SelectedLists,
      size: { pages: number; count: number; scoreStride: number; slabs: number },
    ): void {
      const params = { ...size, bordersAt, tablesAt, pairsAt, kvHeads: kvHeadCount };
      recorder.run(programs.select, params, { scores, lists }, [kvHeadCount]);
    },
  };
}
