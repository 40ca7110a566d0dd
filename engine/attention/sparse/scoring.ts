/**
 * Exact scores of sampled queries, a few heads at a time: [heads, samples, keys] is the only thing here that grows with both, and a piece of
 * it stays below PIECE_BYTES unless one head alone is larger.
 */
import type { Band, DecoderSpec } from "../../api.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Recorder } from "../../gpu/dispatch.ts";
import type { ShaderCache } from "../../gpu/shader.ts";
import type { Span } from "../../kernels/attentionOps.ts";
import {
  openScoreOperations,
  type EstimateScratch,
  type SampleWords,
  type ScoreGrid,
  type ScoreOperations,
} from "../../kernels/estimateOps.ts";
import type { PagedCache } from "../../kv-cache/pages.ts";
import { BLOCK_TOKENS, type Pattern } from "../api.ts";
import { bandRows, slabCopy, type ChunkRows } from "../attend.ts";
import type { LayerPositions } from "../chunkPositions.ts";
import { blockMap, Words } from "../pageLists.ts";
import { openBoundedWork, type BoundedWork } from "./boundedWork.ts";
import { openDeviceRoom, type DeviceRoom } from "./deviceRoom.ts";
import { addSampledRows, type SampledRows } from "./sampledRows.ts";

export const PIECE_BYTES = 64 * 2 ** 20;
/** Workgroups of one dimension, as every device has them. */
const MOST_VISITS = 65535;

export interface ScoringParts extends EstimateScratch {
  spec: DecoderSpec;
  gpu: EngineDevice;
  shaders: ShaderCache;
  recorder: Recorder;
  cache: PagedCache;
  maxBindingBytes: number;
}

/** A layer whose queries, keys and values of the chunk are on the device, the latter two in the cache. */
export interface LayerOfChunk {
  layer: number;
  rows: ChunkRows;
  positions: LayerPositions;
  span: Span;
  /** Bands that show every key the model would: those of `positions` in the same order, or the first of them. */
  bands: readonly Band[];
}

/** Samples on the device, until the next are uploaded. */
export interface UploadedRows extends SampledRows, SampleWords {}

export interface Scoring {
  readonly op: ScoreOperations;
  readonly work: BoundedWork;
  readonly room: DeviceRoom;
  /** Most samples whose scores on `keys` keys one buffer holds. */
  mostSamples(keys: number): number;
  /** The tokens `sampled` of the chunk, and what a pattern shows them. */
  upload(source: LayerOfChunk, sampled: readonly number[], pattern: Pattern | undefined): UploadedRows;
  /** Records the scores of some heads after the other; what `use` records reads them before the next ones take their place. */
  eachPiece(
    source: LayerOfChunk,
    rows: UploadedRows,
    use: (scores: GPUBuffer, grid: ScoreGrid) => Promise<void> | void,
  ): Promise<void>;
}

export async function openScoring(parts: ScoringParts): Promise<Scoring> {
  const { spec, gpu, shaders, recorder, cache } = parts;
  const op = await openScoreOperations(spec, shaders, recorder, parts);
  const work = openBoundedWork(recorder);
  const room = openDeviceRoom(gpu, recorder);
  const pieceBytes = Math.min(PIECE_BYTES, parts.maxBindingBytes);

  return {
    op,
    work,
    room,
    mostSamples(keys) {
      const rowBytes = 4 * BLOCK_TOKENS * Math.ceil(keys / BLOCK_TOKENS);
      return Math.max(1, Math.floor(parts.maxBindingBytes / rowBytes));
    },
    upload({ layer, bands, span }, sampled, pattern) {
      const words = new Words();
      const rows = addSampledRows(words, blockMap(cache, layer), bands, span, sampled, pattern, spec);
      return { ...rows, words: room.holding("sampled queries", words.view()) };
    },
    async eachPiece({ layer, rows: chunkRows, positions, bands }, rows, use) {
      const { samples, stride, firstKey } = rows;
      const headBytes = samples * stride * 4;
      const most = Math.max(1, Math.floor(pieceBytes / headBytes));
      const { slabs } = cache.layer(layer);
      for (let firstHead = 0; firstHead < spec.headCount; firstHead += most) {
        const heads = Math.min(most, spec.headCount - firstHead);
        const scores = room.of("scores of sampled queries", heads * headBytes, pieceBytes);
        const grid: ScoreGrid = { firstHead, heads, samples, firstKey, stride };
        const visitPairs = heads * samples * BLOCK_TOKENS;
        for (const [index, { copy }] of bands.entries()) {
          const band = bandRows(chunkRows, positions, index);
          for (const [slab, { pairsAt, count }] of rows.visits.entries()) {
            const { keys } = slabCopy(slabs[slab], copy);
            for (let firstVisit = 0, visits; firstVisit < count; firstVisit += visits) {
              visits = Math.min(count - firstVisit, MOST_VISITS, Math.max(1, Math.floor(work.budget / visitPairs)));
              const list = { ...rows.lists[index], pairsAt };
              op.scores(band, keys, rows, list, { ...grid, firstVisit, visits, fills: index === 0 }, scores);
              await work.did(visits * visitPairs);
            }
          }
        }
        await use(scores, grid);
      }
    },
  };
}
