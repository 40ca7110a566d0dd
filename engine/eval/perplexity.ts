/**
 * How well a model foretells a text: exp(-mean log p) over its tokens, each given those before it. Long texts either whole, or by sliding
 * windows in which every token is scored once; by position to see where a model loses the thread.
 */
import { type ModelSpec, CUT_TOKENS, type Runner } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import type { BodyCache } from "../pack/body.ts";
import { resolveRope } from "../position/choose.ts";
import { checkIds } from "../reference/checks.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { PerplexityReport, PerplexityRequest, PositionBucket } from "./api.ts";

/** An open model; the runner's cache is nobody else's while it is measured. */
export interface EvaluatedModel {
  spec: ModelSpec;
  tokenizer: Tokenizer;
  bodies: BodyCache;
  runner: Runner;
}

/** Log-probability of one token, and how many tokens it was foretold from. */
export interface ScoredToken {
  /** Its index in the text. */
  index: number;
  contextTokens: number;
  logProbability: number;
}

/** Tokens begin .. end - 1 are read; those from `scoredFrom` on are scored. */
export interface Segment {
  begin: number;
  end: number;
  scoredFrom: number;
}

export interface ScoreOptions {
  /** Tokens read at once; all by default. */
  windowTokens?: number;
  /** How far a window moves; below `windowTokens`. Half of it by default. */
  strideTokens?: number;
  signal?: AbortSignal;
  onProgress?(doneTokens: number, totalTokens: number): void;
}

/** exp of the mean of -log p. NaN for no tokens. */
export function perplexityOf(logProbabilities: Iterable<number>): number {
  let sum = 0;
  let count = 0;
  for (const logProbability of logProbabilities) {
    sum += logProbability;
    count++;
  }
  return Math.exp(-sum / count);
}

/** Perplexity of the tokens between neighbouring edges of rising context lengths; buckets without a token are left out. */
export function perplexityByPosition(scored: readonly ScoredToken[], edges: readonly number[]): PositionBucket[] {
  return edges.slice(0, -1).flatMap((from, index) => {
    const to = edges[index + 1] ?? from;
    const inside = scored.filter(({ contextTokens }) => contextTokens >= from && contextTokens < to);
    if (inside.length === 0) return [];
    return [{ from, to, tokens: inside.length, perplexity: perplexityOf(inside.map(({ logProbability }) => logProbability)) }];
  });
}

/** 0, 256, 512, 1024 … up to the first that is not below `tokens`: few enough to read, and each with enough tokens to mean something. */
export function positionEdges(tokens: number): number[] {
  const edges = [0];
  for (let edge = FIRST_EDGE; edge < tokens; edge *= 2) edges.push(edge);
  return [...edges, Math.max(tokens, 1)];
}

const FIRST_EDGE = 256;

/** Windows over `tokens` tokens: each scores what the one before could not, so every token but the first is scored once. */
export function slidingSegments(tokens: number, windowTokens: number, strideTokens: number): Segment[] {
  if (!Number.isSafeInteger(windowTokens) || windowTokens < 2) {
    throw new EngineError("bad-argument", `a window of ${windowTokens} tokens scores nothing`, "give at least 2 tokens");
  }
  if (!Number.isSafeInteger(strideTokens) || strideTokens < 1 || strideTokens >= windowTokens) {
    const message = `a stride of ${strideTokens} tokens in a window of ${windowTokens}`;
    throw new EngineError("bad-argument", message, `give a whole number from 1 to ${windowTokens - 1}`);
  }
  const segments: Segment[] = [];
  for (let begin = 0, scoredFrom = 1; scoredFrom < tokens; begin += strideTokens) {
    const end = Math.min(begin + windowTokens, tokens);
    segments.push({ begin, end, scoredFrom });
    scoredFrom = end;
  }
  return segments;
}

/**
 * Log-probabilities of every token but the first under the runner's present positions; empties its cache and leaves the last window in it.
 * Logits are held in pieces of at most 32 MiB. Throws `bad-argument` for fewer than two tokens, `bad-weights` for logits that are no numbers.
 */
