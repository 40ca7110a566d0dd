/**
 * Attention over keys and values in host memory: slabs stream through two staging places past the resident queries of a chunk, and each
 * dispatch goes on from what the ones before gave (m, l, O). While one slab is computed the next is copied. The result is that of a resident
 * cache with the same slabs.
 */
import type { StreamTimes } from "../api.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { Operations } from "../kernels/ops.ts";
import type { SlabBuffers, Span } from "../kernels/attentionOps.ts";
import type { Staging } from "../kv-cache/hostSlabs.ts";
import type { CacheLayer, Slab } from "../kv-cache/pages.ts";
import { MAX_SPLITS } from "../models/chunkSizes.ts";
import {
  attendSlab,
  bandRows,
  firstCarry,
  listedKeys,
  slabCopy,
  slabSteps,
  type Attended,
  type ChunkRows,
  type SlabStep,
} from "./attend.ts";
import type { LayerPositions } from "./chunkPositions.ts";

export interface StreamSource {
  gpu: EngineDevice;
  op: Operations;
  recorder: Recorder;
  staging: Staging;
  times: StreamTimes;
}

/** Ranges that a decoded token's keys of one slab are cut into. */
const SLAB_SPLITS = 16;

/** As `attend`, over slabs of which some lie in host memory. Returns the buffer of log-sum-exps. */
export async function attendStreamed(
  source: StreamSource,
  rows: ChunkRows,
  layer: CacheLayer,
  positions: LayerPositions,
  into: Attended,
  span: Span,
): Promise<GPUBuffer> {
  const { gpu, op, recorder, times } = source;
  let carried = firstCarry(into);
  let splits = 0;
  let done: Promise<void> | undefined;
  let lastDone = performance.now();
  for (const step of slabSteps(positions)) {
    const began = performance.now();
    const slab = loaded(source, layer.slabs[step.seen.slab], step.copy);
    times.transferMs += performance.now() - began;
    if (span.tokens > 1) carried = attendSlab(op, rows, slab, positions, step, into, carried, span);
    else splits = decodeSlab(source, rows, slab, positions, step, into, span.start, splits);
    recorder.submit();
    const submitted = performance.now();
    // The step before is waited for only now, so that it ran while this one was copied; a third would take its place.
    await done;
    done = gpu.settle(gpu.device.queue.onSubmittedWorkDone()).then(() => {
      const now = performance.now();
      times.computeMs += now - Math.max(submitted, lastDone);
      lastDone = now;
    });
  }
  await done;
  if (span.tokens > 1) return carried.lse;
  op.mergeParts(into.parts, into.out, into.lse[0], splits);
  return into.lse[0];
}

/** Adds the parts of one slab; where they would be too many, those before are joined into one first. */
function decodeSlab(
  { op, recorder }: StreamSource,
  rows: ChunkRows,
  slab: SlabBuffers,
  positions: LayerPositions,
  step: SlabStep,
  into: Attended,
  position: number,
  before: number,
): number {
  const { parts, out } = into;
  const [lse] = into.lse;
  let firstSplit = before;
  if (before + SLAB_SPLITS > MAX_SPLITS) {
    op.mergeParts(parts, out, lse, before);
    recorder.copy(out, parts.out, Math.min(out.size, parts.out.size));
    recorder.copy(lse, parts.lse, Math.min(lse.size, parts.lse.size));
    firstSplit = 1;
  }
  const splitVisits = Math.ceil(step.seen.visits / SLAB_SPLITS);
  const splits = Math.ceil(step.seen.visits / splitVisits);
  const range = { position, splits, splitVisits, firstSplit };
  op.attendDecode(bandRows(rows, positions, step.band), slab, listedKeys(positions, step.seen), parts, range);
  return firstSplit + splits;
}

function loaded({ staging, times }: StreamSource, slab: Slab, copy: number): SlabBuffers {
  const { host } = slab;
  if (host === undefined) return slabCopy(slab, copy);
  times.slabs++;
  times.bytes += host.keys[copy].length + host.values.length;
  return staging.load(host, copy);
}
