/**
 * Decoding by top pages (Quest, arXiv 2406.10774) on the device. Every layer that chooses keeps bounds of its keys beside them, written as keys
 * are; a decoded token scores all pages by them, and the best of each kv head become the lists that attention reads: nothing comes back to the
 * host in between. Pages are chosen among all slabs at once. Attention then takes each slab with as many ranges as if all pages lay in it, since
 * nobody here knows how many do; empty ranges weigh nothing. The choice depends on a query and on full pages only, and is the same whenever it
 * is made again.
 */
import type { Band, DecoderSpec } from "../api.ts";
import { allocated, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import type { AttentionParts, BandRows, Span } from "../kernels/attentionOps.ts";
import { openPageOps, type PageOperations } from "../kernels/pageOps.ts";
import type { Operations } from "../kernels/ops.ts";
import type { PagedCache, Slab } from "../kv-cache/pages.ts";
import { MAX_SPLITS } from "../models/chunkSizes.ts";
import { cacheTooLarge } from "../reference/checks.ts";
import { PAGE_TOKENS, QUEST_PAGE_TOKENS } from "./api.ts";
import { attend, bandRows, slabCopy, type Attended, type ChunkRows } from "./attend.ts";
import type { ChunkPositions, LayerPositions } from "./chunkPositions.ts";
import type { DecodedMass } from "./decodedMass.ts";
import { addChosenRoom, openDecodedRuns, type ChoiceSource, type ChosenRoom } from "./pageChoices.ts";
import { NONE, rangeRows, type PageList, type Words } from "./pageLists.ts";
import { choosesPages } from "./patterns/quest.ts";
import type { Sample } from "./tapSamples.ts";

/** Of each page of the cache. */
const PAGES = PAGE_TOKENS / QUEST_PAGE_TOKENS;
/** Keys that a workgroup of attn_decode takes at a time: ranges begin at multiples of it. */
const STEP_PAGES = 64 / QUEST_PAGE_TOKENS;

export interface TopPagesSource {
  spec: DecoderSpec;
  gpu: EngineDevice;
  recorder: Recorder;
  shaders: ShaderCache;
  op: Operations;
  cache: PagedCache;
  positions: ChunkPositions;
  slopes: GPUBuffer;
  /** How many pages a token reads of each kv head; undefined where it reads all. */
  count: () => number | undefined;
  mass: DecodedMass;
  /** Where `mass` keeps what it measures. */
  report: GPUBuffer;
}

export interface TopPages {
  /**
   * Called when there is room for what is appended next: makes buffers, and bounds what came into the cache without going through the layers.
   * True when buffers came.
   */
  prepare(): Promise<boolean>;
  /** Called when positions of the chunk are written, before it goes through the layers. */
  begin(chunk: Span & { isDecoded: boolean }): void;
  /**
   * Called when the layer's keys are cached: bounds them, and of a decoded token attends to the best pages. Returns the buffer of log-sum-exps;
   * undefined where every key is to be read.
   */
  attend(layer: number, rows: ChunkRows, positions: LayerPositions, into: Attended, span: Span): GPUBuffer | undefined;
  /** Room for the pages that samples of the layer chose, to be chosen again; undefined where none did. */
  chosenRoom(words: Words, layer: number, samples: readonly Sample[]): ChosenRoom | undefined;
  /** All layers have gone through the tokens before `length`. */
  advance(length: number): void;
  /** Bounds from `length` on do not hold any more. */
  truncate(length: number): void;
}

/** Buffers for the slabs that there are. */
interface Room {
  key: string;
  lists: GPUBuffer;
  scores: GPUBuffer;
  parts: AttentionParts;
  /** Pages of all slabs. */
  pages: number;
  /** Words of `lists` in front of what is written on the device: per layer and band a range, then borders of slabs. */
  ranges: Uint32Array<ArrayBuffer>;
  bands: number;
  bordersAt: number;
  tablesAt: number;
  pairsAt: number;
}

export function openTopPages(source: TopPagesSource): TopPages {
  const { spec, gpu, recorder, shaders, op, cache, positions, slopes, mass, report } = source;
  const { headCount: H, kvHeadCount: G, headDim: D } = spec;
  const choosing = [...spec.layers.keys()].filter((layer) => choosesPages(spec, layer));
  let ops: PageOperations | undefined;
  let room: Room | undefined;
  /** Tokens whose bounds are there in every layer. */
  let bounded = 0;
  /** The decoded token chooses. */
  let chooses = false;
  const chose = openDecodedRuns();

  function openRoom(key: string, slabs: readonly Slab[], count: number): Room {
    const pages = slabs.reduce((sum, slab) => sum + slab.pages * PAGES, 0);
    const bands = Math.max(...choosing.map((layer) => positions.layer(layer).bands.length));
    const bordersAt = choosing.length * bands * 4;
    const tablesAt = bordersAt + slabs.length + 1;
    const pairsAt = tablesAt + 2 * slabs.length * G;
    const words = pairsAt + 2 * G * Math.min(count, pages);
    const splits = Math.max(MAX_SPLITS, bands * slabs.length);
    const lists = storageBuffer(gpu, "lists of top pages", words * 4);
    gpu.device.queue.writeBuffer(lists, bordersAt * 4, bordersOf(slabs));
    return {
      ...{ key, lists, pages, bands, bordersAt, tablesAt, pairsAt },
      scores: storageBuffer(gpu, "scores of pages", G * pages * 4),
      parts: {
        out: storageBuffer(gpu, "partial outputs of top pages", splits * H * D * 4),
        lse: storageBuffer(gpu, "partial denominators of top pages", splits * H * 4),
      },
      ranges: new Uint32Array(bordersAt),
    };
  }

  function release(): void {
    if (room === undefined) return;
    for (const buffer of [room.lists, room.scores, room.parts.out, room.parts.lse]) buffer.destroy();
    room = undefined;
  }

  /** Buffers for the slabs of the layers that choose, which all have the same. */
  async function fit(count: number): Promise<boolean> {
    const { slabs } = cache.layer(choosing[0]);
    const bands = choosing.map((layer) => positions.layer(layer).bands.length);
    const key = [count, ...bands, ...slabs.map(({ first, pages }) => `${first}+${pages}`)].join(" ");
    if (room?.key === key) return false;
    release();
    room = await allocated(
      gpu,
      () => openRoom(key, slabs, count),
      () => cacheTooLarge(1, cache.length),
    );
    return true;
  }

  /** Bounds of the pages that hold tokens [from, to) of a layer. */
  function bound(page: PageOperations, layer: number, from: number, to: number): void {
    for (const slab of cache.layer(layer).slabs) {
      const first = slab.first * PAGE_TOKENS;
      const start = Math.max(from, first) - first;
      const end = Math.min(to - first, slab.pages * PAGE_TOKENS);
      if (end <= start) continue;
      for (const [copy, keys] of slab.keys.entries()) {
        page.boundPages(keys, boundsOf(slab, copy), Math.floor(start / QUEST_PAGE_TOKENS), end);
      }
    }
  }

  /** Scores of all pages for a query that `rowsOf` gives for every band. */
  function score(
    page: PageOperations,
    rowsOf: (band: number) => BandRows,
    bands: readonly Band[],
    slabs: readonly Slab[],
    { position, queryRow }: { position: number; queryRow: number },
  ): void {
    if (room === undefined) return;
    const pages = pagesBefore(position + 1);
    for (const [index, band] of bands.entries()) {
      const [first, end] = band.keys(position);
      const [firstKey, keyEnd] = first < end ? [first, end] : [0, 0];
      const asked = { queryRow, firstKey, keyEnd, position: Math.floor(band.queryPosition(position)), merge: index > 0 };
      for (const slab of slabs) {
        const firstPage = slab.first * PAGES;
        const here = Math.min(slab.pages * PAGES, pages - firstPage);
        const scored = { ...asked, firstPage, pages: here };
        page.scorePages(rowsOf(index), boundsOf(slab, band.copy), room.scores, room.pages, scored);
      }
    }
  }

  /** Attention of one token over the lists that were just written. */
  function read(index: number, rows: ChunkRows, layer: LayerPositions, slabs: readonly Slab[], into: Attended, span: Span): void {
    const count = source.count();
    if (room === undefined || count === undefined) return;
    const { lists: words, parts, tablesAt, pairsAt } = room;
    const most = Math.max(1, Math.floor(MAX_SPLITS / (slabs.length * layer.bands.length)));
    const splitVisits = Math.ceil(Math.ceil(count / most) / STEP_PAGES) * STEP_PAGES;
    const splits = Math.ceil(count / splitVisits);
    const rangesAt = 4 * choosing.indexOf(index) * room.bands;
    let firstSplit = 0;
    for (const [b, band] of layer.bands.entries()) {
      for (const [s, slab] of slabs.entries()) {
        const offsets: PageList = {
          ...{ listHeads: G, rangesAt: rangesAt + 4 * b, tilesAt: tablesAt + 2 * s * G, pairsAt },
          ...{ columnsAt: NONE, columnStride: 0, diagonalsAt: NONE, diagonalStride: 0 },
          ...{ blocksAt: NONE, blockStride: 0, blockWords: 0 },
        };
        const range = { position: span.start, splits, splitVisits, firstSplit, unit: QUEST_PAGE_TOKENS };
        op.attendDecode(bandRows(rows, layer, b), slabCopy(slab, band.copy), { words, offsets }, parts, range);
        firstSplit += splits;
      }
    }
    op.mergeParts(parts, into.out, into.lse[0], firstSplit);
  }

  return {
    async prepare() {
      const count = source.count();
      if (count === undefined) {
        release();
        return false;
      }
      ops ??= await openPageOps(spec, shaders, recorder, { slopes, keys: cache.formats.keys });
      const grown = await fit(count);
      if (grown) recorder.forget();
      if (bounded < cache.length) {
        for (const layer of choosing) {
          bound(ops, layer, bounded, cache.length);
          await recorder.finish();
        }
        bounded = cache.length;
      }
      return grown;
    },

    begin({ start, isDecoded }) {
      const count = source.count();
      chooses = count !== undefined && isDecoded && count < pagesBefore(start + 1);
      if (!chooses || room === undefined) return;
      chose.add(start);
      for (const [place, layer] of choosing.entries()) {
        for (const [index, band] of positions.layer(layer).bands.entries()) {
          room.ranges.set(rangeRows(band, start, 1), 4 * (place * room.bands + index));
        }
      }
      gpu.device.queue.writeBuffer(room.lists, 0, room.ranges);
    },

    attend(index, rows, layer, into, span) {
      const count = source.count();
      if (ops === undefined || room === undefined || count === undefined || !choosesPages(spec, index)) return undefined;
      const end = span.start + span.tokens;
      bound(ops, index, span.start, end);
      if (!chooses) return undefined;
      const cached = cache.layer(index);
      if (mass.isSampled) mass.save(recorder, index, "all", attend(op, rows, cached, layer, into, span), report);
      const slabs = cached.slabs.filter(({ first }) => first * PAGE_TOKENS < end);
      score(ops, (band) => bandRows(rows, layer, band), layer.bands, slabs, { position: span.start, queryRow: 0 });
      const { scores, lists, pages: scoreStride } = room;
      ops.selectPages(scores, lists, room, { pages: pagesBefore(end), count, scoreStride, slabs: slabs.length });
      read(index, rows, layer, slabs, into, span);
      const [lse] = into.lse;
      if (mass.isSampled) mass.save(recorder, index, "read", lse, report);
      return lse;
    },

    chosenRoom(words, layer, samples) {
      const count = source.count();
      const page = ops;
      if (room === undefined || page === undefined || count === undefined || !choosesPages(spec, layer)) return undefined;
      if (!samples.some(({ position }) => chose.has(position))) return undefined;
      const { scores, pages: scoreStride } = room;
      const { bands } = positions.layer(layer);
      const { slabs } = cache.layer(layer);
      const again: ChoiceSource = {
        ...{ spec, recorder, ops: page, slabs, borders: bordersOf(slabs), count },
        pagesTo: (position) => pagesBefore(position + 1),
        score(queries, { position, slot }) {
          const reached = slabs.filter(({ first }) => first * PAGE_TOKENS <= position);
          const rowsOf = (band: number): BandRows => ({ rows: queries[band], isProjection: false });
          score(page, rowsOf, bands, reached, { position, queryRow: slot });
          return { scores, scoreStride };
        },
      };
      return addChosenRoom(words, again, samples, chose);
    },

    advance(length) {
      if (source.count() !== undefined) bounded = length;
    },
    truncate(length) {
      chose.truncate(length);
      bounded = Math.min(bounded, length);
    },
  };
}

/** Pages that hold the tokens before `length`. */
function pagesBefore(length: number): number {
  return Math.ceil(length / QUEST_PAGE_TOKENS);
}

/** First page of every slab, and the end of the last. */
function bordersOf(slabs: readonly Slab[]): Uint32Array<ArrayBuffer> {
  const last = slabs.at(-1);
  return Uint32Array.from([...slabs.map(({ first }) => first * PAGES), ((last?.first ?? 0) + (last?.pages ?? 0)) * PAGES]);
}

function boundsOf(slab: Slab, copy: number): { bounds: GPUBuffer; room: number } {
  const bounds = slab.bounds?.[copy];
  if (bounds === undefined) throw new RangeError(`the cache has no bounds of copy ${copy} of its keys`);
  return { bounds, room: slab.pages * PAGES };
}
