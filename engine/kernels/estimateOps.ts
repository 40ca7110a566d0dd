/**
 * Scores of sampled queries on every key, and what is made of them, as operations on buffers: for policies that leave keys out. Compiled when
 * such a policy is first used, because a software adapter takes seconds for it. All shapes are of one model.
 */
import type { DecoderSpec } from "../api.ts";
import { BLOCK_TOKENS, PAGE_TOKENS, type KvFormats } from "../attention/api.ts";
import type { PageList } from "../attention/pageLists.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { rowWords } from "../kv-cache/format.ts";
import { attnMass } from "./attn_mass.ts";
import { attnScores } from "./attn_scores.ts";
import type { BandRows } from "./attentionOps.ts";
import { attnSteps } from "./attn_steps.ts";
import { attnSums } from "./attn_sums.ts";
import { blockMeansKernel } from "./block_means.ts";
import { blockScoresKernel } from "./block_scores.ts";
import { all, groups } from "./programs.ts";

/** Samples of a workgroup of attn_scores. */
const SCORED_SAMPLES = 32;

/** Scores [heads, samples, stride] of some query heads; column 0 is key `firstKey`. */
export interface ScoreGrid {
  firstHead: number;
  heads: number;
  samples: number;
  firstKey: number;
  /** A multiple of BLOCK_TOKENS. */
  stride: number;
}

/** Where the sampled queries of a chunk that begins at `start` and what they see are written. */
export interface SampleWords {
  words: GPUBuffer;
  start: number;
  sampleAt: number;
}

/** Visits [firstVisit, firstVisit + visits) of the pairs of a list. */
export interface VisitRange {
  firstVisit: number;
  visits: number;
}

/** Where softmax denominators and kept shares go: the row of sample s begins at outAt + s outStride. */
export interface MassTarget {
  lse: GPUBuffer;
  kept: GPUBuffer;
  outAt: number;
  outStride: number;
}

export interface EstimateScratch {
  slopes: GPUBuffer;
  formats: KvFormats;
}

export type ScoreOperations = Awaited<ReturnType<typeof openScoreOperations>>;
export type EstimateOperations = Awaited<ReturnType<typeof openEstimateOperations>>;

/** Exact scores of sampled queries, and the share of them that a pattern shows. */
export async function openScoreOperations(
  spec: DecoderSpec,
  shaders: ShaderCache,
  recorder: Recorder,
  { slopes, formats }: EstimateScratch,
) {
  const { headCount, kvHeadCount, attentionScale: scale } = spec;
  const softcap = spec.attentionSoftcap ?? 0;
  const consts = keyConsts(spec, formats);
  const programs = await all({
    scores: shaders.program(attnScores(formats.keys), consts),
    mass: shaders.program(attnMass, { BLOCK_TOKENS, PAGE_TOKENS }),
  });

  return {
    /** Scores of the samples on the visited keys of one slab through one band; with `fills`, keys that it does not show are masked. */
    scores(
      band: BandRows,
      keys: GPUBuffer,
      { words, start, sampleAt }: SampleWords,
      list: PageList,
      grid: ScoreGrid & VisitRange & { fills: boolean },
      scores: GPUBuffer,
    ): void {
      const { firstHead, samples, firstKey, stride, firstVisit } = grid;
      const row4 = (headCount + (band.isProjection ? 2 : 1) * kvHeadCount) * consts.HEAD_DIM4;
      const params = {
        ...{ start, samples, sampleAt, firstVisit, firstHead, firstKey, stride, row4, scale, softcap, ...list },
        fills: grid.fills ? 1 : 0,
        kvHeads: kvHeadCount,
      };
      const buffers = { rotated: band.rows, keys, slopes, lists: words, scores };
      recorder.run(programs.scores, params, buffers, [grid.visits, grid.heads, groups(samples, SCORED_SAMPLES)]);
    },

    /** Log-sum-exp of every row of scores, and the share of its softmax on the keys that the list's pattern shows. */
    mass(scores: GPUBuffer, { words, start, sampleAt }: SampleWords, list: PageList, grid: ScoreGrid, into: MassTarget): void {
      const { firstHead, samples, firstKey, stride } = grid;
      const { lse, kept, outAt, outStride } = into;
      const params = {
        ...{ start, samples, sampleAt, firstHead, firstKey, stride, outAt, outStride, ...list },
        kvHeads: kvHeadCount,
      };
      recorder.run(programs.mass, params, { scores, lse, kept, lists: words }, [samples, grid.heads]);
    },
  };
}

