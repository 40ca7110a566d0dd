/** Attention by onnxruntime-web's WebGPU provider and by ours: the same numbers, on the same device, in the same run. */
import assert from "node:assert/strict";
import { F32_CACHE } from "../../engine/attention/wholeOnly.ts";
import { plainError } from "../../engine/errors.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { download, numbers, upload } from "../support/gpuArrays.ts";
import { LONG_HEAD_DIM, longExpected, longKeys, longQueries, openLongAttention } from "../support/longAttention.ts";
import {
  exactRows,
  heads,
  medians,
  openDecode,
  openPrompt,
  relativeRms,
  type KernelDevice,
  type KernelShape,
} from "./attentionKernels.ts";
import type { BenchDevice } from "./benchDevice.ts";
import { openOrtAttention, type AttentionShape } from "./ortAttention.ts";

interface Side {
  ms: number;
  /** Relative RMS error against float64 loops. */
  error: number;
}

export interface OrtRow {
  what: string;
  tokens: number;
  /** Numbers of onnxruntime's attention: ours are f32 always. */
  element: "f16" | "f32";
  ours: Side;
  onnxruntime: Side | { unavailable: string };
  /** Time of onnxruntime's over time of ours. */
  ratio?: number;
}

/** The device of both, and what ours has compiled on it. */
export type AttentionBench = BenchDevice & KernelDevice;

/** Rows of a prompt that are compared with float64 loops. */
const CHECKED = 4;

/** Whole prompts, causal with grouped heads, and one token behind as many, where each query head has its own key head. */
export async function compareWithOrt(bench: AttentionBench, shape: KernelShape, lengths: readonly number[]): Promise<OrtRow[]> {
  const rows: OrtRow[] = [];
  for (const tokens of lengths) {
    rows.push(await comparePrompt(bench, shape, tokens));
    print(rows.at(-1));
    rows.push(await compareDecode(bench, { ...shape, kvHeadCount: shape.headCount }, 4 * tokens));
    print(rows.at(-1));
  }
  return rows;
}

async function comparePrompt(bench: AttentionBench, shape: KernelShape, tokens: number): Promise<OrtRow> {
  const sequence = { qkv: numbers("onnx", tokens * rowOf(shape)), tokens };
  const width = shape.headCount * shape.headDim;
  const exact = exactRows(shape, sequence, CHECKED);
  const prompt = await openPrompt(bench, shape, { flash: F32_CACHE }, sequence);
  const own = { run: () => prompt.run(), read: async () => prompt.output.subarray(-CHECKED * width) };
  const inputs = inputsOf({ ...shape, keys: tokens, isPrompt: true }, sequence.qkv);
  const row = await compare(bench, "prompt, GroupQueryAttention", { ...shape, keys: tokens, isPrompt: true }, own, inputs, exact);
  prompt.release();
  return row;
}

async function compareDecode(bench: AttentionBench, shape: KernelShape, tokens: number): Promise<OrtRow> {
  const sequence = { qkv: numbers("onnx", tokens * rowOf(shape)), tokens };
  const own = await openDecode(bench, shape, { flash: F32_CACHE }, sequence);
  const asked = { ...shape, keys: tokens, isPrompt: false };
  const inputs = inputsOf(asked, sequence.qkv);
  const row = await compare(bench, "one token, MultiHeadAttention", asked, own, inputs, exactRows(shape, sequence, 1));
  own.release();
  return row;
}

/** Softmax over 131,072 keys by one query, equal and Gaussian scores, by both. */
export async function longSoftmax(bench: AttentionBench): Promise<OrtRow[]> {
  const keys = 131_072;
  const long = await openLongAttention(bench.gpu, keys);
  const cached = longKeys(keys);
  const shape = { headCount: 1, kvHeadCount: 1, headDim: LONG_HEAD_DIM, keys, isPrompt: false };
  const rows: OrtRow[] = [];
  for (const scores of ["flat", "gaussian"] as const) {
    const queries = longQueries({ scores, queries: 1 });
    const own = long.open(queries);
    const inputs = { queries, ...cached };
    rows.push(await compare(bench, `one token, ${scores} scores`, shape, own, inputs, longExpected(queries, cached)));
    print(rows.at(-1));
  }
  return rows;
}

