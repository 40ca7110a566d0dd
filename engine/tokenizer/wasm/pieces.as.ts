/**
 * AssemblyScript: cuts UTF-8 into pieces by automata and looks the pieces up in a cache. All tables lie in memory where
 * `pieceMachine.ts`, which explains them, puts them; what it has to do is what the functions return.
 */

/** What `count` and `encode` end with. */
export const DONE: u32 = 0;
/** The piece from `at()` to `end()` is not in the cache. */
export const UNKNOWN_PIECE: u32 = 1;
/** The alphabet of `level()` has no column for the character `code()`, or its automaton does not know it yet. */
export const UNKNOWN_CHARACTER: u32 = 2;
/** What begins at `at()`, or behind it, is not UTF-8. */
export const NOT_UTF8: u32 = 3;

/** Levels of pre-tokenizers: each cuts the pieces of the one before. */
const LEVELS: u32 = 64;
const LEVEL_BYTES: u32 = 32;
/** In a level: u32 addresses of its tables, what it knows, and the piece it is in. */
const BYTES: u32 = 0;
const CODES: u32 = 4;
const TABLE: u32 = 8;
const STARTS: u32 = 12;
const COLUMNS: u32 = 16;
const LOOKS_BEHIND: u32 = 20;
const FIRST: u32 = 24;
const END: u32 = 28;

/** Entries of an automaton's table; see automaton.ts. */
const KEEP: i32 = 0x1000_0000;
const CUT: i32 = 0x2000_0000;
const BACK: i32 = 0x2000_0001;
const END_OF_TEXT: u32 = 0;
const BEYOND_ASCII: u32 = 0xffff;

/** A slot of the cache: u64 key, u32 length << 8 | tokens, u32 address of the entry. */
const SLOT_BYTES: u32 = 16;
const MAX_PIECE: u32 = 128;
/** Pieces whose place is taken are not kept, so that no text makes looking up slow. */
const MAX_PROBES: u32 = 32;

let levels: u32 = 0;
let slots: u32 = 0;
let slotMask: u32 = 0;
let textFirst: u32 = 0;

let pieceAt: u32 = 0;
let pieceTo: u32 = 0;
let freeSlot: u32 = 0;
let missingCode: u32 = 0;
let missingLevel: u32 = 0;
let problem: u32 = DONE;
/** Where the character last decoded ends. */
let after: u32 = 0;
let total: u32 = 0;

export function at(): u32 {
  return pieceAt ;
}

export function end(): u32 {
  return pieceTo ;
}

export function code(): u32 {
  return missingCode;
}

export function level(): u32 {
  return missingLevel;
}

/** Tokens that the last call counted or put out. */
export function tokens(): u32 {
  return total;
}

/** `slotCount` is a power of two of at most 2^18; the slots are zero. */
export function setCache(address: u32, slotCount: u32): void {
  slots = address;
  slotMask = (slotCount - 1) * SLOT_BYTES;
}

/** Columns of bytes and of code points as u16, states as i32; `columns` of them are known to the automaton. */
export function setLevel(
  index: u32,
  bytes: u32,
  codes: u32,
  table: u32,
  starts: u32,
  columns: u32,
  looksBehind: bool,
): void {
  const level: u32 = LEVELS + index * LEVEL_BYTES;
  store<u32>(level, bytes, BYTES);
  store<u32>(level, codes, CODES);
  store<u32>(level, table, TABLE);
  store<u32>(level, starts, STARTS);
  store<u32>(level, columns, COLUMNS);
  store<u32>(level, looksBehind ? 1 : 0, LOOKS_BEHIND);
  if (index >= levels) levels = index + 1;
}

/** A text begins at an address. */
export function begin(address: u32): void {
  textFirst = address;
}

/** Counts the pieces from `from`, where one begins, to `limit`, the end of the text; ends early behind `pause`. */
export function count(from: u32, pause: u32, limit: u32): u32 {
  let sum: u32 = 0;
  let at = from;
  let to = from;
  while (at < pause) {
    to = nextEnd(at, limit);
    if (to == 0) break;
    const slot = find(at, to);
    if (slot == 0) break;
    sum += load<u32>(slot, 8) & 0xff;
    at = to;
  }
  return stopped(at, to, pause, sum);
}

