/** What the planner takes and gives: plain-data types, as in ../api.ts. */
import type { BackendKind, ModelSpec, RopeChoice } from "../api.ts";
import type { AttentionChoice, KvFormats } from "../attention/api.ts";
import type { WeightBytes } from "./weightBytes.ts";

/** A model, a length, and how it is to be read. */
export interface PlanRequest {
  spec: ModelSpec;
  tokens: number;
  attention: AttentionChoice;
  kv: KvFormats;
  weights: WeightBytes;
  /** Of the position plan: bands that queries have positions in, and rotations of the keys. */
  positions: { bands: number; copies: number };
  device: PlanDevice;
  /** What the device does a second; undefined where nobody knows. */
  rates: Rates | undefined;
}

/** What a machine has; undefined is: not known, and not a bound. */
export interface PlanDevice {
  backend: Exclude<BackendKind, "reference">;
  /** Memory for everything: of the graphics card, or of the machine. */
  memoryBytes: number | undefined;
  /** Memory that the backend gives a context at most. */
  cacheBytes: number | undefined;
  /** Largest buffer that can be bound. */
  maxBufferBytes: number | undefined;
}

/** Attention kernels that differ in speed; sparse policies run the first on fewer blocks. */
export type AttentionKernel = "flash" | "flash3" | "dense";

/** Seconds of chunks of some sizes, rising. */
export type ChunkTimes = readonly { tokens: number; seconds: number }[];

/** What was measured on a device with the shapes of one model, through its own backend. */
export interface MeasuredRates {
  kind: "measured";
  backend: Exclude<BackendKind, "reference">;
  /** Adapter or runtime in words. */
  device: string;
  /** Milliseconds that measuring took, without loading probes and compiling kernels. */
  elapsedMs: number;
  /** One layer but for attention. */
  layer: ChunkTimes;
  /** What a chunk costs besides its layers: positions, embedding, waiting for the device. */
  chunk: ChunkTimes;
  /** The same of one decoded token, with the head of a vocabulary too small to count. */
  step: { layerSeconds: number; seconds: number };
  /** Pairs of a query and a key, times channels of all heads, a second: in prompts, and for a decoded token. */
  attention: readonly { kernel: AttentionKernel; kv: KvFormats; prefill: number; decode: number }[];
  /** Operations a second: of a layer in the largest chunk and for one token, norms and all, and of the head for one. */
  matmulFlops: { chunk: number; token: number; head: number };
  /** Bytes a second; undefined where the backend has no memory of its own. */
  copyBytes: number | undefined;
  uploadBytes: number | undefined;
  readbackBytes: number | undefined;
}

/** Rates of a machine that is not here: what it sustains, not its peaks. */
export interface StatedRates {
  kind: "stated";
  flops: number | undefined;
  bytesPerSecond: number | undefined;
}

export type Rates = MeasuredRates | StatedRates;

export interface Plan {
  tokens: number;
  weightsBytes: number;
  /** Keys and values that are needed, or the state; what is allocated on the device is whole pages and more. */
  kvBytes: number;
  kvAllocatedBytes: number;
  /** Of them in host memory, beside the device, where keys are streamed. */
  kvHostBytes: number;
  kvBytesPerLayer: readonly number[];
  workspaceBytes: number;
  workspace: readonly { what: string; bytes: number }[];
  totalBytes: number;
  prefillFlops: number;
  linearFlops: number;
  attentionFlops: number;
  /** False where the pairs are chosen by content, so that there are at most so many. */
  flopsAreExact: boolean;
  /** Null where no rates are known, or not for this way to attend. */
  prefillSeconds: number | null;
  decodeSecondsPerToken: number | null;
  /** Bytes of weights and of keys and values that a decoded token reads. */
  decodeBytesPerToken: number;
  fits: boolean;
  /** Most tokens that fit; Infinity where memory does not depend on them. */
  largestTokens: number;
  because: string;
}

/** A prompt, and how it would be read now. */
export interface AttentionTableRequest {
  tokens: number;
  rope: RopeChoice;
  attention: AttentionChoice;
  kv: KvFormats;
  /** Only what is chosen, so that only that has to be measured; `ways` is empty then. */
  only?: "chosen";
}

/** One policy with one cache format, as they are written. */
export interface PlannedWay {
  attention: string;
  kv: string;
  plan: Plan;
}

export interface AttentionTable {
  tokens: number;
  chosen: PlannedWay;
  /** Every policy with every format that the backend has, those of one policy together. */
  ways: readonly PlannedWay[];
  /** What times rest on, or why there are none. */
  timeBecause: string;
}
