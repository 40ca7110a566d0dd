/**
 * Page lists: what a chunk of queries sees of each slab of a layer, as words for kernels/page_list.wgsl. A list names the blocks of
 * BLOCK_TOKENS keys that some query of a block of queries may see, and where each lies; which of their keys a query sees is said by its range
 * and by the pattern's bits. Everything is O(tokens of the chunk + blocks of the context); there is no mask.
 */
import type { Band, DecoderSpec } from "../api.ts";
import type { PagedCache } from "../kv-cache/pages.ts";
import { BLOCK_TOKENS, PAGE_TOKENS, type Pattern } from "./api.ts";

/** Offsets of absent parts, and slots of tokens that another slab holds. */
export const NONE = 0xffffffff;
/** Queries of a workgroup of attn_prefill at most: a tile also lists what the first of the next tile see, because a workgroup may begin in one tile and end in the next. */
const OVERHANG = 31;
const BLOCKS_PER_PAGE = PAGE_TOKENS / BLOCK_TOKENS;

/** Parameters of page_list.wgsl. */
export interface PageList {
  listHeads: number;
  rangesAt: number;
  tilesAt: number;
  pairsAt: number;
  columnsAt: number;
  columnStride: number;
  diagonalsAt: number;
  diagonalStride: number;
  blocksAt: number;
  blockStride: number;
  blockWords: number;
}

/** What a chunk sees of one slab. */
export interface SlabList {
  slab: number;
  list: PageList;
  /** Visits of the longest tile: 0 where nothing of the slab is seen. */
  visits: number;
}

/** Words that grow; positions in it are offsets of the buffer it is copied to. */
export class Words {
  private words = new Uint32Array(1024);
  length = 0;

  /** Adds room for `count` words and returns where it begins. */
  room(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.words.length) {
      const grown = new Uint32Array(Math.max(this.length, 2 * this.words.length));
      grown.set(this.words);
      this.words = grown;
    }
    return at;
  }

  add(words: ArrayLike<number>): number {
    const at = this.room(words.length);
    this.words.set(words, at);
    return at;
  }

  set(at: number, word: number): void {
    this.words[at] = word;
  }

  clear(): void {
    this.length = 0;
  }

  /** What was written, as a view. */
  view(): Uint32Array<ArrayBuffer> {
    return this.words.subarray(0, this.length);
  }
}

export interface ChunkOfBand {
  band: Band;
  start: number;
  tokens: number;
  pattern: Pattern | undefined;
  heads: number;
  kvHeads: number;
}

/** Where the blocks of one layer lie, as the cache says. */
export interface BlockMap {
  slabs: number;
  block(index: number): { slab: number; place: number } | undefined;
}

export function blockMap(cache: PagedCache, layer: number): BlockMap {
  return {
    slabs: cache.layer(layer).slabs.length,
    block(index) {
      const placed = cache.place(layer, Math.floor(index / BLOCKS_PER_PAGE));
      if (placed === undefined) return undefined;
      return { slab: placed.slab, place: placed.page * BLOCKS_PER_PAGE + (index % BLOCKS_PER_PAGE) };
    },
  };
}

/**
 * Slots [tokens] of positions start .. start + tokens - 1 in each slab that holds one of them, NONE for those that lie in another; by slab,
 * where they begin. What the cache does not hold is an error unless it may be skipped.
 */
export function addSlots(words: Words, map: BlockMap, start: number, tokens: number, missing?: "skip"): Map<number, number> {
  const at = new Map<number, number>();
  for (let token = 0; token < tokens; token++) {
    const position = start + token;
    const placed = map.block(Math.floor(position / BLOCK_TOKENS));
    if (placed === undefined && missing === "skip") continue;
    if (placed === undefined) throw new RangeError(`position ${position} has no place in the cache`);
    const slots = at.get(placed.slab) ?? words.add(new Uint32Array(tokens).fill(NONE));
    at.set(placed.slab, slots);
    words.set(slots + token, placed.place * BLOCK_TOKENS + (position % BLOCK_TOKENS));
  }
  return at;
}

