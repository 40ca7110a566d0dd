/** Memory beside weights and context: buffers of a chunk, of attention, of the attention tap. On the GPU sizes are those the backend allocates. */
import type { DecoderSpec, ModelSpec } from "../api.ts";
import { BLOCK_TOKENS, PAGE_TOKENS, QUEST_PAGE_TOKENS, type AttentionChoice } from "../attention/api.ts";
import { DENSE_BYTES, scoreBytes } from "../attention/dense.ts";
import { ESTIMATE_QUERIES } from "../attention/patterns/minference.ts";
import { MOST_SAMPLES, shownBy } from "../attention/sparse/keptMass.ts";
import { PIECE_BYTES } from "../attention/sparse/scoring.ts";
import { DEFAULT_TAP_BYTES, tapRoom } from "../attention/tapRoom.ts";
import { UNIFORM_BYTES } from "../gpu/dispatch.ts";
import { rowWords } from "../kv-cache/format.ts";
import { attentionSizes, chunkSizes, MAX_CHUNK_TOKENS } from "../models/chunkSizes.ts";
import { recurrentChunk } from "../recurrent/chunkSizes.ts";
import { isCounted } from "./pairs.ts";

export interface WorkspaceRequest {
  tokens: number;
  attention: AttentionChoice;
  /** Bands of the position plan. */
  bands: number;
  /** Largest buffer that the device binds. */
  maxBufferBytes: number;
  /** Of the whole model: each rank of a ring has them too. */
  weightsBytes: number;
  /** Keys and values of one token in one layer. */
  tokenBytes: number;
  /** Memory for saved queries (default 256 MiB). */
  tapBytes?: number;
}

export interface Workspace {
  /** Longest chunk of a prompt. */
  chunkTokens: number;
  /** Whole rows of scores at once, where attention makes them. */
  scoreBytes: number;
  parts: readonly { what: string; bytes: number }[];
}

/** What the GPU backend allocates besides. */
export function gpuWorkspace(spec: ModelSpec, request: WorkspaceRequest): Workspace {
  const sampling = { what: "sampling", bytes: 4 * Math.ceil(spec.vocabSize / 32) + UNIFORM_BYTES };
  if (spec.kind !== "decoder") {
    const { maxTokens, bytes } = recurrentChunk(spec, request.maxBufferBytes, MAX_CHUNK_TOKENS);
    return { chunkTokens: maxTokens, scoreBytes: 0, parts: [{ what: "a chunk's activations", bytes: sum(bytes) }, sampling] };
  }
  const chunk = chunkSizes(spec, request.maxBufferBytes, MAX_CHUNK_TOKENS);
  const bands = request.bands + (request.attention.policy.kind === "sinks" ? 1 : 0);
  const sizes = attentionSizes(spec, chunk.maxTokens);
  const tap = tapRoom(
    spec,
    { tapBytes: request.tapBytes ?? DEFAULT_TAP_BYTES, maxBindingBytes: request.maxBufferBytes },
    (layer) => (spec.layers[layer]?.rotation === "main" ? bands : 1),
  );
  const scores = scoresOf(spec, request, chunk.maxTokens);
  return {
    chunkTokens: chunk.maxTokens,
    scoreBytes: scores,
    parts: [
      { what: "a chunk's activations", bytes: sum(chunk.bytes) },
      { what: "attention", bytes: bands * sizes.rotated + 2 * sizes.lse + sizes.partOut + sizes.partLse },
      { what: "angles", bytes: angleBytes(spec, chunk.maxTokens, bands) },
      { what: "queries kept for heatmaps", bytes: tap.bytes },
      ...ofPolicy(spec, request, chunk.maxTokens, scores),
      sampling,
    ],
  };
}

/** Rows of scores of the largest chunk. */
function scoresOf({ headCount }: DecoderSpec, { tokens, attention }: WorkspaceRequest, chunkTokens: number): number {
  return attention.policy.kind === "dense" ? scoreBytes(headCount, 0, tokens, chunkTokens).atOnce : 0;
}

/** Rows of scores are made with room for a quarter more keys. */
const SCORE_ROOM = 1.25;

