/** Attention that makes whole rows of scores, in three plain kernels, as operations on buffers of one model. */
import type { DecoderSpec } from "../api.ts";
import { PAGE_TOKENS } from "../attention/api.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import type { RowFormats } from "../kv-cache/format.ts";
import type { BandRows } from "./attentionOps.ts";
import { denseScores } from "./dense_scores.ts";
import { denseSoftmax } from "./dense_softmax.ts";
import { denseValues } from "./dense_values.ts";
import { rowConstsOf } from "./cachedRows.ts";
import { all, groups } from "./programs.ts";

/** Score rows [H, tokens, keyCount] of a chunk. */
export interface ScoreRows {
  scores: GPUBuffer;
  tokens: number;
  keyCount: number;
}

/** Words, and offsets in them of the ranges of a chunk's queries and of where a slab's pages lie. */
export interface DenseLists {
  words: GPUBuffer;
  rangesAt: number;
  placesAt: number;
}

export type DenseOperations = Awaited<ReturnType<typeof openDenseOps>>;

/** Compiles them for the model's shapes. */
export async function openDenseOps(
  spec: DecoderSpec,
  shaders: ShaderCache,
  recorder: Recorder,
  { slopes, formats }: { slopes: GPUBuffer; formats: RowFormats },
) {
  const { headCount, kvHeadCount, headDim, attentionScale: scale } = spec;
  const softcap = spec.attentionSoftcap ?? 0;
  const consts = { HEAD_DIM4: headDim / 4, GROUP: headCount / kvHeadCount, PAGE_TOKENS, ...rowConstsOf(formats, headDim) };
  const programs = await all({
    scores: shaders.program(denseScores(formats.keys), consts),
    softmax: shaders.program(denseSoftmax, {}),
    values: shaders.program(denseValues(formats.values), consts),
  });

  return {
    /** Scores of the queries of a band and the keys of one slab. */
    scoreRows(band: BandRows, keys: GPUBuffer, rows: ScoreRows, { words, rangesAt, placesAt }: DenseLists): void {
      const { scores, tokens, keyCount } = rows;
      const heads = headCount + (band.isProjection ? 2 : 1) * kvHeadCount;
      const params = {
        ...{ tokens, keyCount, kvHeads: kvHeadCount, row4: (heads * headDim) / 4 },
        ...{ placesAt, rangesAt, scale, softcap },
      };
      const grid = [groups(keyCount, 64), tokens, headCount] as const;
      recorder.run(programs.scores, params, { rotated: band.rows, keys, scores, lists: words, slopes }, grid);
    },

    /** Scores become weights; lse [tokens, H]. */
    softmaxRows({ scores, tokens, keyCount }: ScoreRows, { words, rangesAt }: DenseLists, lse: GPUBuffer): void {
      const params = { heads: headCount, keyCount, rangesAt, tokens };
      recorder.run(programs.softmax, params, { scores, lists: words, lse }, [tokens, headCount]);
    },

    /** out [tokens, H, D] of weights times the values of one slab, added to what is there where `carry` is. */
    addValues(values: GPUBuffer, rows: ScoreRows, { words, placesAt }: DenseLists, out: GPUBuffer, carry: boolean): void {
      const { scores: weights, tokens, keyCount } = rows;
      const params = { tokens, keyCount, kvHeads: kvHeadCount, placesAt, carry: carry ? 1 : 0 };
      const grid = [groups((headCount * headDim) / 4, 64), tokens] as const;
      recorder.run(programs.values, params, { weights, out, values, lists: words }, grid);
    },
  };
}
