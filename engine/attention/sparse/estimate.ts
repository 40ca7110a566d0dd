/**
 * What MInference chooses keys by (arXiv 2407.02490), estimated on the device from the last queries of a chunk and read back: sums of softmax
 * mass by key and by distance, scores of blocks, and the mass that growing shapes see. The choice itself is made elsewhere.
 */
import type { Band, DecoderSpec } from "../../api.ts";
import type { Readback } from "../../gpu/buffers.ts";
import { openEstimateOperations, type ScoreGrid } from "../../kernels/estimateOps.ts";
import { alibiSlopes } from "../../position/alibi.ts";
import { BLOCK_TOKENS } from "../api.ts";
import { bandRows, slabCopy } from "../attend.ts";
import { ESTIMATE_QUERIES, type BlockScores, type MassSums } from "../patterns/minference.ts";
import type { LayerOfChunk, Scoring, ScoringParts } from "./scoring.ts";
import { NEVER, SHAPES, STEPS, type HeadSteps } from "./shapeSteps.ts";

/** Heads from `firstHead` on whose scores are on the device. */
export interface HeadsOfPiece {
  firstHead: number;
  /** Of each head, [N] for N keys up to the last query. */
  sums: readonly MassSums[];
  /** Of each head the mass by the step of a shape that first sees it, [SHAPES, STEPS], over all sampled queries. */
  seenBySteps(steps: readonly HeadSteps[]): Promise<readonly Float64Array[]>;
}

export interface Estimator {
  /** Sums of the last queries of the chunk, up to ESTIMATE_QUERIES, some heads at a time. */
  masses(source: LayerOfChunk, use: (piece: HeadsOfPiece) => Promise<void> | void): Promise<void>;
  /** Block scores of every head; where several bands show keys of a block, the best of theirs. */
  blocks(source: LayerOfChunk): Promise<readonly BlockScores[]>;
}

export async function openEstimator(parts: ScoringParts & { readback: Readback }, scoring: Scoring): Promise<Estimator> {
  const { spec, shaders, recorder, readback, cache } = parts;
  const { room, work } = scoring;
  const op = await openEstimateOperations(spec, shaders, recorder, parts);

  async function read(buffer: GPUBuffer, floats: number): Promise<Float32Array> {
    recorder.submit();
    const values = new Float32Array(await readback.read(buffer, 0, floats * 4));
    work.submitted();
    return values;
  }

  async function seenBySteps(
    from: { scores: GPUBuffer; lse: GPUBuffer },
    grid: ScoreGrid,
    firstPosition: number,
    all: readonly HeadSteps[],
  ): Promise<readonly Float64Array[]> {
    const { heads, samples } = grid;
    const size = SHAPES.length * STEPS;
    const { words, queryBlocks } = stepWords(all, grid, firstPosition);
    const steps = room.holding("steps of shapes", words);
    const seen = room.of("mass by steps", heads * samples * size * 4);
    op.steps({ ...from, steps }, seen, grid, { firstPosition, queryBlocks });
    const rows = await read(seen, heads * samples * size);
    return Array.from({ length: heads }, (_, head) => {
      const sums = new Float64Array(size);
      for (let at = 0; at < samples * size; at++) sums[at % size] += rows[head * samples * size + at];
      return sums;
    });
  }

  return {
    async masses(source, use) {
      const { start, tokens } = source.span;
      const keys = start + tokens;
      const samples = Math.min(ESTIMATE_QUERIES, tokens, scoring.mostSamples(keys));
      const firstPosition = keys - samples;
      const last = Array.from({ length: samples }, (_, sample) => tokens - samples + sample);
      const rows = scoring.upload(source, last, undefined);
      await scoring.eachPiece(source, rows, async (scores, grid) => {
        const { heads, stride } = grid;
        const lse = room.of("log-sum-exps of samples", samples * heads * 4);
        const kept = room.of("shares of samples", samples * heads * 4);
        const sums = room.of("mass by key and distance", 2 * heads * stride * 4);
        scoring.op.mass(scores, rows, rows.lists[0], grid, { lse, kept, outAt: 0, outStride: heads });
        op.sums({ scores, lse }, sums, grid, firstPosition);
        const values = await read(sums, 2 * heads * stride);
        await use({
          firstHead: grid.firstHead,
          sums: Array.from({ length: heads }, (_, head) => headSums(values, head, grid, keys)),
          seenBySteps: (steps) => seenBySteps({ scores, lse }, grid, firstPosition, steps),
        });
      });
    },

    async blocks(source) {
      const { layer, span, bands, positions, rows: chunkRows } = source;
      const { headCount: H, kvHeadCount: G, headDim: D } = spec;
      const length = span.start + span.tokens;
      const firstQueryBlock = Math.floor(span.start / BLOCK_TOKENS);
      const queryBlocks = Math.ceil(length / BLOCK_TOKENS) - firstQueryBlock;
      // The first and the last query of a chunk see every key that one of it sees.
      const rows = scoring.upload(source, [0, span.tokens - 1], undefined);
      const firstBlock = rows.firstKey / BLOCK_TOKENS;
      const keyBlocks = rows.stride / BLOCK_TOKENS;
      const size = H * queryBlocks * keyBlocks;
      const means = room.of("means of queries", queryBlocks * H * D * 4);
      const scores = room.of("scores of blocks", bands.length * size * 4);
      for (const [index, { copy }] of bands.entries()) {
        op.blockMeans(bandRows(chunkRows, positions, index), means, span, queryBlocks);
        for (const [slab, { pairsAt, count }] of rows.visits.entries()) {
          const { keys } = slabCopy(cache.layer(layer).slabs[slab], copy);
          const grid = { firstVisit: 0, visits: count, length, firstBlock, keyBlocks, queryBlocks, outAt: index * size };
          op.blockScores(means, keys, rows, { ...rows.lists[index], pairsAt }, grid, scores);
          await work.did(count * BLOCK_TOKENS * G * 2);
        }
      }
      const values = await read(scores, bands.length * size);
      const facts = { spec, bands, start: span.start, length, firstQueryBlock, queryBlocks, firstBlock, keyBlocks };
      return Array.from({ length: H }, (_, head) => headBlocks(values, head, facts));
    },
  };
}