/** The lists of a chunk through one band, for every slab of which something is seen. */
export function addPageLists(words: Words, map: BlockMap, chunk: ChunkOfBand): SlabList[] {
  const { band, start, tokens, pattern } = chunk;
  const ranges = rangeRows(band, start, tokens, pattern);
  const rangesAt = words.add(ranges);
  const end = ranges[4 * (tokens - 1) + 1];
  if (end <= ranges[0]) return [];
  const bits = pattern === undefined ? absent : patternWords(words, pattern, chunk, end);
  const seen = pattern === undefined ? seenRanges(ranges, start, tokens) : seenBlocks(ranges, pattern, chunk);
  return seen.tiles.length === 0 ? [] : perSlab(words, map, seen, { ...bits, rangesAt });
}

/** [tokens] of (from, to, near, position) of queries from position `start` on. */
export function rangeRows(band: Band, start: number, tokens: number, pattern?: Pattern): Uint32Array<ArrayBuffer> {
  const rows = new Uint32Array(4 * tokens);
  for (let token = 0; token < tokens; token++) {
    const position = start + token;
    const [from, to] = band.keys(position);
    rows[4 * token] = from;
    rows[4 * token + 1] = Math.max(from, to);
    rows[4 * token + 2] = pattern === undefined ? from : Math.max(from, pattern.near(position));
    // ALiBi's distances are those of the band's positions; only re-indexed rotations have fractions here, and no slopes.
    rows[4 * token + 3] = Math.floor(band.queryPosition(position));
  }
  return rows;
}

/**
 * What sampled queries see through one band, by index of the sample; the visits are left out. `shown` are the queries that the pattern is for,
 * all up to the last sample if it is not given.
 */
export function addSampleList(
  words: Words,
  band: Band,
  samples: readonly { position: number }[],
  pattern: Pattern | undefined,
  { headCount, kvHeadCount }: Pick<DecoderSpec, "headCount" | "kvHeadCount">,
  shown?: { start: number; end: number },
): PageList {
  const rows = new Uint32Array(4 * samples.length);
  for (const [index, { position }] of samples.entries()) rows.set(rangeRows(band, position, 1, pattern), 4 * index);
  const { start, end } = shown ?? { start: 0, end: 1 + samples.reduce((most, { position }) => Math.max(most, position), 0) };
  const chunk = { band, start, tokens: end - start, pattern, heads: headCount, kvHeads: kvHeadCount };
  const bits = pattern === undefined ? absent : patternWords(words, pattern, chunk, end);
  return { ...bits, rangesAt: words.add(rows), listHeads: 1, tilesAt: NONE, pairsAt: NONE };
}

const absent: Omit<PageList, "listHeads" | "rangesAt" | "tilesAt" | "pairsAt"> = {
  ...{ columnsAt: NONE, columnStride: 0, diagonalsAt: NONE, diagonalStride: 0 },
  ...{ blocksAt: NONE, blockStride: 0, blockWords: 0 },
};

/** Blocks that tiles of queries see: rising lists, one per tile and list head, or ranges [first, end) of blocks. */
interface SeenBlocks {
  listHeads: number;
  tiles: readonly (readonly number[] | readonly [first: number, end: number])[];
  areRanges: boolean;
}

/** Tiles of the chunk: blocks of BLOCK_TOKENS positions, as (first, last) tokens. */
function tilesOf(start: number, tokens: number): (readonly [first: number, last: number])[] {
  const tiles: (readonly [number, number])[] = [];
  for (let first = 0; first < tokens;) {
    const next = first + BLOCK_TOKENS - ((start + first) % BLOCK_TOKENS);
    tiles.push([first, Math.min(tokens, next + OVERHANG) - 1]);
    first = next;
  }
  return tiles;
}

