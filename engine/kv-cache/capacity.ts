/** How many tokens a KV cache may hold, and the bytes that tokens take: one rule for the device and the planner. */
import type { DecoderSpec } from "../api.ts";
import { PAGE_TOKENS, QUEST_PAGE_TOKENS, type AttentionChoice, type KvFormats } from "../attention/api.ts";
import { choosesPages } from "../attention/patterns/quest.ts";
import { EngineError } from "../errors.ts";
import { DEFAULT_CACHE_BYTES, STREAM_CACHE_BYTES } from "../models/memory.ts";
import { cachedFormats, rowWords, type RowFormats } from "./format.ts";
import { heldTokens } from "./retention.ts";

/** Positions go to the device as f32 too, which counts no further exactly. */
const MOST_TOKENS = 2 ** 24;

/** Bytes of one token's keys and values in one layer, `copies` times the keys. */
export function tokenBytes(spec: DecoderSpec, formats: RowFormats, copies = 1): number {
  return spec.kvHeadCount * (copies * rowWords(formats.keys, spec.headDim) + rowWords(formats.values, spec.headDim)) * 4;
}

/** Bytes of one token's part in the bounds of its page in one layer that chooses pages: the least and the largest of each channel in f32. */
export function boundBytes({ kvHeadCount, headDim }: Pick<DecoderSpec, "kvHeadCount" | "headDim">): number {
  return (kvHeadCount * 2 * headDim * 4) / QUEST_PAGE_TOKENS;
}

/** Bytes of `tokens` tokens in whole pages, over all layers, when chunks have at most `chunkTokens` tokens. */
export function cacheBytes(
  spec: DecoderSpec,
  formats: KvFormats,
  choice: AttentionChoice,
  tokens: number,
  chunkTokens: number,
): number {
  const pages = Math.ceil(tokens / PAGE_TOKENS);
  const perToken = tokenBytes(spec, cachedFormats(formats, choice));
  return spec.layers.reduce((sum, layer, index) => {
    const held = Math.min(pages * PAGE_TOKENS, heldTokens(layer, choice, chunkTokens));
    const isBounded = choice.topPages !== undefined && choosesPages(spec, index);
    return sum + held * (perToken + (isBounded ? boundBytes(spec) : 0));
  }, 0);
}

/** Most tokens within the bytes that a cache is given on the device, or in host memory where it is streamed, a multiple of PAGE_TOKENS, or what is wanted. Throws `bad-argument` for a cache of nothing. */
export function cacheCapacity(
  spec: DecoderSpec,
  formats: KvFormats,
  choice: AttentionChoice,
  chunkTokens: number,
  wantedTokens: number | undefined,
): number {
  if (wantedTokens !== undefined) {
    if (Number.isSafeInteger(wantedTokens) && wantedTokens >= 1) return wantedTokens;
    throw new EngineError("bad-argument", `a KV cache of ${wantedTokens} tokens holds nothing`, "give at least one token");
  }
  const budget = choice.policy.kind === "stream" ? STREAM_CACHE_BYTES : DEFAULT_CACHE_BYTES;
  let low = 0;
  let high = MOST_TOKENS / PAGE_TOKENS;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (cacheBytes(spec, formats, choice, middle * PAGE_TOKENS, chunkTokens) <= budget) low = middle;
    else high = middle - 1;
  }
  return low * PAGE_TOKENS;
}
