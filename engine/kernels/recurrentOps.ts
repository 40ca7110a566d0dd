/** The kernels of recurrent models as operations on buffers. E hidden size, T tokens of the chunk; other shapes as in reference/. */
import type { Mamba2Spec, MambaSpec, RecurrentSpec, Rwkv7Spec } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { convWidth } from "../recurrent/weights.ts";
import { activate, ACTIVATE_STRIDE } from "./activate.ts";
import { causalConv, CONV_TOKENS } from "./causal_conv.ts";
import { gatedNorm } from "./gated_norm.ts";
import { keepRow } from "./keep_row.ts";
import { layerNorm } from "./layer_norm.ts";
import type { LinearOperations, Matrix } from "./linear.ts";
import type { Choice, NormWeights } from "./ops.ts";
import { groups } from "./programs.ts";
import { rmsNorm } from "./rms_norm.ts";
import { sample } from "./sample.ts";
import { selectiveScan } from "./selective_scan.ts";
import { ssdOutput, SSD_BLOCK } from "./ssd_output.ts";
import { ssdScores } from "./ssd_scores.ts";
import { ssdState } from "./ssd_state.ts";
import { ssdStep } from "./ssd_step.ts";
import { ssdSteps } from "./ssd_steps.ts";
import { takeColumns } from "./take_columns.ts";
import { tokenShift } from "./token_shift.ts";
import { valueMix } from "./value_mix.ts";
import { wkvFinish } from "./wkv_finish.ts";
import { wkvPrepare } from "./wkv_prepare.ts";
import { wkvScan } from "./wkv_scan.ts";

/** States of one channel lie in registers. */
const MAX_MAMBA_STATES = 128;
/** One row of a head's state lies in registers, and five rows for four tokens in 16 KiB of workgroup memory. */
const MAX_RWKV_HEAD_DIM = 128;
/** Largest f32, which stands for no bound: a uniform may not be infinite. */
const LARGEST = 3.4028234663852886e38;

/** Weights of a convolution: [C, K], and [C] where there is a bias. */
export interface ConvWeights {
  weight: GPUBuffer;
  bias: GPUBuffer | undefined;
}

/** Throws `unsupported-model` for shapes that the kernels cannot do. */
export function checkRecurrentShapes(spec: RecurrentSpec): void {
  if (spec.hiddenSize % 4 !== 0) throw unsupported(`hidden size ${spec.hiddenSize} is no multiple of 4`);
  if (spec.kind === "mamba") {
    const { innerSize: I, stateSize: N } = spec;
    if (I % 4 !== 0) throw unsupported(`inner width ${I} is no multiple of 4`);
    if (N > MAX_MAMBA_STATES) throw unsupported(`state size ${N} is above ${MAX_MAMBA_STATES}`);
  } else if (spec.kind === "mamba2") {
    const { headCount: H, headDim: P, stateSize: N } = spec;
    if ((H * P) % 4 !== 0 || N % 4 !== 0) throw unsupported(`inner width ${H * P} or state size ${N} is no multiple of 4`);
  } else {
    const { headDim: P, intermediateSize: F } = spec;
    if (P % 4 !== 0 || F % 4 !== 0) throw unsupported(`head dimension ${P} or intermediate size ${F} is no multiple of 4`);
    if (P > MAX_RWKV_HEAD_DIM) throw unsupported(`head dimension ${P} is above ${MAX_RWKV_HEAD_DIM}`);
  }
}

export type CommonOperations = Awaited<ReturnType<typeof openCommon>>;
export type MambaOperations = Awaited<ReturnType<typeof openMambaOperations>>;
export type Mamba2Operations = Awaited<ReturnType<typeof openMamba2Operations>>;
export type Rwkv7Operations = Awaited<ReturnType<typeof openRwkv7Operations>>;

