/** What a model asks of a machine, in sentences for a person, before it is loaded. Pure. */
import type { ModelSpec, TensorFormat, WeightFormat } from "../api.ts";
import type { ChosenBackend } from "../backends/choose.ts";
import { bytesOf } from "../formats/layouts.ts";
import { F32_CACHE, WHOLE } from "../attention/wholeOnly.ts";
import { storedFormat } from "../formats/stored.ts";
import { cacheBytes, cacheCapacity } from "../kv-cache/capacity.ts";
import { trainedLength } from "../position/scaling.ts";
import { MAX_CHUNK_TOKENS } from "./chunkSizes.ts";
import { DEFAULT_CACHE_BYTES, WASM_WEIGHT_BYTES } from "./memory.ts";

/** Every way in which weights may be kept, the file's own first. */
export const weightFormats = ["file", "f32", "q8_0", "q4_0"] as const satisfies readonly WeightFormat[];

/** One tensor as it lies in its file. */
export interface TensorFacts {
  name: string;
  shape: readonly number[];
  format: TensorFormat;
}

export interface WeightFacts {
  parameterCount: number;
  /** The tensor format that takes the most bytes of the file. */
  format: TensorFormat;
  /** Bytes of all tensors under each way to keep them. */
  bytes: Readonly<Record<WeightFormat, number>>;
}

export interface DeviceFacts {
  /** What will run the model, and why; undefined while nobody could ask WebGPU. */
  backend: ChosenBackend | undefined;
  /** Adapter or runtime in words. */
  name: string | undefined;
  /** Largest buffer that can be bound as storage; undefined where no GPU was asked. */
  maxBindingBytes: number | undefined;
  /** Memory of the machine, which is also that of most graphics devices that share it. */
  memoryBytes: number;
}

export interface Sentence {
  topic: "weights" | "context" | "backend" | "warning";
  text: string;
}

/** Adds up the tensors of a model, by their canonical names. */
export function weightFacts(tensors: Iterable<TensorFacts>): WeightFacts {
  const bytes: Record<WeightFormat, number> = { file: 0, f32: 0, q8_0: 0, q4_0: 0 };
  const byFormat = new Map<TensorFormat, number>();
  let parameterCount = 0;
  for (const { name, shape, format } of tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    parameterCount += count;
    byFormat.set(format, (byFormat.get(format) ?? 0) + bytesOf(format, count));
    for (const kept of weightFormats) bytes[kept] += bytesOf(storedFormat(name, shape, format, kept), count);
  }
  const [largest] = [...byFormat].sort(([, a], [, b]) => b - a);
  return { parameterCount, format: largest?.[0] ?? "f32", bytes };
}

/** Tokens of context the weights were trained on. */
export function contextOf(spec: ModelSpec): number {
  return trainedLength(spec);
}

/** What the weights take, what the context takes, what will run it, and what does not fit, each with what to do about it. */
export function preflight(spec: ModelSpec, weights: WeightFacts, device: DeviceFacts): Sentence[] {
  return [weightSentence(weights), ...contextSentences(spec), backendSentence(device), ...warnings(weights, device)];
}

function weightSentence({ parameterCount, format, bytes }: WeightFacts): Sentence {
  const others = weightFormats
    .filter((kept) => kept !== "file" && bytes[kept] !== bytes.file)
    .map((kept) => `${size(bytes[kept])} as ${kept}`);
  const rest = others.length === 0 ? "" : `, ${others.join(", ")}`;
  return {
    topic: "weights",
    text: `${large(parameterCount)} parameters. The weights take ${size(bytes.file)} as the file has them (mostly ${format})${rest}.`,
  };
}

function contextSentences(spec: ModelSpec): Sentence[] {
  const trained = contextOf(spec);
  if (spec.kind !== "decoder") {
    return [
      {
        topic: "context",
        text: `It was trained on ${tokens(trained)} and keeps a state of constant size instead of a KV cache, so that memory does not limit the context.`,
      },
    ];
  }
  const holds = cacheCapacity(spec, F32_CACHE, WHOLE, MAX_CHUNK_TOKENS, undefined);
  const bytes = cacheBytes(spec, F32_CACHE, WHOLE, trained, MAX_CHUNK_TOKENS);
  const fit = holds >= trained ? "all of it fits" : `of that ${tokens(holds)} fit`;
  return [
    {
      topic: "context",
      text: `It was trained on ${tokens(trained)}. Their KV cache takes ${size(bytes)} in f32; ${fit}, as a cache of ${size(DEFAULT_CACHE_BYTES)} is kept.`,
    },
  ];
}

function backendSentence({ backend, name }: DeviceFacts): Sentence {
  if (backend === undefined) {
    return {
      topic: "backend",
      text: "Whether it runs on the GPU is known once the playground is open: it asks WebGPU.",
    };
  }
  const where = { wgsl: "WebGPU", ort: "WebAssembly on the CPU", reference: "plain loops on the CPU" }[backend.kind];
  const on = name === undefined || backend.kind !== "wgsl" ? "" : ` (${name})`;
  return { topic: "backend", text: `It will run on ${where}${on}: ${backend.because}.` };
}

function warnings({ bytes }: WeightFacts, { backend, memoryBytes }: DeviceFacts): Sentence[] {
  const found: Sentence[] = [];
  const warn = (text: string): void => void found.push({ topic: "warning", text });
  if (backend?.kind === "ort" && bytes.f32 > WASM_WEIGHT_BYTES) {
    const fits = weightFormats.filter((kept) => kept !== "file" && bytes[kept] <= WASM_WEIGHT_BYTES);
    warn(
      fits.length === 0
        ? `WebAssembly holds ${size(WASM_WEIGHT_BYTES)} of weights, too few for this model: it needs a GPU.`
        : `WebAssembly holds ${size(WASM_WEIGHT_BYTES)} of weights: choose ${fits.join(" or ")} in the playground.`,
    );
  }
  const least = Math.min(...weightFormats.map((kept) => bytes[kept]));
  if (least > memoryBytes) warn(`This machine has ${size(memoryBytes)} of memory, less than the weights take in any format.`);
  else if (bytes.f32 > memoryBytes) {
    const fits = weightFormats.filter((kept) => bytes[kept] <= memoryBytes);
    warn(
      `This machine has ${size(memoryBytes)} of memory: f32 does not fit, ${fits.join(", ")} ${fits.length === 1 ? "does" : "do"}.`,
    );
  }
  return found;
}

/** "1.5 billion", "3.9 million", "812,000". */
function large(count: number): string {
  if (count >= 1e9) return `${short(count / 1e9)} billion`;
  if (count >= 1e6) return `${short(count / 1e6)} million`;
  return count.toLocaleString("en-US");
}

/** In the units that hubs show sizes of files in: 1 GB is 10⁹ bytes. */
function size(bytes: number): string {
  if (bytes >= 1e9) return `${short(bytes / 1e9)} GB`;
  if (bytes >= 1e6) return `${short(bytes / 1e6)} MB`;
  return `${short(bytes / 1e3)} kB`;
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
}

function tokens(count: number): string {
  return `${count.toLocaleString("en-US")} tokens`;
}
