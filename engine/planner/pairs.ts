/**
 * How many pairs of a query and a key an attention policy leaves: those that count as work, and the blocks of BLOCK_TOKENS keys that are
 * visited for them. Formulas of the patterns in attention/patterns/, so that a million tokens need no pattern.
 */
import { BLOCK_TOKENS, type AttentionPolicy } from "../attention/api.ts";
import { randomBlocks } from "../attention/patterns/bigbird.ts";

/** Keys a query sees are counted exactly, or, where they are chosen by content, at most. */
export function isCounted({ kind }: AttentionPolicy): boolean {
  return kind !== "vertical-slash" && kind !== "blocks" && kind !== "minference";
}

/** Pairs of queries [from, to) with the keys they see under the policy in a layer of this window (undefined: all before the query). */
export function visiblePairs(policy: AttentionPolicy, window: number | undefined, from: number, to: number): number {
  const cap = mostKeys(policy, window);
  if (cap !== undefined) return upTo(cap, to) - upTo(cap, from);
  const seen = keysSeen(policy);
  let pairs = 0;
  for (let position = from; position < to; position++) pairs += seen(position, firstKey(window, position));
  return pairs;
}

/** Keys that the query at `position` sees. */
export function visibleKeys(policy: AttentionPolicy, window: number | undefined, position: number): number {
  const cap = mostKeys(policy, window);
  return cap === undefined ? keysSeen(policy)(position, firstKey(window, position)) : Math.min(position + 1, cap);
}

/** Blocks of keys that the queries of block `queryBlock` visit together: what the kernel reads, whole, for them; on average where strides cut across blocks. */
export function visitedBlocks(policy: AttentionPolicy, window: number | undefined, queryBlock: number): number {
  const first = blockOf(firstKey(window, queryBlock * BLOCK_TOKENS));
  const run = nearKeys(policy);
  const near = Math.max(
    first,
    run === undefined ? nearBlock(policy, queryBlock) : blockOf(firstKey(run, queryBlock * BLOCK_TOKENS)),
  );
  return queryBlock - near + 1 + farBlocks(policy, first, near);
}

/** Where a query sees its last keys, at most so many, and nothing else: how many. Undefined where it is more involved. */
function mostKeys(policy: AttentionPolicy, window = Infinity): number | undefined {
  switch (policy.kind) {
    case "dense":
    case "flash":
    case "flash3":
    case "ring":
    case "stream":
    case "minference":
      return window;
    case "window":
      return Math.min(window, policy.window);
    case "sinks":
    case "a-shape":
      return window === Infinity ? policy.sinks + policy.window : window <= policy.window ? window : undefined;
    case "longformer":
      return window === Infinity ? policy.globals + policy.window : window <= policy.window ? window : undefined;
    case "vertical-slash":
      return Math.min(window, policy.verticals + policy.slashes);
    case "blocks":
      return Math.min(window, policy.blocks * BLOCK_TOKENS);
    case "bigbird":
    case "strided":
    case "fixed":
      return undefined;
  }
}

/** Sum over positions below `end` of min(position + 1, cap). */
function upTo(cap: number, end: number): number {
  const rising = Math.min(cap, end);
  return (rising * (rising + 1)) / 2 + (end > rising ? (end - rising) * cap : 0);
}

type KeysSeen = (position: number, first: number) => number;

/** Keys at `first` or behind that the query at a position sees, for policies that `mostKeys` cannot tell. */
function keysSeen(policy: AttentionPolicy): KeysSeen {
  switch (policy.kind) {
    case "sinks":
    case "a-shape":
      return nearAndFirst(policy.window, policy.sinks);
    case "longformer":
      return nearAndFirst(policy.window, policy.globals);
    case "strided":
      return (position, first) => {
        const farthest = position - first;
        return Math.min(policy.stride, farthest + 1) + Math.floor(farthest / policy.stride);
      };
    case "fixed": {
      const { stride, summary } = policy;
      /** Keys below `end` that end a block. */
      const ends = (end: number): number => Math.floor(end / stride) * summary + Math.max(0, (end % stride) - (stride - summary));
      return (position, first) => {
        const near = Math.max(first, position - (position % stride));
        return position - near + 1 + ends(near) - ends(first);
      };
    }
    case "bigbird":
      return (position, first) => {
        const block = blockOf(position);
        const near = Math.max(first, Math.max(0, block - policy.window + 1) * BLOCK_TOKENS);
        const globals = Math.max(0, Math.min(near, policy.globals * BLOCK_TOKENS) - first);
        return position - near + 1 + globals + randomKeys(policy, block, first);
      };
    default:
      return (position, first) => position - first + 1;
  }
}