export async function scoreTokens(
  runner: Runner,
  vocabSize: number,
  ids: ArrayLike<number>,
  options: ScoreOptions = {},
): Promise<ScoredToken[]> {
  const tokens = Int32Array.from(ids);
  checkIds(tokens, vocabSize);
  if (tokens.length < 2) {
    throw new EngineError("bad-argument", `a text of ${tokens.length} tokens has no perplexity`, "give at least two tokens");
  }
  const window = options.windowTokens ?? tokens.length;
  const segments =
    window >= tokens.length
      ? [{ begin: 0, end: tokens.length, scoredFrom: 1 }]
      : slidingSegments(tokens.length, window, options.strideTokens ?? Math.floor(window / 2));
  const total = segments.reduce((sum, { begin, end }) => sum + end - begin - 1, 0);
  const scored: ScoredToken[] = [];
  let done = 0;
  const advance = (count: number): void => options.onProgress?.((done += count), total);
  for (const segment of segments) await scoreSegment(runner, vocabSize, tokens, segment, scored, advance, options.signal);
  return scored;
}

/** Perplexity of a text under a scaling, all of it and by position. Throws what `scoreTokens` and `resolveRope` throw. */
export async function measurePerplexity(
  { runner, spec }: EvaluatedModel,
  ids: readonly number[],
  request: PerplexityRequest,
): Promise<PerplexityReport> {
  const windowTokens = Math.min(request.windowTokens ?? ids.length, ids.length);
  const { plan, scaling } = resolveRope(request.rope, spec, windowTokens, runner.capacityTokens);
  runner.setPositions(plan);
  const scored = await scoreTokens(runner, spec.vocabSize, ids, request);
  return {
    perplexity: perplexityOf(scored.map(({ logProbability }) => logProbability)),
    scoredTokens: scored.length,
    buckets: perplexityByPosition(scored, request.edges ?? positionEdges(windowTokens)),
    rope: scaling,
  };
}

/** The last token of a segment is never run: nothing behind it is scored. */
async function scoreSegment(
  runner: Runner,
  vocabSize: number,
  ids: Int32Array,
  { begin, end, scoredFrom }: Segment,
  scored: ScoredToken[],
  advance: (count: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  runner.truncate(0);
  const firstScorer = scoredFrom - 1;
  if (firstScorer > begin) await runner.append(ids.subarray(begin, firstScorer), { signal });
  advance(firstScorer - begin);
  const pieceTokens = logitRows(vocabSize);
  for (let at = firstScorer; at < end - 1; at += pieceTokens) {
    throwIfAborted(signal);
    const piece = ids.subarray(at, Math.min(at + pieceTokens, end - 1));
    const logits = await runner.append(piece, { signal, logits: "all" });
    if (logits === undefined)
      throw new EngineError("internal", "the backend returned no logits", "report it with the name of the backend");
    for (let row = 0; row < piece.length; row++) {
      const index = at + row + 1;
      const logProbability = logSoftmax(logits.subarray(row * vocabSize, (row + 1) * vocabSize), ids[index]);
      if (Number.isNaN(logProbability)) {
        throw new EngineError("bad-weights", `logits at token ${index} are not numbers`, "check the model's files", { index });
      }
      scored.push({ index, contextTokens: index - begin, logProbability });
    }
    advance(piece.length);
  }
}

/** Most bytes of logits that are held at once. */
const LOGIT_BYTES = 32 * 2 ** 20;

/** Tokens of one piece: whole pages where that many rows fit. */
export function logitRows(vocabSize: number): number {
  const rows = Math.max(1, Math.floor(LOGIT_BYTES / (4 * vocabSize)));
  return rows < CUT_TOKENS ? rows : rows - (rows % CUT_TOKENS);
}

/** log softmax(logits)[id] in float64. */
export function logSoftmax(logits: Float32Array, id: number): number {
  let largest = -Infinity;
  for (const logit of logits) if (!(logit <= largest)) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return logits[id] - largest - Math.log(sum);
}
