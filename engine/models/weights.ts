/** Names and shapes of a decoder's tensors, as Hugging Face writes them; matrices are [out, in] and y = x Wᵀ. */
import type { ModelSpec, WeightFormat, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import { canQuantizeQ8 } from "../formats/q8.ts";

/** Tensor names of one layer; a name is undefined where the model has no such tensor. */
export interface LayerNames {
  attentionNorm: string;
  query: string;
  key: string;
  value: string;
  output: string;
  queryBias: string | undefined;
  keyBias: string | undefined;
  valueBias: string | undefined;
  outputBias: string | undefined;
  /** RMSNorm weights [D] on every head of q and k. */
  queryNorm: string | undefined;
  keyNorm: string | undefined;
  /** Key shift before the sigmoid, [G, D]. */
  keyShift: string | undefined;
  mlpNorm: string;
  gate: string;
  up: string;
  down: string;
  gateBias: string | undefined;
  upBias: string | undefined;
  downBias: string | undefined;
}

export const EMBEDDING = "model.embed_tokens.weight";
export const FINAL_NORM = "model.norm.weight";

/** Name of the output head's matrix [V, E]: the embedding itself where it is tied. */
export function headName(spec: ModelSpec): string {
  return spec.tiedEmbeddings ? EMBEDDING : "lm_head.weight";
}

export function layerNames(spec: ModelSpec, layer: number): LayerNames {
  const attention = `model.layers.${layer}.self_attn.`;
  const mlp = `model.layers.${layer}.mlp.`;
  const where = (present: boolean, name: string): string | undefined => (present ? name : undefined);
  return {
    attentionNorm: `model.layers.${layer}.input_layernorm.weight`,
    query: `${attention}q_proj.weight`,
    key: `${attention}k_proj.weight`,
    value: `${attention}v_proj.weight`,
    output: `${attention}o_proj.weight`,
    queryBias: where(spec.qkvBias, `${attention}q_proj.bias`),
    keyBias: where(spec.qkvBias, `${attention}k_proj.bias`),
    valueBias: where(spec.qkvBias, `${attention}v_proj.bias`),
    outputBias: where(spec.outBias, `${attention}o_proj.bias`),
    queryNorm: where(spec.qkNorm, `${attention}q_norm.weight`),
    keyNorm: where(spec.qkNorm, `${attention}k_norm.weight`),
    keyShift: where(spec.keyShift, `${attention}k_shift`),
    mlpNorm: `model.layers.${layer}.post_attention_layernorm.weight`,
    gate: `${mlp}gate_proj.weight`,
    up: `${mlp}up_proj.weight`,
    down: `${mlp}down_proj.weight`,
    gateBias: where(spec.mlpBias, `${mlp}gate_proj.bias`),
    upBias: where(spec.mlpBias, `${mlp}up_proj.bias`),
    downBias: where(spec.mlpBias, `${mlp}down_proj.bias`),
  };
}

/** Every tensor the forward pass reads, with its shape, in the order of the pass; the head is last and absent where it is tied. */
export function tensorShapes(spec: ModelSpec): Map<string, readonly number[]> {
  const { hiddenSize: E, intermediateSize: F, vocabSize: V, headDim: D } = spec;
  const queryWidth = spec.headCount * D;
  const keyWidth = spec.kvHeadCount * D;
  const shapes = new Map<string, readonly number[]>([[EMBEDDING, [V, E]]]);
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const names = layerNames(spec, layer);
    const entries: [string | undefined, readonly number[]][] = [
      [names.attentionNorm, [E]],
      [names.query, [queryWidth, E]],
      [names.queryBias, [queryWidth]],
      [names.key, [keyWidth, E]],
      [names.keyBias, [keyWidth]],
      [names.value, [keyWidth, E]],
      [names.valueBias, [keyWidth]],
      [names.queryNorm, [D]],
      [names.keyNorm, [D]],
      [names.keyShift, [spec.kvHeadCount, D]],
      [names.output, [E, queryWidth]],
      [names.outputBias, [E]],
      [names.mlpNorm, [E]],
      [names.gate, [F, E]],
      [names.gateBias, [F]],
      [names.up, [F, E]],
      [names.upBias, [F]],
      [names.down, [E, F]],
      [names.downBias, [E]],
    ];
    for (const [name, shape] of entries) if (name !== undefined) shapes.set(name, shape);
  }
  shapes.set(FINAL_NORM, [E]);
  if (!spec.tiedEmbeddings) shapes.set(headName(spec), [V, E]);
  return shapes;
}

/** How a tensor is stored under `format`: projections, head and embedding table are quantised where their rows divide into blocks. */
export function storedFormat(name: string, shape: readonly number[], format: WeightFormat): WeightFormat {
  const isTable = name.endsWith("_proj.weight") || name === EMBEDDING || name === "lm_head.weight";
  return format === "q8_0" && isTable && canQuantizeQ8(shape.at(-1) ?? 0) ? "q8_0" : "f32";
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
