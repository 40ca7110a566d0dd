/** Names and shapes of a decoder's tensors, as Hugging Face writes a Llama's; matrices are [out, in] and y = x Wᵀ. */
import type { DecoderSpec, ModelSpec, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import { recurrentShapes } from "../recurrent/weights.ts";

/** Weight and bias of one norm, or matrix and bias of one projection; the bias is undefined where the model has none. */
export interface TensorPair {
  weight: string;
  bias: string | undefined;
}

/** Tensor names of one layer; undefined is what the model does not have. */
export interface LayerNames {
  attentionNorm: TensorPair;
  query: TensorPair;
  key: TensorPair;
  value: TensorPair;
  output: TensorPair;
  /** RMSNorm weights [D] on every head of q and k. */
  queryNorm: string | undefined;
  keyNorm: string | undefined;
  /** Key shift before the sigmoid, [G, D]. */
  keyShift: string | undefined;
  /** Norms of what attention and MLP give, before it is added. */
  attentionPostNorm: TensorPair | undefined;
  mlpPostNorm: TensorPair | undefined;
  mlpNorm: TensorPair;
  /** Undefined where the MLP is plain. */
  gate: TensorPair | undefined;
  up: TensorPair;
  down: TensorPair;
}

export const EMBEDDING = "model.embed_tokens.weight";

/** Name of the output head's matrix [V, E]: the embedding itself where it is tied. */
export function headName(spec: ModelSpec): string {
  return spec.tiedEmbeddings ? EMBEDDING : "lm_head.weight";
}

export function embeddingNormNames(spec: DecoderSpec): TensorPair | undefined {
  return spec.embeddingNorm ? normPair(spec, "model.embed_norm") : undefined;
}

export function finalNormNames(spec: DecoderSpec): TensorPair {
  return normPair(spec, "model.norm");
}

export function layerNames(spec: DecoderSpec, layer: number): LayerNames {
  const start = `model.layers.${layer}.`;
  const attention = `${start}self_attn.`;
  const projection = (name: string, hasBias: boolean): TensorPair => ({
    weight: `${start}${name}_proj.weight`,
    bias: hasBias ? `${start}${name}_proj.bias` : undefined,
  });
  const norm = (name: string): TensorPair => normPair(spec, start + name);
  const where = (present: boolean, name: string): string | undefined => (present ? name : undefined);
  return {
    attentionNorm: norm("input_layernorm"),
    query: projection("self_attn.q", spec.qkvBias),
    key: projection("self_attn.k", spec.qkvBias),
    value: projection("self_attn.v", spec.qkvBias),
    output: projection("self_attn.o", spec.outBias),
    queryNorm: where(spec.qkNorm, `${attention}q_norm.weight`),
    keyNorm: where(spec.qkNorm, `${attention}k_norm.weight`),
    keyShift: where(spec.keyShift, `${attention}k_shift`),
    attentionPostNorm: spec.postNorms ? norm("post_attention_layernorm") : undefined,
    mlpPostNorm: spec.postNorms ? norm("post_feedforward_layernorm") : undefined,
    mlpNorm: norm(spec.postNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm"),
    gate: spec.mlp === "gated" ? projection("mlp.gate", spec.mlpBias) : undefined,
    up: projection("mlp.up", spec.mlpBias),
    down: projection("mlp.down", spec.mlpBias),
  };
}

/** Every tensor the forward pass reads, with its shape, in the order of the pass; the head is last and absent where it is tied. */
export function tensorShapes(spec: ModelSpec): Map<string, readonly number[]> {
  return spec.kind === "decoder" ? decoderShapes(spec) : recurrentShapes(spec);
}

function decoderShapes(spec: DecoderSpec): Map<string, readonly number[]> {
  const { hiddenSize: E, intermediateSize: F, vocabSize: V, headDim: D } = spec;
  const queryWidth = spec.headCount * D;
  const keyWidth = spec.kvHeadCount * D;
  const shapes = new Map<string, readonly number[]>([[EMBEDDING, [V, E]]]);
  const pair = (names: TensorPair | undefined, shape: readonly number[]): void => {
    if (names === undefined) return;
    shapes.set(names.weight, shape);
    if (names.bias !== undefined) shapes.set(names.bias, shape.slice(0, 1));
  };
  const single = (name: string | undefined, shape: readonly number[]): void => {
    if (name !== undefined) shapes.set(name, shape);
  };
  pair(embeddingNormNames(spec), [E]);
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const names = layerNames(spec, layer);
    pair(names.attentionNorm, [E]);
    pair(names.query, [queryWidth, E]);
    pair(names.key, [keyWidth, E]);
    pair(names.value, [keyWidth, E]);
    single(names.queryNorm, [D]);
    single(names.keyNorm, [D]);
    single(names.keyShift, [spec.kvHeadCount, D]);
    pair(names.output, [E, queryWidth]);
    pair(names.attentionPostNorm, [E]);
    pair(names.mlpNorm, [E]);
    pair(names.gate, [F, E]);
    pair(names.up, [F, E]);
    pair(names.down, [E, F]);
    pair(names.mlpPostNorm, [E]);
  }
  pair(finalNormNames(spec), [E]);
  single(spec.tiedEmbeddings ? undefined : headName(spec), [V, E]);
  return shapes;
}

function normPair(spec: DecoderSpec, name: string): TensorPair {
  return { weight: `${name}.weight`, bias: spec.norm === "layer" && spec.normBias ? `${name}.bias` : undefined };
}

/** Throws `weights-missing` or `bad-weights` for the first tensor that is absent or has another shape. */
export function checkWeights(spec: ModelSpec, weights: WeightStore): void {
  for (const [name, shape] of tensorShapes(spec)) {
    if (!weights.has(name)) {
      throw new EngineError(
        "weights-missing",
        `the weights have no tensor ${name}`,
        "download the model again, with all its files",
        { name },
      );
    }
    const found = weights.shape(name);
    if (found.join() !== shape.join()) {
      const facts = { name, found: `[${found.join(", ")}]`, expected: `[${shape.join(", ")}]` };
      const message = `tensor ${name} is ${facts.found} and config.json asks for ${facts.expected}`;
      throw new EngineError("bad-weights", message, "use config.json and weights of the same model", facts);
    }
  }
}

/** Numbers the forward pass uses; a tied head counts once. */
export function parameterCount(spec: ModelSpec): number {
  let count = 0;
  for (const shape of tensorShapes(spec).values()) count += shape.reduce((product, size) => product * size, 1);
  return count;
}
