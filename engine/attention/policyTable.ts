/** Every attention policy as a row: what the panel lists, `--attention` reads and its help prints. */
import type { AttentionPolicy, RingLayout } from "./api.ts";

/** `top-pages` is no policy of its own: it is how decoding deviates from one. */
export type PolicyKind = AttentionPolicy["kind"] | "top-pages";

/** A number behind the colon; counts are whole, the recall floor is not. */
export interface NumberField {
  name: string;
  label: string;
  unit: "keys" | "blocks" | "distances" | "pages" | "workers" | "share";
  whole: boolean;
  least: number;
  most: number;
  fallback: number;
}

/** A word behind the colon. */
export interface WordField {
  name: string;
  label: string;
  words: readonly string[];
  fallback: string;
}

export type PolicyField = NumberField | WordField;

export interface PolicyRow {
  kind: PolicyKind;
  label: string;
  /** In the order of the grammar. */
  fields: readonly PolicyField[];
  /** What it does, and what it gives up for that: one line each. */
  does: string;
  givesUp: string;
  /** No key is left out and none is rounded. */
  exact: boolean;
  /** Which tokens it is for: those of a prompt, and those that are appended one at a time. */
  prefill: boolean;
  decode: boolean;
  needsWebGpu: boolean;
  source: string;
}

export const ringLayouts = ["contiguous", "zigzag", "striped"] as const satisfies readonly RingLayout[];

/** Beyond any context there is, and far below what 32 bits hold. */
const MOST = 2 ** 28;
/** Lists of blocks are made for every block of queries: a million tokens of them. */
const MOST_BLOCKS = 2 ** 14;

