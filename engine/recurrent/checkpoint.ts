/**
 * Where the tensors of recurrent models lie in checkpoints of other naming: original Mamba files, the first files of
 * flash-linear-attention, and RWKV-7 files as BlinkDL publishes them (BlinkDL/RWKV-LM: RWKV-v7).
 */
import type { RecurrentSpec, Rwkv7Spec, WeightStore } from "../api.ts";
import type { JsonRecord } from "../formats/json.ts";
import { reshaped, transposed, type FileRows } from "../models/view.ts";
import { MIXES, outerNames } from "./weights.ts";

type Place = (name: string, shape: readonly number[]) => FileRows;
type Names = Pick<WeightStore, "has">;

/** Where the tensors of a recurrent model lie in its checkpoint. */
export function recurrentPlaces(spec: RecurrentSpec, store: Names): Place {
  if (spec.kind !== "rwkv7") return mambaPlaces(spec, store);
  return hasBlinkNames(store) ? blinkPlaces : flaPlaces(store);
}

/** True for a checkpoint with BlinkDL's names, which comes without a config.json. */
export function hasBlinkNames(store: Names): boolean {
  return store.has("emb.weight") && store.has("blocks.0.att.x_r");
}

/** The config of an RWKV-7 checkpoint with BlinkDL's names, from the shapes of its tensors; undefined for any other. */
export function rwkvConfigFromWeights(store: Pick<WeightStore, "has" | "shape">): JsonRecord | undefined {
  if (!hasBlinkNames(store)) return undefined;
  const size = (name: string, axis: number): number | undefined => (store.has(name) ? store.shape(name).at(axis) : undefined);
  let layerCount = 0;
  while (store.has(`blocks.${layerCount}.att.x_r`)) layerCount++;
  return {
    model_type: "rwkv7",
    vocab_size: size("emb.weight", 0),
    hidden_size: size("emb.weight", -1),
    num_hidden_layers: layerCount,
    head_dim: size("blocks.0.att.r_k", -1),
    intermediate_size: size("blocks.0.ffn.key.weight", 0),
    decay_low_rank_dim: size("blocks.0.att.w1", -1),
    gate_low_rank_dim: size("blocks.0.att.g1", -1),
    a_low_rank_dim: size("blocks.0.att.a1", -1),
    // A model of one layer mixes no values, so any rank will do.
    v_low_rank_dim: size("blocks.1.att.v1", -1) ?? 1,
    norm_eps: 1e-5,
    // Token 0 is <|endoftext|> in the World vocabulary and in GPT-NeoX's.
    bos_token_id: 0,
    eos_token_id: 0,
  };
}

/** The spec with the ranks of the tensors themselves: what config.json says of them is often a default. */
export function withRanksOf(spec: Rwkv7Spec, store: Pick<WeightStore, "has" | "shape">): Rwkv7Spec {
  const blink = hasBlinkNames(store);
  const rank = (kind: string, layer: number, stated: number): number => {
    const name = blink ? `blocks.${layer}.att.${kind}1` : `model.layers.${layer}.attn.${kind}_lora.lora.0.weight`;
    const found = store.has(name) ? store.shape(name).at(blink ? -1 : 0) : undefined;
    return found ?? stated;
  };
  return {
    ...spec,
    decayRank: rank("w", 0, spec.decayRank),
    gateRank: rank("g", 0, spec.gateRank),
    aRank: rank("a", 0, spec.aRank),
    vRank: rank("v", 1, spec.vRank),
  };
}

/** Original Mamba files say embedding where Hugging Face says embeddings. */
function mambaPlaces(spec: RecurrentSpec, store: Names): Place {
  const { embedding } = outerNames(spec);
  const original = "backbone.embedding.weight";
  return (name, shape) => ({ name: name === embedding && !store.has(name) && store.has(original) ? original : name, shape });
}

/** Mixes are [1, 1, E] now, and were rows of one tensor x_x [6, E] once. */
function flaPlaces(store: Names): Place {
  return (name, shape) => {
    const mix = /^(.*\.attn\.)x_([rwkvag])$/.exec(name);
    const count = shape.reduce((product, size) => product * size, 1);
    if (mix === null) return isVector(shape) ? { name, shape, picked: reshaped(count) } : { name, shape };
    const joined = `${mix[1] ?? ""}x_x`;
    if (store.has(name) || !store.has(joined)) return { name, shape, picked: reshaped(count) };
    const row = MIXES.findIndex((kind) => kind === mix[2]);
    return { name: joined, shape, picked: { count: MIXES.length * count, at: (index) => row * count + index } };
  };
}

/** Low-rank maps are applied from the right there, so their matrices lie transposed; vectors are [1, 1, E]. */
const blinkPlaces: Place = (name, shape) => {
  const outer = BLINK_OUTER[name];
  if (outer !== undefined) return placed(outer, shape);
  const inLayer = /^model\.layers\.(\d+)\.(.+)$/.exec(name);
  const block = `blocks.${inLayer?.[1] ?? ""}.`;
  const part = inLayer?.[2] ?? name;
  const lowRank = /^attn\.(\w)_lora\.lora\.(0\.weight|2\.weight|2\.bias)$/.exec(part);
  if (lowRank !== null) {
    const [, kind = "", what = ""] = lowRank;
    if (what === "2.bias") return placed(`${block}att.${kind}0`, shape);
    const [rows = 0, columns = 0] = shape;
    const fileName = `${block}att.${kind}${what === "0.weight" ? 1 : 2}`;
    return { name: fileName, shape, fileShape: [columns, rows], picked: transposed(rows, columns) };
  }
  const renamed = Object.entries(BLINK_PARTS).find(([ours]) => part.startsWith(ours));
  const fileName = renamed === undefined ? part.replace(/^attn\./, "att.") : part.replace(renamed[0], renamed[1]);
  return placed(block + fileName, shape);
};

const BLINK_OUTER: Readonly<Record<string, string>> = {
  "model.embeddings.weight": "emb.weight",
  "model.norm.weight": "ln_out.weight",
  "model.norm.bias": "ln_out.bias",
  "lm_head.weight": "head.weight",
};

/** Beginnings of names inside a layer. */
const BLINK_PARTS: Readonly<Record<string, string>> = {
  pre_norm: "ln0",
  attn_norm: "ln1",
  ffn_norm: "ln2",
  "attn.r_proj": "att.receptance",
  "attn.k_proj": "att.key",
  "attn.v_proj": "att.value",
  "attn.o_proj": "att.output",
  "attn.g_norm": "att.ln_x",
};

function placed(name: string, shape: readonly number[]): FileRows {
  return isVector(shape) ? { name, shape, picked: reshaped(shape[0] ?? 1) } : { name, shape };
}

function isVector(shape: readonly number[]): boolean {
  return shape.length === 1;
}