/** The same, and puts the tokens out from `out` on, where there must be room for one more than there are bytes to `pause`. */
export function encode(from: u32, pause: u32, limit: u32, out: u32): u32 {
  let put = out;
  let at = from;
  let to = from;
  while (at < pause) {
    to = nextEnd(at, limit);
    if (to == 0) break;
    const slot = find(at, to);
    if (slot == 0) break;
    const head = load<u32>(slot, 8);
    const padded: u32 = head >> 8 > 8 ? ((head >> 8) + 3) & ~3 : 0;
    memory.copy(put, load<u32>(slot, 12) + padded, (head & 0xff) << 2);
    put += (head & 0xff) << 2;
    at = to;
  }
  return stopped(at, to, pause, (put - out) >> 2);
}

/**
 * Keeps the tokens of the piece that was just not found. At `entry` lie the piece, where it has more than 8 bytes, padded to
 * a multiple of 4, and the tokens. False where it has no place.
 */
export function keep(entry: u32, tokenCount: u32): bool {
  if (freeSlot == 0) return false;
  const length: u32 = (pieceTo - pieceAt) ;
  store<u64>(freeSlot, keyOf(pieceAt, length));
  store<u32>(freeSlot, (length << 8) | tokenCount, 8);
  store<u32>(freeSlot, entry, 12);
  return true;
}

function stopped(at: u32, to: u32, pause: u32, sum: u32): u32 {
  pieceAt = at;
  pieceTo = to;
  total = sum;
  if (at >= pause) return DONE;
  return to == 0 ? problem : UNKNOWN_PIECE;
}

/** Where the piece ends that begins at `at`, or 0 and `problem`. */
// @ts-ignore: decorator
@inline
function nextEnd(at: u32, limit: u32): u32 {
  return levels == 1 ? pieceEnd(LEVELS, at, limit, textFirst) : nestedEnd(at, limit);
}

function nestedEnd(at: u32, limit: u32): u32 {
  let first = textFirst;
  let to = limit;
  for (let level: u32 = LEVELS; level < LEVELS + levels * LEVEL_BYTES; level += LEVEL_BYTES) {
    if (at == first || at == load<u32>(level, END)) {
      to = pieceEnd(level, at, to, first);
      if (to == 0) return 0;
      store<u32>(level, at, FIRST);
      store<u32>(level, to, END);
    }
    first = load<u32>(level, FIRST);
    to = load<u32>(level, END);
  }
  return to;
}

/** The end of the match at `at`, or of the gap in front of the next one. */
// @ts-ignore: decorator
@inline
function pieceEnd(level: u32, at: u32, limit: u32, first: u32): u32 {
  const to = matchEnd(level, at, limit, first);
  return to == at ? gapEnd(level, at, limit, first) : to;
}

function gapEnd(level: u32, at: u32, limit: u32, first: u32): u32 {
  let to = at;
  while (true) {
    if (columnAt(level, to, limit) == 0) return 0;
    to = after;
    if (to == limit) return to;
    const match = matchEnd(level, to, limit, first);
    if (match != to) return match == 0 ? 0 : to;
  }
}

/** The end of the match that begins at `at`, `at` where none does, 0 where something is missing. */
// @ts-ignore: decorator
@inline
function matchEnd(level: u32, at: u32, limit: u32, first: u32): u32 {
  const bytes: u32 = load<u32>(level, BYTES);
  const table: u32 = load<u32>(level, TABLE);
  let column: u32 = END_OF_TEXT;
  if (load<u32>(level, LOOKS_BEHIND) != 0 && at != first) {
    column = columnBefore(level, at, first);
    if (column == 0) return 0;
  }
  let state = load<i32>(load<u32>(level, STARTS) + (column << 2));
  let kept = at;
  let to = at;
  while (true) {
    let next = to + 1;
    column = END_OF_TEXT;
    if (to < limit) {
      column = load<u16>(bytes + ((load<u8>(to)) << 1));
      if (column == BEYOND_ASCII) {
        column = decode(level, to, limit);
        if (column == 0) return 0;
        next = after;
      }
    }
    state = load<i32>(table + (((state as u32) + column) << 2));
    if (state >= KEEP) {
      if (state == CUT) return to;
      if (state == BACK) return kept;
      kept = to;
      state -= KEEP;
    }
    to = next;
  }
}

