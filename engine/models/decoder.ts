/**
 * The forward pass on the GPU, in the order of reference/decoder.ts. E hidden size, H query heads, G key/value heads, D head dimension,
 * F feed-forward width, V vocabulary, T tokens of the chunk. Queries, keys and values come from one fused projection, gate and up from another.
 */
import type { ModelSpec } from "../api.ts";
import type { AttentionTap } from "../attention/tap.ts";
import { attend } from "../attention/attend.ts";
import { storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Matrix } from "../kernels/linear.ts";
import { MAX_SPLITS, type DecodeParts, type Operations, type Span } from "../kernels/ops.ts";
import type { PagedCache } from "../kv-cache/pages.ts";

/** Weights of one layer; what the model does not have is undefined. */
export interface LayerWeights {
  attentionNorm: GPUBuffer;
  /** [(H + 2G) D, E]: query, key and value projections behind each other. */
  qkv: Matrix;
  keyShift: GPUBuffer | undefined;
  headNorms: { query: GPUBuffer; key: GPUBuffer } | undefined;
  output: Matrix;
  mlpNorm: GPUBuffer;
  /** [2F, E] */
  gateUp: Matrix;
  down: Matrix;
}

export interface DecoderWeights {
  embedding: Matrix;
  layers: readonly LayerWeights[];
  finalNorm: GPUBuffer;
  /** [V, E]; the embedding itself where it is tied. */
  head: Matrix;
}

/** Buffers of one chunk of at most `maxTokens` tokens. */
export interface Activations {
  maxTokens: number;
  /** [T] and [T, rotaryDim / 2] of (cos, sin): what a chunk starts from. */
  ids: GPUBuffer;
  angles: GPUBuffer;
  /** Residual stream [T, E], always f32, and its normed copy. */
  x: GPUBuffer;
  normed: GPUBuffer;
  qkv: GPUBuffer;
  attended: GPUBuffer;
  gateUp: GPUBuffer;
  active: GPUBuffer;
  parts: DecodeParts;
  /** Final normed state [E] of the last token, and its logits [V]. */
  state: GPUBuffer;
  logits: GPUBuffer;
}

export interface GpuDecoder {
  op: Operations;
  weights: DecoderWeights;
  acts: Activations;
  cache: PagedCache;
  tap: AttentionTap;
}

/** Token ids of the chunk -> residual stream. */
export function embedTokens({ op, weights, acts }: GpuDecoder, tokens: number): void {
  op.embed(acts.ids, weights.embedding, acts.x, tokens); // [T, E]
}

/** One layer over the chunk: writes its keys and values into the cache and adds to the residual stream. */
export function runLayer({ op, weights, acts, cache, tap }: GpuDecoder, index: number, span: Span): void {
  const w = weights.layers[index];
  if (w === undefined) throw new RangeError(`layer ${index} of ${weights.layers.length}`);
  const { x, normed, qkv, attended, gateUp, active, parts } = acts;
  const { tokens } = span;
  const kv = cache.layer(index);
  const tapped = tap.at(index);
  const paged = { pages: kv.pages, keys: kv.keys, values: kv.values };

  op.rmsNorm(x, w.attentionNorm, normed, tokens); // [T, E]
  op.linear(normed, w.qkv, qkv, tokens); // [T, H + 2G, D]
  if (w.keyShift !== undefined && kv.tails !== undefined) op.keyShift(qkv, w.keyShift, kv.tails, span); // keys [T, G, D]
  if (w.headNorms !== undefined) op.qkNorm(qkv, w.headNorms.query, w.headNorms.key, tokens); // [T, H + G, D]
  op.rope(qkv, acts.angles, tokens); // [T, H + G, D]
  op.kvWrite(qkv, paged, tapped.queries, span); // pages of [G, 16, D]
  attend(op, qkv, paged, { out: attended, lse: tapped.lse, parts }, span); // [T, H, D]
  op.linear(attended, w.output, x, tokens, "add"); // [T, E]

  op.rmsNorm(x, w.mlpNorm, normed, tokens); // [T, E]
  op.linear(normed, w.gateUp, gateUp, tokens); // [T, 2F]
  op.siluMul(gateUp, active, tokens); // [T, F]
  op.linear(active, w.down, x, tokens, "add"); // [T, E]
}

/** Final state of the chunk's last token. */
export function lastState({ op, weights, acts }: GpuDecoder, tokens: number): void {
  op.rmsNorm(acts.x, weights.finalNorm, acts.state, 1, tokens - 1); // [1, E]
}

/** Logits of the last token, from its state. */
export function lastLogits({ op, weights, acts }: GpuDecoder): void {
  op.linear(acts.state, weights.head, acts.logits, 1); // [V]
}

/** Logits of every token of the chunk. */
export function allLogits({ op, weights, acts }: GpuDecoder, logits: GPUBuffer, tokens: number): void {
  op.rmsNorm(acts.x, weights.finalNorm, acts.normed, tokens); // [T, E]
  op.linear(acts.normed, weights.head, logits, tokens); // [T, V]
}

/** Buffers for chunks of at most `wantedTokens`, fewer where a row is so wide that the device cannot bind that many. */
export function openActivations(spec: ModelSpec, gpu: EngineDevice, wantedTokens: number): Activations {
  const { headCount: H, kvHeadCount: G, headDim: D, hiddenSize: E, intermediateSize: F, vocabSize: V } = spec;
  const widest = 4 * Math.max((H + 2 * G) * D, 2 * F, E);
  const maxTokens = Math.max(1, Math.min(wantedTokens, Math.floor(gpu.maxBufferBytes / widest)));
  const rows = (label: string, width: number, count = maxTokens): GPUBuffer => storageBuffer(gpu, label, count * width * 4);
  return {
    maxTokens,
    ids: rows("ids", 1),
    angles: rows("angles", spec.rotaryDim),
    x: rows("residual", E),
    normed: rows("normed", E),
    qkv: rows("qkv", (H + 2 * G) * D),
    attended: rows("attended", H * D),
    gateUp: rows("gate and up", 2 * F),
    active: rows("active", F),
    parts: { out: rows("partial outputs", H * D, MAX_SPLITS), lse: rows("partial denominators", H, MAX_SPLITS) },
    state: rows("state", E, 1),
    logits: rows("logits", V, 1),
  };
}
