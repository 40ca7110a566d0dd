/**
 * The cache of the WebGPU decoder in pages. A page is, layer by layer, its keys of every copy [G, PAGE_TOKENS, row], its values, and where the
 * model shifts keys the raw keys [G, D] of every CUT_TOKENS-th token, as they lie on the device.
 */
import { CUT_TOKENS, type DecoderSpec } from "../../api.ts";
import { PAGE_TOKENS } from "../../attention/api.ts";
import { EngineError } from "../../errors.ts";
import { storageBuffer, type Readback } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Recorder } from "../../gpu/dispatch.ts";
import type { CachedPages } from "../../kv-cache/api.ts";
import { rowWords, type RowFormats } from "../../kv-cache/format.ts";
import type { PagedCache } from "../../kv-cache/pages.ts";

export interface GpuPages {
  spec: DecoderSpec;
  gpu: EngineDevice;
  recorder: Recorder;
  readback: Readback;
  cache: PagedCache;
  /** Copies of the keys now. */
  copies: () => number;
  /** Makes room as for appending. */
  reserve: (tokens: number) => Promise<void>;
  /** Hears that tokens were put behind the cache that nothing was computed for. */
  onImport: () => void;
}

/** Bytes of a page, on the device or in host memory. */
interface Region {
  source: GPUBuffer | Uint8Array<ArrayBuffer>;
  offset: number;
  bytes: number;
}

export function gpuPages({ spec, gpu, recorder, readback, cache, copies, reserve, onImport }: GpuPages): CachedPages {
  const rowBytes = (which: keyof RowFormats): number =>
    PAGE_TOKENS * spec.kvHeadCount * rowWords(cache.formats[which], spec.headDim) * 4;
  const cuts = PAGE_TOKENS / CUT_TOKENS;
  const tailBytes = spec.keyShift ? cuts * spec.kvHeadCount * spec.headDim * 4 : 0;
  const copiesOf = (layer: number): number => (spec.layers[layer]?.rotation === "main" ? copies() : 1);
  const layerBytes = (layer: number): number => copiesOf(layer) * rowBytes("keys") + rowBytes("values") + tailBytes;
  const pageBytes = (): number => spec.layers.reduce((sum, _, layer) => sum + layerBytes(layer), 0);

  /** Where the parts of a page lie, in their order; undefined where a layer does not hold it any more. */
  function regionsOf(page: number): Region[] | undefined {
    const regions: Region[] = [];
    for (const layer of spec.layers.keys()) {
      const placed = cache.place(layer, page);
      if (placed === undefined) return undefined;
      const { slabs, tails } = cache.layer(layer);
      const slab = slabs[placed.slab];
      const { keys, values } = slab.host ?? slab;
      for (const source of keys) regions.push({ source, offset: placed.page * rowBytes("keys"), bytes: rowBytes("keys") });
      regions.push({ source: values, offset: placed.page * rowBytes("values"), bytes: rowBytes("values") });
      if (tails !== undefined) regions.push({ source: tails, offset: page * tailBytes, bytes: tailBytes });
    }
    return regions;
  }

  async function taken(regions: readonly Region[], gathered: GPUBuffer): Promise<Uint8Array<ArrayBuffer>> {
    copyInto(gpu, regions, gathered);
    const page = new Uint8Array(await readback.read(gathered, 0, pageBytes()));
    let at = 0;
    for (const { source, offset, bytes } of regions) {
      if (source instanceof Uint8Array) page.set(source.subarray(offset, offset + bytes), at);
      at += bytes;
    }
    return page;
  }

  return {
    kind: "keys",
    tokensPerPage: PAGE_TOKENS,
    get bytesPerPage() {
      return pageBytes();
    },
    get layout() {
      return `rotated keys ${cache.formats.keys}, values ${cache.formats.values}, raw keys f32`;
    },
    async export(first, count) {
      gpu.check();
      // The last token of a page may still only be recorded.
      recorder.submit();
      if ((first + count) * PAGE_TOKENS > cache.length) {
        throw new EngineError(
          "bad-argument",
          `page ${first + count - 1} is not whole in the cache`,
          "export finished pages only",
        );
      }
      const gathered = storageBuffer(gpu, "page", pageBytes());
      try {
        const pages: (Uint8Array<ArrayBuffer> | undefined)[] = [];
        for (let page = first; page < first + count; page++) {
          const regions = regionsOf(page);
          pages.push(regions && (await taken(regions, gathered)));
        }
        return pages;
      } finally {
        gathered.destroy();
      }
    },
    async import(pages, firstPage) {
      gpu.check();
      if (cache.length !== firstPage * PAGE_TOKENS || pages.some(({ length }) => length !== pageBytes())) {
        const message = `pages from ${firstPage} on do not fit behind ${cache.length} tokens`;
        throw new EngineError("bad-argument", message, "cut the cache to whole pages, and import pages of this model");
      }
      for (const [index, bytes] of pages.entries()) {
        await reserve(Math.min(cache.reserveTokens, (pages.length - index) * PAGE_TOKENS));
        const regions = regionsOf(firstPage + index);
        if (regions === undefined) throw new RangeError(`page ${firstPage + index} has no place`);
        let at = 0;
        for (const { source, offset, bytes: count } of regions) {
          if (source instanceof Uint8Array) throw new RangeError("a page that is written lies on the device");
          gpu.device.queue.writeBuffer(source, offset, bytes, at, count);
          at += count;
        }
        cache.advance(PAGE_TOKENS);
        await cache.spill(readback);
      }
      onImport();
    },
  };
}

function copyInto(gpu: EngineDevice, regions: readonly Region[], target: GPUBuffer): void {
  const encoder = gpu.device.createCommandEncoder();
  let at = 0;
  for (const { source, offset, bytes } of regions) {
    if (!(source instanceof Uint8Array)) encoder.copyBufferToBuffer(source, offset, target, at, bytes);
    at += bytes;
  }
  gpu.device.queue.submit([encoder.finish()]);
}
