/**
 * The forward pass of a transformer on the GPU, in the order of reference/decoder.ts. E hidden size, H query heads, G key/value heads, D head
 * dimension, F feed-forward width, V vocabulary, T tokens of the chunk. Queries, keys and values come from one fused projection, gate and up
 * from another.
 */
import type { DecoderSpec } from "../api.ts";
import type { ChunkPositions, LayerPositions } from "../attention/chunkPositions.ts";
import type { CacheErrorMeter } from "../attention/cacheError.ts";
import { cacheTiles, type Flash3Attention } from "../attention/flash3.ts";
import type { AttentionTap } from "../attention/tap.ts";
import type { AttentionVariants } from "../attention/variants.ts";
import { attend, cacheChunk, type Attended } from "../attention/attend.ts";
import { storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { AttentionParts, Span } from "../kernels/attentionOps.ts";
import type { Matrix } from "../kernels/linear.ts";
import type { NormWeights, Operations } from "../kernels/ops.ts";
import type { PagedCache } from "../kv-cache/pages.ts";
import { attentionSizes, chunkSizes } from "./chunkSizes.ts";

/** Weights of one layer; what the model does not have is undefined. Norm weights have the family's offset in them. */
export interface LayerWeights {
  attentionNorm: NormWeights;
  /** [(H + 2G) D, E]: query, key and value projections behind each other. */
  qkv: Matrix;
  keyShift: GPUBuffer | undefined;
  headNorms: { query: GPUBuffer; key: GPUBuffer } | undefined;
  output: Matrix;
  attentionPostNorm: NormWeights | undefined;
  mlpNorm: NormWeights;
  /** [2F, E], or [F, E] of a plain MLP. */
  gateUp: Matrix;
  down: Matrix;
  mlpPostNorm: NormWeights | undefined;
}

export interface DecoderWeights {
  embedding: Matrix;
  embeddingNorm: NormWeights | undefined;
  layers: readonly LayerWeights[];
  finalNorm: NormWeights;
  /** [V, E]; the embedding itself where it is tied. */
  head: Matrix;
}

/** Buffers of one chunk of at most `maxTokens` tokens. */
export interface Activations {
  maxTokens: number;
  /** [T] */
  ids: GPUBuffer;
  /** Residual stream [T, E], always f32, its normed copy, and what a projection gives before it is normed and added. */
  x: GPUBuffer;
  normed: GPUBuffer;
  projected: GPUBuffer;
  qkv: GPUBuffer;
  attended: GPUBuffer;
  gateUp: GPUBuffer;
  active: GPUBuffer;
  /** Final normed state [E] of the last token, and its logits [V]. */
  state: GPUBuffer;
  logits: GPUBuffer;
}

/** What attention needs besides; `rotated` grows with the bands of a position plan. */
export interface AttentionActivations {
  /** Per band [T, H + G, D]. */
  rotated: readonly GPUBuffer[];
  /** Log-sum-exps [T, H], written in turn. */
  lse: Attended["lse"];
  parts: AttentionParts;
}

export interface GpuDecoder {
  spec: DecoderSpec;
  op: Operations;
  weights: DecoderWeights;
  acts: Activations;
  attention: AttentionActivations;
  positions: ChunkPositions;
  cache: PagedCache;
  tap: AttentionTap;
  cacheError: CacheErrorMeter;
  /** Where flash3 was chosen; `op` are its operations then. */
  flash3: Flash3Attention | undefined;
  variants: Pick<AttentionVariants, "attend">;
}

/** Token ids of the chunk -> residual stream. */
export function embedTokens({ op, weights, acts }: Pick<GpuDecoder, "op" | "weights" | "acts">, tokens: number): void {
  if (weights.embeddingNorm === undefined) {
    op.embed(acts.ids, weights.embedding, acts.x, tokens); // [T, E]
    return;
  }
  op.embed(acts.ids, weights.embedding, acts.normed, tokens); // [T, E]
  op.norm(acts.normed, weights.embeddingNorm, acts.x, tokens); // [T, E]
}

/** One layer over the chunk: writes its keys and values into the cache and adds to the residual stream. */
export function runLayer(decoder: GpuDecoder, index: number, span: Span): void {
  projectLayer(decoder, index, span);
  finishLayer(decoder, index, span, decoder.positions.layer(index));
}

/** The first half of a layer: queries, keys and values of the chunk, the latter two in the cache. */
export function projectLayer(decoder: GpuDecoder, index: number, span: Span): void {
  const { op, acts, attention, cache, flash3 } = decoder;
  const w = layerWeights(decoder, index);
  const { qkv } = acts;
  const { tokens } = span;
  const kv = cache.layer(index);
  projectRows(decoder, index, tokens);
  if (w.keyShift !== undefined && kv.tails !== undefined) op.keyShift(qkv, w.keyShift, kv.tails, span); // keys [T, G, D]
  if (w.headNorms !== undefined) op.qkNorm(qkv, w.headNorms.query, w.headNorms.key, tokens); // [T, H + G, D]
  const positions = decoder.positions.layer(index);
  const rows = { qkv, rotated: attention.rotated };
  // Pages of [G, PAGE_TOKENS, D].
  if (flash3 === undefined) cacheChunk(op, rows, kv, positions, span);
  else cacheTiles(flash3.op, rows, kv, flash3.tiles.layer(index), positions, span);
  if (tokens > 1) decoder.cacheError.add(op, index, rows, kv, positions, tokens);
}

/** Queries, keys and values of the chunk as the projection gives them. */
export function projectRows(decoder: LayerParts, index: number, tokens: number): void {
  const { op, acts } = decoder;
  const { attentionNorm, qkv } = layerWeights(decoder, index);
  op.normedLinear(acts.x, attentionNorm, qkv, acts.normed, acts.qkv, tokens); // [T, H + 2G, D]
  op.clampProjection(acts.qkv, tokens * qkv.rows);
}

/** The second half: attention over what `positions` list, and the MLP. */
export function finishLayer(decoder: GpuDecoder, index: number, span: Span, positions: LayerPositions): void {
  const { op, acts, attention, cache, tap, variants } = decoder;
  const rows = { qkv: acts.qkv, rotated: attention.rotated };
  const into = { out: acts.attended, lse: attention.lse, parts: attention.parts };
  const lse = variants.attend(index, rows, positions, into, span) ?? attend(op, rows, cache.layer(index), positions, into, span); // [T, H, D]
  tap.save(op, index, rows, positions, lse);
  addAttended(decoder, index, span.tokens);
}

/** What attention read, through its projection into the residual stream, and the MLP. */
export function addAttended(decoder: LayerParts, index: number, tokens: number): void {
  const { spec, op, acts } = decoder;
  const w = layerWeights(decoder, index);
  const { x, normed, projected, attended, gateUp, active } = acts;
  addProjection(w.output, attended, w.attentionPostNorm); // [T, E]

  op.normedMlp(x, w.mlpNorm, w.gateUp, { normed, wide: gateUp, active }, tokens); // [T, F]
  addProjection(w.down, active, w.mlpPostNorm); // [T, E]

  function addProjection(matrix: Matrix, from: GPUBuffer, postNorm: NormWeights | undefined): void {
    if (postNorm === undefined) {
      op.linear(from, matrix, x, tokens, "add");
      return;
    }
    op.linear(from, matrix, projected, tokens);
    if (spec.norm !== "rms") throw new RangeError("only RMSNorms are added behind a projection");
    op.addNormed(projected, postNorm, x, tokens);
  }
}

/** What one layer needs beside the cache and positions. */
export type LayerParts = Pick<GpuDecoder, "spec" | "op" | "weights" | "acts">;

export function layerWeights({ weights }: Pick<GpuDecoder, "weights">, index: number): LayerWeights {
  const w = weights.layers[index];
  if (w === undefined) throw new RangeError(`layer ${index} of ${weights.layers.length}`);
  return w;
}

/** Final state of the chunk's last token. */
export function lastState({ op, weights, acts }: GpuDecoder, tokens: number): void {
  op.norm(acts.x, weights.finalNorm, acts.state, 1, tokens - 1); // [1, E]
}

/** Logits of the last token, from its state. */
export function lastLogits({ op, weights, acts }: GpuDecoder): void {
  op.linear(acts.state, weights.head, acts.logits, 1); // [V]
  op.softcapLogits(acts.logits, weights.head.rows);
}

/** Logits of `tokens` tokens of the chunk, from `first` on. */
export function allLogits({ op, weights, acts }: GpuDecoder, logits: GPUBuffer, tokens: number, first = 0): void {
  op.norm(acts.x, weights.finalNorm, acts.normed, tokens, first); // [T, E]
  op.linear(acts.normed, weights.head, logits, tokens); // [T, V]
  op.softcapLogits(logits, tokens * weights.head.rows);
}

/** Buffers for chunks of at most `wantedTokens`, fewer where a row is so wide that the device cannot bind that many. */
export function openActivations(spec: DecoderSpec, gpu: EngineDevice, wantedTokens: number): Activations {
  const { maxTokens, bytes } = chunkSizes(spec, gpu.maxBufferBytes, wantedTokens);
  return {
    maxTokens,
    ids: storageBuffer(gpu, "ids", bytes.ids),
    x: storageBuffer(gpu, "residual", bytes.x),
    normed: storageBuffer(gpu, "normed", bytes.normed),
    projected: storageBuffer(gpu, "projected", bytes.projected),
    qkv: storageBuffer(gpu, "qkv", bytes.qkv),
    attended: storageBuffer(gpu, "attended", bytes.attended),
    gateUp: storageBuffer(gpu, "gate and up", bytes.gateUp),
    active: storageBuffer(gpu, "active", bytes.active),
    state: storageBuffer(gpu, "state", bytes.state),
    logits: storageBuffer(gpu, "logits", bytes.logits),
  };
}

/** Room for the chunk in the positions of `bands` bands, and for attention before it is joined. */
export function openAttentionActivations(
  spec: DecoderSpec,
  gpu: EngineDevice,
  bands: number,
  maxTokens: number,
): AttentionActivations {
  const bytes = attentionSizes(spec, maxTokens);
  const lse = (): GPUBuffer => storageBuffer(gpu, "log-sum-exps", bytes.lse);
  return {
    rotated: Array.from({ length: bands }, (_, band) => storageBuffer(gpu, `rotated ${band}`, bytes.rotated)),
    lse: [lse(), lse()],
    parts: {
      out: storageBuffer(gpu, "partial outputs", bytes.partOut),
      lse: storageBuffer(gpu, "partial denominators", bytes.partLse),
    },
  };
}

export function destroyAttentionActivations({ rotated, lse, parts }: AttentionActivations): void {
  for (const buffer of [...rotated, ...lse, parts.out, parts.lse]) buffer.destroy();
}
