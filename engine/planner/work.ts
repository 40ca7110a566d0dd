/**
 * What a prompt and an answer cost in operations and bytes. An operation is a multiplication or an addition, so a product with a matrix of
 * n numbers counts 2n. E hidden size, V vocabulary, H query heads, D head dimension, N tokens.
 */
import type { DecoderSpec, ModelSpec, RecurrentSpec } from "../api.ts";
import { BLOCK_TOKENS, QUEST_PAGE_TOKENS, type AttentionChoice, type AttentionPolicy } from "../attention/api.ts";
import { ESTIMATE_CHUNK_TOKENS, ESTIMATE_QUERIES } from "../attention/patterns/minference.ts";
import { choosesPages } from "../attention/patterns/quest.ts";
import { policyRow } from "../attention/policyTable.ts";
import { boundBytes } from "../kv-cache/capacity.ts";
import { convWidth } from "../recurrent/weights.ts";
import { layerTokenBytes, type CachedContext } from "./contextBytes.ts";
import { visibleKeys, visiblePairs, visitedBlocks } from "./pairs.ts";
import { layerMatrixNumbers } from "./weightBytes.ts";

export interface PrefillWork {
  /** Products with the matrices of all layers for every token, and with the head for the last. */
  linearFlops: number;
  /** 4 H D for each pair of a query and a key it sees, over all layers. */
  attentionFlops: number;
  /** What choosing keys by content takes: 2 H D for each product of a query and a key. */
  selectionFlops: number;
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
    return { linearFlops, attentionFlops: 0, selectionFlops: 0, recurrenceFlops, pairs: 0 };
  }
  const channels = spec.headCount * spec.headDim;
  const pairs = sumOverLayers(spec, (window) => visiblePairs(policy, window, 0, tokens));
  const products = sumOverLayers(spec, (window) => selectionProducts(policy, window, 0, tokens));
  const flops = { attentionFlops: 4 * channels * pairs, selectionFlops: 2 * channels * products, recurrenceFlops: 0 };
  return { linearFlops, ...flops, pairs };
}

export function totalFlops(work: PrefillWork): number {
  return work.linearFlops + work.attentionFlops + work.selectionFlops + work.recurrenceFlops;
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

/** How the tokens of an answer attend: those of policies that are for prompts alone, and those that choose pages, see every key. */
export function decodePolicy({ policy, topPages }: AttentionChoice): AttentionPolicy {
  return policyRow(policy.kind).decode && topPages === undefined ? policy : { kind: "flash" };
}

/** What the token behind `tokens` others reads in one layer: keys, and bounds of pages that are not read for it. */
export function decodedReads(
  spec: DecoderSpec,
  layer: number,
  { tokens, attention }: { tokens: number; attention: AttentionChoice },
): { keys: number; bounds: number } {
  const seen = visibleKeys(decodePolicy(attention), spec.layers[layer]?.window, tokens);
  const { topPages } = attention;
  if (topPages === undefined || !choosesPages(spec, layer)) return { keys: seen, bounds: 0 };
  return { keys: Math.min(seen, topPages * QUEST_PAGE_TOKENS), bounds: Math.ceil(seen / QUEST_PAGE_TOKENS) };
}

/** Bytes of keys and values, and of bounds, that this token reads, over all layers. */
export function decodedContextBytes(spec: ModelSpec, context: CachedContext): number {
  if (spec.kind !== "decoder") return 0;
  const boundsOfPage = QUEST_PAGE_TOKENS * boundBytes(spec);
  let bytes = 0;
  for (const [index, layer] of spec.layers.entries()) {
    const { keys, bounds } = decodedReads(spec, index, context);
    bytes += keys * layerTokenBytes(spec, layer, { ...context, copies: 1 }) + bounds * boundsOfPage;
  }
  return Math.ceil(bytes);
}

/**
 * Products q · k that choosing keys takes in one layer for queries [from, to), per head: the last queries of a chunk with every key, or means
 * of blocks with means of blocks.
 */
export function selectionProducts({ kind }: AttentionPolicy, window = Infinity, from: number, to: number): number {
  const byMass = kind === "vertical-slash" || kind === "minference";
  const byBlocks = kind === "blocks" || kind === "minference";
  if (!byMass && !byBlocks) return 0;
  let products = 0;
  for (let start = from; start < to; start += ESTIMATE_CHUNK_TOKENS) {
    const end = Math.min(to, start + ESTIMATE_CHUNK_TOKENS);
    const keys = Math.min(end, window + end - start);
    if (byMass) products += Math.min(ESTIMATE_QUERIES, end - start) * keys;
    if (byBlocks) products += Math.ceil((end - start) / BLOCK_TOKENS) * Math.ceil(keys / BLOCK_TOKENS);
  }
  return products;
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
