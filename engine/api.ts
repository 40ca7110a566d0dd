/**
 * What the rest of the project sees of the engine: plain-data types and the interfaces of its parts.
 * No implementation lives here, so that a panel can import it without importing the engine.
 */
import type { Level, LineRange } from "./pack/levels.ts";

/** Where a forward pass runs: our WGSL kernels, onnxruntime-web's WASM build, or plain loops. */
export type BackendKind = "wgsl" | "ort" | "reference";

/** `auto` takes WebGPU where a real adapter exists, else WASM, and says why. */
export type BackendChoice = BackendKind | "auto";

/** Random access to one file of a model folder; `read` returns exactly `length` bytes or throws. */
export interface ByteSource {
  readonly name: string;
  readonly size: number;
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

/** A Hugging Face model folder, wherever it lies. `undefined` means: no such file. */
export interface ModelFiles {
  readonly label: string;
  text(name: string): Promise<string | undefined>;
  open(name: string): Promise<ByteSource | undefined>;
}

/** RoPE scaling, one shape per kind; every field changes a frequency or the attention factor. science: see position/scaling.ts. */
export type RopeScaling =
  | { kind: "none" }
  | { kind: "linear"; factor: number }
  | { kind: "ntk"; factor: number }
  | { kind: "dynamic"; factor: number }
  | {
      kind: "yarn";
      factor: number;
      originalContext: number;
      betaFast: number;
      betaSlow: number;
      truncate: boolean;
      attentionFactor?: number;
      mscale?: number;
      mscaleAllDim?: number;
    }
  | {
      kind: "longrope";
      shortFactor: readonly number[];
      longFactor: readonly number[];
      originalContext: number;
      factor?: number;
      attentionFactor?: number;
    }
  | { kind: "llama3"; factor: number; originalContext: number; lowFreqFactor: number; highFreqFactor: number };

/** `model` is what config.json says; `auto` adds YaRN by the smallest power of two once the prompt outgrows the trained length. */
export type RopeChoice = { kind: "model" } | { kind: "auto" } | RopeScaling;

/** Inverse frequencies [rotaryDim / 2] in float64, and the factor on cos and sin. `key` is equal iff the rotation is. */
export interface RopeTable {
  readonly invFreq: Float64Array;
  readonly attentionFactor: number;
  readonly key: string;
}

/** Facts of one decoder, read from config.json; field names follow the Hugging Face keys they come from. */
export interface ModelSpec {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly rmsNormEps: number;
  readonly maxPositionEmbeddings: number;
  readonly ropeTheta: number;
  readonly rope: RopeScaling;
  readonly tiedEmbeddings: boolean;
  /** Input embeddings are multiplied by this (config `embedding_multiplier`, 1 where absent). */
  readonly embeddingMultiplier: number;
  readonly qkvBias: boolean;
  readonly outBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm per head on q and k before RoPE (Qwen3, specimens). */
  readonly qkNorm: boolean;
  /** k_t <- (1-g) k_t + g k_{t-1} with g = sigmoid(k_shift), before the norm (specimens). */
  readonly keyShift: boolean;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
  /** Token that says "not in the context" (specimens). */
  readonly absentTokenId: number | undefined;
  readonly promptFormat: "extractive" | "chat" | "plain";
}

/** Tensors of a loaded model; rows are ranges of the first dimension, read piecewise as f32. */
export interface WeightStore {
  has(name: string): boolean;
  shape(name: string): readonly number[];
  /** Rows [rowStart, rowEnd) of the tensor (whole tensor by default), row-major f32; throws `weights-missing` or `bad-weights`. */
  readRows(name: string, rowStart?: number, rowEnd?: number, signal?: AbortSignal): Promise<Float32Array<ArrayBuffer>>;
}

/** How matmul weights are stored on the device: f32, or blocks of 32 int8 with one f16 scale. */
export type WeightFormat = "f32" | "q8_0";

export interface Sampling {
  /** 0 is greedy. */
  temperature: number;
  /** Nucleus mass in (0, 1]. */
  topP: number;
  seed: number;
}

/** Tokens a position may take, one bit each, [ceil(vocabSize / 32)] little-endian words. */
export type TokenMask = Uint32Array<ArrayBuffer>;

export interface AppendOptions {
  signal?: AbortSignal;
  /** Return logits: of the last appended token [V], or of all [n, V]. */
  logits?: "none" | "last" | "all";
  /** Called after every chunk that is in the cache for good, with the number of appended tokens so far. */
  onProgress?(doneTokens: number): void;
}

/**
 * Attention mass pooled into cells. Cell (r, c) is the mean, over queries in [queryEdges[r], queryEdges[r+1]), of the
 * softmax mass on keys in [keyEdges[c], keyEdges[c+1]); so a row whose bins cover all keys sums to 1.
 * At most 512 x 512 cells. `mean` averages over the tapped layers or over the heads.
 * Edges rise strictly and end at the runner's `length` at most; anything else is `bad-argument` or `limit-exceeded`.
 */
export interface PoolRequest {
  layer: number | "mean";
  head: number | "mean";
  queryEdges: Uint32Array<ArrayBuffer>;
  keyEdges: Uint32Array<ArrayBuffer>;
}

export interface PooledAttention {
  rows: number;
  columns: number;
  /** [rows, columns], row-major. */
  cells: Float32Array<ArrayBuffer>;
}

/** One model on one backend with one growing KV cache. Not re-entrant: one call at a time. */
export interface Runner {
  readonly kind: BackendKind;
  /** Adapter or runtime in words, e.g. "Apple M3 (WebGPU)". */
  readonly device: string;
  /** Tokens the KV cache can grow to on this device. */
  readonly capacityTokens: number;
  /** Layers whose queries are kept, so that `pool` can be asked for them; and why not all, if not all. */
  readonly tap: { layers: readonly number[]; because: string };
  /** Tokens in the cache now. */
  readonly length: number;
  /** Settles when the device is gone; pending for ever otherwise. */
  readonly lost: Promise<void>;
  /** A table with another key empties the cache, because cached keys were rotated with the old one. */
  setRope(table: RopeTable): void;
  /** Drops tokens from the end, down to a multiple of PAGE_TOKENS not above `lengthTokens` (or exactly `length`); returns the new length. */
  truncate(lengthTokens: number): number;
  /**
   * Runs `ids` through the model behind what is cached, in chunks of bounded time. When it throws `aborted`,
   * finished chunks stay cached and `length` says how far it came.
   */
  append(ids: readonly number[] | Int32Array, options?: AppendOptions): Promise<Float32Array<ArrayBuffer> | undefined>;
  /** Next token after the last appended one, sampled where the logits are; `allowed` restricts it. */
  sample(sampling: Sampling, allowed?: TokenMask): Promise<number>;
  pool(request: PoolRequest, signal?: AbortSignal): Promise<PooledAttention>;
  /** Debug: destroys the device as a driver reset would; false where there is none to lose. */
  loseDevice(): boolean;
  dispose(): void;
}

/** What a machine lends the engine. */
export interface Runtime {
  readonly gpu: GPU | undefined;
  /** Bytes of ort-wasm-simd-threaded.wasm. */
  ortWasm(): Promise<ArrayBuffer>;
  /** 1 inside a webview (no SharedArrayBuffer there). */
  readonly ortThreads: number;
}

/** What the three backends need to open a model. */
export interface RunnerOptions {
  spec: ModelSpec;
  weights: WeightStore;
  weightFormat: WeightFormat;
  /** Upper bound on the KV cache; by default what the device holds. */
  capacityTokens?: number;
  /** Memory for saved queries, which the attention tap reads (default 256 MiB). */
  tapBytes?: number;
  signal?: AbortSignal;
  /** Bytes of weights read so far, of all. */
  onProgress?(doneBytes: number, totalBytes: number): void;
}

/** Tokens per KV page: the granularity of prefix reuse. */
export const PAGE_TOKENS = 16;
/** Largest side of a pooled attention map. */
export const MAX_POOL_CELLS = 512;

/** One file of a snapshot: bytes are decoded as UTF-8, bad sequences replaced and marked. */
export interface SnapshotFile {
  path: string;
  /** Hash of the bytes; files of equal hash are read and tokenised once. */
  hash: string;
  sizeBytes: number;
  /** How much of it goes into the prompt; whole where it is absent. */
  level?: Exclude<Level, "excluded">;
  /** Lines that an outline keeps; without them an outlined file is whole. */
  lines?: readonly LineRange[];
}

/**
 * Where a packed file lies in the prompt. Lines are 1-based and those of the file: lineTokens[i] is the first token of line i + 1.
 * A line that an outline leaves out has the first token of the next line that is there, so its own range is empty.
 */
export interface PackedFile {
  path: string;
  hash: string;
  tokenStart: number;
  tokenEnd: number;
  /** First token of the file's own text, behind its header line. */
  bodyStart: number;
  lineTokens: Uint32Array<ArrayBuffer>;
}

/** One row per file of the snapshot, packed or not; nothing is dropped without a reason. */
export interface PackRow {
  path: string;
  tokens: number;
  included: boolean;
  reason: string;
}

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

export interface ContextLimit {
  tokens: number;
  because: "trained length" | "rope scaling" | "kv-cache memory";
  explanation: string;
  /** What the limit would be without that reason. */
  wouldBe: number;
}

export interface AskOptions {
  rope: RopeChoice;
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
  /** Earlier turns on the same snapshot, oldest first. */
  history: readonly { question: string; answer: string }[];
  /** Bytes of one snapshot file; asked at most once per hash. */
  readFile(file: SnapshotFile, signal?: AbortSignal): Promise<Uint8Array>;
}

export type AskEvent =
  | { type: "packing"; doneFiles: number; totalFiles: number }
  | { type: "packed"; rows: readonly PackRow[]; promptTokens: number; limit: ContextLimit; rope: RopeScaling }
  /** `path` is the file being prefilled, or "the question" for the tokens around the files. */
  | { type: "prefill"; doneTokens: number; totalTokens: number; reusedTokens: number; path: string; tokensPerSecond: number }
  /** Text behind what was streamed before. */
  | { type: "token"; text: string }
  /** A quote while lines are compared: the text that leads at the moment; it replaces all text streamed before. */
  | { type: "candidate"; text: string }
  /** The device was lost and the run starts again: text streamed before no longer counts. */
  | { type: "recovered"; because: string };

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
  lookedAt: readonly FileAttention[];
  promptTokens: number;
  reusedTokens: number;
  answerTokens: number;
  /** Prompt positions of the answer's tokens, for the query row of the heatmap. */
  answerStart: number;
  backend: BackendKind;
  backendBecause: string;
  device: string;
  rope: RopeScaling;
  limit: ContextLimit;
  rows: readonly PackRow[];
  packed: readonly PackedFile[];
  timings: AskTimings;
}

/** What is known once a model is open. */
export interface SessionInfo {
  model: string;
  spec: ModelSpec;
  parameterCount: number;
  backend: BackendKind;
  backendBecause: string;
  device: string;
  weightFormat: WeightFormat;
  weightBytes: number;
  capacityTokens: number;
  tap: { layers: readonly number[]; because: string };
}
