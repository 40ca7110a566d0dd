import type { DecoderSpec, Runner } from "../../api.ts";
import { HeadRows } from "./headRows.ts";

/** Queries of one block are multiplied with one block of keys when attention is pooled. */
export const TAP_BLOCK_TOKENS = 128;

/** What the tap keeps of one layer: queries [H, D] per token before rotation, and the log-sum-exp [H, 1] of their scores. */
export interface SavedQueries {
  queries: HeadRows;
  lse: HeadRows;
}

/**
 * The queries of as many layers as fit into the memory granted. It begins with all layers; when the context outgrows the memory, every
 * other layer is given up, and comes back only with an empty cache, because its older queries are gone.
 */
export class QueryTap {
  private readonly spec: DecoderSpec;
  private readonly limitBytes: number;
  private readonly layers = new Map<number, SavedQueries>();
  private reserved = 0;
  private dropped: string | undefined;
  /** The first token whose queries were computed. */
  private from = 0;

  constructor(spec: DecoderSpec, limitBytes: number) {
    this.spec = spec;
    this.limitBytes = limitBytes;
    this.begin();
  }

  get kept(): Runner["tap"] {
    return this.from === 0 ? this.keptLayers : { ...this.keptLayers, from: this.from };
  }

  private get keptLayers(): { layers: readonly number[]; because: string } {
    const layers = [...this.layers.keys()];
    if (this.dropped !== undefined) return { layers: [], because: this.dropped };
    const memory = `${Math.floor(this.limitBytes / 2 ** 20)} MiB`;
    if (layers.length === this.spec.layerCount) return { layers, because: `the queries of all layers fit into ${memory}` };
    return { layers, because: `${memory} hold the queries of ${layers.length} of ${this.spec.layerCount} layers at this length` };
  }

  /** What is kept of one of the `kept` layers. */
  saved(layer: number): SavedQueries {
    const saved = this.layers.get(layer);
    if (saved === undefined) throw new RangeError(`layer ${layer} is not tapped`);
    return saved;
  }

  /** Makes room for tokens up to `lengthTokens` by giving layers up. */
  reserve(lengthTokens: number): void {
    this.reserved = Math.max(this.reserved, lengthTokens);
    const blocks = Math.ceil(this.reserved / TAP_BLOCK_TOKENS);
    const layerBytes = blocks * TAP_BLOCK_TOKENS * this.spec.headCount * (this.spec.headDim + 1) * Float32Array.BYTES_PER_ELEMENT;
    while (this.layers.size > 0 && this.layers.size * layerBytes > this.limitBytes) {
      const kept = [...this.layers.keys()];
      // The last layer stays longest: it is the nearest to the answer.
      for (const [index, layer] of kept.reverse().entries()) if (kept.length === 1 || index % 2 === 1) this.layers.delete(layer);
    }
  }

  /** Queries [H, count, D] and log-sum-exp [H, count, 1] of one layer at [position, position + count); nothing where the layer is not kept. */
  write(
    layer: number,
    position: number,
    count: number,
    queries: Float32Array<ArrayBuffer>,
    lse: Float32Array<ArrayBuffer>,
  ): void {
    const saved = this.layers.get(layer);
    saved?.queries.write(position, queries, count);
    saved?.lse.write(position, lse, count);
  }

  /** Gives all layers up until the cache is empty, because what is kept says nothing about the keys any more. */
  drop(because: string): void {
    this.layers.clear();
    this.dropped = because;
  }

  /** The cache was filled up to `length` without queries. */
  skipTo(length: number): void {
    this.from = length;
  }

  truncate(length: number): void {
    if (length === 0) this.begin();
    this.from = Math.min(this.from, length);
    for (const { queries, lse } of this.layers.values()) {
      queries.truncate(length);
      lse.truncate(length);
    }
  }

  private begin(): void {
    this.reserved = 0;
    this.dropped = undefined;
    this.layers.clear();
    for (let layer = 0; layer < this.spec.layerCount; layer++) {
      this.layers.set(layer, {
        queries: new HeadRows(this.spec.headCount, this.spec.headDim, TAP_BLOCK_TOKENS),
        lse: new HeadRows(this.spec.headCount, 1, TAP_BLOCK_TOKENS),
      });
    }
  }
}
