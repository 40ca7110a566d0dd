/** What the ranks computed, layer by layer and in the order of the prompt. */
import type { DecoderSpec } from "../../api.ts";
import { rowWords } from "../../kv-cache/format.ts";
import type { KvFormats } from "../api.ts";
import { putRows } from "./before.ts";
import type { LayerReport } from "./messages.ts";
import type { Shard } from "./schedule.ts";

/** Everything cached of one layer, in the order of the prompt. */
export interface RingLayer {
  layer: number;
  /** Per copy of the position plan, [T, G, words of a row in the cache's format]. */
  keys: readonly Uint32Array<ArrayBuffer>[];
  values: Uint32Array<ArrayBuffer>;
  /** Keys [T, G, D] before they were mixed and rotated; undefined where the model does not mix them. */
  rawKeys: Float32Array<ArrayBuffer> | undefined;
  /** Of tapped layers, for the positions that are wanted: queries [positions, H, D] per band, and lse [positions, H]. */
  tap: { queries: readonly Float32Array<ArrayBuffer>[]; lse: Float32Array<ArrayBuffer> } | undefined;
}

export interface LayerGatherer {
  /** Takes a rank's report. Returns the layer once all ranks have reported it; layers are whole in order. */
  add(rank: number, report: LayerReport): RingLayer | undefined;
}

/** `tapPlaces` are, per rank, the places of its tapped tokens among all tapped ones. */
export function gatherLayers(
  spec: DecoderSpec,
  kv: KvFormats,
  shards: readonly Shard[],
  tapPlaces: readonly Uint32Array[],
): LayerGatherer {
  const waiting = new Map<number, (LayerReport & { rank: number })[]>();
  const { headCount: H, kvHeadCount: G, headDim: D } = spec;
  const widths = { keys: G * rowWords(kv.keys, D), values: G * rowWords(kv.values, D) };

  function whole(layer: number, reports: readonly (LayerReport & { rank: number })[]): RingLayer {
    const [first] = reports;
    const words = (
      placesOf: (report: LayerReport & { rank: number }) => Uint32Array,
      width: number,
      of: (report: LayerReport) => ArrayBuffer | undefined,
    ): Uint32Array<ArrayBuffer> =>
      inOrder(
        reports.map((report) => [placesOf(report), of(report)]),
        width,
      );
    const block = ({ owner }: LayerReport): Uint32Array => shards[owner];
    const tapped = ({ rank }: { rank: number }): Uint32Array => tapPlaces[rank];
    return {
      layer,
      keys: first.keys.map((_, copy) => words(block, widths.keys, ({ keys }) => keys[copy])),
      values: words(block, widths.values, ({ values }) => values),
      rawKeys:
        first.rawKeys &&
        floats(
          words(
            ({ rank }) => shards[rank],
            G * D,
            ({ rawKeys }) => rawKeys,
          ),
        ),
      tap: first.tap && {
        queries: first.tap.queries.map((_, band) => floats(words(tapped, H * D, ({ tap }) => tap?.queries[band]))),
        lse: floats(words(tapped, H, ({ tap }) => tap?.lse)),
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

/** Rows [n, width] of every part at their places in the whole. */
export function inOrder(
  parts: readonly (readonly [places: Uint32Array, rows: ArrayBuffer | undefined])[],
  width: number,
): Uint32Array<ArrayBuffer> {
  const rows = parts.reduce((sum, [places]) => sum + places.length, 0);
  const ordered = new Uint32Array(rows * width);
  for (const [places, part] of parts) {
    if (part === undefined) throw new RangeError("a rank left rows out that the others have");
    putRows<Uint32Array>(ordered, new Uint32Array(part), places, width);
  }
  return ordered;
}

/** The same words as numbers. */
export function floats(words: Uint32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return new Float32Array(words.buffer, words.byteOffset, words.length);
}
