/** What asking takes and gives: plain-data types, as in ../api.ts. */
import type { AttentionChoice, KeptMass, RingReport } from "../attention/api.ts";
import type {
  BackendKind,
  CacheError,
  DenseScores,
  ContextLimit,
  PackedFile,
  RopeChoice,
  RopeScaling,
  Sampling,
  SnapshotFile,
} from "../api.ts";
import type { RowFormats } from "../kv-cache/format.ts";
import type { PackRow } from "../pack/api.ts";
import type { ChatMessage } from "../pack/chatTemplate.ts";

/**
 * A citation is a verbatim quote at lines of the snapshot (`verified`), or says that it is not: then both lines are 0, and the
 * path is one of the snapshot that the answer names beside the quote, or empty.
 */
export interface Citation {
  path: string;
  startLine: number;
  endLine: number;
  quote: string;
  verified: boolean;
  /** Share of the answer's attention on these lines among the candidates, [0, 1]; absent where it was not measured. */
  attention?: number;
}

/** Share of the answer's attention that fell on one file; not evidence, only where the model looked. */
export interface FileAttention {
  path: string;
  share: number;
}

/** Neighbouring lines that drew much of the answer's attention: where the model looked, which is no evidence. */
export interface Attended {
  path: string;
  startLine: number;
  endLine: number;
  /** Of all the answer's attention on lines of files, [0, 1]. */
  share: number;
  /** The lines as they stand in the file, joined by "\n". */
  quote: string;
}

/** How often attended lines held the answer when that was measured for a model (`attended.json` in its folder). */
export interface AttendedPrecision {
  /** Questions whose answer stood in the attended lines, of all that were asked. */
  hits: number;
  asked: number;
  /** Length of the contexts. */
  contextTokens: number;
  /** What measures it again. */
  command: string;
}

/** Lines that were left out of a prompt; both lines are 0 where the whole file was. */
export interface LeftOut {
  path: string;
  startLine: number;
  endLine: number;
}

/** How probable an answer is with the lines it cites and without them. */
export interface AnswerCheck {
  leftOut: readonly LeftOut[];
  answerTokens: number;
  /** Probability of the answer per token, as a geometric mean, behind its own prompt and behind the one without the lines. */
  withLines: number;
  withoutLines: number;
  verdict: "depends" | "partly" | "hardly";
  /** Tokens before this one were put back and not computed, so their attention cannot be inspected: of the context that the check leaves. */
  attentionFrom: number;
}

/** An answer depends on lines without which it is at most so much of as probable per token as with them ... */
export const DEPENDS_AT_MOST = 0.5;
/** ... and hardly does where it is at least so much. */
export const HARDLY_AT_LEAST = 0.9;

export interface CheckProgress {
  /** The prompt without the cited lines is read first, then the one with them again. */
  reading: "without" | "with";
  doneTokens: number;
  totalTokens: number;
}

export interface AskOptions {
  rope: RopeChoice;
  /** Recurrent models have none and do not read it. */
  attention: AttentionChoice;
  sampling: Sampling;
  /**
   * `constrained`: an extractive model may only spell lines of the files; `free` lets it spell. Models that answer in sentences
   * are never constrained: what they quote is looked up in the files afterwards.
   */
  quote: "constrained" | "free";
  maxAnswerTokens: number;
}

export interface AskRequest extends AskOptions {
  question: string;
  files: readonly SnapshotFile[];
  /** Paths that are kept before all others where not everything fits: what the user pointed at. */
  first?: readonly string[];
  /** Earlier turns on the same snapshot, oldest first. */
  history: readonly { question: string; answer: string }[];
  /** Bytes of one snapshot file; asked at most once per hash. */
  readFile(file: SnapshotFile, signal?: AbortSignal): Promise<Uint8Array>;
}

export type AskEvent =
  | { type: "packing"; doneFiles: number; totalFiles: number }
  | { type: "packed"; rows: readonly PackRow[]; promptTokens: number; limit: ContextLimit; rope: RopeScaling }
  /**
   * `path` is the file being prefilled, or "the question" for the tokens around the files. Of the `reusedTokens`, `restoredTokens` were
   * kept from an earlier session; both grow while these are read.
   */
  | {
      type: "prefill";
      doneTokens: number;
      totalTokens: number;
      reusedTokens: number;
      restoredTokens: number;
      path: string;
      tokensPerSecond: number;
    }
  /** Text behind what was streamed before. */
  | { type: "token"; text: string }
  /** A quote while lines are compared: the text that leads at the moment; it replaces all text streamed before. */
  | { type: "candidate"; text: string }
  /** The device was lost and the run starts again: text streamed before no longer counts. */
  | { type: "recovered"; because: string };

/** What a question would cost, before it is asked. */
export interface AskPlan {
  promptTokens: number;
  /** As in AskResult. */
  reusedTokens: number;
  restoredTokens: number;
  /** What is left to compute. */
  recomputedTokens: number;
  limit: ContextLimit;
  rope: RopeScaling;
  /** One per file of the snapshot, packed or not. */
  rows: readonly PackRow[];
}

/** A conversation that is not about files of a workspace: the model's own template writes it. */
export interface ReplyRequest {
  messages: readonly ChatMessage[];
  rope: RopeChoice;
  /** Recurrent models have none and do not read it. */
  attention: AttentionChoice;
  sampling: Sampling;
  /** At most; shorter where the window ends before. */
  maxAnswerTokens: number;
}

export interface Reply {
  text: string;
  stoppedBy: "end" | "length" | "user";
  promptTokens: number;
  /** As in AskResult. */
  reusedTokens: number;
  restoredTokens: number;
  answerTokens: number;
}

export interface AskTimings {
  packMs: number;
  prefillMs: number;
  decodeMs: number;
}

export interface AskResult {
  question: string;
  answer: string;
  /** The model said that the answer is not in the context; `answer` then says so in words. */
  absent: boolean;
  stoppedBy: "end" | "length" | "user";
  citations: readonly Citation[];
  /** One or two sentences around the quotes, in plain text with code between backticks; empty where there is nothing to say. */
  prose: string;
  lookedAt: readonly FileAttention[];
  /** At most three, heaviest first; none where the model has no attention. */
  attended: readonly Attended[];
  /** Absent where nobody measured it for this model. */
  attendedPrecision?: AttendedPrecision | undefined;
  promptTokens: number;
  /** Prompt tokens that were not computed, and of these the ones that were kept from an earlier session. */
  reusedTokens: number;
  restoredTokens: number;
  /** Attention can be pooled for the queries of tokens from here on: those of restored tokens are not there. */
  attentionFrom: number;
  answerTokens: number;
  /** Prompt positions of the answer's tokens, for the query row of the heatmap. */
  answerStart: number;
  backend: BackendKind;
  backendBecause: string;
  device: string;
  rope: RopeScaling;
  /** How it attended; absent where the model has no attention. */
  attention?: AttentionChoice | undefined;
  /** How keys and values were cached, as chosen or as the policy has it; absent where the model has none. */
  kv?: RowFormats | undefined;
  /** What a pattern that leaves keys out kept of the exact attention. */
  keptMass?: KeptMass | undefined;
  /** Relative RMS error of the cached keys and values against f32, where the format rounds. */
  cacheError?: CacheError | undefined;
  /** Bytes that dense attention's scores took; absent for other policies. */
  denseScores?: DenseScores | undefined;
  /** How a ring of workers read the prompt; absent where none did. */
  ring?: RingReport | undefined;
  limit: ContextLimit;
  rows: readonly PackRow[];
  packed: readonly PackedFile[];
  timings: AskTimings;
}
