/** What a context takes: keys and values of a transformer, the state of a recurrent model. */
import { CUT_TOKENS, type DecoderSpec, type LayerKind, type ModelSpec } from "../api.ts";
import { PAGE_TOKENS, type AttentionChoice, type KvFormats } from "../attention/api.ts";
import { choosesPages } from "../attention/patterns/quest.ts";
import { boundBytes } from "../kv-cache/capacity.ts";
import { cachedFormats, rowWords } from "../kv-cache/format.ts";
import { STREAM_SLAB_BYTES } from "../kv-cache/hostSlabs.ts";
import { openTileBytes } from "../kv-cache/openTiles.ts";
import { boundOf, heldTokens } from "../kv-cache/retention.ts";
import { slotCount } from "../recurrent/slots.ts";
import { stateFloats } from "../recurrent/state.ts";

export interface CachedContext {
  tokens: number;
  attention: AttentionChoice;
  kv: KvFormats;
  /** Rotations of the keys that the position plan asks for. */
  copies: number;
}

/** Bytes of the keys and values that are needed, or of the state; `layers` has those of each layer. Throws `bad-argument` for formats that a policy does not take. */
export function contextBytes(spec: ModelSpec, context: CachedContext): { bytes: number; layers: readonly number[] } {
  if (spec.kind !== "decoder") {
    const bytes = 4 * stateFloats(spec);
    return { bytes, layers: Array.from({ length: spec.layerCount }, () => bytes / spec.layerCount) };
  }
  const layers = spec.layers.map((layer) => Math.ceil(neededTokens(layer, context) * layerTokenBytes(spec, layer, context)));
  return { bytes: layers.reduce((sum, bytes) => sum + bytes, 0), layers };
}

/** Tokens of the context whose keys a layer still needs. */
export function neededTokens(layer: LayerKind, { tokens, attention }: Pick<CachedContext, "tokens" | "attention">): number {
  const { pinned, window } = boundOf(attention);
  // The first keys lie outside a layer's own window.
  const most = layer.window === undefined ? pinned + window : Math.min(layer.window, window);
  return Math.min(tokens, most);
}

/** Keys, in all their rotations, and values of one token in one layer. */
export function layerTokenBytes(
  spec: DecoderSpec,
  { rotation }: Pick<LayerKind, "rotation">,
  { kv, attention, copies }: Pick<CachedContext, "kv" | "attention" | "copies">,
): number {
  const formats = cachedFormats(kv, attention);
  const keyRows = rotation === "main" ? copies : 1;
  return 4 * spec.kvHeadCount * (keyRows * rowWords(formats.keys, spec.headDim) + rowWords(formats.values, spec.headDim));
}

/** What is allocated for a context: on the device, and in the memory beside it. */
export interface ContextAllocation {
  deviceBytes: number;
  hostBytes: number;
}

/**
 * What the GPU backend allocates: whole pages, for a window with room for the chunk behind it, and raw keys of models that shift them; bounds
 * of pages to choose from; where keys are streamed a slab per layer and two to pass the others through. Of recurrent models the state, and the
 * copies that it can go back to.
 */
export function allocatedContext(
  spec: ModelSpec,
  context: CachedContext,
  { chunkTokens, maxBufferBytes }: { chunkTokens: number; maxBufferBytes: number },
): ContextAllocation {
  if (spec.kind !== "decoder") {
    const bytes = 4 * stateFloats(spec);
    return { deviceBytes: bytes * (1 + slotCount(bytes)), hostBytes: 0 };
  }
  const { attention, tokens } = context;
  const beside = tailBytes(spec, tokens) + openTiles(spec, context);
  if (attention.policy.kind === "stream") return streamed(spec, context, maxBufferBytes, beside);
  const paged = Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS;
  let deviceBytes = beside;
  for (const [index, layer] of spec.layers.entries()) {
    const held = Math.min(paged, heldTokens(layer, attention, chunkTokens));
    const keyRows = layer.rotation === "main" ? context.copies : 1;
    const bounds = attention.topPages !== undefined && choosesPages(spec, index) ? keyRows * boundBytes(spec) : 0;
    deviceBytes += held * (layerTokenBytes(spec, layer, context) + bounds);
  }
  return { deviceBytes, hostBytes: 0 };
}

/** Slabs that are full lie in host memory; of each layer the last one is on the device, and two of any layer pass through it. */
function streamed(spec: DecoderSpec, context: CachedContext, maxBufferBytes: number, beside: number): ContextAllocation {
  const { tokens, attention, kv } = context;
  const formats = cachedFormats(kv, attention);
  const pageBytes = (words: number): number => PAGE_TOKENS * spec.kvHeadCount * words * 4;
  const keyPage = pageBytes(rowWords(formats.keys, spec.headDim));
  const valuePage = pageBytes(rowWords(formats.values, spec.headDim));
  const fitting = Math.min(STREAM_SLAB_BYTES / keyPage, maxBufferBytes / Math.max(keyPage, valuePage));
  const slabPages = Math.max(1, Math.floor(fitting));
  const fullSlabs = Math.floor(tokens / (slabPages * PAGE_TOKENS));
  const perSlab = slabPages * PAGE_TOKENS;
  let deviceBytes = beside;
  let hostBytes = 0;
  for (const layer of spec.layers) {
    const slabBytes = perSlab * layerTokenBytes(spec, layer, context);
    deviceBytes += slabBytes;
    hostBytes += fullSlabs * slabBytes;
  }
  return { deviceBytes: deviceBytes + (fullSlabs === 0 ? 0 : 2 * slabPages * (keyPage + valuePage)), hostBytes };
}

/** Raw keys are kept for every place that the cache can be cut at, at least this many. */
const FIRST_TAILS = 64;

function tailBytes(spec: DecoderSpec, tokens: number): number {
  if (!spec.keyShift) return 0;
  return spec.layerCount * Math.max(FIRST_TAILS, Math.ceil(tokens / CUT_TOKENS)) * spec.kvHeadCount * spec.headDim * 4;
}

/** Unrounded rows of the tiles that flash3 has not filled yet. */
function openTiles(spec: DecoderSpec, { attention, copies }: CachedContext): number {
  if (attention.policy.kind !== "flash3") return 0;
  return spec.layers.reduce((sum, { rotation }) => sum + openTileBytes(spec, rotation === "main" ? copies : 1), 0);
}

/** Beyond any context there is. */
const MOST_TOKENS = 2 ** 34;

/** Most tokens that fit, where fewer always do: 0 where one does not, Infinity where all do. */
export function largestContext(fits: (tokens: number) => boolean): number {
  if (fits(MOST_TOKENS)) return Infinity;
  let low = 0;
  let high = MOST_TOKENS;
  while (low < high) {
    const middle = Math.floor((low + high + 1) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
