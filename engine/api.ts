/**
 * What the rest of the project sees of the engine: plain-data types and the interfaces of its parts.
 * No implementation lives here, so that a panel can import it without importing the engine.
 */
import type { AttentionChoice, AttentionFacts, KeptMass, KvFormats, RingReport } from "./attention/api.ts";
import type { RingWorkers } from "./attention/ring/coordinator.ts";
import type { CachedPages } from "./kv-cache/api.ts";
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
  /** The GGUF file in the folder that is meant, where it is one: then it is the model, whatever else lies beside it. */
  readonly ggufName?: string;
  text(name: string): Promise<string | undefined>;
  open(name: string): Promise<ByteSource | undefined>;
}

/** Scalings that change frequencies, one shape per kind; every field changes a frequency or the attention factor. See position/scaling.ts. */
export type FrequencyScaling =
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
  | { kind: "llama3"; factor: number; originalContext: number; lowFreqFactor: number; highFreqFactor: number }
  /** Exponents run over the whole head; only the first `rotaryShare` of the pairs turns, all divided by `factor`. */
  | { kind: "proportional"; factor: number; rotaryShare: number };

/**
 * Schemes that leave the model's own frequencies alone and give far keys other positions, so that no distance is larger than
 * the model has seen. See position/bands.ts.
 */
export type Reindexing =
  /** Distances from `window` on count in groups of `group`; `logBase` scales queries by max(1, ln(position + 1) / ln(logBase)). */
  | { kind: "self_extend"; group: number; window: number; logBase?: number }
  /** Distances from `window` on are all `window`, or grow `leak` times slower beyond it. */
  | { kind: "rerope"; window: number; leak?: number }
  /** Positions repeat every chunkSize - localSize tokens; `originalContext` scales queries by max(1, 0.1 ln(length / it) + 1). */
  | { kind: "dual_chunk"; chunkSize: number; localSize: number; originalContext?: number };

export type RopeScaling = FrequencyScaling | Reindexing;

/** `model` is what config.json says; `auto` adds YaRN by the smallest power of two once the prompt outgrows the trained length. */
export type RopeChoice = { kind: "model" } | { kind: "auto" } | RopeScaling;

/** Inverse frequencies [rotaryDim / 2] in float64, and the factor on cos and sin. `key` is equal iff the rotation is. */
export interface RopeTable {
  readonly invFreq: Float64Array;
  readonly attentionFactor: number;
  readonly key: string;
}

/** Keys [from, to) that a query at `position` meets as one band, and the position the query is rotated to for them. */
export interface Band {
  keys: (position: number) => readonly [from: number, to: number];
  queryPosition: (position: number) => number;
  /** Which of the plan's copies of the keys it reads. */
  copy: number;
}

/**
 * Where queries and keys stand. Every visible key of a query lies in exactly one band; an ordinary model has one band and one copy of
 * its keys. `key` is equal iff everything else is.
 */
export interface PositionPlan {
  readonly key: string;
  readonly table: RopeTable;
  readonly bands: readonly Band[];
  /** Position each copy rotates the key at `position` to. */
  readonly copies: readonly ((position: number) => number)[];
  /** Factor on the query at `position`. */
  queryScale: (position: number) => number;
  /** The bands hold in every layer, also in those of another rotation or none: what is evicted is gone everywhere. */
  readonly everyLayer?: boolean;
}

/** What one layer of a decoder does otherwise than its neighbours. */
export interface LayerKind {
  /** Keys a query sees, itself included; undefined is all before it. */
  readonly window: number | undefined;
  /** Which rotation its queries and keys get: the one a user may scale, that of window layers, or none (NoPE). */
  readonly rotation: "main" | "local" | "none";
}

/** Rotation of window layers where it differs from the main one (Gemma 3); no setting changes it. */
export interface LocalRotation {
  readonly theta: number;
  readonly rotaryDim: number;
  readonly rope: FrequencyScaling;
}

