/**
 * BigBird (arXiv 2007.14062), causal, in blocks: every query sees its own block and those just before it, some global blocks, and some
 * random ones between. Which are random depends on the block of the query alone: not on the length of the prompt, so that one chunk and
 * many chunks see the same, nor on the layer or the head.
 */
import { BLOCK_TOKENS, type Pattern } from "../api.ts";

/** Which blocks a BigBird pattern has; blocks that lie after a query's own do not count. */
export interface BigBirdBlocks {
  /** Equal iff the rest is. */
  key: string;
  /** Blocks seen up to the query's own, itself included. */
  window: number;
  /** Rising; seen by every query, and their queries see everything before them. */
  globals: readonly number[];
  random: (queryBlock: number) => readonly number[];
  blockTokens?: number;
}

/** The pattern of `bigbird:window,random,globals`: the global blocks are the first ones. */
export function bigBird(window: number, random: number, globals: number): Pattern {
  return bigBirdBlocks({
    key: `bigbird:${window},${random},${globals}`,
    window,
    globals: Array.from({ length: globals }, (_, block) => block),
    random: (queryBlock) => randomBlocks(queryBlock, random, globals, queryBlock - window),
  });
}

export function bigBirdBlocks({ key, window, globals, random, blockTokens = BLOCK_TOKENS }: BigBirdBlocks): Pattern {
  const isGlobal = new Set(globals);
  return {
    key,
    perHead: false,
    near(position) {
      const block = Math.floor(position / blockTokens);
      return isGlobal.has(block) ? 0 : Math.max(0, block - window + 1) * blockTokens;
    },
    blocks: (_, queryBlock) =>
      [...new Set([...globals, ...random(queryBlock)])].filter((block) => block <= queryBlock).sort((a, b) => a - b),
  };
}

/**
 * `count` distinct blocks from first..last, rising, or all of them where there are not more; drawn by Floyd's method with mixed
 * (SEED, queryBlock, draw) for chance.
 */
export function randomBlocks(queryBlock: number, count: number, first: number, last: number): number[] {
  const choices = Math.max(0, last - first + 1);
  const chosen = new Set<number>();
  for (let draw = Math.max(0, choices - count); draw < choices; draw++) {
    const offset = mixed(queryBlock, draw) % (draw + 1);
    chosen.add(first + (chosen.has(first + offset) ? draw : offset));
  }
  return [...chosen].sort((a, b) => a - b);
}

const SEED = 0x2007;

/** 32 bits by the finaliser of MurmurHash3. */
function mixed(queryBlock: number, draw: number): number {
  let bits = (Math.imul(queryBlock, 0x9e3779b1) ^ Math.imul(draw + SEED, 0x85ebca77)) >>> 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b) >>> 0;
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35) >>> 0;
  return (bits ^ (bits >>> 16)) >>> 0;
}