/** Column of the character at `at`, `after` its end; 0 and `problem` where it is not known. */
function columnAt(level: u32, at: u32, limit: u32): u32 {
  const column: u32 = load<u16>(load<u32>(level, BYTES) + ((load<u8>(at)) << 1));
  if (column == BEYOND_ASCII) return decode(level, at, limit);
  after = at + 1;
  return column;
}

function columnBefore(level: u32, at: u32, first: u32): u32 {
  let start = at - 1;
  while (start > first && isTail(start)) start--;
  return columnAt(level, start, at);
}

function decode(level: u32, at: u32, limit: u32): u32 {
  const lead: u32 = load<u8>(at);
  let value: u32 = 0xffff_ffff;
  if (lead < 0xe0) {
    if (lead >= 0xc2 && at + 1 < limit && isTail(at + 1)) {
      value = ((lead & 0x1f) << 6) | tail(at, 1);
      after = at + 2;
    }
  } else if (lead < 0xf0) {
    if (at + 2 < limit && isTail(at + 1) && isTail(at + 2)) {
      value = ((lead & 0x0f) << 12) | (tail(at, 1) << 6) | tail(at, 2);
      after = at + 3;
      if (value < 0x800 || (value >= 0xd800 && value < 0xe000)) value = 0xffff_ffff;
    }
  } else if (lead < 0xf5) {
    if (at + 3 < limit && isTail(at + 1) && isTail(at + 2) && isTail(at + 3)) {
      value = ((lead & 0x07) << 18) | (tail(at, 1) << 12) | (tail(at, 2) << 6) | tail(at, 3);
      after = at + 4;
      if (value < 0x1_0000 || value > 0x10_ffff) value = 0xffff_ffff;
    }
  }
  if (value == 0xffff_ffff) {
    problem = NOT_UTF8;
    return 0;
  }
  const column: u32 = load<u16>(load<u32>(level, CODES) + (value << 1));
  if (column != 0 && column < load<u32>(level, COLUMNS)) return column;
  missingCode = value;
  missingLevel = (level - LEVELS) / LEVEL_BYTES;
  problem = UNKNOWN_CHARACTER;
  return 0;
}

// @ts-ignore: decorator
@inline
function isTail(at: u32): bool {
  return (load<u8>(at) & 0xc0) == 0x80;
}

// @ts-ignore: decorator
@inline
function tail(at: u32, place: u32): u32 {
  return (load<u8>(at + place)) & 0x3f;
}

/** The slot of a piece, or 0; `freeSlot` is then where it may go. */
// @ts-ignore: decorator
@inline
function find(at: u32, to: u32): u32 {
  const length: u32 = (to - at) ;
  freeSlot = 0;
  if (length > MAX_PIECE) return 0;
  const key = keyOf(at, length);
  // The high bits of a product depend on all bits of its factors.
  let place: u32 = ((((key ^ length) * 0x9e37_79b9_7f4a_7c15) >> 42) as u32) & slotMask;
  for (let probe: u32 = 0; probe < MAX_PROBES; probe++) {
    const slot: u32 = slots + place;
    const head: u32 = load<u32>(slot, 8);
    if (load<u64>(slot) == key && head >> 8 == length && (length <= 8 || sameBytes(load<u32>(slot, 12), at, length)))
      return slot;
    if (head == 0) {
      freeSlot = slot;
      return 0;
    }
    place = (place + SLOT_BYTES) & slotMask;
  }
  return 0;
}

/** A piece of up to 8 bytes is its own key, a longer one has a hash. Reads up to 8 bytes behind the piece. */
// @ts-ignore: decorator
@inline
function keyOf(at: u32, length: u32): u64 {
  const others: u64 = 64 - (length << 3);
  return length <= 8 ? (load<u64>(at) << others) >> others : hashOf(at, length);
}

function hashOf(at: u32, length: u32): u64 {
  let hash: u64 = length;
  const last: u32 = at + length - 8;
  for (let place = at; place < last; place += 8) {
    hash = (hash ^ load<u64>(place)) * 0x9e37_79b9_7f4a_7c15;
    hash ^= hash >> 29;
  }
  hash = (hash ^ load<u64>(last)) * 0x9e37_79b9_7f4a_7c15;
  return hash ^ (hash >> 32);
}

function sameBytes(entry: u32, at: u32, length: u32): bool {
  for (let i: u32 = 0; i < length - 8; i += 8) if (load<u64>(entry + i) != load<u64>(at + i)) return false;
  return load<u64>(entry + length - 8) == load<u64>(at + length - 8);
}