/** What every model has; field names follow the Hugging Face keys they come from. */
export interface CommonSpec {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layerCount: number;
  /** eps of every norm (`rms_norm_eps`, `layer_norm_epsilon`, `norm_eps`). */
  readonly normEps: number;
  /** Length the config states; what a recurrent model was trained on where it says nothing else. */
  readonly maxPositionEmbeddings: number;
  readonly tiedEmbeddings: boolean;
  /** Input embeddings are multiplied by this (config `embedding_multiplier`, Gemma's √E; 1 where absent). */
  readonly embeddingMultiplier: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
  /** Token that says "not in the context" (specimens). */
  readonly absentTokenId: number | undefined;
  readonly promptFormat: "extractive" | "chat" | "plain";
  /** Lines that an answer of an extractive model has (`answer_lines`): one, or as many as it says by itself. */
  readonly answerLines: "one" | "many";
}

/** A transformer decoder. */
export interface DecoderSpec extends CommonSpec {
  readonly kind: "decoder";
  readonly intermediateSize: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  /** One entry per layer. */
  readonly layers: readonly LayerKind[];
  /** Rotated dimensions of each head in layers of rotation "main"; 0 where the model does not rotate at all. */
  readonly rotaryDim: number;
  readonly ropeTheta: number;
  readonly rope: RopeScaling;
  readonly local: LocalRotation | undefined;
  /** Linear biases on the scores instead of a rotation (arXiv 2108.12409); slopes are 2^(-maxBias (h + 1) / H) for H a power of two. */
  readonly alibi: { readonly maxBias: number } | undefined;
  /** Queries of rotated layers times 1 + beta ln(1 + floor(position / length)) (`llama_4_scaling_beta`). */
  readonly queryTemperature: { readonly beta: number; readonly length: number } | undefined;
  readonly norm: "rms" | "layer";
  /** LayerNorm with a bias. */
  readonly normBias: boolean;
  /** Added to every norm weight (Gemma: 1). */
  readonly normOffset: 0 | 1;
  /** LayerNorm behind the embedding (BLOOM). */
  readonly embeddingNorm: boolean;
  /** Norms also behind attention and MLP, before they are added to the residual stream (Gemma 2 and 3). */
  readonly postNorms: boolean;
  /** Attention and MLP are added to their normed input instead of to the residual stream (BLOOM's apply_residual_connection_post_layernorm). */
  readonly residualAfterNorm: boolean;
  /** `gated`: down(act(gate) · up); `plain`: down(act(up)). */
  readonly mlp: "gated" | "plain";
  readonly activation: "silu" | "gelu" | "gelu_tanh";
  /** Factor on q · k. */
  readonly attentionScale: number;
  /** Scores s become cap · tanh(s / cap) before the mask. */
  readonly attentionSoftcap: number | undefined;
  /** The same for logits. */
  readonly finalSoftcap: number | undefined;
  /** q, k and v are clamped to [-clip, clip] (MPT `clip_qkv`). */
  readonly qkvClip: number | undefined;
  readonly qkvBias: boolean;
  readonly outBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm per head on q and k before RoPE (Qwen3, Gemma 3, specimens). */
  readonly qkNorm: boolean;
  /** k_t <- (1-g) k_t + g k_{t-1} with g = sigmoid(k_shift), before the norm (specimens). */
  readonly keyShift: boolean;
}

/** Mamba (arXiv 2312.00752). I inner width, N state size, K convolution taps, R rank of the time step. */
export interface MambaSpec extends CommonSpec {
  readonly kind: "mamba";
  readonly innerSize: number;
  readonly stateSize: number;
  readonly convKernel: number;
  readonly timeStepRank: number;
  /** On in_proj and out_proj. */
  readonly projectionBias: boolean;
  readonly convBias: boolean;
}

/** Mamba-2 (arXiv 2405.21060): H heads of width P over G groups of states of size N. */
export interface Mamba2Spec extends CommonSpec {
  readonly kind: "mamba2";
  readonly headCount: number;
  readonly headDim: number;
  readonly groupCount: number;
  /** Groups of the gated norm: each is I / normGroupCount wide. */
  readonly normGroupCount: number;
  readonly stateSize: number;
  readonly convKernel: number;
  /** Tokens that the chunked scan takes at once; results differ by rounding only. */
  readonly chunkSize: number;
  /** Time steps are clamped to [low, high]; high may be Infinity. */
  readonly timeStepLimit: readonly [low: number, high: number];
  readonly projectionBias: boolean;
  readonly convBias: boolean;
}

