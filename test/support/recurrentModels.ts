/** Small random recurrent models, and the same models under the names of other checkpoints. */
import type { RecurrentSpec, WeightStore } from "../../engine/api.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { tensorShapes } from "../../engine/models/weights.ts";
import { fill, storeOf } from "./goldenModels.ts";

export type Tensors = Map<string, { shape: readonly number[]; values: Float64Array }>;

export interface RandomRecurrent {
  spec: RecurrentSpec;
  tensors: Tensors;
  weights: WeightStore;
}

/** Several heads, groups and layers, odd ranks and widths, biases where they can be; override any key of the config. */
export const randomConfigs: Readonly<Record<RecurrentSpec["kind"], Readonly<Record<string, unknown>>>> = {
  mamba: {
    model_type: "mamba",
    vocab_size: 37,
    hidden_size: 64,
    num_hidden_layers: 3,
    state_size: 16,
    time_step_rank: 5,
    use_bias: true,
  },
  mamba2: {
    model_type: "mamba2",
    architectures: ["Mamba2ForCausalLM"],
    ...{
      vocab_size: 37,
      hidden_size: 64,
      num_hidden_layers: 3,
      num_heads: 4,
      head_dim: 32,
      n_groups: 2,
      state_size: 16,
      chunk_size: 16,
    },
    ...{ use_bias: true, time_step_limit: [0.05, 2] },
  },
  rwkv7: {
    model_type: "rwkv7",
    ...{ vocab_size: 37, hidden_size: 64, num_hidden_layers: 3, head_dim: 16, intermediate_size: 96 },
    ...{ decay_low_rank_dim: 7, gate_low_rank_dim: 10, a_low_rank_dim: 6, v_low_rank_dim: 5 },
  },
};

/** The same overrides give the same weights; `seedName` gives others. */
export function randomRecurrent(
  kind: RecurrentSpec["kind"],
  overrides: Readonly<Record<string, unknown>> = {},
  seedName = "",
): RandomRecurrent {
  const spec = parseSpec({ ...randomConfigs[kind], ...overrides });
  if (spec.kind === "decoder") throw new Error(`${kind} became a transformer`);
  const tensors: Tensors = new Map(
    [...tensorShapes(spec)].map(([name, shape]) => [
      name,
      { shape, values: fill(seedName + name, shape, ...range(name, shape)) },
    ]),
  );
  return { spec, tensors, weights: storeOf(tensors) };
}

/** An RWKV-7 under BlinkDL's names: transposed low-rank matrices, vectors as [1, 1, E], and a value mix of layer 0 that is never read. */
export function underBlinkNames(tensors: Tensors): Tensors {
  const outer: Readonly<Record<string, string>> = {
    "model.embeddings.weight": "emb.weight",
    "model.norm.weight": "ln_out.weight",
    "model.norm.bias": "ln_out.bias",
    "lm_head.weight": "head.weight",
  };
  const parts: readonly (readonly [RegExp, string])[] = [
    [/pre_norm/, "ln0"],
    [/attn_norm/, "ln1"],
    [/ffn_norm/, "ln2"],
    [/attn\.r_proj/, "att.receptance"],
    [/attn\.k_proj/, "att.key"],
    [/attn\.v_proj/, "att.value"],
    [/attn\.o_proj/, "att.output"],
    [/attn\.g_norm/, "att.ln_x"],
    [/attn\.(\w)_lora\.lora\.2\.bias/, "att.$10"],
    [/attn\.(\w)_lora\.lora\.0\.weight/, "att.$11"],
    [/attn\.(\w)_lora\.lora\.2\.weight/, "att.$12"],
    [/attn\./, "att."],
  ];
  const renamed: Tensors = new Map();
  for (const [name, { shape, values }] of tensors) {
    let file = outer[name] ?? name.replace("model.layers.", "blocks.");
    if (!(name in outer)) for (const [ours, theirs] of parts) file = file.replace(ours, theirs);
    const [rows = 1, columns = 1] = shape;
    if (name.includes("_lora.lora.") && shape.length === 2) {
      const turned = Float64Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
      renamed.set(file, { shape: [columns, rows], values: turned });
    } else renamed.set(file, { shape: shape.length === 1 && !/ln/.test(file) ? [1, 1, rows] : shape, values });
  }
  for (const kind of ["v0", "v1", "v2"]) {
    const other = renamed.get(`blocks.1.att.${kind}`);
    if (other !== undefined) renamed.set(`blocks.0.att.${kind}`, { ...other, values: other.values.map(() => NaN) });
  }
  return renamed;
}

/** Amplitude and offset: norms near one, projections that keep the variance, decays and steps of visible size. */
function range(name: string, shape: readonly number[]): [amplitude: number, offset: number] {
  if (/norm(_f)?\.weight$/.test(name)) return [0.2, 1];
  if (/\.A_log$/.test(name)) return [0.5, 0.5];
  if (/\.D$/.test(name)) return [0.5, 1];
  if (/dt_(proj\.)?bias$/.test(name)) return [0.5, -1];
  if (/x_[rwkvag]$/.test(name)) return [0.5, 0.5];
  if (/k_[ka]$/.test(name)) return [0.2, 0.9];
  if (/conv1d\.weight$/.test(name)) return [0.6, 0];
  if (/bias$|r_k$/.test(name)) return [0.5, 0];
  if (/embeddings\.weight$/.test(name)) return [1, 0];
  return [Math.sqrt(3 / (shape.at(-1) ?? 1)), 0];
}
