/**
 * A prompt over several graphics cards by Ring Attention (arXiv 2310.01889): each holds a share of the tokens and passes keys and values on
 * while it attends to those it has. Closed forms; a chunk of the ring is a rank's share.
 */
import type { DecoderSpec } from "../api.ts";
import type { KvFormats, RingLayout } from "../attention/api.ts";
import { leastChunkTokens, ringAttentionSeconds, ringStep, type RingRates } from "../attention/ring/overlap.ts";
import { checkRanks } from "../attention/ring/schedule.ts";
import { tokenBytes } from "../kv-cache/capacity.ts";
import { visiblePairs } from "./pairs.ts";
import { prefillWork } from "./work.ts";

export interface RingRequest {
  spec: DecoderSpec;
  tokens: number;
  kv: KvFormats;
  ranks: number;
  layout: RingLayout;
  /** Of one card, sustained, and of its link to the next. */
  rates: RingRates;
}

export interface RingPlan {
  ranks: number;
  layout: RingLayout;
  tokensPerRank: number;
  kvBytesPerRank: number;
  /** One layer's attention to the block of another rank, and passing a block on. */
  stepComputeSeconds: number;
  stepTransferSeconds: number;
  /** Passing hides behind attending. */
  overlaps: boolean;
  /** Least tokens per rank from which on it does: (F / B) (G / H) for two-byte numbers, times what causality leaves of a step. */
  leastTokensPerRank: number;
  /** Of all layers. */
  attentionSeconds: number;
  linearSeconds: number;
  prefillSeconds: number;
  /** Against one card of the same rate. */
  speedup: number;
}

/** Throws `bad-argument` where a rank would have no token. */
export function ringPlan({ spec, tokens, kv, ranks, layout, rates }: RingRequest): RingPlan {
  checkRanks(ranks, tokens);
  const chunk = Math.ceil(tokens / ranks);
  const layerBytes = tokenBytes(spec, kv);
  const bytesPerNumber = layerBytes / (2 * spec.kvHeadCount * spec.headDim);
  const work = prefillWork(spec, tokens, { kind: "flash" });
  const all = visiblePairs({ kind: "flash" }, undefined, 0, tokens);
  let attentionSeconds = 0;
  for (const { window } of spec.layers) {
    // A window leaves part of the pairs, spread over the steps; all blocks are passed on nevertheless.
    const share = visiblePairs({ kind: "flash" }, window, 0, tokens) / all;
    const own = { ...rates, flops: rates.flops / share };
    attentionSeconds += ringAttentionSeconds(spec, layout, ranks, chunk, own, bytesPerNumber);
  }
  const linearSeconds = work.linearFlops / ranks / rates.flops;
  // Every step after the first is alike.
  const step = ringStep(spec, layout, chunk, Math.min(1, ranks - 1), rates, bytesPerNumber);
  const prefillSeconds = linearSeconds + attentionSeconds;
  return {
    ranks,
    layout,
    tokensPerRank: chunk,
    kvBytesPerRank: chunk * spec.layerCount * layerBytes,
    stepComputeSeconds: step.computeSeconds,
    stepTransferSeconds: ranks === 1 ? 0 : step.transferSeconds,
    overlaps: ranks === 1 || step.hidden,
    leastTokensPerRank: Math.ceil(leastChunkTokens(spec, layout, rates, bytesPerNumber)),
    attentionSeconds,
    linearSeconds,
    prefillSeconds,
    speedup: (work.linearFlops + work.attentionFlops) / rates.flops / prefillSeconds,
  };
}