/** RWKV-7 (arXiv 2503.14456): heads of width P; ranks of its four low-rank maps. */
export interface Rwkv7Spec extends CommonSpec {
  readonly kind: "rwkv7";
  readonly intermediateSize: number;
  readonly headDim: number;
  readonly headCount: number;
  readonly decayRank: number;
  readonly gateRank: number;
  readonly aRank: number;
  readonly vRank: number;
}

export type RecurrentSpec = MambaSpec | Mamba2Spec | Rwkv7Spec;

export type ModelSpec = DecoderSpec | RecurrentSpec;

/**
 * How the numbers of a tensor lie in its file, little-endian: plain numbers, the blocks of ggml along the rows, or our own blocks of
 * grouped integers, `affine4` and `affine8`. Sizes and layouts are in formats/layouts.ts.
 */
export type TensorFormat =
  | ("f64" | "f32" | "f16" | "bf16" | "f8_e4m3" | "f8_e5m2" | "affine4" | "affine8")
  | ("i64" | "i32" | "i16" | "i8" | "u64" | "u32" | "u16" | "u8" | "bool")
  | ("q8_0" | "q4_0" | "q4_1" | "q5_0" | "q5_1" | "q2_k" | "q3_k" | "q4_k" | "q5_k" | "q6_k" | "iq4_nl" | "iq4_xs" | "mxfp4");

/** Tensors of a loaded model; rows are ranges of the first dimension, read piecewise. */
export interface WeightStore {
  has(name: string): boolean;
  shape(name: string): readonly number[];
  /** Throws `bad-weights` for a tensor whose numbers the engine cannot read. */
  format(name: string): TensorFormat;
  /** Those rows exactly as they lie in the file. */
  readBytes(name: string, rowStart?: number, rowEnd?: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** Rows [rowStart, rowEnd) of the tensor (whole tensor by default), row-major f32; throws `weights-missing` or `bad-weights`. */
  readRows(name: string, rowStart?: number, rowEnd?: number, signal?: AbortSignal): Promise<Float32Array<ArrayBuffer>>;
}

/**
 * How matmul weights are kept: as the file has them, widened to f32, or quantised on load (matrices that are quantised already stay as
 * they are).
 */
export type WeightFormat = "file" | "f32" | "q8_0" | "q4_0";

/**
 * How products with weight matrices are made on WebGPU. `exact`: in f32. `fast`: also from 8-bit integers (inputs rounded to 8 bits per
 * block of 32) and binary16 numbers, where the device has them and passes a self-test; about half a percent of error in each product.
 */
export type MatmulPrecision = "exact" | "fast";

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
  /** The prompt goes on with the next call: it counts as one prefill, and nothing is prepared for asking this one's last token again. */
  moreFollows?: boolean;
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
  /**
   * Queries the rows were computed from where not every one is kept: each row is the mean over those of its bin, or the nearest one. Absent
   * where all are.
   */
  sampledQueries?: number;
}

/** Relative RMS error of what is cached against f32: sqrt(sum (x - x')² / sum x²). */
export interface CacheError {
  keys: number;
  values: number;
}

/** Bytes of scores under dense attention: at most at once, and of all tokens together in one square, which nothing holds. */
export interface DenseScores {
  atOnce: number;
  square: number;
}

/** Slabs that were streamed: of the transfers what the host waited for, of the kernels the time until the device was done. */
export interface StreamTimes {
  slabs: number;
  bytes: number;
  transferMs: number;
  computeMs: number;
}

