import type { IdSink } from "./byteBpe.ts";

/** A growing list of token ids or offsets. */
export class IdList implements IdSink {
  private items = new Int32Array(256);
  private used = 0;

  get length(): number {
    return this.used;
  }

  pushOne(item: number): void {
    if (this.used === this.items.length) this.grow(this.used + 1);
    this.items[this.used++] = item;
  }

  /** `count` of `items` from `from` on. */
  push(items: Int32Array, from: number, count: number): void {
    if (this.used + count > this.items.length) this.grow(this.used + count);
    for (let i = 0; i < count; i++) this.items[this.used + i] = items[from + i];
    this.used += count;
  }

  /** Items from `first` on, valid until the next push. */
  from(first: number): Int32Array {
    return this.items.subarray(first, this.used);
  }

  take(): Int32Array<ArrayBuffer> {
    return this.items.slice(0, this.used);
  }

  private grow(needed: number): void {
    const grown = new Int32Array(Math.max(needed, 2 * this.items.length));
    grown.set(this.items.subarray(0, this.used));
    this.items = grown;
  }
}
