/** The kernels as operations on buffers: each picks its kernel, its parameters and its grid. All shapes are of one model. */
import type { DecoderSpec } from "../api.ts";
import type { KvFormats } from "../attention/api.ts";
import { EngineError } from "../errors.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { openAttention } from "./attentionOps.ts";
import { bound, BOUND_STRIDE } from "./bound.ts";
import { gateMul as gateMulKernel } from "./gate_mul.ts";
import { layerNorm } from "./layer_norm.ts";
import type { GateActivation, LinearOperations, Matrix } from "./linear.ts";
import { all, groups, present } from "./programs.ts";
import { rmsNorm } from "./rms_norm.ts";
import { sample } from "./sample.ts";

/** Most query heads that may share one key head: their scores of 64 keys lie in 16 KiB of workgroup memory. */
const MAX_GROUP = 32;
const MAX_HEAD_DIM = 256;
const ALL_MASKED = 0xffffffff;
const ACTIVATIONS: Readonly<Record<DecoderSpec["activation"], number>> = { silu: 0, gelu: 1, gelu_tanh: 2 };

/** Weight [E] and bias [E] of a norm. */
export interface NormWeights {
  weight: GPUBuffer;
  bias: GPUBuffer | undefined;
}

export type Operations = Awaited<ReturnType<typeof openOperations>>;

/** What operations share: a buffer that stands in for an absent input, the slopes of linear biases [H], and how the cache is kept. */
export interface Scratch {
  placeholder: GPUBuffer;
  slopes: GPUBuffer;
  formats: KvFormats;
}

/** Compiles the kernels the model needs besides products with matrices, for its shapes; `checkShapes` must have passed. */
export async function openOperations(
  spec: DecoderSpec,
  matrices: LinearOperations,
  shaders: ShaderCache,
  recorder: Recorder,
  scratch: Scratch,
) {
  const { placeholder } = scratch;
  const { normEps: eps, hiddenSize } = spec;
  const columns4 = hiddenSize / 4;
  const absent = Promise.resolve(undefined);
  const [attention, programs] = await Promise.all([
    openAttention(spec, shaders, recorder, scratch),
    all({
      rmsNorm: spec.norm === "rms" ? shaders.program(rmsNorm, {}) : absent,
      layerNorm: spec.norm === "layer" ? shaders.program(layerNorm, {}) : absent,
      gateMul: shaders.program(gateMulKernel, {
        ACTIVATION: ACTIVATIONS[spec.activation],
        GATED: spec.mlp === "gated" ? 1 : 0,
      }),
      softcap: spec.finalSoftcap === undefined ? absent : shaders.program(bound, { SOFT: 1, STRIDE: BOUND_STRIDE }),
      clamp: spec.qkvClip === undefined ? absent : shaders.program(bound, { SOFT: 0, STRIDE: BOUND_STRIDE }),
      sample: shaders.program(sample, {}),
    }),
  ]);
  const boundGrid = (count: number): readonly [number] => [groups(Math.min(count, BOUND_STRIDE), 64)];

  const fused = tokenFusions(spec, matrices.takesNorms);

  const norm = (x: GPUBuffer, { weight, bias }: NormWeights, y: GPUBuffer, tokens: number, first = 0): void => {
    if (spec.norm === "rms") {
      recorder.run(present(programs.rmsNorm), { first, columns4, eps, accumulate: 0 }, { x, weight, y }, [tokens]);
      return;
    }
    const params = { first, columns4, eps, hasBias: bias === undefined ? 0 : 1 };
    recorder.run(present(programs.layerNorm), params, { x, weight, bias: bias ?? placeholder, y }, [tokens]);
  };

  /** Some models go on from the normed rows. */
  const normBeforeLayer = (x: GPUBuffer, weights: NormWeights, normed: GPUBuffer, tokens: number): void => {
    norm(x, weights, normed, tokens);
    if (spec.residualAfterNorm) recorder.copy(normed, x, tokens * hiddenSize * 4);
  };

  const gateMul = (gateUp: GPUBuffer, y: GPUBuffer, tokens: number): void => {
    const wide4 = spec.intermediateSize / 4;
    recorder.run(programs.gateMul, { columns4: wide4 }, { gateUp, y }, [groups(wide4, 64), tokens]);
  };

  return {
    ...matrices,
    ...attention,

    /** ids [tokens] -> x [tokens, E], times the model's embedding multiplier. */
    embed(ids: GPUBuffer, table: Matrix, x: GPUBuffer, tokens: number): void {
      matrices.embed(ids, table, x, tokens, spec.embeddingMultiplier);
    },

    /** y[t] = norm(x[first + t]) for [tokens, E]. */
    norm,

    /** y [tokens, rows] = norm(x) Wᵀ + bias. One token takes one dispatch where it can; else the normed rows lie in `normed` [tokens, E]. */
    normedLinear(x: GPUBuffer, weights: NormWeights, matrix: Matrix, normed: GPUBuffer, y: GPUBuffer, tokens: number): void {
      if (tokens === 1 && fused.norm) {
        matrices.linearToken(x, matrix, y, { norm: { gain: weights.weight, eps } });
        return;
      }
      normBeforeLayer(x, weights, normed, tokens);
      matrices.linear(normed, matrix, y, tokens);
    },

    /** active [tokens, F] of norm(x) through gateUp, by way of `normed` [tokens, E] and `wide` [tokens, 2F or F] where it takes more than one dispatch. */
    normedMlp(x: GPUBuffer, weights: NormWeights, gateUp: Matrix, { normed, wide, active }: MlpRows, tokens: number): void {
      const gate = tokens === 1 && matrices.canGate(gateUp) ? fused.gate : undefined;
      if (gate !== undefined && fused.norm) {
        matrices.linearToken(x, gateUp, active, { norm: { gain: weights.weight, eps }, gate });
        return;
      }
      normBeforeLayer(x, weights, normed, tokens);
      if (gate !== undefined) {
        matrices.linearToken(normed, gateUp, active, { gate });
        return;
      }
      matrices.linear(normed, gateUp, wide, tokens);
      gateMul(wide, active, tokens);
    },

    /** y[t] += RMSNorm(x[t]) for [tokens, E]. */
    addNormed(x: GPUBuffer, { weight }: NormWeights, y: GPUBuffer, tokens: number): void {
      recorder.run(present(programs.rmsNorm), { first: 0, columns4, eps, accumulate: 1 }, { x, weight, y }, [tokens]);
    },

    /** y [tokens, F] = act(gate) * up from gateUp [tokens, 2F], or act(up) from [tokens, F]. */
    gateMul,

    /** The first `count` numbers clamped as `clip_qkv` says; nothing where the model has no such bound. */
    clampProjection(x: GPUBuffer, count: number): void {
      if (spec.qkvClip !== undefined)
        recorder.run(present(programs.clamp), { count, limit: spec.qkvClip }, { x }, boundGrid(count));
    },

    /** The first `count` logits under the final softcap; nothing where the model has none. */
    softcapLogits(x: GPUBuffer, count: number): void {
      if (spec.finalSoftcap !== undefined) {
        recorder.run(present(programs.softcap), { count, limit: spec.finalSoftcap }, { x }, boundGrid(count));
      }
    },

    /** The next token from logits [V] into result [1]; 0xffffffff where no logit is a number. */
    sample(logits: GPUBuffer, allowed: GPUBuffer, result: GPUBuffer, choice: Choice): void {
      const { temperature, topP, uniform01, useMask } = choice;
      const params = { tokens: spec.vocabSize, useMask: useMask ? 1 : 0, temperature, topP, uniform01 };
      recorder.run(programs.sample, params, { logits, allowed, result }, [1]);
    },
  };
}