/** One model on one backend with one growing KV cache. Not re-entrant: one call at a time. */
export interface Runner {
  readonly kind: BackendKind;
  /** Adapter or runtime in words, e.g. "Apple M3 (WebGPU)". */
  readonly device: string;
  /** Tokens the KV cache can grow to on this device. */
  readonly capacityTokens: number;
  /** The same under another choice; where it is absent all choices hold alike. */
  capacityFor?(choice: AttentionChoice): number;
  /**
   * Layers whose queries are kept, so that `pool` can be asked for them; and why not all, if not all. The queries of tokens before
   * `from` (0 where absent) are not there, because their page was restored and not computed.
   */
  readonly tap: { layers: readonly number[]; because: string; from?: number };
  /** Of the matrices that were quantised on load: sqrt(sum (w - w')² / sum w²). Undefined where none was. */
  readonly quantizationError?: number;
  /** How keys and values are cached; undefined where there are none. */
  readonly kv?: KvFormats | undefined;
  /** Undefined where the formats do not round, and before anything is cached. */
  readonly cacheError?: CacheError | undefined;
  /** What streaming keys and values from host memory took in all; undefined where none was streamed. */
  readonly streamed?: StreamTimes | undefined;
  /** What the last prefill kept, where a pattern left keys out; with top pages, what was decoded behind it. */
  readonly keptMass?: KeptMass | undefined;
  /** How a ring read the prompt; undefined where none did since the cache was empty. */
  readonly ring?: RingReport | undefined;
  /** Since the cache was empty; undefined where attention is not dense. */
  readonly denseScores?: DenseScores | undefined;
  /** Its cache in pages that outlive it; undefined where it cannot take them out and put them back. */
  readonly pages?: CachedPages | undefined;
  /** Tokens in the cache now. */
  readonly length: number;
  /** Settles when the device is gone; pending for ever otherwise. */
  readonly lost: Promise<void>;
  /** A plan with another key empties the cache, because cached keys were rotated with the old one. Recurrent models have no plan. */
  setPositions(plan: PositionPlan): void;
  /**
   * How what is appended from now on attends. Empties the cache where another choice would have cached other numbers. Throws
   * `bad-argument` where this backend cannot attend so.
   */
  setAttention(choice: AttentionChoice): void;
  /**
   * Rotates the cached keys to another plan where they lie: at once, and approximately, because deeper layers' keys and values were
   * computed under the old one. False where nothing can be rotated (recurrent and ALiBi models).
   */
  repositionCache(plan: PositionPlan): Promise<boolean>;
  /**
   * Drops tokens from the end, down to the nearest length not above `lengthTokens` that the cache can go back to (multiples of
   * CUT_TOKENS; snapshots of a recurrent model; or exactly `length`); returns the new length.
   */
  truncate(lengthTokens: number): number;
  /** Runs `ids` behind what is cached, in chunks of bounded time. Throwing `aborted` keeps finished chunks: `length` says how far it came. */
  append(ids: readonly number[] | Int32Array, options?: AppendOptions): Promise<Float32Array<ArrayBuffer> | undefined>;
  /** Next token after the last appended one, sampled where the logits are; `allowed` restricts it. */
  sample(sampling: Sampling, allowed?: TokenMask): Promise<number>;
  pool(request: PoolRequest, signal?: AbortSignal): Promise<PooledAttention>;
  /** What each head of the tapped layers does, on at most `queries` of the kept queries, evenly spread. Undefined where there are no heads. */
  headFacts?(queries: number, signal?: AbortSignal): Promise<AttentionFacts>;
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
  /** Starts workers with a device each, for the model that is opened; absent where there are none. */
  readonly ring?: RingWorkers | undefined;
}

/** What the three backends need to open a model. */
export interface RunnerOptions {
  spec: ModelSpec;
  weights: WeightStore;
  weightFormat: WeightFormat;
  /** `exact` by default; the other backends are always exact. */
  products?: MatmulPrecision;
  /** How it attends until `setAttention` (default flash). */
  attention?: AttentionChoice;
  /** How keys and values are cached (default f32). Throws `bad-argument` where this backend cannot. */
  kv?: KvFormats;
  /** Upper bound on the KV cache; by default what the device holds. */
  capacityTokens?: number;
  /** Memory for saved queries, which the attention tap reads (default 256 MiB). */
  tapBytes?: number;
  signal?: AbortSignal;
  /** Bytes of weights read so far, of all. */
  onProgress?(doneBytes: number, totalBytes: number): void;
}

/** Tokens to whose multiples a cache can be cut: the granularity of prefix reuse. */
export const CUT_TOKENS = 16;
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

export interface ContextLimit {
  tokens: number;
  because: "trained length" | "rope scaling" | "past the trained length" | "kv-cache memory";
  explanation: string;
  /** What the limit would be without that reason. */
  wouldBe: number;
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
  /** Relative RMS error of what was quantised on load; undefined where nothing was. */
  quantizationError?: number;
  /** How keys and values are cached; undefined where there are none. */
  kv?: KvFormats | undefined;
  capacityTokens: number;
  tap: { layers: readonly number[]; because: string };
  /** Whether prefixes are kept beyond the session, and why not; absent where nobody lends it a place for them. */
  prefixes?: { kept: boolean; because: string };
}
