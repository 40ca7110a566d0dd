/** What the rest of the project sees of evaluation: plain-data types, as engine/api.ts is for the engine. */
import type { ContextLimit, RopeChoice, RopeScaling, SnapshotFile } from "../api.ts";
import type { AskResult } from "../generate/api.ts";
import type { SearchOptions, SearchState } from "../position/search.ts";

/** Tokens foretold from [from, to) tokens before them, and their perplexity. */
export interface PositionBucket {
  from: number;
  to: number;
  tokens: number;
  perplexity: number;
}

export interface PerplexityRequest {
  rope: RopeChoice;
  /** Tokens read at once; all by default. */
  windowTokens?: number;
  /** How far a window moves; half of it by default. */
  strideTokens?: number;
  /** Rising context lengths between which perplexity is told apart; doubling ones by default. */
  edges?: readonly number[];
  signal?: AbortSignal;
  onProgress?(doneTokens: number, totalTokens: number): void;
}

export interface PerplexityReport {
  perplexity: number;
  scoredTokens: number;
  buckets: readonly PositionBucket[];
  rope: RopeScaling;
}

/** A search for LongRoPE's factors on the user's own files. */
export interface RopeSearchRequest {
  files: readonly SnapshotFile[];
  /** Bytes of one file; asked at most once per file. */
  readFile(file: SnapshotFile, signal?: AbortSignal): Promise<Uint8Array>;
  /** Length to search for, above the trained one; every text that factors are judged by is this long. */
  targetTokens: number;
  /** Texts to judge by, at most. */
  documents: number;
  options: SearchOptions;
  /** Goes on from here; all of the above must be as it was then, but for the number of iterations. */
  resume?: RopeSearchState;
}

/** All that is needed to go on with a search, as plain JSON. */
export interface RopeSearchState {
  /** Of the model's rotation: a state of another model is refused. */
  model: { rotaryDim: number; theta: number; trainedTokens: number };
  targetTokens: number;
  documents: number;
  /** Hash of the texts' tokens: perplexities on other texts cannot be compared. */
  texts: string;
  /** Perplexity of the model without any scaling, and under YaRN. */
  plain: number;
  yarn: number;
  search: SearchState;
}

export interface RopeSearchProgress {
  /** Generation that is judged, of how many; 0 is the first population. */
  generation: number;
  generations: number;
  /** Lists judged, of how many at most. */
  judged: number;
  planned: number;
  /** Of the list that was judged last. */
  perplexity: number;
  best: number;
  plain: number;
  yarn: number;
}

export type RopeSearchEvent =
  /** Files become texts. */
  | { type: "reading"; doneTokens: number; totalTokens: number }
  /** Within the judgement of one list (or of no scaling, or YaRN, before the first). */
  | { type: "scoring"; what: "plain" | "yarn" | "factors"; doneTokens: number; totalTokens: number }
  | ({ type: "judged" } & RopeSearchProgress)
  /** What a search that dies here could be resumed from; at least with every generation. */
  | { type: "state"; state: RopeSearchState }
  /** The device was lost and the search goes on from its last state. */
  | { type: "recovered"; because: string };

export interface RopeSearchResult {
  state: RopeSearchState;
  /** All iterations are over; otherwise it was stopped. */
  finished: boolean;
  /** The best factors as a LongRoPE scaling; undefined where it was stopped before the first judgement. */
  best: { scaling: RopeScaling; perplexity: number } | undefined;
  progress: Omit<RopeSearchProgress, "perplexity" | "best">;
}

/**
 * The last question answered again under another scaling without reading the files again: cached keys are turned to their new places, while
 * what deeper layers made of the old places stays. Exact only where the model has one layer.
 */
export interface RopePreview extends Pick<
  AskResult,
  | "question"
  | "answer"
  | "absent"
  | "prose"
  | "stoppedBy"
  | "citations"
  | "lookedAt"
  | "attended"
  | "answerTokens"
  | "promptTokens"
> {
  approximate: true;
  rope: RopeScaling;
  limit: ContextLimit;
  /** Prompt tokens that were computed anew: from the page the question begins in. */
  recomputedTokens: number;
  timings: { repositionMs: number; prefillMs: number; decodeMs: number };
}
