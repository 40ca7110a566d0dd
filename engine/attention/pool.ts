/**
 * Pooled attention on the GPU from the sampled queries of the tap: cells are cut into pieces of bounded work, summed slab by slab in submissions
 * of bounded time, and joined at the end.
 */
import { type DecoderSpec, type PooledAttention, type PoolRequest } from "../api.ts";
import { throwIfAborted } from "../errors.ts";
import { storageBuffer, uploadedBuffer, type Readback } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { Operations } from "../kernels/ops.ts";
import type { SlabBuffers } from "../kernels/attentionOps.ts";
import type { Staging } from "../kv-cache/hostSlabs.ts";
import type { PagedCache, Slab } from "../kv-cache/pages.ts";
import { alibiSlopes } from "../position/alibi.ts";
import { PAGE_TOKENS } from "./api.ts";
import { slabCopy } from "./attend.ts";
import type { ChunkPositions } from "./chunkPositions.ts";
import { noneChosen, type ChosenRoom } from "./pageChoices.ts";
import { addSampleList, NONE, Words } from "./pageLists.ts";
import { sampleGroups, type SeenFrom } from "./sparse/seen.ts";
import type { AttentionTap } from "./tap.ts";
import type { Sample } from "./tapSamples.ts";

/** Pieces per side at most: 4 MiB of cells. */
const MAX_PIECES = 1024;
/** Keys of a piece at least. */
const MIN_PIECE = 16;
const GOAL_MS = 75;
/** Query-key pairs of the first submission; a software adapter does about this many in the goal's time. */
const FIRST_PAIRS = 2 ** 19;
/** Lists that wait for a submission at most. */
const LIST_BYTES = 64 * 2 ** 20;

export interface PoolSource {
  spec: DecoderSpec;
  gpu: EngineDevice;
  recorder: Recorder;
  readback: Readback;
  op: Operations;
  cache: PagedCache;
  tap: AttentionTap;
  positions: ChunkPositions;
  staging: Staging;
  /** What the queries of a layer saw of the keys. */
  seen(layer: number): readonly SeenFrom[];
  /** Room for the pages that samples of the layer chose; undefined where none did. */
  chosenRoom(words: Words, layer: number, samples: readonly Sample[]): ChosenRoom | undefined;
}

/** Cells as PoolRequest defines them, for layers and heads that the request was checked for. Throws `aborted`. */
export async function poolOnDevice(
  source: PoolSource,
  request: PoolRequest,
  { layers, heads }: { layers: readonly number[]; heads: readonly number[] },
  signal: AbortSignal | undefined,
): Promise<PooledAttention> {
  const { spec, gpu, recorder, readback, op, cache, tap, positions } = source;
  const queries = request.queryEdges.at(-1) ?? 0;
  const kept = tap.samples(0, queries);
  const asked = askedSamples(request.queryEdges, kept);
  const groups = new Map(layers.map((layer) => [layer, sampleGroups(asked.samples, source.seen(layer))]));
  const rows = pieces(asked.edges, 1, new Set([...groups.values()].flat().map(({ first }) => first)));
  const columns = pieces(request.keyEdges, MIN_PIECE);
  const shares = layers.length * heads.length;
  const weights = rows.owner.map((row) => 1 / (shares * (asked.edges[row + 1] - asked.edges[row])));
  const table = asked.samples.flatMap(({ slot, position }) => [slot, position]);
  const into = {
    edges: uploadedBuffer(gpu, "pool edges", Uint32Array.from([...rows.edges, ...columns.edges, ...table])),
    weights: uploadedBuffer(gpu, "pool weights", Float32Array.from(weights)),
    cells: storageBuffer(gpu, "pool cells", rows.owner.length * columns.owner.length * 4),
  };
  /** Those that were recorded, and the one at hand. */
  let lists: GPUBuffer[] = [];
  const slopes = spec.alibi === undefined ? undefined : alibiSlopes(spec.headCount, spec.alibi.maxBias);
  const pairsOf = pairCounter(rows.edges, asked.samples, request.keyEdges);
  const counts = { rows: rows.owner.length, columns: columns.owner.length, samples: asked.samples.length };
  try {
    let budget = FIRST_PAIRS;
    let pending = 0;
    let began = performance.now();
    const flush = async (): Promise<void> => {
      await recorder.finish();
      const elapsedMs = Math.max(performance.now() - began, 0.1);
      budget = Math.max(1, Math.min(pending, budget) * Math.min(4, GOAL_MS / elapsedMs));
      pending = 0;
      throwIfAborted(signal);
      began = performance.now();
    };
    const release = async (): Promise<void> => {
      if (lists.reduce((sum, { size }) => sum + size, 0) < LIST_BYTES) return;
      await flush();
      for (const buffer of lists) buffer.destroy();
      lists = [];
      recorder.forget();
    };
    for (const layer of layers) {
      const from = tap.at(layer);
      if (from === undefined) throw new RangeError(`layer ${layer} is listed as kept and is not`);
      const { bands } = positions.layer(layer);
      for (const [index, band] of bands.entries()) {
        for (const { first, end, shown, pattern } of groups.get(layer) ?? []) {
          const words = new Words();
          const list = addSampleList(words, band, asked.samples, pattern, spec, shown);
          const pagesAt = addPagesOfSlabs(words, cache, layer);
          const chosen = source.chosenRoom(words, layer, asked.samples.slice(first, end));
          const buffer = uploadedBuffer(gpu, "pool lists", words.view());
          lists.push(buffer);
          await chosen?.write(buffer, from.queries);
          // Ranges of all samples lie in front, so that going back by the samples of other groups stays inside.
          const { chosenAt, chosenCount } = chosen === undefined ? noneChosen : { ...chosen, chosenAt: chosen.chosenAt - first };
          const firstRow = rows.edges.indexOf(first);
          const endRow = rows.edges.indexOf(end);
          for (const [slab, pages] of pagesAt.entries()) {
            const { keys } = slabBuffers(source, cache.layer(layer).slabs[slab], band.copy);
            for (const head of heads) {
              let rowStart = firstRow;
              while (rowStart < endRow) {
                let rowEnd = rowStart;
                while (rowEnd < endRow && (rowEnd === rowStart || pending < budget)) pending += pairsOf(rowEnd++);
                const grid = {
                  ...{ ...counts, start: shown.start, rowStart, rowEnd, head, pagesAt: pages, chosenAt, chosenCount },
                  slope: slopes?.[head] ?? 0,
                };
                op.pool({ queries: from.queries[index], lse: from.lse }, keys, { words: buffer, offsets: list }, into, grid);
                rowStart = rowEnd;
                if (pending >= budget) await flush();
              }
            }
          }
          await release();
        }
      }
    }
    await flush();
    const parts = new Float32Array(await readback.read(into.cells, 0, rows.owner.length * columns.owner.length * 4));
    const cells = joined(parts, rows.owner, columns.owner, request);
    const first = request.queryEdges[0];
    return { ...cells, sampledQueries: kept.filter(({ position }) => position >= first).length };
  } finally {
    for (const buffer of [...Object.values(into), ...lists]) buffer.destroy();
    recorder.forget();
  }
}