/** What all recurrent models have: products with matrices, norms, sampling. */
async function openCommon(
  spec: RecurrentSpec,
  matrices: LinearOperations,
  shaders: ShaderCache,
  recorder: Recorder,
  placeholder: GPUBuffer,
) {
  const { normEps: eps } = spec;
  const columns4 = spec.hiddenSize / 4;
  const isRms = spec.kind !== "rwkv7";
  const [rms, layer, choose] = await Promise.all([
    isRms ? shaders.program(rmsNorm, {}) : undefined,
    isRms ? undefined : shaders.program(layerNorm, {}),
    shaders.program(sample, {}),
  ]);
  return {
    ...matrices,

    /** ids [T] -> x [T, E], times the model's embedding multiplier. */
    embed(ids: GPUBuffer, table: Matrix, x: GPUBuffer, tokens: number): void {
      matrices.embed(ids, table, x, tokens, spec.embeddingMultiplier);
    },

    /** y[t] = norm(x[first + t]) for [T, E]: RMSNorm, of RWKV-7 LayerNorm. */
    norm(x: GPUBuffer, { weight, bias }: NormWeights, y: GPUBuffer, tokens: number, first = 0): void {
      if (rms !== undefined) recorder.run(rms, { first, columns4, eps, accumulate: 0 }, { x, weight, y }, [tokens]);
      if (layer === undefined) return;
      const params = { first, columns4, eps, hasBias: bias === undefined ? 0 : 1 };
      recorder.run(layer, params, { x, weight, bias: bias ?? placeholder, y }, [tokens]);
    },

    /** The next token from logits [V] into result [1]; 0xffffffff where no logit is a number. */
    sample(logits: GPUBuffer, allowed: GPUBuffer, result: GPUBuffer, choice: Choice): void {
      const { temperature, topP, uniform01, useMask } = choice;
      const params = { tokens: spec.vocabSize, useMask: useMask ? 1 : 0, temperature, topP, uniform01 };
      recorder.run(choose, params, { logits, allowed, result }, [1]);
    },
  };
}

/** Compiles the kernels of Mamba for its shapes; `checkRecurrentShapes` must have passed. */
export async function openMambaOperations(
  spec: MambaSpec,
  matrices: LinearOperations,
  shaders: ShaderCache,
  recorder: Recorder,
  placeholder: GPUBuffer,
) {
  const { innerSize: I, stateSize: N, timeStepRank: R } = spec;
  const [common, convolve, scan, take] = await Promise.all([
    openCommon(spec, matrices, shaders, recorder, placeholder),
    openConvolution(spec.convKernel, shaders, recorder, placeholder),
    shaders.program(selectiveScan, { STATES: N }),
    shaders.program(takeColumns, {}),
  ]);
  return {
    ...common,

    /** u [T, I] = silu(convolution of the first half of uz [T, 2I]); `tail` [K - 1, I] goes on to the next chunk. */
    convolve(uz: GPUBuffer, weights: ConvWeights, tail: GPUBuffer, u: GPUBuffer, tokens: number): void {
      convolve({ x: uz, xRow: 2 * I, xColumn: 0, channels: I }, weights, tail, u, tokens);
    },

    /** low [T, R, filled up with zeros to a multiple of 4] from selected [T, R + 2N]. */
    lowStep(selected: GPUBuffer, low: GPUBuffer, tokens: number): void {
      const yRow = padded4(R);
      recorder.run(take, { xRow: R + 2 * N, count: R, yRow }, { x: selected, y: low }, [groups(yRow, 64), tokens]);
    },

    /** y [T, I] behind the scan and times silu(z), z the second half of uz; step [T, I] before its softplus. */
    scan(
      from: SelectiveInputs,
      weights: { decayLog: GPUBuffer; skip: GPUBuffer },
      state: GPUBuffer,
      y: GPUBuffer,
      tokens: number,
    ): void {
      recorder.run(scan, { tokens, channels: I, rank: R }, { ...from, ...weights, state, y }, [groups(I, 64)]);
    },
  };
}

export interface SelectiveInputs {
  u: GPUBuffer;
  step: GPUBuffer;
  selected: GPUBuffer;
  uz: GPUBuffer;
}