/** In the order of the panel's list. Defaults are those of the papers or of their released code. */
export const policyTable: readonly PolicyRow[] = [
  {
    kind: "flash",
    label: "flash",
    fields: [],
    does: "reads keys tile by tile and keeps only running sums",
    givesUp: "nothing: it is exact",
    ...{ exact: true, prefill: true, decode: true, needsWebGpu: false },
    source: "FlashAttention-2, arXiv 2307.08691",
  },
  {
    kind: "dense",
    label: "dense",
    fields: [],
    does: "makes whole rows of scores, as the formula is written",
    givesUp: "memory: a row of scores per query and head, so that long prompts are refused",
    ...{ exact: true, prefill: true, decode: true, needsWebGpu: false },
    source: "arXiv 1706.03762",
  },
  {
    kind: "flash3",
    label: "flash 3",
    fields: [],
    does: "loads the next tile while it works on this one, with keys and values in 8 bits",
    givesUp: "digits: keys and values are rounded to 8 bits per tile, keys after a Hadamard rotation",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "after FlashAttention-3, arXiv 2407.08608",
  },
  {
    kind: "window",
    label: "sliding window",
    fields: [keys("window", "Window", 1, 4096)],
    does: "every layer sees the last keys only, the query's own included",
    givesUp: "what lies further back reaches an answer only from layer to layer, at most a window each",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "Mistral, arXiv 2310.06825",
  },
  {
    kind: "sinks",
    label: "sinks + window (StreamingLLM)",
    fields: [keys("sinks", "Sinks", 0, 4), keys("window", "Window", 1, 1024)],
    does: "keeps the first keys and the last, at positions inside the cache, so that it never outgrows what it was trained on",
    givesUp: "it does not recall evicted text: what is neither a sink nor in the window is gone",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "StreamingLLM, arXiv 2309.17453",
  },
  {
    kind: "longformer",
    label: "Longformer",
    fields: [keys("window", "Window", 1, 512), keys("globals", "Globals", 0, 1)],
    does: "a sliding window, and the first keys for every query",
    givesUp: "the model was not trained for it: keys that are neither near nor first are not seen",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "Longformer, arXiv 2004.05150, made causal",
  },
  {
    kind: "bigbird",
    label: "BigBird",
    fields: [blocks("window", "Window", 1, 3), blocks("random", "Random", 0, 3), blocks("globals", "Globals", 0, 1)],
    does: "blocks of 64 keys: the last, the first, and a few in between by a fixed seed",
    givesUp: "most blocks in between: which are seen is chance, the same for every prompt, layer and head",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "BigBird, arXiv 2007.14062, made causal",
  },
  {
    kind: "strided",
    label: "strided",
    fields: [keys("stride", "Stride", 1, 128)],
    does: "the last keys, and every so many before them",
    givesUp: "the keys between two strides, which only other queries see",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "Sparse Transformer, arXiv 1904.10509",
  },
  {
    kind: "fixed",
    label: "fixed",
    fields: [keys("stride", "Block", 1, 128), keys("summary", "Summary", 0, 8)],
    does: "the query's own block of keys, and the last few keys of every block before",
    givesUp: "all of earlier blocks but their ends; without a summary, everything before the own block",
    ...{ exact: false, prefill: true, decode: true, needsWebGpu: true },
    source: "Sparse Transformer, arXiv 1904.10509",
  },
  {
    kind: "a-shape",
    label: "A-shape (MInference)",
    fields: [keys("sinks", "Sinks", 0, 100), keys("window", "Window", 1, 800)],
    does: "prompts are read with the first keys and the last, at their own positions; answers see every key",
    givesUp: "what prompt tokens would have taken from the middle; an answer still sees all of it",
    ...{ exact: false, prefill: true, decode: false, needsWebGpu: true },
    source: "MInference, arXiv 2407.02490",
  },
  {
    kind: "vertical-slash",
    label: "vertical-slash (MInference)",
    fields: [
      keys("verticals", "Verticals", 0, 1000),
      { name: "slashes", label: "Slashes", unit: "distances", whole: true, least: 1, most: MOST, fallback: 6096 },
    ],
    does: "prompts are read with the keys and the distances that the last 64 queries look at most, chosen per head",
    givesUp: "what earlier queries would have looked at and the last do not",
    ...{ exact: false, prefill: true, decode: false, needsWebGpu: true },
    source: "MInference, arXiv 2407.02490",
  },
  {
    kind: "blocks",
    label: "block-sparse (MInference)",
    fields: [blocks("blocks", "Blocks", 1, 100)],
    does: "prompts are read with the blocks of 64 keys whose mean fits best, for each block of queries",
    givesUp: "a single key that stands out in a dull block: the mean hides it",
    ...{ exact: false, prefill: true, decode: false, needsWebGpu: true },
    source: "MInference, arXiv 2407.02490",
  },
  {
    kind: "minference",
    label: "MInference",
    fields: [{ name: "recall", label: "Recall", unit: "share", whole: false, least: 0.01, most: 1, fallback: 0.95 }],
    does: "for each head the cheapest of the three shapes above that keeps this share of its attention, else every key",
    givesUp: "the rest of the attention, as measured on the last 64 queries of each chunk",
    ...{ exact: false, prefill: true, decode: false, needsWebGpu: true },
    source: "MInference, arXiv 2407.02490",
  },
  {
    kind: "top-pages",
    label: "top pages (Quest)",
    fields: [{ name: "pages", label: "Pages", unit: "pages", whole: true, least: 1, most: MOST, fallback: 64 }],
    does: "each token of the answer reads the pages of 16 keys whose bounds promise most; prompts as chosen beside it",
    givesUp: "pages whose keys fit less well than their bounds say, and all that many dull keys would add up to",
    ...{ exact: false, prefill: false, decode: true, needsWebGpu: true },
    source: "Quest, arXiv 2406.10774",
  },
  {
    kind: "ring",
    label: "ring",
    fields: [
      { name: "ranks", label: "Workers", unit: "workers", whole: true, least: 1, most: 64, fallback: 4 },
      { name: "layout", label: "Layout", words: ringLayouts, fallback: "zigzag" },
    ],
    does: "shards the prompt over workers that pass their keys around",
    givesUp: "nothing in the answer; on one graphics card the workers share it, so nothing is gained either",
    ...{ exact: true, prefill: true, decode: true, needsWebGpu: true },
    source: "Ring Attention, arXiv 2310.01889; striped: arXiv 2311.09431",
  },
  {
    kind: "stream",
    label: "stream",
    fields: [],
    does: "keeps keys and values in the computer's memory and passes them through the graphics card in slabs",
    givesUp: "time: every key crosses the bus for every chunk",
    ...{ exact: true, prefill: true, decode: true, needsWebGpu: true },
    source: "FlashAttention-2 over slabs joined by their log-sum-exp",
  },
];

export function policyRow(kind: PolicyKind): PolicyRow {
  const row = policyTable.find((known) => known.kind === kind);
  if (row === undefined) throw new RangeError(`no row for ${kind}`);
  return row;
}

function keys(name: string, label: string, least: number, fallback: number): NumberField {
  return { name, label, unit: "keys", whole: true, least, most: MOST, fallback };
}

function blocks(name: string, label: string, least: number, fallback: number): NumberField {
  return { ...keys(name, label, least, fallback), unit: "blocks", most: MOST_BLOCKS };
}
