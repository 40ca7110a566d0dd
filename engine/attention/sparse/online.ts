/**
 * Keys chosen by content while a prompt is read (MInference, arXiv 2407.02490): for each layer of a chunk the device estimates, and what each
 * head sees is chosen here from what it estimated, by the same functions as in the reference.
 */
import type { AttentionPolicy, Pattern } from "../api.ts";
import type { Readback } from "../../gpu/buffers.ts";
import { bestBlocks, ESTIMATE_CHUNK_TOKENS, verticalSlash } from "../patterns/minference.ts";
import { headsPattern, type HeadPattern } from "../patterns/sets.ts";
import { openEstimator, type Estimator } from "./estimate.ts";
import type { LayerOfChunk, Scoring, ScoringParts } from "./scoring.ts";
import { cheapestShape, headSteps } from "./shapeSteps.ts";

export type ContentPolicy = Extract<AttentionPolicy, { kind: "vertical-slash" | "blocks" | "minference" }>;

export function isByContent(policy: AttentionPolicy): policy is ContentPolicy {
  return policy.kind === "vertical-slash" || policy.kind === "blocks" || policy.kind === "minference";
}

/** Most tokens of the chunk behind `length`: chunks end at multiples, so that what is chosen does not depend on a machine's speed. */
export function chosenTogether(length: number): number {
  return ESTIMATE_CHUNK_TOKENS - (length % ESTIMATE_CHUNK_TOKENS);
}

export interface OnlineChoice {
  /** What each head's queries of the chunk see in one layer; everything that was recorded is submitted then. */
  choose(policy: ContentPolicy, source: LayerOfChunk): Promise<Pattern>;
}

export async function openOnlineChoice(parts: ScoringParts & { readback: Readback }, scoring: Scoring): Promise<OnlineChoice> {
  const estimator = await openEstimator(parts, scoring);
  return {
    async choose(policy, source) {
      switch (policy.kind) {
        case "blocks":
          return headsPattern((await estimator.blocks(source)).map((scores) => bestBlocks(scores, policy.blocks)));
        case "vertical-slash":
          return headsPattern(await verticalSlashes(estimator, source, policy));
        case "minference":
          return headsPattern(await shapes(estimator, source, policy.recall));
      }
    },
  };
}

async function verticalSlashes(
  estimator: Estimator,
  source: LayerOfChunk,
  { verticals, slashes }: { verticals: number; slashes: number },
): Promise<HeadPattern[]> {
  const heads: HeadPattern[] = [];
  await estimator.masses(source, ({ sums }) => {
    heads.push(...sums.map((mass) => verticalSlash(mass, verticals, slashes)));
  });
  return heads;
}

async function shapes(estimator: Estimator, source: LayerOfChunk, recall: number): Promise<HeadPattern[]> {
  const heads: HeadPattern[] = [];
  const blocks = await estimator.blocks(source);
  await estimator.masses(source, async (piece) => {
    const steps = piece.sums.map((mass, head) => headSteps(mass, blocks[piece.firstHead + head]));
    const seen = await piece.seenBySteps(steps);
    heads.push(...steps.map((own, head) => cheapestShape(own, seen[head], recall)));
  });
  return heads;
}