/** Buffers of an MLP. */
export interface MlpRows {
  normed: GPUBuffer;
  wide: GPUBuffer;
  active: GPUBuffer;
}

/** What one token's products take along in their dispatch: RMSNorms before them, and gates with an activation that they know. */
export function tokenFusions(spec: DecoderSpec, takesNorms: boolean): { norm: boolean; gate: GateActivation | undefined } {
  const { norm, residualAfterNorm, mlp, activation } = spec;
  return {
    norm: takesNorms && norm === "rms" && !residualAfterNorm,
    gate: mlp === "gated" && activation !== "gelu" ? activation : undefined,
  };
}

/** How a token is drawn; `uniform01` in [0, 1) is used above temperature 0. */
export interface Choice {
  temperature: number;
  topP: number;
  uniform01: number;
  useMask: boolean;
}

/** True where the sampling kernel found no number among the logits. */
export function nothingSampled(token: number): boolean {
  return token === ALL_MASKED;
}

/** Throws `unsupported-model` for shapes that the kernels cannot do. */
export function checkShapes(spec: DecoderSpec): void {
  const { headCount, kvHeadCount, headDim, hiddenSize, intermediateSize } = spec;
  const problem =
    headDim % 4 !== 0 || hiddenSize % 4 !== 0 || intermediateSize % 4 !== 0
      ? `head dimension ${headDim}, hidden size ${hiddenSize} or intermediate size ${intermediateSize} is no multiple of 4`
      : headDim > MAX_HEAD_DIM
        ? `head dimension ${headDim} is above ${MAX_HEAD_DIM}`
        : headCount % kvHeadCount !== 0 || headCount / kvHeadCount > MAX_GROUP
          ? `${headCount} query heads on ${kvHeadCount} key heads`
          : undefined;
  if (problem !== undefined) {
    throw new EngineError("unsupported-model", `the WebGPU kernels cannot run this model: ${problem}`, "choose the WASM backend");
  }
}