function seenRanges(ranges: Uint32Array, start: number, tokens: number): SeenBlocks {
  const tiles = tilesOf(start, tokens).map(([first, last]) => {
    const from = Math.floor(ranges[4 * first] / BLOCK_TOKENS);
    return [from, Math.max(from, Math.ceil(ranges[4 * last + 1] / BLOCK_TOKENS))] as const;
  });
  return { listHeads: 1, tiles, areRanges: true };
}

function seenBlocks(ranges: Uint32Array, pattern: Pattern, chunk: ChunkOfBand): SeenBlocks {
  const { start, tokens, heads, kvHeads } = chunk;
  const listHeads = pattern.perHead ? kvHeads : 1;
  const group = pattern.perHead ? heads / kvHeads : 1;
  const end = ranges[4 * (tokens - 1) + 1];
  const columns = Array.from({ length: listHeads * group }, (_, head) => pattern.columns?.(head, end));
  const diagonals = Array.from({ length: listHeads * group }, (_, head) => pattern.diagonals?.(head, end));
  const tiles: number[][] = [];
  for (const [first, last] of tilesOf(start, tokens)) {
    const from = ranges[4 * first];
    const to = ranges[4 * last + 1];
    let near = Infinity;
    for (let token = first; token <= last; token++) near = Math.min(near, ranges[4 * token + 2]);
    for (let kvHead = 0; kvHead < listHeads; kvHead++) {
      const marks = new Uint8Array(Math.ceil(to / BLOCK_TOKENS));
      marks.fill(1, Math.floor(near / BLOCK_TOKENS));
      for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
        markColumns(marks, columns[head]);
        markDiagonals(marks, diagonals[head], start + first, start + last);
        const lastRow = Math.floor((start + last) / BLOCK_TOKENS);
        for (let row = Math.floor((start + first) / BLOCK_TOKENS); row <= lastRow; row++) {
          for (const block of pattern.blocks?.(head, row) ?? []) if (block < marks.length) marks[block] = 1;
        }
      }
      const list: number[] = [];
      for (let block = Math.floor(from / BLOCK_TOKENS); block < marks.length; block++) if (marks[block] === 1) list.push(block);
      tiles.push(list);
    }
  }
  return { listHeads, tiles, areRanges: false };
}

function markColumns(marks: Uint8Array, bits: Uint32Array | undefined): void {
  if (bits === undefined) return;
  for (let block = 0; block < marks.length; block++) {
    if (((bits[2 * block] ?? 0) | (bits[2 * block + 1] ?? 0)) !== 0) marks[block] = 1;
  }
}

/** Marks blocks that lie at a seen distance from some query of firstQuery .. lastQuery. */
function markDiagonals(marks: Uint8Array, bits: Uint32Array | undefined, firstQuery: number, lastQuery: number): void {
  if (bits === undefined) return;
  for (let block = 0; block < marks.length; block++) {
    if (marks[block] === 1) continue;
    const nearest = Math.max(0, firstQuery - (block * BLOCK_TOKENS + BLOCK_TOKENS - 1));
    const farthest = lastQuery - block * BLOCK_TOKENS;
    if (farthest >= 0 && anyBit(bits, nearest, farthest)) marks[block] = 1;
  }
}

/** True where a bit of first .. last is set. */
function anyBit(bits: Uint32Array, first: number, last: number): boolean {
  for (let word = first >>> 5; word <= last >>> 5; word++) {
    let value = bits[word] ?? 0;
    if (word === first >>> 5) value &= -1 << (first & 31);
    if (word === last >>> 5) value &= -1 >>> (31 - (last & 31));
    if (value !== 0) return true;
  }
  return false;
}