/** A slab as the kernel reads it; one in host memory is copied behind what was recorded. */
export function slabBuffers({ recorder, staging }: PoolSource, slab: Slab, copy: number): SlabBuffers {
  if (slab.host === undefined) return slabCopy(slab, copy);
  recorder.submit();
  return staging.load(slab.host, copy);
}

/** The sampled queries of each bin; a bin between two of them has the nearest. `edges` are indices of samples. */
function askedSamples(queryEdges: Uint32Array, kept: readonly Sample[]): { edges: Uint32Array; samples: Sample[] } {
  const samples: Sample[] = [];
  const edges = new Uint32Array(queryEdges.length);
  let next = 0;
  for (let bin = 0; bin + 1 < queryEdges.length; bin++) {
    while (next < kept.length && kept[next].position < queryEdges[bin]) next++;
    const before = samples.length;
    while (next < kept.length && kept[next].position < queryEdges[bin + 1]) samples.push(kept[next++]);
    if (samples.length === before) samples.push(nearestSample(kept, next, (queryEdges[bin] + queryEdges[bin + 1]) / 2));
    edges[bin + 1] = samples.length;
  }
  return { edges, samples };
}

function nearestSample(kept: readonly Sample[], next: number, position: number): Sample {
  const [before, after] = [kept.at(Math.max(0, next - 1)), kept[Math.min(next, kept.length - 1)]];
  if (before === undefined) throw new RangeError("no query is kept");
  return position - before.position <= after.position - position ? before : after;
}

/** Per slab, the offset of a table of where each page of the context lies in it. */
export function addPagesOfSlabs(words: Words, cache: PagedCache, layer: number): number[] {
  const pages = Math.ceil(cache.length / PAGE_TOKENS);
  const placed = Array.from({ length: pages }, (_, page) => cache.place(layer, page));
  return cache.layer(layer).slabs.map((_, slab) => words.add(placed.map((place) => (place?.slab === slab ? place.page : NONE))));
}

/** Query-key pairs that a row of pieces sums, in one slab at most. */
function pairCounter(edges: readonly number[], samples: readonly Sample[], keyEdges: Uint32Array): (row: number) => number {
  const [first, last] = [keyEdges[0], keyEdges.at(-1) ?? 0];
  return (row) => {
    let pairs = 0;
    for (let sample = edges[row]; sample < edges[row + 1]; sample++) {
      pairs += Math.max(1, Math.min(last, samples[sample].position + 1) - first);
    }
    return pairs;
  };
}

interface Pieces {
  /** Rising edges of the pieces, one more than pieces. */
  edges: number[];
  /** Asked bin of each piece. */
  owner: number[];
}

/** The asked bins, cut so that one invocation never sums a large bin alone, but into no pieces below `least`, and at `cuts`. */
function pieces(edges: Uint32Array, least: number, cuts: ReadonlySet<number> = new Set()): Pieces {
  const bins = edges.length - 1;
  const span = (edges[bins] ?? 0) - (edges[0] ?? 0);
  // Cutting at this length leaves at most span / size + bins pieces.
  const size = Math.max(least, Math.ceil(span / Math.max(1, MAX_PIECES - bins)));
  const result: Pieces = { edges: [], owner: [] };
  for (let bin = 0; bin < bins; bin++) {
    const end = edges[bin + 1] ?? 0;
    let length = size;
    for (let start = edges[bin] ?? 0; start < end; start++, length++) {
      if (length < size && !cuts.has(start)) continue;
      result.edges.push(start);
      result.owner.push(bin);
      length = 0;
    }
  }
  result.edges.push(edges[bins] ?? 0);
  return result;
}

function joined(
  parts: Float32Array,
  rowOwner: readonly number[],
  columnOwner: readonly number[],
  request: PoolRequest,
): Pick<PooledAttention, "rows" | "columns" | "cells"> {
  const rows = request.queryEdges.length - 1;
  const columns = request.keyEdges.length - 1;
  const sums = new Float64Array(rows * columns);
  for (const [r, row] of rowOwner.entries()) {
    for (const [c, column] of columnOwner.entries()) sums[row * columns + column] += parts[r * columnOwner.length + c];
  }
  return { rows, columns, cells: Float32Array.from(sums) };
}
