/** What the ranks computed, layer by layer and in the order of the prompt. */
import type { DecoderSpec } from "../../api.ts";
import { putRows } from "./before.ts";
import type { LayerReport } from "./messages.ts";
import type { Shard } from "./schedule.ts";

/** Everything cached of one layer, [T, …] in f32 and in the order of the prompt. */
export interface RingLayer {
  layer: number;
  /** Per copy of the position plan, [T, G, D]. */
  keys: readonly Float32Array<ArrayBuffer>[];
  values: Float32Array<ArrayBuffer>;
  /** Keys before they were mixed and rotated; undefined where the model does not mix them. */
  rawKeys: Float32Array<ArrayBuffer> | undefined;
  /** Queries [T, H, D] per band and lse [T, H], of tapped layers. */
  tap: { queries: readonly Float32Array<ArrayBuffer>[]; lse: Float32Array<ArrayBuffer> } | undefined;
}

export interface LayerGatherer {
  /** Takes a rank's report. Returns the layer once all ranks have reported it; layers are whole in order. */
  add(rank: number, report: LayerReport): RingLayer | undefined;
}

export function gatherLayers(spec: DecoderSpec, shards: readonly Shard[]): LayerGatherer {
  const waiting = new Map<number, (LayerReport & { rank: number })[]>();
  const keyWidth = spec.kvHeadCount * spec.headDim;
  const queryWidth = spec.headCount * spec.headDim;

  function whole(layer: number, reports: readonly (LayerReport & { rank: number })[]): RingLayer {
    const [first] = reports;
    const block = (of: (report: LayerReport) => ArrayBuffer | undefined): Float32Array<ArrayBuffer> =>
      inOrder(
        reports.map((report) => [shards[report.owner], of(report)]),
        keyWidth,
      );
    const own = (width: number, of: (report: LayerReport) => ArrayBuffer | undefined): Float32Array<ArrayBuffer> =>
      inOrder(
        reports.map((report) => [shards[report.rank], of(report)]),
        width,
      );
    return {
      layer,
      keys: first.keys.map((_, copy) => block(({ keys }) => keys[copy])),
      values: block(({ values }) => values),
      rawKeys: first.rawKeys && own(keyWidth, ({ rawKeys }) => rawKeys),
      tap: first.tap && {
        queries: first.tap.queries.map((_, band) => own(queryWidth, ({ tap }) => tap?.queries[band])),
        lse: own(spec.headCount, ({ tap }) => tap?.lse),
      },
    };
  }

  return {
    add(rank, report) {
      const reports = waiting.get(report.layer) ?? [];
      reports.push({ ...report, rank });
      waiting.set(report.layer, reports);
      if (reports.length < shards.length) return undefined;
      waiting.delete(report.layer);
      return whole(report.layer, reports);
    },
  };
}

/** Rows of every shard [n, width] as [T, width]. */
export function inOrder(
  parts: readonly (readonly [shard: Shard, rows: ArrayBuffer | undefined])[],
  width: number,
): Float32Array<ArrayBuffer> {
  const tokens = parts.reduce((sum, [shard]) => sum + shard.length, 0);
  const ordered = new Float32Array(tokens * width);
  for (const [shard, rows] of parts) {
    if (rows === undefined) throw new RangeError("a rank left rows out that the others have");
    putRows(ordered, new Float32Array(rows), [...shard], width);
  }
  return ordered;
}