function patternWords(words: Words, pattern: Pattern, chunk: ChunkOfBand, end: number): typeof absent {
  const heads = pattern.perHead ? chunk.heads : 1;
  const bitWords = Math.ceil(end / 32);
  const rows = (bits: (head: number) => Uint32Array): { at: number; stride: number } => {
    const at = words.room(0);
    for (let head = 0; head < heads; head++) {
      const row = words.room(bitWords);
      for (let word = 0, source = bits(head); word < bitWords; word++) words.set(row + word, source[word] ?? 0);
    }
    return { at, stride: pattern.perHead ? bitWords : 0 };
  };
  const none = new Uint32Array(0);
  const column = pattern.columns && rows((head) => pattern.columns?.(head, end) ?? none);
  const diagonal = pattern.diagonals && rows((head) => pattern.diagonals?.(head, end) ?? none);
  const firstRow = Math.floor(chunk.start / BLOCK_TOKENS);
  const blockRows = Math.floor((chunk.start + chunk.tokens - 1) / BLOCK_TOKENS) - firstRow + 1;
  const blockWords = Math.ceil(end / BLOCK_TOKENS / 32);
  let blocksAt = NONE;
  if (pattern.blocks !== undefined) {
    const table = new Uint32Array(heads * blockRows * blockWords);
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < blockRows; row++) {
        for (const block of pattern.blocks(head, firstRow + row)) {
          if (block < 32 * blockWords) table[(head * blockRows + row) * blockWords + (block >>> 5)] |= 1 << (block & 31);
        }
      }
    }
    blocksAt = words.add(table);
  }
  return {
    columnsAt: column?.at ?? NONE,
    columnStride: column?.stride ?? 0,
    diagonalsAt: diagonal?.at ?? NONE,
    diagonalStride: diagonal?.stride ?? 0,
    blocksAt,
    blockStride: pattern.perHead ? blockRows * blockWords : 0,
    blockWords,
  };
}

/** Cuts lists of blocks by the slab that holds each. */
function perSlab(words: Words, map: BlockMap, seen: SeenBlocks, offsets: typeof absent & { rangesAt: number }): SlabList[] {
  const { listHeads, tiles } = seen;
  const lists: SlabList[] = [];
  const tables = Array.from({ length: map.slabs }, () => new Uint32Array(2 * tiles.length));
  const pairs: number[][] = Array.from({ length: map.slabs }, () => []);
  if (seen.areRanges) shareRanges(map, tiles, tables, pairs);
  else {
    for (const [tile, list] of tiles.entries()) {
      for (const table of tables.keys()) tables[table][2 * tile] = pairs[table].length / 2;
      for (const block of list) {
        const placed = placedBlock(map, block);
        pairs[placed.slab].push(block, placed.place);
        tables[placed.slab][2 * tile + 1]++;
      }
    }
  }
  for (const [slab, table] of tables.entries()) {
    let visits = 0;
    for (let tile = 0; tile < tiles.length; tile++) visits = Math.max(visits, table[2 * tile + 1]);
    if (visits === 0) continue;
    const tilesAt = words.add(table);
    const pairsAt = words.add(pairs[slab]);
    lists.push({ slab, visits, list: { ...offsets, listHeads, tilesAt, pairsAt } });
  }
  return lists;
}

/** Ranges overlap from tile to tile: each block is listed once, and tiles point into the shared list. */
function shareRanges(map: BlockMap, tiles: SeenBlocks["tiles"], tables: Uint32Array[], pairs: number[][]): void {
  let next = 0;
  const blocks: number[][] = pairs.map(() => []);
  for (const [tile, [first, end]] of tiles.entries()) {
    for (let block = Math.max(first, next); block < end; block++) {
      const placed = placedBlock(map, block);
      pairs[placed.slab].push(block, placed.place);
      blocks[placed.slab].push(block);
    }
    next = Math.max(next, end);
    for (const [slab, listed] of blocks.entries()) {
      const from = lowerBound(listed, first);
      tables[slab][2 * tile] = from;
      tables[slab][2 * tile + 1] = lowerBound(listed, end) - from;
    }
  }
}

function placedBlock(map: BlockMap, block: number): { slab: number; place: number } {
  const placed = map.block(block);
  if (placed === undefined) throw new RangeError(`block ${block} of the keys is not in the cache any more`);
  return placed;
}

/** Index of the first number that is not below `value`. */
function lowerBound(rising: readonly number[], value: number): number {
  let low = 0;
  let high = rising.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
