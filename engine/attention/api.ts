/** What attention can be asked to be: plain-data types, as in ../api.ts. The grammar of `--attention` is in policy.ts. */

/**
 * How a run attends. `flash`, `flash3`, `ring` and `stream` compute what `dense` does; the others leave keys out.
 * Token counts are of keys; a window includes the query's own key. Blocks have BLOCK_TOKENS keys.
 */
export type AttentionPolicy =
  /** Whole score rows in memory, as a reference; refused above a budget. */
  | { kind: "dense" }
  /** FlashAttention-2 (arXiv 2307.08691). */
  | { kind: "flash" }
  /** After FlashAttention-3 (arXiv 2407.08608): pipelined loads, keys and values in 8 bits per tile, Hadamard-rotated keys. */
  | { kind: "flash3" }
  /** Every layer sees the last `window` keys. */
  | { kind: "window"; window: number }
  /** StreamingLLM (arXiv 2309.17453): the first `sinks` keys and the last `window`, at positions inside the cache; the rest is evicted. */
  | { kind: "sinks"; sinks: number; window: number }
  /** Longformer (arXiv 2004.05150), causal: the last `window` keys, and the first `globals`. */
  | { kind: "longformer"; window: number; globals: number }
  /** BigBird (arXiv 2007.14062), causal, in blocks: the last `window` blocks, `random` earlier ones by a fixed seed, the first `globals`. */
  | { kind: "bigbird"; window: number; random: number; globals: number }
  /** Sparse Transformer (arXiv 1904.10509), strided: the last `stride` keys and every `stride`-th before. */
  | { kind: "strided"; stride: number }
  /** Sparse Transformer, fixed: the query's own block of `stride` keys and the last `summary` keys of every block. */
  | { kind: "fixed"; stride: number; summary: number }
  /** MInference (arXiv 2407.02490), prefill only: the first `sinks` keys and the last `window`, at their own positions. */
  | { kind: "a-shape"; sinks: number; window: number }
  /** MInference, prefill only: the best `verticals` keys and `slashes` distances of each head, estimated from the last 64 queries. */
  | { kind: "vertical-slash"; verticals: number; slashes: number }
  /** MInference, prefill only: for each block of queries the best `blocks` blocks of keys by their means. */
  | { kind: "blocks"; blocks: number }
  /** MInference, prefill only: for each head the cheapest of the three above that keeps `recall` of its attention, in (0, 1]. */
  | { kind: "minference"; recall: number }
  /** Ring Attention (arXiv 2310.01889): the prompt sharded over `ranks` workers, each with a device of its own. */
  | { kind: "ring"; ranks: number; layout: RingLayout }
  /** Keys and values in host memory, streamed past each chunk of queries through two staging slabs. */
  | { kind: "stream" };

export type RingLayout = "contiguous" | "zigzag" | "striped";

/** A policy, and how decoding deviates from it: with `topPages` each token reads the best pages of QUEST_PAGE_TOKENS keys (arXiv 2406.10774). */
export interface AttentionChoice {
  policy: AttentionPolicy;
  topPages?: number;
}

/** How keys or values are cached: f16 in halves; q8 and q4 as integers with one f16 scale for each 32 channels of a head. */
export type KvFormat = "f32" | "f16" | "q8" | "q4";

export interface KvFormats {
  keys: KvFormat;
  values: KvFormat;
}

/**
 * Which keys a query may see, beyond what causality, the model's windows and bands leave. The query at `position` i sees the key at j <= i
 * iff j >= near(i), or bit j of `columns`, or bit i - j of `diagonals`, or the block of j is among `blocks` of the block of i.
 * Bit n is bit n % 32 of word n / 32.
 */
export interface Pattern {
  /** Equal iff the pattern is. */
  readonly key: string;
  /** True where query heads differ; else `head` is always 0. */
  readonly perHead: boolean;
  /** First key of the run up to the query itself that is seen whole; `position + 1` where there is none. */
  near(position: number): number;
  /** Keys that every later query sees, at least ceil(tokens / 32) words. */
  columns?(head: number, tokens: number): Uint32Array<ArrayBuffer>;
  /** Distances i - j that are seen, at least ceil(tokens / 32) words. */
  diagonals?(head: number, tokens: number): Uint32Array<ArrayBuffer>;
  /** Rising blocks of keys that queries of a block see whole; those above `queryBlock` do not count. */
  blocks?(head: number, queryBlock: number): readonly number[];
}

/**
 * What a sparse run left out: the share of the exact attention, a softmax over all keys in the model's own windows, that the keys it read hold, on
 * sampled queries of the prompt. WebGPU spreads up to 64 over what is appended and takes all layers and heads; where keys are evicted only
 * queries count that ran while everything in front of them was still cached, so the figure is then one of the first few thousand tokens.
 */
export interface KeptMass {
  /** Mean over queries, layers and heads, and the worst head's mean; in [0, 1]. */
  mean: number;
  least: number;
  /** Queries, layers and heads that were sampled. */
  queries: number;
  heads: number;
}

/** What one head does, as means over sampled queries. */
export interface HeadFacts {
  layer: number;
  head: number;
  /** Share of its attention on the first SINK_KEYS keys, in [0, 1]. */
  sinkMass: number;
  /** Entropy of its softmax in nats: e to its power is about how many keys it looks at. */
  entropy: number;
  /** Share of its attention by distance of key and query: 0, then 1, 2-3, 4-7 … in DISTANCE_BUCKETS buckets that sum to 1. */
  distances: readonly number[];
}

export interface AttentionFacts {
  /** Queries that each head was measured on. */
  queries: number;
  heads: readonly HeadFacts[];
}

/** One step of a ring on one rank, summed over all layers. */
export interface RingStepReport {
  rank: number;
  step: number;
  /** Whose block it met. */
  owner: number;
  /** Pairs of a query and a key, over all bands. */
  pairs: number;
  /** Of the blocks, which came from the rank before; 0 where they are the rank's own. */
  bytes: number;
  computeMs: number;
  /** From the moment a block was sent to the moment it was there, which was while the step before was computed, or after. */
  transferMs: number;
  /** How long the rank had nothing to do but wait for it. */
  waitedMs: number;
}

/** How a prompt was read by a ring: whether passing keys hid behind attending to them. */
export interface RingReport {
  ranks: number;
  layout: RingLayout;
  tokens: number;
  /** Most tokens of a rank. */
  chunkTokens: number;
  totalMs: number;
  /** By rank, then by step. */
  steps: readonly RingStepReport[];
  /** Operations of attention a second and rank, and bytes a second over a link, as measured; undefined where nothing was. */
  flops: number | undefined;
  bytesPerSecond: number | undefined;
  /** Tokens a rank must have for passing to hide at these rates; undefined where one of them was not measured. */
  leastChunkTokens: number | undefined;
  /** Share of all transfer time during which the receiver computed, in [0, 1]; 1 where nothing was passed. */
  hiddenShare: number;
  /** Adapter of each rank in words. */
  devices: readonly string[];
}

/** Keys that are called sinks: models put on the first few what they have no other use for (arXiv 2309.17453). */
export const SINK_KEYS = 4;
/** Buckets of distances: the last holds 2^23 and beyond. */
export const DISTANCE_BUCKETS = 25;

/** Keys of a block: the unit of page lists, and of block patterns. */
export const BLOCK_TOKENS = 64;
/** Keys whose bounds are kept together for decoding by top pages. */
export const QUEST_PAGE_TOKENS = 16;
/** Tokens of a page of the KV cache: what is allocated, evicted, stored and restored together; a multiple of BLOCK_TOKENS. */
export const PAGE_TOKENS = 256;
