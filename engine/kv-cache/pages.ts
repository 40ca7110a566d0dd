/**
 * The KV cache of one sequence. Each layer has slabs of pages of PAGE_TOKENS tokens, one buffer for keys (per copy of the position plan) and
 * one for values, appended as the sequence grows and never copied. Layers that see a window keep a ring of pages (retention.ts). Where the
 * model shifts keys, the raw key of the last token in front of every multiple of CUT_TOKENS is kept too, so that a cache that was cut can go on.
 */
import { CUT_TOKENS, type DecoderSpec } from "../api.ts";
import { PAGE_TOKENS, type AttentionChoice, type KvFormats } from "../attention/api.ts";
import { choosesPages } from "../attention/patterns/quest.ts";
import { EngineError } from "../errors.ts";
import { allocated, storageBuffer, type Readback } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import { cacheTooLarge, checkRoom } from "../reference/checks.ts";
import { boundBytes } from "./capacity.ts";
import { cachedFormats, rowWords, type RowFormats } from "./format.ts";
import { moveToDevice, moveToHost, STREAM_SLAB_BYTES, type HostSlab } from "./hostSlabs.ts";
import { oldestKept, placeOf, placesFor, retentionOf, type Retention } from "./retention.ts";

/** Largest buffer of a slab, where the device binds as much. */
const SLAB_BYTES = 512 * 2 ** 20;
/** Least pages of a slab that a decoded token makes. */
const GROWTH_PAGES = 4;

/** Keys and values of some pages of one layer: `keys` has one buffer per copy. */
export interface Slab {
  /** First place, in pages, and how many. */
  first: number;
  pages: number;
  keys: GPUBuffer[];
  values: GPUBuffer;
  /** Per copy, bounds of the keys (kernels/page_bounds.wgsl), which attention/topPages.ts writes; absent where nobody chooses by them. */
  bounds?: GPUBuffer[];
  /** Where the slab lies in host memory instead: `keys` is then empty, and `values` gone. */
  host?: HostSlab;
}

export interface CacheLayer {
  slabs: readonly Slab[];
  retention: Retention;
  /** Raw keys [length / CUT_TOKENS, G, D]; undefined where the model does not shift keys. */
  tails: GPUBuffer | undefined;
}

/** Where a page lies. */
export interface PlacedPage {
  slab: number;
  /** Page inside the slab. */
  page: number;
}

export interface PagedCache {
  /** How keys and values lie in it now. */
  readonly formats: RowFormats;
  /** Tokens that went through all layers. */
  readonly length: number;
  /** Bytes of all buffers, and of slabs in host memory. */
  readonly bytes: number;
  readonly hostBytes: number;
  layer(index: number): CacheLayer;
  /** Where a page of the layer lies; undefined where it was never written or is gone. */
  place(layer: number, page: number): PlacedPage | undefined;
  /** Empties the cache and keeps pages as `choice` has it from now on. */
  setChoice(choice: AttentionChoice, capacityTokens: number): void;
  /**
   * Keeps `copies` rotations of the keys in layers of rotation "main", new ones beginning as the first one is; true when buffers came or
   * went. Throws `kv-cache-too-large`.
   */
  setCopies(copies: number): Promise<boolean>;
  /** Makes room for `tokens` behind `length`; true when buffers came. Throws `kv-cache-too-large`. */
  reserve(tokens: number): Promise<boolean>;
  /** Most tokens that one `reserve` is for; the whole rest where nothing is streamed. */
  readonly reserveTokens: number;
  /** Moves slabs that are full to host memory where the policy streams them. */
  spill(readback: Readback): Promise<void>;
  /** Counts tokens that every layer has written. */
  advance(tokens: number): void;
  /** Drops tokens from the end, down to a multiple of CUT_TOKENS not above `lengthTokens` whose window is still there, else to 0. */
  truncate(lengthTokens: number): number;
}

export interface CacheOptions {
  spec: DecoderSpec;
  gpu: EngineDevice;
  /** What was chosen; a policy may have its own. */
  formats: KvFormats;
  choice: AttentionChoice;
  capacityTokens: number;
  /** Most tokens that are written before they are read. */
  chunkTokens: number;
  maxBindingBytes: number;
  /** Pages of a slab at most; what fits a buffer by default. */
  slabPages?: number;
}

