/**
 * Rows of numbers per head and token, kept in blocks [heads, blockTokens, width] that are made when a token needs them, so
 * that growing never copies. Used for cached keys and values and for the queries that the attention tap keeps.
 */
export class HeadRows {
  readonly blockTokens: number;
  private readonly heads: number;
  private readonly width: number;
  private readonly blocks: Float32Array<ArrayBuffer>[] = [];

  constructor(heads: number, width: number, blockTokens: number) {
    this.heads = heads;
    this.width = width;
    this.blockTokens = blockTokens;
  }

  /** Stores `rows` [heads, count, width] as tokens [position, position + count). */
  write(position: number, rows: Float32Array<ArrayBuffer>, count: number): void {
    for (let done = 0; done < count;) {
      const index = Math.floor((position + done) / this.blockTokens);
      const offset = (position + done) % this.blockTokens;
      const run = Math.min(count - done, this.blockTokens - offset);
      const block = this.blockFor(index);
      for (let head = 0; head < this.heads; head++) {
        const from = (head * count + done) * this.width;
        block.set(rows.subarray(from, from + run * this.width), (head * this.blockTokens + offset) * this.width);
      }
      done += run;
    }
  }

  /**
   * The first `count` tokens of block `index` for `heads` heads from `firstHead`, [heads, count, width]; a view where they lie
   * side by side, else a copy. Good until the next write.
   */
  read(index: number, count: number, firstHead = 0, heads = this.heads): Float32Array<ArrayBuffer> {
    const block = this.blockFor(index);
    const stride = this.blockTokens * this.width;
    if (heads === 1) return block.subarray(firstHead * stride, firstHead * stride + count * this.width);
    if (count === this.blockTokens) return block.subarray(firstHead * stride, (firstHead + heads) * stride);
    const compact = new Float32Array(heads * count * this.width);
    for (let head = 0; head < heads; head++) {
      const from = (firstHead + head) * stride;
      compact.set(block.subarray(from, from + count * this.width), head * count * this.width);
    }
    return compact;
  }

  /** A copy of tokens [position, position + count), which lie in one block, as [heads, count, width]. */
  slice(position: number, count: number): Float32Array<ArrayBuffer> {
    const block = this.blockFor(Math.floor(position / this.blockTokens));
    const rows = new Float32Array(this.heads * count * this.width);
    for (let head = 0; head < this.heads; head++) {
      const from = (head * this.blockTokens + (position % this.blockTokens)) * this.width;
      rows.set(block.subarray(from, from + count * this.width), head * count * this.width);
    }
    return rows;
  }

  /** Visits the row of every head of the first `length` tokens: its block, where it begins there, and its token. */
  forEachRow(length: number, visit: (block: Float32Array<ArrayBuffer>, start: number, token: number) => void): void {
    for (let token = 0; token < length; token++) {
      const block = this.blockFor(Math.floor(token / this.blockTokens));
      for (let head = 0; head < this.heads; head++) {
        visit(block, (head * this.blockTokens + (token % this.blockTokens)) * this.width, token);
      }
    }
  }

  /** The same rows in blocks of their own. */
  copy(): HeadRows {
    const copy = new HeadRows(this.heads, this.width, this.blockTokens);
    copy.blocks.push(...this.blocks.map((block) => block.slice()));
    return copy;
  }

  /** Frees the blocks that hold no token below `length`. */
  truncate(length: number): void {
    this.blocks.length = Math.min(this.blocks.length, Math.ceil(length / this.blockTokens));
  }

  private blockFor(index: number): Float32Array<ArrayBuffer> {
    let block = this.blocks[index];
    if (block === undefined) {
      block = new Float32Array(this.heads * this.blockTokens * this.width);
      this.blocks[index] = block;
    }
    return block;
  }
}
