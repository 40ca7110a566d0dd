/**
 * The reference's cache in pages. A page is, layer by layer, the keys before rotation [256, G, D] and the values [256, G, D] in f32, and where
 * the model shifts keys the raw keys [G, D] of every CUT_TOKENS-th token, behind which the cache can be cut. Keys are rotated when they come back.
 */
import { CUT_TOKENS, type DecoderSpec, type PositionPlan } from "../api.ts";
import { PAGE_TOKENS } from "../attention/api.ts";
import { EngineError } from "../errors.ts";
import type { CachedPages } from "../kv-cache/api.ts";
import type { ReferenceCache } from "./cache.ts";
import { checkRoom } from "./checks.ts";
import { rotatedKeys } from "./decoder.ts";

export interface PagesOf {
  spec: DecoderSpec;
  cache: ReferenceCache;
  capacityTokens: number;
  plan: () => PositionPlan;
  /** Hears that tokens were put behind the cache that nothing was computed for. */
  onImport: (lengthTokens: number) => void;
}

export function referencePages({ spec, cache, capacityTokens, plan, onImport }: PagesOf): CachedPages {
  const width = spec.kvHeadCount * spec.headDim;
  const rows = PAGE_TOKENS * width;
  const tails = spec.keyShift ? PAGE_TOKENS / CUT_TOKENS : 0;
  const layerFloats = 2 * rows + tails * width;
  const bytesPerPage = 4 * spec.layerCount * layerFloats;
  /** Raw keys that matter stand at the end of each piece that a cut can leave. */
  const tailToken = (tail: number): number => (tail + 1) * CUT_TOKENS - 1;

  function taken(page: number): Uint8Array<ArrayBuffer> {
    const numbers = new Float32Array(bytesPerPage / 4);
    for (let layer = 0; layer < spec.layerCount; layer++) {
      const part = numbers.subarray(layer * layerFloats, (layer + 1) * layerFloats);
      const { rawKeys, bareKeys, values } = cache.bare(layer, page * PAGE_TOKENS, (page + 1) * PAGE_TOKENS);
      part.set(bareKeys);
      part.set(values, rows);
      for (let tail = 0; tail < tails; tail++) {
        const at = tailToken(tail) * width;
        part.set(rawKeys.subarray(at, at + width), 2 * rows + tail * width);
      }
    }
    return new Uint8Array(numbers.buffer);
  }

  function put(bytes: Uint8Array): void {
    const numbers = new Float32Array(bytes.slice().buffer);
    const start = cache.length;
    for (const [layer, kind] of spec.layers.entries()) {
      const part = numbers.subarray(layer * layerFloats, (layer + 1) * layerFloats);
      const bareKeys = part.subarray(0, rows);
      const rawKeys = new Float32Array(tails === 0 ? 0 : rows);
      for (let tail = 0; tail < tails; tail++) {
        const from = 2 * rows + tail * width;
        rawKeys.set(part.subarray(from, from + width), tailToken(tail) * width);
      }
      const keys = rotatedKeys({ spec, precision: "f32" }, plan(), kind, bareKeys, start);
      cache.write(layer, { rawKeys, bareKeys, keys, values: part.subarray(rows, 2 * rows) });
    }
    cache.advance(PAGE_TOKENS);
  }

  return {
    kind: "keys",
    tokensPerPage: PAGE_TOKENS,
    bytesPerPage,
    layout: "bare keys, values and raw keys, f32",
    async export(first, count) {
      if ((first + count) * PAGE_TOKENS <= cache.length) return Array.from({ length: count }, (_, index) => taken(first + index));
      throw new EngineError("bad-argument", `page ${first + count - 1} is not whole in the cache`, "export finished pages only");
    },
    async import(pages, firstPage) {
      checkRoom(pages.length * PAGE_TOKENS, cache.length, capacityTokens);
      if (cache.length !== firstPage * PAGE_TOKENS || pages.some(({ length }) => length !== bytesPerPage)) {
        const message = `pages from ${firstPage} on do not fit behind ${cache.length} tokens`;
        throw new EngineError("bad-argument", message, "cut the cache to whole pages, and import pages of this model");
      }
      for (const page of pages) put(page);
      onImport(cache.length);
    },
  };
}
