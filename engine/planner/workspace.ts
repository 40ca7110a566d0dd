/** Memory beside weights and context on the GPU: buffers of a chunk, of attention, of the attention tap. Sizes are those the backend allocates. */
import type { DecoderSpec, ModelSpec } from "../api.ts";
import type { AttentionChoice } from "../attention/api.ts";
import { DEFAULT_TAP_BYTES, tapRoom } from "../attention/tapRoom.ts";
import { UNIFORM_BYTES } from "../gpu/dispatch.ts";
import { attentionSizes, chunkSizes, MAX_CHUNK_TOKENS } from "../models/chunkSizes.ts";
import { recurrentChunk } from "../recurrent/chunkSizes.ts";

export interface WorkspaceRequest {
  attention: AttentionChoice;
  /** Bands of the position plan. */
  bands: number;
  /** Largest buffer that the device binds. */
  maxBufferBytes: number;
  /** Memory for saved queries (default 256 MiB). */
  tapBytes?: number;
}

export interface Workspace {
  /** Longest chunk of a prompt. */
  chunkTokens: number;
  parts: readonly { what: string; bytes: number }[];
}

/** What the GPU backend allocates besides. */
export function workspace(spec: ModelSpec, request: WorkspaceRequest): Workspace {
  const sampling = { what: "sampling", bytes: 4 * Math.ceil(spec.vocabSize / 32) + UNIFORM_BYTES };
  if (spec.kind !== "decoder") {
    const { maxTokens, bytes } = recurrentChunk(spec, request.maxBufferBytes, MAX_CHUNK_TOKENS);
    return { chunkTokens: maxTokens, parts: [{ what: "a chunk's activations", bytes: sum(bytes) }, sampling] };
  }
  const chunk = chunkSizes(spec, request.maxBufferBytes, MAX_CHUNK_TOKENS);
  const bands = request.bands + (request.attention.policy.kind === "sinks" ? 1 : 0);
  const sizes = attentionSizes(spec, chunk.maxTokens);
  const tap = tapRoom(
    spec,
    { tapBytes: request.tapBytes ?? DEFAULT_TAP_BYTES, maxBindingBytes: request.maxBufferBytes },
    (layer) => (spec.layers[layer]?.rotation === "main" ? bands : 1),
  );
  return {
    chunkTokens: chunk.maxTokens,
    parts: [
      { what: "a chunk's activations", bytes: sum(chunk.bytes) },
      { what: "attention", bytes: bands * sizes.rotated + 2 * sizes.lse + sizes.partOut + sizes.partLse },
      { what: "angles", bytes: angleBytes(spec, chunk.maxTokens, bands) },
      { what: "queries kept for heatmaps", bytes: tap.bytes },
      sampling,
    ],
  };
}

/** Cosines and sines of queries and keys of a chunk, for each rotation and band. */
function angleBytes(spec: DecoderSpec, tokens: number, bands: number): number {
  const rows = (rotaryDim: number, count: number): number => count * tokens * 4 * (rotaryDim / 2 + 1) * 4;
  const turns = new Set(spec.layers.map(({ rotation }) => rotation));
  const main = turns.has("main") && spec.rotaryDim > 0 ? rows(spec.rotaryDim, bands) : 0;
  return main + (turns.has("local") && spec.local !== undefined ? rows(spec.local.rotaryDim, 1) : 0);
}

function sum(bytes: Readonly<Record<string, number>>): number {
  return Object.values(bytes).reduce((all, part) => all + part, 0);
}
