import { abortedError } from "../errors.ts";
import type { Stop } from "./tokenizer.ts";

/** Which neighbours merge, and into what. */
export interface MergeRule {
  /** Ranks are below this. */
  readonly ranks: number;
  /** Rank of a pair of token ids, or -1 where they do not merge; the lowest merges first. */
  rank(left: number, right: number): number;
  /** Id a merge of this rank gives. */
  merged(rank: number): number;
}

/** Merges written out as pairs of ids, as tokenizer.json has them. */
export class PairTable implements MergeRule {
  readonly ranks: number;
  private readonly results: Int32Array;
  /** Per slot: left id + 1 (0 where it is free), right id, rank. */
  private readonly slots: Int32Array;
  private readonly mask: number;

  /** `merges` holds left id, right id and merged id of every merge in rank order; the first of two equal pairs counts. */
  constructor(merges: Int32Array) {
    this.ranks = Math.floor(merges.length / 3);
    this.results = new Int32Array(this.ranks);
    let capacity = 64;
    while (capacity < 2 * this.ranks) capacity *= 2;
    this.slots = new Int32Array(3 * capacity);
    this.mask = capacity - 1;
    for (let rank = 0; rank < this.ranks; rank++) {
      this.results[rank] = merges[3 * rank + 2];
      this.add(merges[3 * rank], merges[3 * rank + 1], rank);
    }
  }

  rank(left: number, right: number): number {
    const { slots, mask } = this;
    for (let slot = hashPair(left, right) & mask; ; slot = (slot + 1) & mask) {
      const owner = slots[3 * slot];
      if (owner === 0) return -1;
      if (owner === left + 1 && slots[3 * slot + 1] === right) return slots[3 * slot + 2];
    }
  }

  merged(rank: number): number {
    return this.results[rank];
  }

  private add(left: number, right: number, rank: number): void {
    const { slots, mask } = this;
    let slot = hashPair(left, right) & mask;
    for (; slots[3 * slot] !== 0; slot = (slot + 1) & mask)
      if (slots[3 * slot] === left + 1 && slots[3 * slot + 1] === right) return;
    slots[3 * slot] = left + 1;
    slots[3 * slot + 1] = right;
    slots[3 * slot + 2] = rank;
  }
}

/**
 * Byte-pair merging on token ids: the pair with the lowest rank merges first, leftmost on ties. Short pieces scan; long
 * ones keep their pairs in one bucket per rank, so that one endless line costs time in proportion to its length.
 */
export class BpeMerger {
  private readonly ranks = new Int32Array(SCAN_SYMBOLS);
  private buckets: Buckets | undefined;

  constructor(private readonly rule: MergeRule) {}

  /**
   * Merges the first `count` symbols in place; returns how many remain, and writes to `firsts` the index of each one's
   * first symbol. Throws `aborted` when `stop` says so.
   */
  merge(symbols: Int32Array, firsts: Int32Array, count: number, stop?: Stop): number {
    return count <= SCAN_SYMBOLS ? this.mergeByScan(symbols, firsts, count) : this.mergeByRank(symbols, firsts, count, stop);
  }

  private mergeByScan(symbols: Int32Array, firsts: Int32Array, count: number): number {
    const { rule, ranks } = this;
    let left = count;
    for (let i = 0; i < left; i++) firsts[i] = i;
    for (let i = 0; i + 1 < left; i++) ranks[i] = rule.rank(symbols[i], symbols[i + 1]);
    for (;;) {
      let best = NO_RANK;
      let at = -1;
      for (let i = 0; i + 1 < left; i++) {
        const rank = ranks[i];
        if (rank >= 0 && rank < best) {
          best = rank;
          at = i;
        }
      }
      if (at < 0) return left;
      symbols[at] = rule.merged(best);
      left--;
      for (let i = at + 1; i < left; i++) {
        symbols[i] = symbols[i + 1];
        firsts[i] = firsts[i + 1];
        ranks[i] = ranks[i + 1];
      }
      if (at + 1 < left) ranks[at] = rule.rank(symbols[at], symbols[at + 1]);
      if (at > 0) ranks[at - 1] = rule.rank(symbols[at - 1], symbols[at]);
    }
  }