/** What a policy asks for that others do not. */
function ofPolicy(spec: DecoderSpec, request: WorkspaceRequest, chunkTokens: number, scores: number): Workspace["parts"] {
  const { headCount: H, kvHeadCount: G, headDim: D } = spec;
  const { tokens, attention, maxBufferBytes } = request;
  const { policy, topPages } = attention;
  const parts: { what: string; bytes: number }[] = [];
  if (scores > 0)
    parts.push({ what: "rows of scores", bytes: Math.max(scores, Math.min(DENSE_BYTES, maxBufferBytes, SCORE_ROOM * scores)) });
  if (policy.kind === "flash3") {
    const pages = Math.ceil(chunkTokens / PAGE_TOKENS);
    parts.push({ what: "queries in 8 bits", bytes: pages * H * PAGE_TOKENS * rowWords("tile8", D) * 4 + chunkTokens * 4 });
  }
  if (topPages !== undefined) {
    const pages = (Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS) / QUEST_PAGE_TOKENS;
    const sizes = attentionSizes(spec, 1);
    const lists = 8 * G * Math.min(topPages, pages);
    parts.push({ what: "choosing pages", bytes: 4 * G * pages + lists + sizes.partOut + sizes.partLse });
  }
  if (policy.kind === "ring")
    parts.push({ what: `${policy.ranks} ranks with the weights`, bytes: rankBytes(spec, policy.ranks, request) });
  const choosesKeys = !isCounted(policy);
  if (choosesKeys || shownBy(policy) !== undefined) {
    parts.push({ what: "measuring what is kept", bytes: keptMassBytes(spec, tokens, chunkTokens, choosesKeys, maxBufferBytes) });
  }
  return parts;
}

/** Slabs of one layer that a rank has: its own, the one it attends to and the one that comes in. */
const RANK_SLABS = 3;

/** Ranks that share one machine: each has all weights, and the rows of its share of the prompt through a layer. */
function rankBytes(spec: DecoderSpec, ranks: number, { tokens, weightsBytes, tokenBytes, bands }: WorkspaceRequest): number {
  const { hiddenSize: E, headCount: H, kvHeadCount: G, headDim: D } = spec;
  const rowFloats = E + (H + 2 * G) * D + bands * (H + G) * D + H * D + 2 * H;
  return ranks * weightsBytes + tokens * (4 * rowFloats + RANK_SLABS * tokenBytes);
}

/** Results of the sampled queries of all layers, and room for their scores with every key, some heads at a time, made twice as large as needed. */
function keptMassBytes(
  { layerCount: L, headCount: H }: DecoderSpec,
  tokens: number,
  chunkTokens: number,
  choosesKeys: boolean,
  maxBufferBytes: number,
): number {
  const ofChunk = choosesKeys ? ESTIMATE_QUERIES : Math.ceil((MOST_SAMPLES * Math.min(chunkTokens, tokens)) / tokens);
  const scores = 2 * ofChunk * H * BLOCK_TOKENS * Math.ceil(tokens / BLOCK_TOKENS) * 4;
  const sums = choosesKeys ? 2 * 2 * H * tokens * 4 : 0;
  return 2 * MOST_SAMPLES * L * H * 4 + Math.min(PIECE_BYTES, maxBufferBytes, scores) + sums;
}

/** Cosines and sines of queries and keys of a chunk, for each rotation and band. */
function angleBytes(spec: DecoderSpec, tokens: number, bands: number): number {
  const rows = (rotaryDim: number, count: number): number => count * tokens * 4 * (rotaryDim / 2 + 1) * 4;
  const turns = new Set(spec.layers.map(({ rotation }) => rotation));
  const main = turns.has("main") && spec.rotaryDim > 0 ? rows(spec.rotaryDim, bands) : 0;
  return main + (turns.has("local") && spec.local !== undefined ? rows(spec.local.rotaryDim, 1) : 0);
}

/** Tokens of a chunk in WebAssembly, and of a block of cached keys that it attends to at once. */
const WASM_CHUNK_TOKENS = 128;
const WASM_BLOCK_TOKENS = 1024;

/** What the graphs of the WASM backend take, by the arrays they go through: the runtime does not tell. */
export function wasmWorkspace(spec: ModelSpec, { tokens, tapBytes = DEFAULT_TAP_BYTES }: WorkspaceRequest): Workspace {
  const { hiddenSize: E, vocabSize: V } = spec;
  const rows = (width: number): number => 4 * WASM_CHUNK_TOKENS * width;
  const logits = { what: "logits", bytes: 4 * V };
  if (spec.kind !== "decoder") {
    const { bytes } = recurrentChunk(spec, Infinity, WASM_CHUNK_TOKENS);
    return {
      chunkTokens: WASM_CHUNK_TOKENS,
      scoreBytes: 0,
      parts: [{ what: "a chunk's activations", bytes: sum(bytes) }, logits],
    };
  }
  const { headCount: H, kvHeadCount: G, headDim: D, intermediateSize: F } = spec;
  const queries = 4 * tokens * H * (D + 1) * spec.layerCount;
  return {
    chunkTokens: WASM_CHUNK_TOKENS,
    scoreBytes: 0,
    parts: [
      { what: "a chunk's activations", bytes: rows(3 * E + (H + 2 * G) * D + H * D + 3 * F) },
      { what: "attention", bytes: rows(2 * H * WASM_BLOCK_TOKENS + 2 * H * D) },
      { what: "queries kept for heatmaps", bytes: Math.min(tapBytes, queries) },
      logits,
    ],
  };
}

function sum(bytes: Readonly<Record<string, number>>): number {
  return Object.values(bytes).reduce((all, part) => all + part, 0);
}