/** Sums [heads, 2, stride] of one head, as long as all keys. */
function headSums(values: Float32Array, head: number, { stride, firstKey }: ScoreGrid, keys: number): MassSums {
  const at = 2 * head * stride;
  const columns = new Float32Array(keys);
  const distances = new Float32Array(keys);
  columns.set(values.subarray(at, at + Math.min(stride, keys - firstKey)), firstKey);
  distances.set(values.subarray(at + stride, at + stride + Math.min(stride, keys)));
  return { columns, distances };
}

/** What attn_steps.wgsl reads of each head. */
function stepWords(
  all: readonly HeadSteps[],
  { samples, stride, firstKey }: ScoreGrid,
  firstPosition: number,
): { words: Uint32Array<ArrayBuffer>; queryBlocks: number } {
  const firstRow = Math.floor(firstPosition / BLOCK_TOKENS);
  const queryBlocks = Math.floor((firstPosition + samples - 1) / BLOCK_TOKENS) - firstRow + 1;
  const keyBlocks = stride / BLOCK_TOKENS;
  const words = new Uint32Array(all.length * (stride + queryBlocks * keyBlocks));
  let at = 0;
  for (const steps of all) {
    for (let key = 0; key < stride; key++) {
      words[at++] = (steps.columns[firstKey + key] ?? NEVER) + 256 * (steps.distances[key] ?? NEVER);
    }
    for (let row = firstRow; row < firstRow + queryBlocks; row++) {
      const from = (row - steps.firstQueryBlock) * steps.keyBlocks + firstKey / BLOCK_TOKENS;
      for (let block = 0; block < keyBlocks; block++) words[at++] = steps.blocks[from + block] ?? NEVER;
    }
  }
  return { words, queryBlocks };
}

interface BlockFacts {
  spec: DecoderSpec;
  bands: readonly Band[];
  start: number;
  length: number;
  firstQueryBlock: number;
  queryBlocks: number;
  /** What the device scored: `keyBlocks` blocks from `firstBlock` on. */
  firstBlock: number;
  keyBlocks: number;
}

/** Products [bands, H, queryBlocks, keyBlocks] of one head, less ALiBi's bias, where a band shows the block at all. */
function headBlocks(values: Float32Array, head: number, facts: BlockFacts): BlockScores {
  const { spec, bands, start, length, firstQueryBlock, queryBlocks, firstBlock, keyBlocks } = facts;
  const slope = spec.alibi === undefined ? 0 : alibiSlopes(spec.headCount, spec.alibi.maxBias)[head];
  const all = Math.ceil(length / BLOCK_TOKENS);
  const scores = new Float64Array(queryBlocks * all).fill(-Infinity);
  for (const [index, band] of bands.entries()) {
    for (let row = 0; row < queryBlocks; row++) {
      const own = firstQueryBlock + row;
      const [from] = band.keys(Math.max(start, own * BLOCK_TOKENS));
      const [, to] = band.keys(Math.min(length, (own + 1) * BLOCK_TOKENS) - 1);
      const at = ((index * spec.headCount + head) * queryBlocks + row) * keyBlocks - firstBlock;
      // A band that is empty for a query may name keys in front of every window.
      for (let block = Math.max(firstBlock, Math.floor(from / BLOCK_TOKENS)); block * BLOCK_TOKENS < to; block++) {
        const score = values[at + block] - slope * BLOCK_TOKENS * (own - block);
        scores[row * all + block] = Math.max(scores[row * all + block], score);
      }
    }
  }
  return { firstQueryBlock, keyBlocks: all, scores };
}
