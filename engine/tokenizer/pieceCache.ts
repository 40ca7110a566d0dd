/**
 * Token ids of pieces seen before, found by their bytes: open addressing in typed arrays. A piece of up to 8 bytes is its
 * own key; a longer one has its bytes in an arena. Memory is bounded: when it is full, everything is forgotten.
 */
export class PieceCache {
  /** Four numbers per slot: two key words (or a hash and the place in the arena), length in bytes << 8 | tokens, place in `ids`. */
  private readonly slots = new Int32Array(4 * SLOTS);
  private readonly arena = new Uint8Array(ARENA_BYTES);
  private arenaUsed = 0;
  private idsUsed = 0;
  private pieces = 0;
  /** Ids of all pieces; see `idsAt`. */
  readonly ids = new Int32Array(MAX_IDS);
  /** Key of the piece last looked for, kept for `add`. */
  private low = 0;
  private high = 0;
  private free = 0;

  /** Where the piece [start, end) is, or -1; `view` shows the same bytes as `bytes`. */
  find(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    const length = end - start;
    if (length > MAX_PIECE_BYTES) return -1;
    return length <= 8 ? this.findShort(bytes, view, start, length) : this.findLong(bytes, start, length);
  }

  /** How many tokens a found piece has. */
  tokensAt(place: number): number {
    return this.slots[place + 2] & 0xff;
  }

  /** Where in `ids` the tokens of a found piece begin. */
  idsAt(place: number): number {
    return this.slots[place + 3];
  }

  /** Keeps the first `count` ids for the piece that `find` has just not found. */
  add(bytes: Uint8Array, start: number, end: number, tokens: Int32Array, count: number): void {
    const length = end - start;
    if (length > MAX_PIECE_BYTES) return;
    if (this.pieces >= MAX_PIECES || this.idsUsed + count > MAX_IDS || this.arenaUsed + length > ARENA_BYTES) {
      this.clear();
      return;
    }
    const { slots, free } = this;
    slots[free] = this.low;
    slots[free + 1] = this.high;
    if (length > 8) {
      slots[free + 1] = this.arenaUsed;
      for (let i = 0; i < length; i++) this.arena[this.arenaUsed + i] = bytes[start + i];
      this.arenaUsed += length;
    }
    slots[free + 2] = (length << 8) | count;
    slots[free + 3] = this.idsUsed;
    for (let i = 0; i < count; i++) this.ids[this.idsUsed + i] = tokens[i];
    this.idsUsed += count;
    this.pieces++;
  }

  private findShort(bytes: Uint8Array, view: DataView, start: number, length: number): number {
    let low = 0;
    let high = 0;
    if (start + 8 <= bytes.length) {
      // Masks instead of a branch, because the length of the next piece is hard to predict.
      low = view.getInt32(start, true) & LOW_MASKS[length];
      high = view.getInt32(start + 4, true) & HIGH_MASKS[length];
    } else {
      for (let i = 0; i < length; i++) {
        if (i < 4) low |= bytes[start + i] << (8 * i);
        else high |= bytes[start + i] << (8 * i - 32);
      }
    }
    const { slots } = this;
    for (let slot = slotOf(low, high); ; slot = (slot + 4) & SLOT_MASK) {
      const head = slots[slot + 2];
      if (slots[slot] === low && slots[slot + 1] === high && head >> 8 === length) return slot;
      if (head === 0) {
        this.low = low;
        this.high = high;
        this.free = slot;
        return -1;
      }
    }
  }

  private findLong(bytes: Uint8Array, start: number, length: number): number {
    let hash = length;
    for (let i = start; i < start + length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    const { slots } = this;
    for (let slot = slotOf(hash, length); ; slot = (slot + 4) & SLOT_MASK) {
      const head = slots[slot + 2];
      if (head === 0) {
        this.low = hash;
        this.free = slot;
        return -1;
      }
      if (slots[slot] === hash && head >> 8 === length && this.sameBytes(slots[slot + 1], bytes, start, length)) return slot;
    }
  }

  private sameBytes(at: number, bytes: Uint8Array, start: number, length: number): boolean {
    const { arena } = this;
    for (let i = 0; i < length; i++) if (arena[at + i] !== bytes[start + i]) return false;
    return true;
  }

  private clear(): void {
    this.slots.fill(0);
    this.arenaUsed = 0;
    this.idsUsed = 0;
    this.pieces = 0;
  }
}

const SLOTS = 1 << 18;
const SLOT_MASK = 4 * SLOTS - 1;
const SLOT_SHIFT = 14;
/** Of 7,862 JavaScript files the 11.7 million pieces are 98,203 different ones. */
const MAX_PIECES = SLOTS / 2;
const MAX_IDS = 1 << 19;
const ARENA_BYTES = 1 << 21;
const MAX_PIECE_BYTES = 128;
/** Keep the first 0 to 8 bytes of two words. */
const LOW_MASKS = Int32Array.of(0, 0xff, 0xffff, 0xffffff, -1, -1, -1, -1, -1);
const HIGH_MASKS = Int32Array.of(0, 0, 0, 0, 0, 0xff, 0xffff, 0xffffff, -1);

/** The high bits of a product depend on all bits of its factors. */
function slotOf(low: number, high: number): number {
  const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
  return (Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> SLOT_SHIFT) << 2;
}
