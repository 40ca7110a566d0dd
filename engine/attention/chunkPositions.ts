/**
 * What a chunk's tokens need to know of their positions, on the device: angles per rotation and band, and page lists per kind of layer and
 * band. Written once per chunk; all layers of a kind share them.
 */
import type { Band, DecoderSpec, LayerKind, PositionPlan, RopeTable } from "../api.ts";
import { storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { PagedCache } from "../kv-cache/pages.ts";
import { layerBands } from "../position/bands.ts";
import { positionsFrom } from "../position/rope.ts";
import { localTable } from "../position/scaling.ts";
import { angleRows } from "./angles.ts";
import type { Pattern } from "./api.ts";
import { addPageLists, addSlots, blockMap, Words, type SlabList } from "./pageLists.ts";

/** Positions of one kind of layer, or of one layer where its pattern is its own. */
export interface LayerPositions {
  bands: readonly Band[];
  /** Per band [tokens, 2, pairs + 1] of (cos, sin), as rope_apply.wgsl reads them; undefined where the layer does not rotate. */
  angles: readonly GPUBuffer[] | undefined;
  pairs: number;
  /** The words that `lists` and `slotsAt` are offsets of. */
  words: GPUBuffer;
  /** Per band, what the chunk sees of each slab. */
  lists: readonly (readonly SlabList[])[];
  /** Slots [tokens] of the chunk, by slab that holds some of it. */
  slotsAt: ReadonlyMap<number, number>;
}

export interface ChunkPositions {
  /** Buffers for chunks of at most `maxTokens` tokens under this plan; replaces those of another plan. */
  setPlan(plan: PositionPlan): void;
  /** Most keys a query sees in each layer of its own, as a policy has it; undefined is all. */
  setWindow(window: number | undefined): void;
  /** Writes angles and lists of the tokens from `start` on; true when a larger buffer took the place of the one for lists. */
  write(start: number, tokens: number, pattern: Pattern | undefined): boolean;
  /** Lists of one layer with a pattern of its own instead, into a buffer of their own; nothing recorded may still need the last ones. */
  writeOwn(layer: number, start: number, tokens: number, pattern: Pattern): LayerPositions;
  layer(index: number): LayerPositions;
}

interface Kind {
  /** One of its layers: all keep alike. */
  example: number;
  bands: readonly Band[];
  angles: readonly GPUBuffer[] | undefined;
  pairs: number;
  lists: readonly (readonly SlabList[])[];
  slotsAt: ReadonlyMap<number, number>;
}

export function openChunkPositions(spec: DecoderSpec, gpu: EngineDevice, cache: PagedCache, maxTokens: number): ChunkPositions {
  const local = localTable(spec);
  const kinds = new Map<string, Kind>();
  const words = { shared: new Words(), own: new Words() };
  const buffers = { shared: storageBuffer(gpu, "page lists", 16), own: storageBuffer(gpu, "page lists of a layer", 16) };
  let angles = new Map<LayerKind["rotation"], AngleSet>();
  let plan: PositionPlan | undefined;
  let window: number | undefined;
  const keyOf = ({ window: own, rotation: turn }: LayerKind): string => `${turn} ${own ?? "all"}`;
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

  function makeKinds(next: PositionPlan): void {
    for (const { buffers: old } of angles.values()) for (const buffer of old) buffer.destroy();
    angles = new Map();
    kinds.clear();
    for (const [example, kind] of spec.layers.entries()) {
      if (kinds.has(keyOf(kind))) continue;
      const cut = { ...kind, window: window === undefined ? kind.window : Math.min(window, kind.window ?? window) };
      const bands = layerBands(next, cut);
      const set = anglesOf(kind, next, bands);
      const pairs = set?.table.invFreq.length ?? 0;
      kinds.set(keyOf(kind), { example, bands, angles: set?.buffers, pairs, lists: [], slotsAt: new Map() });
    }
  }

  /** Puts what was written on the device; true when that needed a larger buffer. */
  function upload(which: "shared" | "own"): boolean {
    const view = words[which].view();
    const grows = view.byteLength > buffers[which].size;
    if (grows) {
      buffers[which].destroy();
      buffers[which] = storageBuffer(gpu, "page lists", 2 * view.byteLength);
    }
    gpu.device.queue.writeBuffer(buffers[which], 0, view);
    return grows;
  }

  const kindOf = (layer: number): Kind => {
    const kind = spec.layers[layer];
    const known = kind === undefined ? undefined : kinds.get(keyOf(kind));
    if (known === undefined) throw new RangeError(`layer ${layer} has no positions: a plan comes first`);
    return known;
  };
  const listsOf = (into: Words, layer: number, kind: Kind, start: number, tokens: number, pattern: Pattern | undefined) => {
    const map = blockMap(cache, layer);
    const chunk = { start, tokens, pattern, heads: spec.headCount, kvHeads: spec.kvHeadCount };
    return kind.bands.map((band) => addPageLists(into, map, { ...chunk, band }));
  };

  return {
    setPlan(next) {
      if (plan?.key === next.key) return;
      plan = next;
      makeKinds(next);
    },
    setWindow(next) {
      if (window === next) return;
      window = next;
      if (plan !== undefined) makeKinds(plan);
    },
    write(start, tokens, pattern) {
      for (const set of angles.values()) {
        for (const [index, band] of set.bands.entries()) {
          const buffer = set.buffers[index];
          if (buffer === undefined) continue;
          const queries = positionsFrom(start, tokens, band.queryPosition);
          const keys = positionsFrom(start, tokens, set.keyPosition(band));
          const rows = angleRows(set.table, queries, keys, (token) => set.scale(start + token));
          gpu.device.queue.writeBuffer(buffer, 0, rows);
        }
      }
      words.shared.clear();
      for (const kind of kinds.values()) {
        kind.slotsAt = addSlots(words.shared, blockMap(cache, kind.example), start, tokens);
        kind.lists = listsOf(words.shared, kind.example, kind, start, tokens, pattern);
      }
      return upload("shared");
    },
    writeOwn(layer, start, tokens, pattern) {
      const kind = kindOf(layer);
      words.own.clear();
      const lists = listsOf(words.own, layer, kind, start, tokens, pattern);
      upload("own");
      return { ...kind, words: buffers.own, lists };
    },
    layer(index) {
      return { ...kindOf(index), words: buffers.shared };
    },
  };
}

interface AngleSet {
  table: RopeTable;
  bands: readonly Band[];
  buffers: readonly GPUBuffer[];
  keyPosition(band: Band): (position: number) => number;
  scale(position: number): number;
}

const same = (position: number): number => position;