function nearAndFirst(window: number, firstKeys: number): KeysSeen {
  return (position, first) => {
    const near = Math.max(first, position - window + 1);
    return position - near + 1 + Math.max(0, Math.min(near, firstKeys) - first);
  };
}

/** Keys of BigBird's random blocks at `first` or behind. */
function randomKeys({ window, random, globals }: AttentionPolicy & { kind: "bigbird" }, block: number, first: number): number {
  const last = block - window;
  if (first === 0) return Math.min(random, Math.max(0, last - globals + 1)) * BLOCK_TOKENS;
  const kept = randomBlocks(block, random, globals, last).map((chosen) => (chosen + 1) * BLOCK_TOKENS - first);
  return kept.reduce((sum, keys) => sum + Math.min(BLOCK_TOKENS, Math.max(0, keys)), 0);
}

/** Length of the run of keys up to the query itself that the policy leaves; undefined where it depends on the block. */
function nearKeys(policy: AttentionPolicy): number | undefined {
  switch (policy.kind) {
    case "window":
    case "sinks":
    case "a-shape":
    case "longformer":
      return policy.window;
    case "strided":
      return policy.stride;
    case "vertical-slash":
      return policy.slashes;
    case "blocks":
      return policy.blocks * BLOCK_TOKENS - BLOCK_TOKENS + 1;
    case "bigbird":
    case "fixed":
      return undefined;
    default:
      return Infinity;
  }
}

/** First block of the run for policies whose run begins at a border. */
function nearBlock(policy: AttentionPolicy, queryBlock: number): number {
  if (policy.kind === "bigbird") return Math.max(0, queryBlock - policy.window + 1);
  if (policy.kind !== "fixed") return 0;
  const position = queryBlock * BLOCK_TOKENS;
  return blockOf(position - (position % policy.stride));
}

/** Blocks from `first` on and before `near` that are visited. */
function farBlocks(policy: AttentionPolicy, first: number, near: number): number {
  const between = Math.max(0, near - first);
  const firstOnes = (keys: number): number => Math.max(0, Math.min(near, Math.ceil(keys / BLOCK_TOKENS)) - first);
  switch (policy.kind) {
    case "sinks":
    case "a-shape":
      return firstOnes(policy.sinks);
    case "longformer":
      return firstOnes(policy.globals);
    case "bigbird": {
      const globals = Math.max(0, Math.min(near, policy.globals) - first);
      return globals + Math.min(policy.random, Math.max(0, near - Math.max(first, policy.globals)));
    }
    case "strided":
      // The distances from a block of queries to a block of keys are 127 in a row.
      return between * Math.min(1, (2 * BLOCK_TOKENS - 1) / policy.stride);
    case "fixed": {
      if (policy.summary === 0) return 0;
      const touched = Math.min(policy.stride, policy.summary + BLOCK_TOKENS - 1) / policy.stride;
      const aligned = policy.stride % BLOCK_TOKENS === 0;
      const share = aligned ? (Math.ceil(policy.summary / BLOCK_TOKENS) * BLOCK_TOKENS) / policy.stride : touched;
      return between * Math.min(1, share);
    }
    case "vertical-slash":
      return Math.min(between, policy.verticals);
    default:
      return 0;
  }
}

function firstKey(window: number | undefined, position: number): number {
  return window === undefined || window === Infinity ? 0 : Math.max(0, position - window + 1);
}

function blockOf(key: number): number {
  return Math.floor(key / BLOCK_TOKENS);
}
