/** Names and shapes of the tensors of recurrent models: Hugging Face's for mamba and mamba2, flash-linear-attention's for rwkv7. */
import type { Mamba2Spec, MambaSpec, RecurrentSpec, Rwkv7Spec } from "../api.ts";

/** Weight and bias; the bias is undefined where the model has none. */
export interface Affine {
  weight: string;
  bias: string | undefined;
}

/** Tensors outside the layers. The final norm of rwkv7 has a bias. */
export interface OuterNames {
  embedding: string;
  finalNorm: Affine;
  /** The embedding itself where it is tied. */
  head: string;
}

export function outerNames(spec: RecurrentSpec): OuterNames {
  const isRwkv = spec.kind === "rwkv7";
  const embedding = isRwkv ? "model.embeddings.weight" : "backbone.embeddings.weight";
  return {
    embedding,
    finalNorm: isRwkv ? affine("model.norm", true) : affine("backbone.norm_f", false),
    head: spec.tiedEmbeddings ? embedding : "lm_head.weight",
  };
}

/** One layer of Mamba; shapes in `mambaShapes`. */
export function mambaNames(spec: MambaSpec, layer: number) {
  const mixer = `backbone.layers.${layer}.mixer.`;
  return {
    norm: `backbone.layers.${layer}.norm.weight`,
    inProjection: affine(`${mixer}in_proj`, spec.projectionBias),
    convolution: affine(`${mixer}conv1d`, spec.convBias),
    /** Rows: R of the time step, N of B, N of C. */
    selection: `${mixer}x_proj.weight`,
    timeStep: affine(`${mixer}dt_proj`, true),
    decayLog: `${mixer}A_log`,
    skip: `${mixer}D`,
    outProjection: affine(`${mixer}out_proj`, spec.projectionBias),
  };
}

/** One layer of Mamba-2; shapes in `mamba2Shapes`. */
export function mamba2Names(spec: Mamba2Spec, layer: number) {
  const mixer = `backbone.layers.${layer}.mixer.`;
  return {
    norm: `backbone.layers.${layer}.norm.weight`,
    inProjection: affine(`${mixer}in_proj`, spec.projectionBias),
    convolution: affine(`${mixer}conv1d`, spec.convBias),
    timeStepBias: `${mixer}dt_bias`,
    decayLog: `${mixer}A_log`,
    skip: `${mixer}D`,
    gatedNorm: `${mixer}norm.weight`,
    outProjection: affine(`${mixer}out_proj`, spec.projectionBias),
  };
}

/** What the six mixed inputs of RWKV-7's time mix are for, in the order in which old files hold them in one tensor. */
export const MIXES = ["r", "w", "k", "v", "a", "g"] as const;
export type Mix = (typeof MIXES)[number];

/** A low-rank map: x -> up(act(down x)) + bias. */
export interface LowRankNames {
  down: string;
  up: Affine;
}

/** One layer of RWKV-7; shapes in `rwkv7Shapes`. */
export function rwkv7Names(layer: number) {
  const start = `model.layers.${layer}.`;
  const attention = `${start}attn.`;
  const lowRank = (name: string, hasBias: boolean): LowRankNames => ({
    down: `${attention}${name}_lora.lora.0.weight`,
    up: affine(`${attention}${name}_lora.lora.2`, hasBias),
  });
  return {
    /** On the embedding, in front of layer 0. */
    embeddingNorm: layer === 0 ? affine(`${start}pre_norm`, true) : undefined,
    attentionNorm: affine(`${start}attn_norm`, true),
    mix: (kind: Mix): string => `${attention}x_${kind}`,
    receptance: `${attention}r_proj.weight`,
    key: `${attention}k_proj.weight`,
    value: `${attention}v_proj.weight`,
    output: `${attention}o_proj.weight`,
    decay: lowRank("w", true),
    rate: lowRank("a", true),
    /** Layer 0 makes the values that the others mix in, and mixes none itself. */
    valueMix: layer === 0 ? undefined : lowRank("v", true),
    gate: lowRank("g", false),
    removalKey: `${attention}k_k`,
    keyRate: `${attention}k_a`,
    bonus: `${attention}r_k`,
    headNorm: affine(`${attention}g_norm`, true),
    mlpNorm: affine(`${start}ffn_norm`, true),
    mlpMix: `${start}ffn.x_k`,
    mlpKey: `${start}ffn.key.weight`,
    mlpValue: `${start}ffn.value.weight`,
  };
}

