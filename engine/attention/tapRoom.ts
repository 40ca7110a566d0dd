/** Which layers the attention tap keeps queries of, and of how many tokens: what is allocated and what the planner counts. Pure. */
import type { DecoderSpec } from "../api.ts";

/** Tokens kept at most, and at least before layers are given up. */
const MOST_ROWS = 4096;
const LEAST_ROWS = 1024;

/** Memory for saved queries where nobody says otherwise. */
export const DEFAULT_TAP_BYTES = 256 * 2 ** 20;

export interface TapRoom {
  /** Rising. */
  layers: readonly number[];
  /** Tokens. */
  rows: number;
  /** Of all buffers. */
  bytes: number;
  because: string;
}

/** The last layers whose queries fit: answers are read off late layers. `bandsOf` has the bands of each layer. */
export function tapRoom(
  spec: DecoderSpec,
  limits: { tapBytes: number; maxBindingBytes: number },
  bandsOf: (layer: number) => number,
): TapRoom {
  const rowBytes = spec.headCount * spec.headDim * 4;
  const layerRow = (layer: number): number => rowBytes * bandsOf(layer) + spec.headCount * 4;
  const most = Math.min(MOST_ROWS, Math.floor(limits.maxBindingBytes / rowBytes));
  const all = spec.layers.reduce((sum, _, layer) => sum + layerRow(layer), 0);
  const fitting = Math.min(most, Math.floor(limits.tapBytes / all));
  if (fitting >= Math.min(most, LEAST_ROWS)) {
    return { layers: spec.layers.map((_, layer) => layer), rows: fitting, bytes: all * fitting, because: "all layers fit" };
  }
  const rows = Math.min(most, LEAST_ROWS);
  const layers: number[] = [];
  let bytes = 0;
  for (let layer = spec.layerCount - 1; layer >= 0; layer--) {
    if (bytes + layerRow(layer) * rows > limits.tapBytes) break;
    bytes += layerRow(layer) * rows;
    layers.unshift(layer);
  }
  const mib = (size: number): string => (size / 2 ** 20).toFixed(1);
  const layerBytes = layerRow(spec.layerCount - 1) * rows;
  const because = `queries of ${rows} tokens of one layer take ${mib(layerBytes)} MiB and the attention tap may use ${mib(limits.tapBytes)} MiB`;
  return { layers, rows, bytes, because };
}