export function openPagedCache(options: CacheOptions): PagedCache {
  const { spec, gpu, chunkTokens } = options;
  const pageBytes = (which: keyof RowFormats): number =>
    PAGE_TOKENS * spec.kvHeadCount * rowWords(formats[which], spec.headDim) * 4;
  const maxPages = (): number => {
    const largest = Math.max(pageBytes("keys"), pageBytes("values"));
    return Math.max(1, Math.floor(Math.min(SLAB_BYTES, options.maxBindingBytes) / largest));
  };
  const streamPages = (): number => Math.max(1, Math.min(maxPages(), Math.floor(STREAM_SLAB_BYTES / pageBytes("keys"))));
  /** Slabs that are streamed are all of one size, and small. */
  const isStreamed = (): boolean => choice.policy.kind === "stream";
  const slabPages = (): number => Math.min(options.slabPages ?? Infinity, isStreamed() ? streamPages() : maxPages());
  const tailRow = spec.kvHeadCount * spec.headDim * 4;
  let { choice, capacityTokens } = options;
  let formats = cachedFormats(options.formats, choice);
  let layers = emptyLayers();
  let copies = 1;
  let length = 0;
  /** Pages that were written since the cache was empty: cut ones count, because they took the places of others. */
  let writtenPages = 0;
  let tailRows = 0;

  function emptyLayers(): { slabs: Slab[]; retention: Retention; tails: GPUBuffer | undefined }[] {
    return spec.layers.map((layer) => ({ slabs: [], retention: retentionOf(layer, choice, chunkTokens), tails: undefined }));
  }
  const copiesOf = (layer: number): number => (spec.layers[layer]?.rotation === "main" ? copies : 1);
  const placesOf = (slabs: readonly Slab[]): number => slabs.reduce((sum, slab) => sum + slab.pages, 0);
  const keysBuffer = (layer: number, copy: number, pages: number): GPUBuffer =>
    storageBuffer(gpu, `keys ${layer} ${copy}`, pages * pageBytes("keys"));
  const boundsBuffer = (layer: number, copy: number, pages: number): GPUBuffer =>
    storageBuffer(gpu, `bounds of keys ${layer} ${copy}`, pages * PAGE_TOKENS * boundBytes(spec));
  /** Bounds of as many copies as there are of the keys, in layers that choose by them; `held` are there already. */
  const boundsOf = (layer: number, pages: number, held: readonly GPUBuffer[] = []): GPUBuffer[] =>
    choice.topPages !== undefined && choosesPages(spec, layer)
      ? Array.from({ length: copiesOf(layer) }, (_, copy) => held[copy] ?? boundsBuffer(layer, copy, pages))
      : [];
  const failed = (tokens: number) => (): EngineError => cacheTooLarge(tokens, length);

  function dropSlab({ keys, values, host, bounds = [] }: Slab): void {
    for (const buffer of [...(host === undefined ? [...keys, values] : []), ...bounds]) buffer.destroy();
  }

  /** Layers whose slabs are streamed: a ring is written again and again, and small, so it stays on the device. */
  const streamedLayers = () => layers.filter(({ retention }) => retention.ring === undefined);

  /** Streamed slabs behind `length` go; the one that is written next comes back to the device. */
  function settleSlabs(): void {
    const page = Math.floor(length / PAGE_TOKENS);
    for (const { slabs } of streamedLayers()) {
      while ((slabs.at(-1)?.first ?? 0) > page) {
        const last = slabs.pop();
        if (last !== undefined) dropSlab(last);
      }
      const open = slabs.at(-1);
      if (open !== undefined && page < open.first + open.pages) moveToDevice(open, gpu);
    }
  }

  function release(): void {
    for (const { slabs, tails } of layers) {
      for (const slab of slabs) dropSlab(slab);
      tails?.destroy();
    }
    layers = emptyLayers();
    length = 0;
    writtenPages = 0;
    tailRows = 0;
  }

  /** Slabs for what the layer lacks of `needed` places; growing by a quarter, so that a long answer makes few of them. */
  function newSlabs(index: number, needed: number): Slab[] {
    const layer = layers[index];
    const have = placesOf(layer.slabs);
    const most = placesFor(Infinity, layer.retention);
    let missing = Math.min(Math.max(needed - have, have === 0 ? 0 : GROWTH_PAGES, Math.floor(have / 4)), most - have);
    const made: Slab[] = [];
    for (let first = have; missing > 0;) {
      const pages = isStreamed() ? slabPages() : Math.min(missing, slabPages());
      made.push({
        first,
        pages,
        keys: Array.from({ length: copiesOf(index) }, (_, copy) => keysBuffer(index, copy, pages)),
        values: storageBuffer(gpu, `values ${index}`, pages * pageBytes("values")),
        bounds: boundsOf(index, pages),
      });
      first += pages;
      missing -= pages;
    }
    return made;
  }

  async function growTails(tokens: number): Promise<boolean> {
    if (!spec.keyShift) return false;
    const needed = Math.ceil((length + tokens) / CUT_TOKENS);
    if (needed <= tailRows) return false;
    const rows = Math.max(needed, tailRows + Math.ceil(tailRows / 4), 64);
    const made = await allocated(
      gpu,
      () => spec.layers.map((_, index) => storageBuffer(gpu, `raw keys ${index}`, rows * tailRow)),
      failed(length + tokens),
    );
    const encoder = gpu.device.createCommandEncoder();
    for (const [index, layer] of layers.entries()) {
      const tails = made[index];
      if (layer.tails !== undefined) encoder.copyBufferToBuffer(layer.tails, 0, tails, 0, layer.tails.size);
    }
    gpu.device.queue.submit([encoder.finish()]);
    for (const [index, layer] of layers.entries()) {
      layer.tails?.destroy();
      layer.tails = made[index];
    }
    tailRows = rows;
    return true;
  }

  return {
    get formats() {
      return formats;
    },
    get length() {
      return length;
    },
    get bytes() {
      let bytes = 0;
      for (const { slabs, tails } of layers) {
        for (const { keys, values, host, bounds = [] } of slabs)
          for (const buffer of [...(host === undefined ? [...keys, values] : []), ...bounds]) bytes += buffer.size;
        bytes += tails?.size ?? 0;
      }
      return bytes;
    },
    get hostBytes() {
      const hosts = layers.flatMap(({ slabs }) => slabs.map(({ host }) => host)).filter((host) => host !== undefined);
      return hosts.reduce(
        (sum, { keys, values }) => sum + values.length + keys.reduce((all, { length: one }) => all + one, 0),
        0,
      );
    },
    get reserveTokens() {
      return isStreamed() ? chunkTokens : Infinity;
    },
    layer(index) {
      const layer = layers[index];
      if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
      return layer;
    },
    place(index, page) {
      const { slabs, retention } = layers[index];
      if (page >= retention.pinned && page < oldestKept(writtenPages, retention)) return undefined;
      const place = placeOf(page, retention);
      const slab = slabs.findIndex(({ first, pages }) => place >= first && place < first + pages);
      return slab < 0 ? undefined : { slab, page: place - slabs[slab].first };
    },
    setChoice(next, capacity) {
      choice = next;
      formats = cachedFormats(options.formats, next);
      capacityTokens = capacity;
      release();
    },
    async setCopies(count) {
      if (count === copies) return false;
      copies = count;
      if (isStreamed()) {
        release();
        return true;
      }
      const made = await allocated(
        gpu,
        () =>
          layers.map(({ slabs }, index) =>
            slabs.map(({ keys, bounds, pages }) => ({
              keys: Array.from({ length: copiesOf(index) }, (_, copy) => keys[copy] ?? keysBuffer(index, copy, pages)),
              bounds: boundsOf(index, pages, bounds),
            })),
          ),
        failed(length),
      );
      const encoder = gpu.device.createCommandEncoder();
      for (const [index, { slabs }] of layers.entries()) {
        for (const [s, slab] of slabs.entries()) {
          const { keys } = made[index][s];
          for (const extra of keys.slice(slab.keys.length)) encoder.copyBufferToBuffer(slab.keys[0], 0, extra, 0, extra.size);
        }
      }
      gpu.device.queue.submit([encoder.finish()]);
      for (const [index, { slabs }] of layers.entries()) {
        for (const [s, slab] of slabs.entries()) {
          const { keys, bounds } = made[index][s];
          for (const gone of [...slab.keys.slice(keys.length), ...(slab.bounds?.slice(bounds.length) ?? [])]) gone.destroy();
          slab.keys = keys;
          slab.bounds = bounds;
        }
      }
      return true;
    },
    async reserve(tokens) {
      checkRoom(tokens, length, capacityTokens);
      if (isStreamed()) settleSlabs();
      const pages = Math.ceil((length + tokens) / PAGE_TOKENS);
      const needed = layers.map(({ retention }) => placesFor(pages, retention));
      const grows = layers.some(({ slabs }, index) => needed[index] > placesOf(slabs));
      if (grows) {
        const made = await allocated(
          gpu,
          () => layers.map(({ slabs }, index) => (needed[index] > placesOf(slabs) ? newSlabs(index, needed[index]) : [])),
          failed(length + tokens),
        );
        for (const [index, layer] of layers.entries()) layer.slabs.push(...made[index]);
      }
      return (await growTails(tokens)) || grows;
    },
    async spill(readback) {
      if (!isStreamed()) return;
      for (const { slabs } of streamedLayers()) {
        for (const slab of slabs) {
          const isFull = (slab.first + slab.pages) * PAGE_TOKENS <= length;
          if (isFull && slab.host === undefined) await moveToHost(slab, readback);
        }
      }
    },
    advance(tokens) {
      length += tokens;
      writtenPages = Math.max(writtenPages, Math.ceil(length / PAGE_TOKENS));
    },
    truncate(lengthTokens) {
      if (lengthTokens >= length) return length;
      const wanted = Math.floor(Math.max(lengthTokens, 0) / CUT_TOKENS) * CUT_TOKENS;
      const isThere = layers.every(({ retention }) => {
        const first = Math.floor(Math.max(0, wanted - retention.window) / PAGE_TOKENS);
        return first < retention.pinned || first >= oldestKept(writtenPages, retention);
      });
      length = isThere ? wanted : 0;
      if (length === 0) writtenPages = 0;
      return length;
    },
  };
}
