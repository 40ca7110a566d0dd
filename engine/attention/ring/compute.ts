/** What one rank computes; rank.ts says in which order. Implementations: gpuRank.ts, and reference/ringRank.ts in plain loops. */
import type { DecoderSpec, MatmulPrecision, PositionPlan, WeightFormat } from "../../api.ts";
import type { KvFormats } from "../api.ts";
import type { Shard } from "./schedule.ts";

/** How every rank of a ring opens the model. */
export interface RankOptions {
  weightFormat: WeightFormat;
  products: MatmulPrecision;
  /** How keys and values are kept and passed on. */
  kv: KvFormats;
  /** Use no more than WebGPU guarantees everywhere. */
  minimumLimits: boolean;
}

/** Keys, one buffer per copy of the position plan, and values of one rank's tokens, as the ranks' devices have them. */
export interface KeyBlock {
  keys: readonly ArrayBuffer[];
  values: ArrayBuffer;
}

/** One rank's part of a prompt. */
export interface RankShard {
  rank: number;
  /** Positions of every rank's tokens. */
  shards: readonly Shard[];
  /** Tokens of this rank. */
  ids: Int32Array<ArrayBuffer>;
  /** Asked for positions of this shard only. */
  plan: PositionPlan;
  /** Tokens of this rank, by place in its shard, whose queries are wanted of tapped layers. */
  tapRows: Uint32Array<ArrayBuffer>;
}

/** Of the rows that are wanted, queries [rows, H, D] of every band as they were scored, and lse [rows, H]: what the attention tap keeps. */
export interface TapRows {
  queries: readonly Float32Array<ArrayBuffer>[];
  lse: Float32Array<ArrayBuffer>;
}

/** Keys of every copy and values, [n, G, words of a row in their format] by rising position; see kv-cache/format.ts. */
export interface KeyRows {
  keys: readonly Uint32Array<ArrayBuffer>[];
  values: Uint32Array<ArrayBuffer>;
}

/** One device with all weights; n tokens of a prompt go through it layer by layer. Not re-entrant. Throws what the device does. */
export interface RankCompute {
  readonly spec: DecoderSpec;
  /** Adapter or runtime in words. */
  readonly device: string;
  /** Takes a shard: its embedded tokens are the residual stream. Whatever was before is forgotten. */
  begin(shard: RankShard): Promise<void>;
  /** Queries, keys and values of the layer. Resolves with the raw keys [n, G, D] where the model mixes each with the one before it. */
  project(layer: number): Promise<Float32Array<ArrayBuffer> | undefined>;
  /** Makes own keys ready, mixed with the raw keys `before` them [n, G, D] where the model does that, and takes a copy to be passed on. */
  ownBlock(layer: number, before: Float32Array<ArrayBuffer> | undefined): Promise<KeyBlock>;
  /** Copies a block of `owner` to where the next `attend` reads it; the block may then be passed on. */
  hold(owner: number, block: KeyBlock): void;
  /** Own queries meet the block of `owner`, the first one afresh, the others going on from it. Resolves when that is done, with the pairs that met. */
  attend(layer: number, step: number, owner: number): Promise<number>;
  /** Output projection and MLP on what was attended to. */
  finish(layer: number, isTapped: boolean): Promise<TapRows | undefined>;
  /** A block of `tokens` tokens as plain rows. */
  rows(block: KeyBlock, tokens: number): KeyRows;
  /** Rows [first, n) of the residual stream [n, E]. */
  states(first: number): Promise<Float32Array<ArrayBuffer>>;
  /** Gives back what belongs to the prompt. */
  end(): void;
  dispose(): void;
}

/** Opens the model for one rank. */
export type OpenRank = (
  options: RankOptions,
  signal: AbortSignal,
  onProgress: (doneBytes: number, totalBytes: number) => void,
) => Promise<RankCompute>;