/** Compiles the kernels of Mamba-2 for its shapes; `checkRecurrentShapes` must have passed. */
export async function openMamba2Operations(
  spec: Mamba2Spec,
  matrices: LinearOperations,
  shaders: ShaderCache,
  recorder: Recorder,
  placeholder: GPUBuffer,
) {
  const { headCount: H, headDim: P, groupCount: G, stateSize: N } = spec;
  const I = H * P;
  const C = convWidth(spec);
  const block = ssdBlock(spec);
  const shape = { heads: H, headsPerGroup: H / G };
  const row4 = C / 4;
  const b4 = I / 4;
  const c4 = (I + G * N) / 4;
  const consts = { HEAD_DIM: P, STATES4: N / 4 };
  const [low, high] = spec.timeStepLimit;
  const [common, convolve, steps, scores, stateOver, output, step, gated] = await Promise.all([
    openCommon(spec, matrices, shaders, recorder, placeholder),
    openConvolution(spec.convKernel, shaders, recorder, placeholder),
    shaders.program(ssdSteps, {}),
    shaders.program(ssdScores, {}),
    shaders.program(ssdState, consts),
    shaders.program(ssdOutput, consts),
    shaders.program(ssdStep, consts),
    shaders.program(gatedNorm, {}),
  ]);
  return {
    ...common,

    /** mixed [T, C] = silu(convolution of x, B and C in rows [T, I + C + H]); `tail` [K - 1, C] goes on to the next chunk. */
    convolve(rows: GPUBuffer, weights: ConvWeights, tail: GPUBuffer, mixed: GPUBuffer, tokens: number): void {
      convolve({ x: rows, xRow: I + C + H, xColumn: I, channels: C }, weights, tail, mixed, tokens);
    },

    /** y [T, H, P] behind the scan of mixed [T, C], its time steps from the last H columns of rows. */
    scan(
      rows: GPUBuffer,
      mixed: GPUBuffer,
      weights: SsdWeights,
      state: GPUBuffer,
      work: SsdWork,
      y: GPUBuffer,
      tokens: number,
    ): void {
      const { timeStepBias: bias, decayLog, skip } = weights;
      const { before, scores: products } = work;
      const length = { tokens, heads: H, xRow: I + C + H, xColumn: I + C, block, low, high: Math.min(high, LARGEST) };
      const buffers = { x: rows, bias, decayLog, steps: work.steps };
      recorder.run(steps, length, buffers, [groups(H, 64), groups(tokens, block)]);
      if (tokens === 1) {
        recorder.run(step, { ...shape, b4, c4 }, { mixed, steps: work.steps, skip, state, y }, [groups(I, 64)]);
        return;
      }
      const grid = [groups(block, 64), tokens, G] as const;
      recorder.run(scores, { tokens, groups: G, states4: N / 4, row4, b4, c4, block }, { mixed, scores: products }, grid);
      const over = { tokens, ...shape, row4, b4, block };
      recorder.run(stateOver, over, { mixed, steps: work.steps, state, before }, [groups((P * N) / 4, 64), H]);
      const out = { mixed, steps: work.steps, scores: products, before, skip, y };
      recorder.run(output, { tokens, ...shape, row4, c4, block }, out, [groups(P, 64), groups(tokens, 4), H]);
    },

    /** y [T, I] <- RMSNorm(y · silu(z)) in place, z the first I columns of rows. */
    gatedNorm(y: GPUBuffer, rows: GPUBuffer, weight: GPUBuffer, tokens: number): void {
      const groupWidth = I / spec.normGroupCount;
      const params = { width: I, groupWidth, zRow: I + C + H, eps: spec.normEps };
      recorder.run(gated, params, { y, z: rows, weight }, [tokens, spec.normGroupCount]);
    },
  };
}

export interface SsdWeights {
  timeStepBias: GPUBuffer;
  decayLog: GPUBuffer;
  skip: GPUBuffer;
}

/** Buffers of Mamba-2's scan: steps [T, H] of two numbers, scores [T, G, block], the state in front of each block. */
export interface SsdWork {
  steps: GPUBuffer;
  scores: GPUBuffer;
  before: GPUBuffer;
}

/** Tokens of one block of Mamba-2's scan: the config's chunk where the kernels can take it, a multiple of four of at most 64. */
export function ssdBlock({ chunkSize }: Mamba2Spec): number {
  return padded4(Math.min(chunkSize, SSD_BLOCK));
}