/** Every tensor a recurrent model reads, with its shape, in the order of the pass; the head is last and absent where it is tied. */
export function recurrentShapes(spec: RecurrentSpec): Map<string, readonly number[]> {
  const { vocabSize: V, hiddenSize: E } = spec;
  const outer = outerNames(spec);
  const shapes = new Map<string, readonly number[]>([[outer.embedding, [V, E]]]);
  for (let layer = 0; layer < spec.layerCount; layer++) {
    for (const [name, shape] of layerShapes(spec, layer)) shapes.set(name, shape);
  }
  for (const [name, shape] of affineShapes(outer.finalNorm, [E])) shapes.set(name, shape);
  if (!spec.tiedEmbeddings) shapes.set(outer.head, [V, E]);
  return shapes;
}

type Shapes = (readonly [name: string, shape: readonly number[]])[];

function layerShapes(spec: RecurrentSpec, layer: number): Shapes {
  switch (spec.kind) {
    case "mamba":
      return mambaShapes(spec, layer);
    case "mamba2":
      return mamba2Shapes(spec, layer);
    case "rwkv7":
      return rwkv7Shapes(spec, layer);
  }
}

function mambaShapes(spec: MambaSpec, layer: number): Shapes {
  const { hiddenSize: E, innerSize: I, stateSize: N, convKernel: K, timeStepRank: R } = spec;
  const names = mambaNames(spec, layer);
  return [
    [names.norm, [E]],
    ...affineShapes(names.inProjection, [2 * I, E]),
    ...affineShapes(names.convolution, [I, 1, K]),
    [names.selection, [R + 2 * N, I]],
    ...affineShapes(names.timeStep, [I, R]),
    [names.decayLog, [I, N]],
    [names.skip, [I]],
    ...affineShapes(names.outProjection, [E, I]),
  ];
}

function mamba2Shapes(spec: Mamba2Spec, layer: number): Shapes {
  const { hiddenSize: E, headCount: H, headDim: P, convKernel: K } = spec;
  const C = convWidth(spec);
  const names = mamba2Names(spec, layer);
  return [
    [names.norm, [E]],
    ...affineShapes(names.inProjection, [H * P + C + H, E]),
    ...affineShapes(names.convolution, [C, 1, K]),
    [names.timeStepBias, [H]],
    [names.decayLog, [H]],
    [names.skip, [H]],
    [names.gatedNorm, [H * P]],
    ...affineShapes(names.outProjection, [E, H * P]),
  ];
}

function rwkv7Shapes(spec: Rwkv7Spec, layer: number): Shapes {
  const { hiddenSize: E, intermediateSize: F, headCount: H, headDim: P } = spec;
  const names = rwkv7Names(layer);
  const lowRank = (map: LowRankNames | undefined, rank: number): Shapes =>
    map === undefined ? [] : [[map.down, [rank, E]], ...affineShapes(map.up, [E, rank])];
  return [
    ...(names.embeddingNorm === undefined ? [] : affineShapes(names.embeddingNorm, [E])),
    ...affineShapes(names.attentionNorm, [E]),
    ...MIXES.map((mix) => [names.mix(mix), [E]] as const),
    [names.receptance, [E, E]],
    [names.key, [E, E]],
    [names.value, [E, E]],
    ...lowRank(names.decay, spec.decayRank),
    ...lowRank(names.rate, spec.aRank),
    ...lowRank(names.valueMix, spec.vRank),
    ...lowRank(names.gate, spec.gateRank),
    [names.removalKey, [E]],
    [names.keyRate, [E]],
    [names.bonus, [H, P]],
    ...affineShapes(names.headNorm, [E]),
    [names.output, [E, E]],
    ...affineShapes(names.mlpNorm, [E]),
    [names.mlpMix, [E]],
    [names.mlpKey, [F, E]],
    [names.mlpValue, [E, F]],
  ];
}

/** Channels that Mamba-2 convolves: x [H, P], B [G, N] and C [G, N]. */
export function convWidth({ headCount, headDim, groupCount, stateSize }: Mamba2Spec): number {
  return headCount * headDim + 2 * groupCount * stateSize;
}

function affine(name: string, hasBias: boolean): Affine {
  return { weight: `${name}.weight`, bias: hasBias ? `${name}.bias` : undefined };
}

function affineShapes({ weight, bias }: Affine, shape: readonly number[]): Shapes {
  return bias === undefined
    ? [[weight, shape]]
    : [
        [weight, shape],
        [bias, shape.slice(0, 1)],
      ];
}
