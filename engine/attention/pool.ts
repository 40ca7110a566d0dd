/** Pooled attention on the GPU: cells are cut into pieces of bounded work, summed per submission of bounded time, and joined at the end. */
import { type Band, type DecoderSpec, type PooledAttention, type PoolRequest, type PositionPlan } from "../api.ts";
import { throwIfAborted } from "../errors.ts";
import { uploadedBuffer, storageBuffer, type Readback } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { Operations } from "../kernels/ops.ts";
import type { PagedCache } from "../kv-cache/pages.ts";
import { alibiSlopes } from "../position/alibi.ts";
import { layerBands } from "../position/bands.ts";
import { pagedCopy } from "./attend.ts";
import { rangeRows } from "./chunkPositions.ts";
import type { AttentionTap } from "./tap.ts";

/** Pieces per side at most: 4 MiB of cells. */
const MAX_PIECES = 1024;
/** Tokens per piece at least. */
const MIN_PIECE = 16;
const GOAL_MS = 75;
/** Query-key pairs of the first submission; a software adapter does about this many in the goal's time. */
const FIRST_PAIRS = 2 ** 19;

export interface PoolSource {
  spec: DecoderSpec;
  gpu: EngineDevice;
  recorder: Recorder;
  readback: Readback;
  op: Operations;
  cache: PagedCache;
  tap: AttentionTap;
  plan: PositionPlan;
}

/** Cells as PoolRequest defines them, for layers and heads that the request was checked for. Throws `aborted`. */
export async function poolOnDevice(
  source: PoolSource,
  request: PoolRequest,
  { layers, heads }: { layers: readonly number[]; heads: readonly number[] },
  signal: AbortSignal | undefined,
): Promise<PooledAttention> {
  const { spec, gpu, recorder, readback, op, cache, tap, plan } = source;
  const rows = pieces(request.queryEdges);
  const columns = pieces(request.keyEdges);
  const shares = layers.length * heads.length;
  const weights = rows.owner.map((row) => 1 / (shares * ((request.queryEdges[row + 1] ?? 0) - (request.queryEdges[row] ?? 0))));
  const into = {
    edges: uploadedBuffer(gpu, "pool edges", Uint32Array.from([...rows.edges, ...columns.edges])),
    weights: uploadedBuffer(gpu, "pool weights", Float32Array.from(weights)),
    cells: storageBuffer(gpu, "pool cells", rows.owner.length * columns.owner.length * 4),
  };
  const rangeBuffers = new Map<string, GPUBuffer>();
  /** Keys that each query of the request sees, from position 0 on: the kernel reads them by position. */
  const rangesOf = (key: string, band: Band): GPUBuffer => {
    const known = rangeBuffers.get(key);
    if (known !== undefined) return known;
    const made = uploadedBuffer(gpu, "pool ranges", rangeRows(band, 0, request.queryEdges.at(-1) ?? 0));
    rangeBuffers.set(key, made);
    return made;
  };
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
    const slopes = spec.alibi === undefined ? undefined : alibiSlopes(spec.headCount, spec.alibi.maxBias);
    for (const layer of layers) {
      const { queries, lse } = tap.at(layer);
      const kind = spec.layers[layer];
      if (queries === undefined || kind === undefined) throw new RangeError(`layer ${layer} is listed as kept and is not`);
      for (const [index, band] of layerBands(plan, kind).entries()) {
        const saved = queries[index];
        if (saved === undefined) throw new RangeError(`layer ${layer} has no queries of band ${index}`);
        const ranges = rangesOf(`${kind.window ?? "all"} ${kind.rotation} ${index}`, band);
        for (const head of heads) {
          let rowStart = 0;
          while (rowStart < rows.owner.length) {
            let rowEnd = rowStart;
            while (rowEnd < rows.owner.length && (rowEnd === rowStart || pending < budget))
              pending += pairsOf(rows.edges, columns.edges, rowEnd++);
            const slope = slopes?.[head] ?? 0;
            const grid = { rowStart, rowEnd, rows: rows.owner.length, columns: columns.owner.length, head, slope };
            op.pool({ queries: saved, lse, ranges }, pagedCopy(cache.layer(layer), band.copy), into, grid);
            rowStart = rowEnd;
            if (pending >= budget) await flush();
          }
        }
      }
    }
    await flush();
    const parts = new Float32Array(await readback.read(into.cells, 0, rows.owner.length * columns.owner.length * 4));
    return joined(parts, rows.owner, columns.owner, request);
  } finally {
    for (const buffer of [...Object.values(into), ...rangeBuffers.values()]) buffer.destroy();
    recorder.forget();
  }
}

interface Pieces {
  /** Rising edges of the pieces, one more than pieces. */
  edges: number[];
  /** Asked bin of each piece. */
  owner: number[];
}

/** The asked bins, cut so that one invocation never sums a large bin alone. */
function pieces(edges: Uint32Array): Pieces {
  const bins = edges.length - 1;
  const span = (edges[bins] ?? 0) - (edges[0] ?? 0);
  // Cutting at this length leaves at most span / size + bins pieces.
  const size = Math.max(MIN_PIECE, Math.ceil(span / Math.max(1, MAX_PIECES - bins)));
  const result: Pieces = { edges: [], owner: [] };
  for (let bin = 0; bin < bins; bin++) {
    const end = edges[bin + 1] ?? 0;
    for (let start = edges[bin] ?? 0; start < end; start += size) {
      result.edges.push(start);
      result.owner.push(bin);
    }
  }
  result.edges.push(edges[bins] ?? 0);
  return result;
}

/** Query-key pairs that a row of pieces sums. */
function pairsOf(rowEdges: readonly number[], columnEdges: readonly number[], row: number): number {
  const queries = (rowEdges[row + 1] ?? 0) - (rowEdges[row] ?? 0);
  const keys = Math.min(columnEdges.at(-1) ?? 0, rowEdges[row + 1] ?? 0) - (columnEdges[0] ?? 0);
  return queries * Math.max(1, keys);
}

function joined(
  parts: Float32Array,
  rowOwner: readonly number[],
  columnOwner: readonly number[],
  request: PoolRequest,
): PooledAttention {
  const rows = request.queryEdges.length - 1;
  const columns = request.keyEdges.length - 1;
  const sums = new Float64Array(rows * columns);
  for (const [r, row] of rowOwner.entries()) {
    for (const [c, column] of columnOwner.entries()) sums[row * columns + column] += parts[r * columnOwner.length + c];
  }
  return { rows, columns, cells: Float32Array.from(sums) };
}
