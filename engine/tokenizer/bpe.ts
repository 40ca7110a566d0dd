/**
 * Byte-pair merging on token ids: the pair with the lowest rank merges first, leftmost on ties. Short pieces scan;
 * long ones use a heap over a linked list, O(n log n), so that one endless line does not hang.
 */
export class BpeMerges {
  /** left * vocabSize + right -> rank. Ids are below 2^26, so the key is exact in a double. */
  private readonly ranks = new Map<number, number>();
  private readonly results: Int32Array;

  /** `merges` are [left id, right id, merged id] in rank order. */
  constructor(
    merges: readonly (readonly [number, number, number])[],
    private readonly vocabSize: number,
  ) {
    this.results = new Int32Array(merges.length);
    merges.forEach(([left, right, merged], rank) => {
      const key = left * vocabSize + right;
      if (!this.ranks.has(key)) this.ranks.set(key, rank);
      this.results[rank] = merged;
    });
  }

  /** Merges `symbols` in place; returns how many remain, and writes to `firsts` the index of each one's first symbol. */
  merge(symbols: Int32Array, firsts: Int32Array): number {
    for (let i = 0; i < symbols.length; i++) firsts[i] = i;
    return symbols.length <= SCAN_SYMBOLS ? this.mergeByScan(symbols, firsts) : this.mergeByHeap(symbols, firsts);
  }

  private rank(left: number, right: number): number {
    return this.ranks.get(left * this.vocabSize + right) ?? -1;
  }

  private mergeByScan(symbols: Int32Array, firsts: Int32Array): number {
    let count = symbols.length;
    for (;;) {
      let best = -1;
      let bestAt = -1;
      for (let i = 0; i + 1 < count; i++) {
        const rank = this.rank(symbols[i] ?? 0, symbols[i + 1] ?? 0);
        if (rank >= 0 && (best < 0 || rank < best)) {
          best = rank;
          bestAt = i;
        }
      }
      if (best < 0) return count;
      symbols[bestAt] = this.results[best] ?? 0;
      symbols.copyWithin(bestAt + 1, bestAt + 2, count);
      firsts.copyWithin(bestAt + 1, bestAt + 2, count);
      count--;
    }
  }

  private mergeByHeap(symbols: Int32Array, firsts: Int32Array): number {
    const count = symbols.length;
    const next = new Int32Array(count);
    const previous = new Int32Array(count);
    const heap = new NumberHeap();
    /** One number orders by rank, then by place; stale entries are told apart by looking the pair up again. */
    const offer = (at: number) => {
      const right = next[at] ?? count;
      const rank = right < count ? this.rank(symbols[at] ?? 0, symbols[right] ?? 0) : -1;
      if (rank >= 0) heap.push(rank * count + at);
    };
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
    }
    for (let i = 0; i + 1 < count; i++) offer(i);
    for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
      const at = key % count;
      const rank = (key - at) / count;
      const right = next[at] ?? count;
      const left = symbols[at] ?? 0;
      if (left < 0 || right >= count || this.rank(left, symbols[right] ?? 0) !== rank) continue;
      symbols[at] = this.results[rank] ?? 0;
      symbols[right] = -1;
      const after = next[right] ?? count;
      next[at] = after;
      if (after < count) previous[after] = at;
      offer(at);
      const before = previous[at] ?? -1;
      if (before >= 0) offer(before);
    }
    let kept = 0;
    for (let i = 0; i < count; i = next[i] ?? count) {
      symbols[kept] = symbols[i] ?? 0;
      firsts[kept] = i;
      kept++;
    }
    return kept;
  }
}

/** Below this many symbols a scan per merge is faster than a heap. */
const SCAN_SYMBOLS = 48;

/** Binary min-heap of numbers. */
class NumberHeap {
  private readonly items: number[] = [];

  push(item: number): void {
    const items = this.items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] ?? 0;
      if (above <= item) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const items = this.items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && (items[child + 1] ?? 0) < (items[child] ?? 0)) child++;
      const below = items[child] ?? 0;
      if (below >= last) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
