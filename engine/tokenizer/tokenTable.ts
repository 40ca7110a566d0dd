import type { MergeRule } from "./bpe.ts";

/** Bytes of all tokens behind each other: token `id` is bytes[offsets[id] .. offsets[id + 1]); an empty one is a hole in the ids. */
export interface PackedTokens {
  readonly bytes: Uint8Array;
  /** One more than there are ids. */
  readonly offsets: Uint32Array;
}

/** Packs tokens given by id; what is missing becomes a hole. */
export function packTokens(tokens: readonly (Uint8Array | undefined)[]): PackedTokens {
  const offsets = new Uint32Array(tokens.length + 1);
  for (let id = 0; id < tokens.length; id++) offsets[id + 1] = offsets[id] + (tokens[id]?.length ?? 0);
  const bytes = new Uint8Array(offsets[tokens.length]);
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id];
    if (token) bytes.set(token, offsets[id]);
  }
  return { bytes, offsets };
}

/**
 * Finds tokens by their bytes: open addressing over the packed bytes. As a merge rule it is tiktoken's: two neighbours
 * merge where their bytes together are a token, and the lowest id goes first.
 */
export class TokenTable implements MergeRule {
  readonly ranks: number;
  private readonly bytes: Uint8Array;
  private readonly offsets: Uint32Array;
  /** Id + 1 in the low bits and part of the hash above them, by which most other tokens are passed over; 0 is a free slot. */
  private readonly slots: Int32Array;
  private readonly mask: number;
  private longest = 0;
  /** Rank + 2 of pairs of ids below 256, which are the bytes in most vocabularies; 0 where it was not asked for. */
  private readonly small = new Int32Array(1 << 16);
  /** Other pairs asked for lately: left id + 1, right id, rank. */
  private readonly memo = new Int32Array(3 << (32 - MEMO_SHIFT));

  constructor(packed: PackedTokens) {
    this.bytes = packed.bytes;
    this.offsets = packed.offsets;
    this.ranks = packed.offsets.length - 1;
    let capacity = 1024;
    while (capacity < 2 * this.ranks) capacity *= 2;
    this.slots = new Int32Array(capacity);
    this.mask = capacity - 1;
    for (let id = 0; id < this.ranks; id++) this.add(id);
  }

  /** Id of the token with exactly these bytes, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (length === 0 || length > this.longest) return -1;
    const hash = settle(hashOf(SEED, bytes, start, end));
    for (let slot = hash & this.mask; ; slot = (slot + 1) & this.mask) {
      const entry = this.slots[slot];
      if (entry === 0) return -1;
      if (((entry ^ hash) & TAG) !== 0) continue;
      const id = (entry & ENTRY_ID) - 1;
      if (this.length(id) === length && same(this.bytes, this.offsets[id], bytes, start, length)) return id;
    }
  }

  rank(left: number, right: number): number {
    if ((left | right) < 256) {
      const known = this.small[(left << 8) | right];
      return known === 0 ? (this.small[(left << 8) | right] = this.findPair(left, right) + 2) - 2 : known - 2;
    }
    const { memo } = this;
    const place = 3 * ((Math.imul(left, 0x9e3779b1) + Math.imul(right, 0x85ebca6b)) >>> MEMO_SHIFT);
    if (memo[place] === left + 1 && memo[place + 1] === right) return memo[place + 2];
    const rank = this.findPair(left, right);
    memo[place] = left + 1;
    memo[place + 1] = right;
    memo[place + 2] = rank;
    return rank;
  }

  merged(rank: number): number {
    return rank;
  }

  length(id: number): number {
    return this.offsets[id + 1] - this.offsets[id];
  }

  /** A copy of one token's bytes; empty for a hole. */
  bytesOf(id: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.bytes.subarray(this.offsets[id], this.offsets[id + 1]));
  }

  private findPair(left: number, right: number): number {
    const { bytes, offsets } = this;
    const leftAt = offsets[left];
    const rightAt = offsets[right];
    const leftLength = offsets[left + 1] - leftAt;
    const rightLength = offsets[right + 1] - rightAt;
    const length = leftLength + rightLength;
    if (length > this.longest) return -1;
    const hash = settle(hashOf(hashOf(SEED, bytes, leftAt, leftAt + leftLength), bytes, rightAt, rightAt + rightLength));
    for (let slot = hash & this.mask; ; slot = (slot + 1) & this.mask) {
      const entry = this.slots[slot];
      if (entry === 0) return -1;
      if (((entry ^ hash) & TAG) !== 0) continue;
      const id = (entry & ENTRY_ID) - 1;
      const from = offsets[id];
      if (
        this.length(id) === length &&
        same(bytes, from, bytes, leftAt, leftLength) &&
        same(bytes, from + leftLength, bytes, rightAt, rightLength)
      )
        return id;
    }
  }

  /** Where two ids have the same bytes the lower one is found. */
  private add(id: number): void {
    const start = this.offsets[id];
    const end = this.offsets[id + 1];
    if (start === end) return;
    this.longest = Math.max(this.longest, end - start);
    const hash = settle(hashOf(SEED, this.bytes, start, end));
    let slot = hash & this.mask;
    for (let entry = this.slots[slot]; entry !== 0; entry = this.slots[slot]) {
      const other = (entry & ENTRY_ID) - 1;
      const mayBe = ((entry ^ hash) & TAG) === 0 && this.length(other) === end - start;
      if (mayBe && same(this.bytes, this.offsets[other], this.bytes, start, end - start)) return;
      slot = (slot + 1) & this.mask;
    }
    this.slots[slot] = (hash & TAG) | (id + 1);
  }
}

const MEMO_SHIFT = 16;
/** Ids are below this; the bits above are the tag. */
const ENTRY_ID = 0x7f_ffff;
const TAG = ~ENTRY_ID;
const SEED = 0x811c9dc5;

/** FNV-1a, continued from `hash`. */
function hashOf(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let mixed = hash;
  for (let i = start; i < end; i++) mixed = Math.imul(mixed ^ bytes[i], 0x01000193);
  return mixed;
}

/** The low bits of FNV depend on little; the high ones are folded in. */
function settle(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13);
}

function same(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}
