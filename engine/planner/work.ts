/**
 * What a prompt and an answer cost in operations and bytes. An operation is a multiplication or an addition, so a product with a matrix of
 * n numbers counts 2n. E hidden size, V vocabulary, H query heads, D head dimension, N tokens.
 */
import type { ModelSpec, RecurrentSpec } from "../api.ts";
import { BLOCK_TOKENS, QUEST_PAGE_TOKENS, type AttentionChoice, type AttentionPolicy } from "../attention/api.ts";
import { policyRow } from "../attention/policyTable.ts";
import { convWidth } from "../recurrent/weights.ts";
import { layerTokenBytes, type CachedContext } from "./contextBytes.ts";
import { visibleKeys, visiblePairs, visitedBlocks } from "./pairs.ts";
import { layerMatrixNumbers } from "./weightBytes.ts";

export interface PrefillWork {
  /** Products with the matrices of all layers for every token, and with the head for the last. */
  linearFlops: number;
  /** 4 H D for each pair of a query and a key it sees, over all layers. */
  attentionFlops: number;
  /** Scans of recurrent models. */
  recurrenceFlops: number;
  /** Pairs of a query and a key, over all layers; per head they are the same. */
  pairs: number;
}

/** The work of reading N tokens. */
export function prefillWork(spec: ModelSpec, tokens: number, policy: AttentionPolicy): PrefillWork {
  const linearFlops = 2 * tokens * layerMatrixNumbers(spec) + 2 * spec.hiddenSize * spec.vocabSize;
  if (spec.kind !== "decoder") {
    const recurrenceFlops = tokens * spec.layerCount * scanFlops(spec);
    return { linearFlops, attentionFlops: 0, recurrenceFlops, pairs: 0 };
  }
  const pairs = sumOverLayers(spec, (window) => visiblePairs(policy, window, 0, tokens));
  return { linearFlops, attentionFlops: 4 * spec.headCount * spec.headDim * pairs, recurrenceFlops: 0, pairs };
}

/** Sum of a figure of every layer, which depends on its window alone. */
export function sumOverLayers(spec: ModelSpec, of: (window: number | undefined) => number): number {
  if (spec.kind !== "decoder") return 0;
  const counts = new Map<number | undefined, number>();
  for (const { window } of spec.layers) counts.set(window, (counts.get(window) ?? 0) + 1);
  let sum = 0;
  for (const [window, count] of counts) sum += count * of(window);
  return sum;
}

/** Pairs that the kernel works on for queries [from, to) in all layers: whole blocks of keys for each block of queries. */
export function visitedPairs(spec: ModelSpec, policy: AttentionPolicy, from: number, to: number): number {
  return sumOverLayers(spec, (window) => {
    let pairs = 0;
    for (let start = from; start < to;) {
      const block = Math.floor(start / BLOCK_TOKENS);
      const end = Math.min(to, (block + 1) * BLOCK_TOKENS);
      pairs += (end - start) * visitedBlocks(policy, window, block) * BLOCK_TOKENS;
      start = end;
    }
    return pairs;
  });
}

/** How the tokens of an answer attend: policies that are for prompts alone see every key then. */
export function decodePolicy({ policy }: AttentionChoice): AttentionPolicy {
  return policyRow(policy.kind).decode ? policy : { kind: "flash" };
}

/** Bytes of keys and values that the token behind `context.tokens` others reads, over all layers. */
export function decodedContextBytes(spec: ModelSpec, context: CachedContext): number {
  if (spec.kind !== "decoder") return 0;
  const { attention, tokens } = context;
  const policy = decodePolicy(attention);
  let bytes = 0;
  for (const layer of spec.layers) {
    const seen = visibleKeys(policy, layer.window, tokens);
    const perToken = layerTokenBytes(spec, layer, { kv: context.kv, copies: 1 });
    bytes += perToken * (attention.topPages === undefined ? seen : topPageKeys(seen, attention.topPages));
  }
  return bytes;
}

/** Keys of the pages that are read of `keys`. */
export function topPageKeys(keys: number, topPages: number): number {
  return Math.min(keys, topPages * QUEST_PAGE_TOKENS);
}

/**
 * Operations of one token's scan in one layer. Mamba (arXiv 2312.00752) and Mamba-2 (2405.21060) per number of the state: a decay, an
 * update and an addition, and a multiply-add for what is read; RWKV-7 (2503.14456): a decay, and multiply-adds to find, to remove, to add
 * and to read. Convolutions are a multiply-add per tap.
 */
function scanFlops(spec: RecurrentSpec): number {
  switch (spec.kind) {
    case "mamba":
      return 5 * spec.innerSize * spec.stateSize + 2 * spec.innerSize * spec.convKernel;
    case "mamba2":
      return 5 * spec.headCount * spec.headDim * spec.stateSize + 2 * convWidth(spec) * spec.convKernel;
    case "rwkv7":
      return 9 * spec.headCount * spec.headDim ** 2;
  }
}