/** Compiles the kernels of RWKV-7 for its shapes; `checkRecurrentShapes` must have passed. */
export async function openRwkv7Operations(
  spec: Rwkv7Spec,
  matrices: LinearOperations,
  shaders: ShaderCache,
  recorder: Recorder,
  placeholder: GPUBuffer,
) {
  const { hiddenSize: E, headCount: H, headDim: P } = spec;
  const columns4 = E / 4;
  const byRow = [groups(columns4, 64)] as const;
  const [common, shift, keep, act, mixValues, prepare, scan, finish] = await Promise.all([
    openCommon(spec, matrices, shaders, recorder, placeholder),
    shaders.program(tokenShift, {}),
    shaders.program(keepRow, {}),
    shaders.program(activate, { STRIDE: ACTIVATE_STRIDE }),
    shaders.program(valueMix, {}),
    shaders.program(wkvPrepare, { HEAD_DIM4: P / 4 }),
    shaders.program(wkvScan, { HEAD_DIM: P }),
    shaders.program(wkvFinish, { HEAD_DIM4: P / 4 }),
  ]);
  return {
    ...common,

    /** y [T, E] = x + (x one token earlier - x) · share, `previous` [E] in front of the first. */
    tokenShift(x: GPUBuffer, previous: GPUBuffer, share: GPUBuffer, y: GPUBuffer, tokens: number): void {
      recorder.run(shift, { columns4 }, { x, previous, share, y }, [groups(columns4, 64), tokens]);
    },

    /** kept [E] = the last of x [T, E]. */
    keepLast(x: GPUBuffer, kept: GPUBuffer, tokens: number): void {
      recorder.run(keep, { columns4, row: tokens - 1 }, { x, kept }, byRow);
    },

    /** The first `count` numbers of x through tanh (0), sigmoid (1) or max(x, 0)² (2), in place. */
    activate(x: GPUBuffer, count: number, kind: number): void {
      const grid = [groups(Math.min(count, ACTIVATE_STRIDE), 64), groups(count, ACTIVATE_STRIDE)] as const;
      recorder.run(act, { count, kind }, { x }, grid);
    },

    /** value [T, E] <- value + (first - value) · sigmoid(share), in place. */
    mixValues(value: GPUBuffer, first: GPUBuffer, share: GPUBuffer, tokens: number): void {
      recorder.run(mixValues, { columns4 }, { value, first, share }, [groups(columns4, 64), tokens]);
    },

    /** Decay, key and rate as the recurrence wants them, in place, and removal; see wkv_prepare.wgsl. All [T, H, P]. */
    prepare(rows: WkvRows, weights: { removalKey: GPUBuffer; keyRate: GPUBuffer }, tokens: number): void {
      const { decay, key, rate, removal } = rows;
      recorder.run(prepare, { rows: tokens * H, heads: H }, { decay, key, rate, removal, ...weights }, [groups(tokens * H, 64)]);
    },

    /** y [T, H, P] of the recurrence over the chunk; state [H, P, P] goes on to the next. */
    scan(rows: WkvRows, state: GPUBuffer, y: GPUBuffer, tokens: number): void {
      const { receptance, decay, key, value, removal, rate: removalRate } = rows;
      const buffers = { receptance, decay, key, value, removal, removalRate, state, y };
      recorder.run(scan, { tokens, heads: H }, buffers, [groups(P, 64), H]);
    },

    /** y [T, H, P] <- (norm(y) + bonus) · gate in place; weights [3, E] of the norm's weight and bias, and of the bonus. */
    finish(y: GPUBuffer, rows: WkvRows, gate: GPUBuffer, weights: GPUBuffer, tokens: number): void {
      const { receptance, key, value } = rows;
      const params = { rows: tokens * H, heads: H, eps: P * spec.normEps };
      recorder.run(finish, params, { y, receptance, key, value, gate, weights }, [groups(tokens * H, 64)]);
    },
  };
}

/** What RWKV-7's recurrence reads, each [T, H, P]. */
export interface WkvRows {
  receptance: GPUBuffer;
  decay: GPUBuffer;
  key: GPUBuffer;
  value: GPUBuffer;
  removal: GPUBuffer;
  rate: GPUBuffer;
}

/** The next multiple of 4: rows of matrices and vectors are read by fours. */
export function padded4(count: number): number {
  return 4 * Math.ceil(count / 4);
}

interface ConvInput {
  x: GPUBuffer;
  xRow: number;
  xColumn: number;
  channels: number;
}

async function openConvolution(taps: number, shaders: ShaderCache, recorder: Recorder, placeholder: GPUBuffer) {
  const program = await shaders.program(causalConv, { TAPS: taps, CONV_TOKENS });
  return (from: ConvInput, weights: ConvWeights, tail: GPUBuffer, y: GPUBuffer, tokens: number): void => {
    const { x, ...shape } = from;
    const { weight, bias } = weights;
    const buffers = { x, weight, bias: bias ?? placeholder, tail, y };
    const params = { tokens, ...shape, hasBias: bias === undefined ? 0 : 1 };
    const columns = groups(shape.channels, 64);
    const last = groups(tokens, CONV_TOKENS) - 1;
    // The last block replaces the tail that the first one reads.
    if (last > 0) recorder.run(program, { ...params, firstBlock: 0, keepTail: 0 }, buffers, [columns, last]);
    recorder.run(program, { ...params, firstBlock: last, keepTail: 1 }, buffers, [columns]);
  };
}

function unsupported(problem: string): EngineError {
  return new EngineError("unsupported-model", `the WebGPU kernels cannot run this model: ${problem}`, "choose the WASM backend");
}