  private mergeByRank(symbols: Int32Array, firsts: Int32Array, count: number, stop: Stop | undefined): number {
    this.buckets ??= new Buckets(this.rule.ranks);
    try {
      new Run(this.rule, this.buckets, symbols, count, stop).merge();
    } catch (error) {
      this.buckets = undefined;
      throw error;
    }
    let kept = 0;
    for (let i = 0; i < count; i++) {
      if (symbols[i] < 0) continue;
      symbols[kept] = symbols[i];
      firsts[kept] = i;
      kept++;
    }
    return kept;
  }
}

function hashPair(left: number, right: number): number {
  const mixed = Math.imul(Math.imul(left, 0x9e3779b1) ^ right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

/** Up to this many symbols a scan per merge is faster than buckets. */
const SCAN_SYMBOLS = 96;
const NO_RANK = 0x7fffffff;
/** Steps between two polls of `stop`; well under a millisecond. */
const POLL = 0xfff;

/** One long piece being merged: symbols as a linked list, each pair that can merge in the bucket of its rank. */
class Run {
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** Rank of the pair that begins here, or -1; with its neighbours in the bucket of that rank. */
  private readonly rankAt: Int32Array;
  private readonly bucketNext: Int32Array;
  private readonly bucketPrevious: Int32Array;
  /** Ranks whose places are being merged, each below the one before, and whether places joined their buckets since. */
  private readonly active: { rank: number; grown: boolean }[] = [];
  private steps = 0;

  constructor(
    private readonly rule: MergeRule,
    private readonly buckets: Buckets,
    private readonly symbols: Int32Array,
    private readonly count: number,
    private readonly stop: Stop | undefined,
  ) {
    this.next = new Int32Array(count);
    this.previous = new Int32Array(count);
    this.rankAt = new Int32Array(count);
    this.bucketNext = new Int32Array(count);
    this.bucketPrevious = new Int32Array(count);
    this.rankAt[count - 1] = -1;
    if (stop?.()) throw abortedError();
    for (let i = count - 1; i >= 0; i--) {
      this.next[i] = i + 1;
      this.previous[i] = i - 1;
      if (i + 1 < count) this.enter(i, rule.rank(symbols[i], symbols[i + 1]));
      this.poll();
    }
  }

  /** Leaves -1 in `symbols` where a symbol became part of the one before. */
  merge(): void {
    this.mergeBelow(this.rule.ranks);
  }

  private mergeBelow(limit: number): void {
    for (let rank = this.buckets.lowest(); rank >= 0 && rank < limit; rank = this.buckets.lowest()) this.mergeRank(rank);
  }

  /** Merges all pairs of one rank from left to right; lower ranks that a merge brings up go first. */
  private mergeRank(rank: number): void {
    const first = this.buckets.heads[rank] - 1;
    if (this.bucketNext[first] < 0) {
      this.mergeAt(first, rank);
      return;
    }
    const state = { rank, grown: false };
    this.active.push(state);
    for (const at of this.placesOf(rank)) {
      if (this.rankAt[at] !== rank || this.mergeAt(at, rank) > rank) continue;
      this.mergeBelow(rank);
      if (state.grown) break;
    }
    this.active.pop();
  }

  /** Merges the pair at a place; returns the lowest rank of the two pairs that come of it. */
  private mergeAt(at: number, rank: number): number {
    const { symbols, next, previous, count } = this;
    this.poll();
    const right = next[at];
    const after = next[right];
    const before = previous[at];
    this.leave(at);
    this.leave(right);
    symbols[at] = this.rule.merged(rank);
    symbols[right] = -1;
    next[at] = after;
    let lowest = NO_RANK;
    if (after < count) {
      previous[after] = at;
      lowest = this.enter(at, this.rule.rank(symbols[at], symbols[after]));
    }
    if (before >= 0) {
      this.leave(before);
      lowest = Math.min(lowest, this.enter(before, this.rule.rank(symbols[before], symbols[at])));
    }
    return lowest;
  }

  /** Places of a bucket in ascending order. Most are entered in one direction, so that sorting is rare. */
  private placesOf(rank: number): Int32Array {
    let size = 0;
    let ascents = 0;
    for (let at = this.buckets.heads[rank] - 1; at >= 0; at = this.bucketNext[at]) {
      size++;
      if (this.bucketNext[at] > at) ascents++;
      this.poll();
    }
    const places = new Int32Array(size);
    const step = ascents === 0 ? -1 : 1;
    let fill = ascents === 0 ? size - 1 : 0;
    for (let at = this.buckets.heads[rank] - 1; at >= 0; at = this.bucketNext[at]) {
      places[fill] = at;
      fill += step;
    }
    return ascents === 0 || ascents === size - 1 ? places : places.sort();
  }

  private enter(at: number, rank: number): number {
    this.rankAt[at] = rank;
    if (rank < 0) return NO_RANK;
    for (const state of this.active) if (state.rank === rank) state.grown = true;
    const head = this.buckets.heads[rank] - 1;
    this.bucketNext[at] = head;
    this.bucketPrevious[at] = -1;
    if (head >= 0) this.bucketPrevious[head] = at;
    else this.buckets.mark(rank);
    this.buckets.heads[rank] = at + 1;
    return rank;
  }

  private leave(at: number): void {
    const rank = this.rankAt[at];
    if (rank < 0) return;
    const after = this.bucketNext[at];
    const before = this.bucketPrevious[at];
    if (after >= 0) this.bucketPrevious[after] = before;
    if (before >= 0) this.bucketNext[before] = after;
    else {
      this.buckets.heads[rank] = after + 1;
      if (after < 0) this.buckets.clear(rank);
    }
    this.rankAt[at] = -1;
  }

  private poll(): void {
    this.steps++;
    if ((this.steps & POLL) === 0 && this.stop?.()) throw abortedError();
  }
}

/** First place of every rank, and which ranks have one as three levels of bit words, so that the lowest is found in three steps. */
class Buckets {
  /** Place + 1, or 0 where the bucket is empty. */
  readonly heads: Int32Array;
  private readonly bits: readonly [Int32Array, Int32Array, Int32Array];

  constructor(ranks: number) {
    this.heads = new Int32Array(ranks);
    const words = Math.ceil(ranks / 32);
    const groups = Math.ceil(words / 32);
    this.bits = [new Int32Array(words), new Int32Array(groups), new Int32Array(Math.ceil(groups / 32))];
  }

  mark(rank: number): void {
    const [words, groups, tops] = this.bits;
    words[rank >> 5] |= 1 << (rank & 31);
    groups[rank >> 10] |= 1 << ((rank >> 5) & 31);
    tops[rank >> 15] |= 1 << ((rank >> 10) & 31);
  }

  clear(rank: number): void {
    const [words, groups, tops] = this.bits;
    words[rank >> 5] &= ~(1 << (rank & 31));
    if (words[rank >> 5] !== 0) return;
    groups[rank >> 10] &= ~(1 << ((rank >> 5) & 31));
    if (groups[rank >> 10] !== 0) return;
    tops[rank >> 15] &= ~(1 << ((rank >> 10) & 31));
  }

  /** The lowest rank that has a place, or -1. */
  lowest(): number {
    const [words, groups, tops] = this.bits;
    for (let top = 0; top < tops.length; top++) {
      if (tops[top] === 0) continue;
      const group = 32 * top + lowestBit(tops[top]);
      const word = 32 * group + lowestBit(groups[group]);
      return 32 * word + lowestBit(words[word]);
    }
    return -1;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
