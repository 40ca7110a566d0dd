/**
 * What a chunk's tokens need to know of their positions, on the device: angles per rotation and band, and the range of keys per kind of
 * layer and band. Written once per chunk; all layers of a kind share them.
 */
import type { Band, DecoderSpec, LayerKind, PositionPlan, RopeTable } from "../api.ts";
import { storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import { layerBands } from "../position/bands.ts";
import { positionsFrom, rotation } from "../position/rope.ts";
import { localTable } from "../position/scaling.ts";

/** Positions of one kind of layer. */
export interface LayerPositions {
  bands: readonly Band[];
  /** Per band [tokens, 2, pairs + 1] of (cos, sin), as rope_apply.wgsl reads them; undefined where the layer does not rotate. */
  angles: readonly GPUBuffer[] | undefined;
  pairs: number;
  /** Per band [tokens] of (from, to). */
  ranges: readonly GPUBuffer[];
}

export interface ChunkPositions {
  /** Buffers for chunks of at most `maxTokens` tokens under this plan; replaces those of another plan. */
  setPlan(plan: PositionPlan): void;
  /** Writes angles and ranges of the tokens from `start` on. */
  write(start: number, tokens: number): void;
  layer(index: number): LayerPositions;
}

export function openChunkPositions(spec: DecoderSpec, gpu: EngineDevice, maxTokens: number): ChunkPositions {
  const local = localTable(spec);
  const kinds = new Map<string, LayerPositions>();
  let angles = new Map<LayerKind["rotation"], AngleSet>();
  let plan: PositionPlan | undefined;
  const keyOf = ({ window, rotation: turn }: LayerKind): string => `${turn} ${window ?? "all"}`;
  const bufferOf = (label: string, floats: number): GPUBuffer => storageBuffer(gpu, label, maxTokens * floats * 4);

  function anglesOf(kind: LayerKind, current: PositionPlan, bands: readonly Band[]): AngleSet | undefined {
    const table = kind.rotation === "main" ? current.table : kind.rotation === "local" ? local : undefined;
    if (table === undefined || table.invFreq.length === 0) return undefined;
    const known = angles.get(kind.rotation);
    if (known !== undefined) return known;
    const pairs = table.invFreq.length;
    const made: AngleSet = {
      table,
      bands,
      buffers: bands.map((_, band) => bufferOf(`angles ${kind.rotation} ${band}`, 4 * (pairs + 1))),
      keyPosition: (band) => (kind.rotation === "main" ? (current.copies[band.copy] ?? same) : same),
      scale: kind.rotation === "main" ? (position) => current.queryScale(position) : () => 1,
    };
    angles.set(kind.rotation, made);
    return made;
  }

  function release(): void {
    for (const { buffers } of angles.values()) for (const buffer of buffers) buffer.destroy();
    for (const { ranges } of kinds.values()) for (const buffer of ranges) buffer.destroy();
    angles = new Map();
    kinds.clear();
  }

  return {
    setPlan(next) {
      if (plan?.key === next.key) return;
      release();
      plan = next;
      for (const kind of spec.layers) {
        if (kinds.has(keyOf(kind))) continue;
        const bands = layerBands(next, kind);
        const set = anglesOf(kind, next, bands);
        kinds.set(keyOf(kind), {
          bands,
          angles: set?.buffers,
          pairs: set?.table.invFreq.length ?? 0,
          ranges: bands.map((_, band) => bufferOf(`ranges ${keyOf(kind)} ${band}`, 2)),
        });
      }
    },
    write(start, tokens) {
      const { queue } = gpu.device;
      for (const set of angles.values()) {
        for (const [index, band] of set.bands.entries()) {
          const buffer = set.buffers[index];
          if (buffer !== undefined) queue.writeBuffer(buffer, 0, angleRows(set, band, start, tokens));
        }
      }
      for (const { bands, ranges } of kinds.values()) {
        for (const [index, band] of bands.entries()) {
          const buffer = ranges[index];
          if (buffer !== undefined) queue.writeBuffer(buffer, 0, rangeRows(band, start, tokens));
        }
      }
    },
    layer(index) {
      const kind = spec.layers[index];
      const positions = kind === undefined ? undefined : kinds.get(keyOf(kind));
      if (positions === undefined) throw new RangeError(`layer ${index} has no positions: a plan comes first`);
      return positions;
    },
  };
}

/** [tokens] of (from, to): keys that queries from position `start` on see through the band. */
export function rangeRows(band: Band, start: number, tokens: number): Uint32Array<ArrayBuffer> {
  const rows = new Uint32Array(2 * tokens);
  for (let token = 0; token < tokens; token++) {
    const [from, to] = band.keys(start + token);
    rows[2 * token] = from;
    rows[2 * token + 1] = Math.max(from, to);
  }
  return rows;
}

interface AngleSet {
  table: RopeTable;
  bands: readonly Band[];
  buffers: readonly GPUBuffer[];
  keyPosition(band: Band): (position: number) => number;
  scale(position: number): number;
}

const same = (position: number): number => position;

/** [tokens, 2, pairs + 1] of (cos, sin): those of queries, then those of keys, each with its scale behind. */
function angleRows(set: AngleSet, band: Band, start: number, tokens: number): Float32Array<ArrayBuffer> {
  const pairs = set.table.invFreq.length;
  const queries = rotation(set.table, positionsFrom(start, tokens, band.queryPosition));
  const keys = rotation(set.table, positionsFrom(start, tokens, set.keyPosition(band)));
  const rows = new Float32Array(tokens * 4 * (pairs + 1));
  for (let token = 0; token < tokens; token++) {
    for (const [which, { cos, sin }] of [queries, keys].entries()) {
      const at = (2 * token + which) * 2 * (pairs + 1);
      for (let pair = 0; pair < pairs; pair++) {
        rows[at + 2 * pair] = cos[token * pairs + pair];
        rows[at + 2 * pair + 1] = sin[token * pairs + pair];
      }
      rows[at + 2 * pairs] = which === 0 ? set.scale(start + token) : 1;
    }
  }
  return rows;
}
