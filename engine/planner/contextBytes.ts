/** What a context takes: keys and values of a transformer, the state of a recurrent model. */
import { CUT_TOKENS, type DecoderSpec, type LayerKind, type ModelSpec } from "../api.ts";
import { PAGE_TOKENS, type AttentionChoice, type KvFormats } from "../attention/api.ts";
import { tokenBytes } from "../kv-cache/capacity.ts";
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

/** Bytes of the keys and values that are needed, or of the state; `layers` has those of each layer. */
export function contextBytes(spec: ModelSpec, context: CachedContext): { bytes: number; layers: readonly number[] } {
  if (spec.kind !== "decoder") {
    const bytes = 4 * stateFloats(spec);
    return { bytes, layers: Array.from({ length: spec.layerCount }, () => bytes / spec.layerCount) };
  }
  const layers = spec.layers.map((layer) => neededTokens(layer, context) * layerTokenBytes(spec, layer, context));
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
  layer: LayerKind,
  { kv, copies }: Pick<CachedContext, "kv" | "copies">,
): number {
  return tokenBytes(spec, kv, layer.rotation === "main" ? copies : 1);
}

/**
 * Bytes that the GPU backend allocates for it: whole pages, for a window with room for the chunk behind it, and raw keys of models that
 * shift them; of recurrent models the state, and the copies that it can go back to.
 */
export function allocatedContextBytes(spec: ModelSpec, context: CachedContext, chunkTokens: number): number {
  if (spec.kind !== "decoder") {
    const bytes = 4 * stateFloats(spec);
    return bytes * (1 + slotCount(bytes));
  }
  const paged = Math.ceil(context.tokens / PAGE_TOKENS) * PAGE_TOKENS;
  let bytes = 0;
  for (const layer of spec.layers) {
    const held = Math.min(paged, heldTokens(layer, context.attention, chunkTokens));
    bytes += held * layerTokenBytes(spec, layer, context);
  }
  return bytes + tailBytes(spec, context.tokens);
}

/** Raw keys are kept for every place that the cache can be cut at, at least this many. */
const FIRST_TAILS = 64;

function tailBytes(spec: DecoderSpec, tokens: number): number {
  if (!spec.keyShift) return 0;
  return spec.layerCount * Math.max(FIRST_TAILS, Math.ceil(tokens / CUT_TOKENS)) * spec.kvHeadCount * spec.headDim * 4;
}

/** Beyond any context there is. */
const MOST_TOKENS = 2 ** 34;

/** Most tokens for which `bytesAt`, which never falls, stays within the budget: 0 where one does not, Infinity where all do. */
export function largestContext(budgetBytes: number, bytesAt: (tokens: number) => number): number {
  if (bytesAt(MOST_TOKENS) <= budgetBytes) return Infinity;
  let low = 0;
  let high = MOST_TOKENS;
  while (low < high) {
    const middle = Math.floor((low + high + 1) / 2);
    if (bytesAt(middle) <= budgetBytes) low = middle;
    else high = middle - 1;
  }
  return low;
}