/** What keys are chosen by content from. Samples are consecutive queries from `firstPosition` on; lse is [samples, heads]. */
export async function openEstimateOperations(
  spec: DecoderSpec,
  shaders: ShaderCache,
  recorder: Recorder,
  { formats }: EstimateScratch,
) {
  const { headCount, kvHeadCount, attentionScale: scale } = spec;
  const consts = keyConsts(spec, formats);
  const { HEAD_DIM4 } = consts;
  const programs = await all({
    sums: shaders.program(attnSums, {}),
    steps: shaders.program(attnSteps, { BLOCK_TOKENS }),
    blockMeans: shaders.program(blockMeansKernel, { HEAD_DIM4, BLOCK_TOKENS }),
    blockScores: shaders.program(blockScoresKernel(formats.keys), consts),
  });

  return {
    /** Softmax mass by key and by distance: sums [heads, 2, stride]. */
    sums(from: { scores: GPUBuffer; lse: GPUBuffer }, sums: GPUBuffer, grid: ScoreGrid, firstPosition: number): void {
      const { heads, samples, stride, firstKey } = grid;
      const params = { heads, samples, stride, firstKey, firstPosition };
      recorder.run(programs.sums, params, { ...from, sums }, [groups(stride, 64), heads, 2]);
    },

    /** Mass by the step of each shape that first shows it: seen [heads, samples, shapes, steps]; see attn_steps.wgsl. */
    steps(
      from: { scores: GPUBuffer; lse: GPUBuffer; steps: GPUBuffer },
      seen: GPUBuffer,
      grid: ScoreGrid,
      { firstPosition, queryBlocks }: { firstPosition: number; queryBlocks: number },
    ): void {
      const { heads, samples, stride, firstKey } = grid;
      const params = { heads, samples, stride, firstKey, firstPosition, queryBlocks };
      recorder.run(programs.steps, params, { ...from, seen }, [samples, heads]);
    },

    /** Means of a chunk's queries over blocks: means [blocks, H, D]. */
    blockMeans(band: BandRows, means: GPUBuffer, span: { start: number; tokens: number }, blocks: number): void {
      const row4 = (headCount + (band.isProjection ? 2 : 1) * kvHeadCount) * HEAD_DIM4;
      const grid = [groups(headCount * HEAD_DIM4, 64), blocks] as const;
      recorder.run(programs.blockMeans, { ...span, heads: headCount, row4 }, { rotated: band.rows, means }, grid);
    },

    /** Products of block means of queries and of the visited keys of one slab: scores [H, queryBlocks, keyBlocks] from `outAt` on. */
    blockScores(
      means: GPUBuffer,
      keys: GPUBuffer,
      { words, start }: SampleWords,
      list: PageList,
      grid: VisitRange & { length: number; firstBlock: number; keyBlocks: number; queryBlocks: number; outAt: number },
      scores: GPUBuffer,
    ): void {
      const { length, firstVisit, firstBlock, keyBlocks, queryBlocks, outAt } = grid;
      const params = {
        ...{ start, length, firstVisit, firstBlock, keyBlocks, queryBlocks, outAt, scale, ...list },
        kvHeads: kvHeadCount,
      };
      recorder.run(programs.blockScores, params, { means, keys, scores, lists: words }, [grid.visits, kvHeadCount]);
    },
  };
}

function keyConsts({ headDim, headCount, kvHeadCount }: DecoderSpec, formats: KvFormats) {
  return {
    HEAD_DIM4: headDim / 4,
    GROUP: headCount / kvHeadCount,
    ...{ BLOCK_TOKENS, PAGE_TOKENS },
    KEY_ROW: rowWords(formats.keys, headDim),
  };
}
