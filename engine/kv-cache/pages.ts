/**
 * The KV cache of one sequence: per layer one key and one value buffer of pages, grown geometrically, and a page table. Where the model
 * shifts keys, the raw key of the last token written in each page is kept too, so that a cache cut at a page border can go on.
 */
import { PAGE_TOKENS, type DecoderSpec } from "../api.ts";
import type { CachedKeys } from "../attention/attend.ts";
import { EngineError } from "../errors.ts";
import { allocated, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import { DEFAULT_CACHE_BYTES } from "../models/memory.ts";
import { cacheTooLarge, checkRoom } from "../reference/checks.ts";

const FIRST_PAGES = 64;

/** Buffers of one layer. */
export interface CacheLayer extends CachedKeys {
  /** Raw keys [pages, G, D] by logical page; undefined where the model does not shift keys. */
  tails: GPUBuffer | undefined;
}

export interface PagedCache {
  /** Tokens that went through all layers. */
  readonly length: number;
  readonly capacityTokens: number;
  /** Tokens that the buffers hold without growing. */
  readonly allocatedTokens: number;
  layer(index: number): CacheLayer;
  /**
   * Keeps `copies` rotations of the keys in layers of rotation "main", new ones beginning as the first one is; true when buffers were
   * replaced. Throws `kv-cache-too-large`.
   */
  setCopies(copies: number): Promise<boolean>;
  /** Makes room for `tokens` behind `length`; true when buffers were replaced. Throws `kv-cache-too-large`. */
  reserve(tokens: number): Promise<boolean>;
  /** Counts tokens that every layer has written. */
  advance(tokens: number): void;
  /** Frees pages from the end, down to a multiple of PAGE_TOKENS not above `lengthTokens`; `length` or more changes nothing. */
  truncate(lengthTokens: number): number;
}

/** Largest cache of this model on this device, in tokens, a multiple of PAGE_TOKENS. */
export function cacheCapacity(spec: DecoderSpec, maxBindingBytes: number, wantedTokens: number | undefined): number {
  if (wantedTokens !== undefined && (!Number.isSafeInteger(wantedTokens) || wantedTokens < 1)) {
    throw new EngineError("bad-argument", `a KV cache of ${wantedTokens} tokens holds nothing`, "give at least one token");
  }
  const tokenBytes = spec.kvHeadCount * spec.headDim * 4;
  const bindable = Math.floor(maxBindingBytes / tokenBytes);
  const affordable = Math.floor(DEFAULT_CACHE_BYTES / (2 * spec.layerCount * tokenBytes));
  const pages = Math.floor(Math.min(bindable, wantedTokens === undefined ? affordable : Infinity) / PAGE_TOKENS);
  return Math.min(pages * PAGE_TOKENS, wantedTokens ?? Infinity);
}

export function openPagedCache(spec: DecoderSpec, gpu: EngineDevice, capacityTokens: number): PagedCache {
  const maxPages = Math.ceil(capacityTokens / PAGE_TOKENS);
  const keyBytes = spec.kvHeadCount * spec.headDim * 4;
  const pages = storageBuffer(gpu, "page table", maxPages * 4);
  let layers: CacheLayer[] = [];
  let allocatedPages = 0;
  let copies = 1;
  let length = 0;
  /** Physical page of each logical one in use, and those in no use; the last freed is taken first. */
  const table: number[] = [];
  const free: number[] = [];

  const copiesOf = (layer: number, count: number): number => (spec.layers[layer]?.rotation === "main" ? count : 1);

  /** Buffers of `target` pages and `count` copies in the place of the present ones, whose contents they take over. */
  async function replace(target: number, count: number): Promise<void> {
    const layerBytes = target * PAGE_TOKENS * keyBytes;
    const made = await allocated(
      gpu,
      () =>
        Array.from({ length: spec.layerCount }, (_, index) => ({
          pages,
          keys: Array.from({ length: copiesOf(index, count) }, (_, copy) =>
            storageBuffer(gpu, `keys ${index} ${copy}`, layerBytes),
          ),
          values: storageBuffer(gpu, `values ${index}`, layerBytes),
          tails: spec.keyShift ? storageBuffer(gpu, `raw keys ${index}`, target * keyBytes) : undefined,
        })),
      () => cacheTooLarge(target * PAGE_TOKENS, allocatedPages * PAGE_TOKENS),
    );
    const encoder = gpu.device.createCommandEncoder();
    const copyOver = (source: GPUBuffer | undefined, into: GPUBuffer | undefined): void => {
      if (source !== undefined && into !== undefined) encoder.copyBufferToBuffer(source, 0, into, 0, source.size);
    };
    for (const [index, old] of layers.entries()) {
      const layer = made[index];
      for (const [copy, keys] of (layer?.keys ?? []).entries()) copyOver(old.keys[copy] ?? old.keys[0], keys);
      copyOver(old.values, layer?.values);
      copyOver(old.tails, layer?.tails);
    }
    gpu.device.queue.submit([encoder.finish()]);
    for (const { keys, values, tails } of layers) for (const buffer of [...keys, values, tails]) buffer?.destroy();
    for (let page = target - 1; page >= allocatedPages; page--) free.push(page);
    layers = made;
    allocatedPages = target;
    copies = count;
  }

  return {
    capacityTokens,
    get length() {
      return length;
    },
    get allocatedTokens() {
      return allocatedPages * PAGE_TOKENS;
    },
    layer(index) {
      const layer = layers[index];
      if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
      return layer;
    },
    async setCopies(count) {
      if (count === copies) return false;
      await replace(allocatedPages, count);
      return true;
    },
    async reserve(tokens) {
      checkRoom(tokens, length, capacityTokens);
      const needed = Math.ceil((length + tokens) / PAGE_TOKENS);
      const grows = needed > allocatedPages;
      if (grows) await replace(Math.min(maxPages, Math.max(needed, 2 * allocatedPages, FIRST_PAGES)), copies);
      const known = table.length;
      while (table.length < needed) {
        const page = free.pop();
        if (page === undefined) throw new RangeError("the page table and its free pages disagree");
        table.push(page);
      }
      if (table.length > known) gpu.device.queue.writeBuffer(pages, known * 4, Uint32Array.from(table.slice(known)));
      return grows;
    },
    advance(tokens) {
      length += tokens;
    },
    truncate(lengthTokens) {
      if (lengthTokens >= length) return length;
      length = Math.floor(Math.max(lengthTokens, 0) / PAGE_TOKENS) * PAGE_TOKENS;
      free.push(...table.splice(length / PAGE_TOKENS));
      return length;
    },
  };
}