interface OwnSide {
  /** Milliseconds. */
  run(): Promise<number>;
  /** The last rows of the output. */
  read(): Promise<Float32Array>;
}

type Inputs = Record<"queries" | "keys" | "values", Float32Array<ArrayBuffer>>;

const ROUNDS = 3;

/** Both in turn, so that neither has the machine to itself; `exact` are the last rows of the output. */
async function compare(
  { gpu, entry }: AttentionBench,
  what: string,
  shape: AttentionShape,
  own: OwnSide,
  inputs: Inputs,
  exact: Float64Array,
): Promise<OrtRow> {
  const element = usesF16(gpu) ? ("f16" as const) : ("f32" as const);
  const checked = async (ms: number): Promise<Side> => {
    const error = relativeRms(await own.read(), exact);
    assert(error < 1e-4, `${what}: ours is off by ${error}`);
    return { ms, error };
  };
  const row = { what, tokens: shape.keys, element };
  const buffers = { queries: upload(gpu, inputs.queries), keys: upload(gpu, inputs.keys), values: upload(gpu, inputs.values) };
  try {
    const theirs = await openOrtAttention(entry, gpu.device, { ...shape, f16: element === "f16" }, buffers);
    const runOnce = async (): Promise<number> => {
      const began = performance.now();
      await theirs.run();
      await gpu.settle(gpu.device.queue.onSubmittedWorkDone());
      return performance.now() - began;
    };
    const [ownMs, ms] = await medians([() => own.run(), runOnce], ROUNDS);
    const ours = await checked(ownMs);
    const count = (shape.isPrompt ? shape.keys : 1) * shape.headCount * shape.headDim;
    const output = await download(gpu, theirs.output, count);
    await theirs.release();
    const error = relativeRms(output.subarray(-exact.length), exact);
    return { ...row, ours, onnxruntime: { ms, error }, ratio: ms / ours.ms };
  } catch (error) {
    gpu.check();
    const [ownMs] = await medians([() => own.run()], ROUNDS);
    return { ...row, ours: await checked(ownMs), onnxruntime: { unavailable: plainError(error).message } };
  } finally {
    for (const buffer of Object.values(buffers)) buffer.destroy();
  }
}

function inputsOf(shape: AttentionShape, qkv: Float32Array): Inputs {
  const { headCount, kvHeadCount, keys, isPrompt } = shape;
  return {
    queries: heads(shape, qkv, headCount, 0, isPrompt ? 0 : keys - 1),
    keys: heads(shape, qkv, kvHeadCount, headCount, 0),
    values: heads(shape, qkv, kvHeadCount, headCount + kvHeadCount, 0),
  };
}

/** onnxruntime's models for graphics cards are in binary16 where there is any. */
function usesF16({ abilities }: EngineDevice): boolean {
  return abilities.f16;
}

const rowOf = ({ headCount, kvHeadCount, headDim }: KernelShape): number => (headCount + 2 * kvHeadCount) * headDim;

function print(row: OrtRow | undefined): void {
  if (row === undefined) return;
  const { what, tokens, element, ours, onnxruntime: theirs, ratio = NaN } = row;
  const other =
    "ms" in theirs
      ? `onnxruntime in ${element} ${theirs.ms.toFixed(1)} ms, error ${theirs.error.toExponential(1)}, ratio ${ratio.toFixed(2)}`
      : `onnxruntime: ${theirs.unavailable}`;
  const own = `${ours.ms.toFixed(1)} ms, error ${ours.error.toExponential(1)}`;
  process.stdout.write(`${what}, ${tokens} keys: ${own}; ${other}\n`);
}
