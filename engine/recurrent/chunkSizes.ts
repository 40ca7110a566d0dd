/**
 * Bytes of the buffers that a chunk of a recurrent model goes through on the GPU: what the device allocates and the planner counts. Pure.
 * E hidden size, V vocabulary, T tokens of the chunk; other letters as in backends/wgsl/recurrent*.ts.
 */
import type { Mamba2Spec, MambaSpec, RecurrentSpec, Rwkv7Spec } from "../api.ts";
import { padded4, ssdBlock } from "../kernels/recurrentOps.ts";
import { convWidth } from "./weights.ts";

/** Bytes by the names that the passes give their buffers. */
export interface RecurrentChunk<Name extends string> {
  /** Longest chunk that the device can bind of the widest row. */
  maxTokens: number;
  bytes: Readonly<Record<Name, number>>;
}

export type OuterBuffer = "ids" | "x" | "normed" | "last" | "logits";

/** Chunks of at most `wantedTokens` of any recurrent model. */
export function recurrentChunk(
  spec: RecurrentSpec,
  maxBufferBytes: number,
  wantedTokens: number,
): RecurrentChunk<OuterBuffer> & { bytes: Readonly<Record<string, number>> } {
  switch (spec.kind) {
    case "mamba":
      return mambaChunk(spec, maxBufferBytes, wantedTokens);
    case "mamba2":
      return mamba2Chunk(spec, maxBufferBytes, wantedTokens);
    case "rwkv7":
      return rwkv7Chunk(spec, maxBufferBytes, wantedTokens);
  }
}

export function mambaChunk(spec: MambaSpec, maxBufferBytes: number, wantedTokens: number) {
  const { hiddenSize: E, innerSize: I, stateSize: N, timeStepRank: R } = spec;
  const maxTokens = longest(maxBufferBytes, wantedTokens, Math.max(2 * I, R + 2 * N, E));
  const rows = (width: number): number => maxTokens * width * 4;
  const own = { uz: rows(2 * I), u: rows(I), selected: rows(R + 2 * N), low: rows(padded4(R)), step: rows(I), y: rows(I) };
  return { maxTokens, bytes: { ...outer(spec, maxTokens), ...own } };
}

export function mamba2Chunk(spec: Mamba2Spec, maxBufferBytes: number, wantedTokens: number) {
  const { hiddenSize: E, headCount: H, headDim: P, groupCount: G, stateSize: N } = spec;
  const I = H * P;
  const C = convWidth(spec);
  const block = ssdBlock(spec);
  // A chunk keeps the state in front of each of its blocks.
  const mostBlocks = Math.max(1, Math.floor(maxBufferBytes / (4 * I * N)));
  const maxTokens = longest(maxBufferBytes, Math.min(wantedTokens, mostBlocks * block), Math.max(I + C + H, E));
  const rows = (width: number, count = maxTokens): number => count * width * 4;
  const own = {
    inner: rows(I + C + H),
    mixed: rows(C),
    y: rows(I),
    steps: rows(2 * H),
    scores: rows(G * block),
    before: rows(I * N, Math.ceil(maxTokens / block)),
  };
  return { maxTokens, bytes: { ...outer(spec, maxTokens), ...own } };
}

export function rwkv7Chunk(spec: Rwkv7Spec, maxBufferBytes: number, wantedTokens: number) {
  const { hiddenSize: E, intermediateSize: F } = spec;
  const ranks = Math.max(spec.decayRank, spec.gateRank, spec.aRank, spec.vRank) + 3;
  const maxTokens = longest(maxBufferBytes, wantedTokens, Math.max(E, F, ranks));
  const rows = (width: number): number => maxTokens * width * 4;
  const mixed = { shifted: rows(E), firstValues: rows(E), ownValues: rows(E), gate: rows(E), y: rows(E) };
  const shared = { receptance: rows(E), decay: rows(E), key: rows(E), removal: rows(E), rate: rows(E) };
  return { maxTokens, bytes: { ...outer(spec, maxTokens), ...mixed, ...shared, low: rows(ranks), mlp: rows(F) } };
}

/** Residual stream, final state and logits around the layers. */
function outer({ hiddenSize: E, vocabSize: V }: RecurrentSpec, maxTokens: number): Record<OuterBuffer, number> {
  return { ids: maxTokens * 4, x: maxTokens * E * 4, normed: maxTokens * E * 4, last: E * 4, logits: V * 4 };
}

function longest(maxBufferBytes: number, wantedTokens: number, widest: number): number {
  return Math.max(1, Math.min(wantedTokens, Math.floor(maxBufferBytes / (4 * widest))));
}
