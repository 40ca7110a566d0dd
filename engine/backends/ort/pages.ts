/**
 * The cache of the ONNX Runtime decoder in pages. A page is, layer by layer, the rotated keys of every copy [G, 256, D], the values
 * [G, 256, D], and where the model shifts keys the raw keys [G, D] of every CUT_TOKENS-th token, all in f32.
 */
import { CUT_TOKENS, type DecoderSpec } from "../../api.ts";
import { PAGE_TOKENS } from "../../attention/api.ts";
import { EngineError } from "../../errors.ts";
import type { CachedPages } from "../../kv-cache/api.ts";
import { checkRoom } from "../../reference/checks.ts";
import type { LayerCache } from "./runner.ts";

export interface PagedLayers {
  spec: DecoderSpec;
  layers: readonly LayerCache[];
  lengthTokens: number;
  capacityTokens: number;
}

const CUTS = PAGE_TOKENS / CUT_TOKENS;

/** `cached` says what is there now; `onImport` hears that a page of tokens more is. */
export function ortPages(cached: () => PagedLayers, onImport: () => void): CachedPages {
  const { spec } = cached();
  const width = spec.kvHeadCount * spec.headDim;
  const tails = spec.keyShift ? CUTS : 0;
  const pageFloats = (): number =>
    cached().layers.reduce((sum, { keys }) => sum + (keys.length + 1) * PAGE_TOKENS * width + tails * width, 0);

  function taken(page: number): Uint8Array<ArrayBuffer> {
    const numbers = new Float32Array(pageFloats());
    let at = 0;
    const put = (rows: Float32Array): void => {
      numbers.set(rows, at);
      at += rows.length;
    };
    for (const { keys, values, pageRawKeys } of cached().layers) {
      for (const rows of [...keys, values]) put(rows.slice(page * PAGE_TOKENS, PAGE_TOKENS));
      for (let tail = 0; tail < tails; tail++) put(pageRawKeys[page * CUTS + tail] ?? new Float32Array(width));
    }
    return new Uint8Array(numbers.buffer);
  }

  function given(bytes: Uint8Array): void {
    const numbers = new Float32Array(bytes.slice().buffer);
    const { layers, lengthTokens } = cached();
    let at = 0;
    const next = (count: number): Float32Array<ArrayBuffer> => numbers.slice(at, (at += count));
    for (const layer of layers) {
      for (const rows of [...layer.keys, layer.values]) rows.write(lengthTokens, next(PAGE_TOKENS * width), PAGE_TOKENS);
      for (let tail = 0; tail < tails; tail++) {
        layer.lastRawKey = next(width);
        layer.pageRawKeys[lengthTokens / CUT_TOKENS + tail] = layer.lastRawKey;
      }
    }
    onImport();
  }

  return {
    kind: "keys",
    tokensPerPage: PAGE_TOKENS,
    get bytesPerPage() {
      return 4 * pageFloats();
    },
    layout: "rotated keys, values and raw keys by head, f32",
    async export(first, count) {
      if ((first + count) * PAGE_TOKENS <= cached().lengthTokens)
        return Array.from({ length: count }, (_, index) => taken(first + index));
      throw new EngineError("bad-argument", `page ${first + count - 1} is not whole in the cache`, "export finished pages only");
    },
    async import(pages, firstPage) {
      const { lengthTokens, capacityTokens } = cached();
      checkRoom(pages.length * PAGE_TOKENS, lengthTokens, capacityTokens);
      if (lengthTokens !== firstPage * PAGE_TOKENS || pages.some(({ length }) => length !== 4 * pageFloats())) {
        const message = `pages from ${firstPage} on do not fit behind ${lengthTokens} tokens`;
        throw new EngineError("bad-argument", message, "cut the cache to whole pages, and import pages of this model");
      }
      for (const page of pages) given(page);
    },
  };
}
