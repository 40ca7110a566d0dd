/** Hugging Face checkpoints of families that name or fuse their tensors otherwise than Llama: views with Llama's names. */
import type { DecoderSpec, ModelSpec, WeightStore } from "../api.ts";
import { recurrentPlaces } from "../recurrent/checkpoint.ts";
import { tensorShapes } from "./weights.ts";
import { weightView, type FileRows } from "./view.ts";

/** The checkpoint under the names of `tensorShapes(spec)`. */
export function checkpointView(spec: ModelSpec, store: WeightStore): WeightStore {
  return weightView(store, checkpointPlaces(spec, store));
}

/** Where each tensor of `tensorShapes(spec)` lies in the checkpoint; undefined for other names. */
export function checkpointPlaces(spec: ModelSpec, store: Pick<WeightStore, "has">): (name: string) => FileRows | undefined {
  const shapes = tensorShapes(spec);
  const fileRows = spec.kind === "decoder" ? decoderPlaces(spec, store) : recurrentPlaces(spec, store);
  return (name) => {
    const shape = shapes.get(name);
    return shape === undefined ? undefined : fileRows(name, shape);
  };
}

/** Where a tensor of a known name and shape lies. */
export type Place = (name: string, shape: readonly number[]) => FileRows;

type Names = Pick<WeightStore, "has">;

function decoderPlaces(spec: DecoderSpec, store: Names): Place {
  switch (spec.modelType) {
    case "phi3":
      return phi3(spec);
    case "bloom":
      return bloom(spec, store);
    case "mpt":
      return mpt(spec);
    default:
      return prefixed(store);
  }
}

/** Text models inside multimodal checkpoints stand behind a prefix, which the versions of the format put in different places. */
function prefixed(store: Names): Place {
  const prefix = ["language_model.", "model.language_model."].find(
    (start) => store.has(`${start}model.embed_tokens.weight`) || store.has(`${start}embed_tokens.weight`),
  );
  return (name, shape) => {
    if (prefix === undefined) return { name, shape };
    const inside = prefix === "language_model." ? name : name.replace(/^model\./, "");
    return { name: name === "lm_head.weight" && store.has(name) ? name : prefix + inside, shape };
  };
}

/** qkv_proj holds the rows of q, k and v behind each other, gate_up_proj those of gate and up. */
function phi3(spec: DecoderSpec): Place {
  const { headCount: H, kvHeadCount: G, headDim: D, intermediateSize: F } = spec;
  const heads = (H + 2 * G) * D;
  const fused: Readonly<Record<string, [name: string, firstRow: number, rows: number]>> = {
    q_proj: ["qkv_proj", 0, heads],
    k_proj: ["qkv_proj", H * D, heads],
    v_proj: ["qkv_proj", (H + G) * D, heads],
    gate_proj: ["gate_up_proj", 0, 2 * F],
    up_proj: ["gate_up_proj", F, 2 * F],
  };
  return (name, shape) => {
    const part = /\.(\w+_proj)\.weight$/.exec(name)?.[1] ?? "";
    const place = fused[part];
    if (place === undefined) return { name, shape };
    const [whole, firstRow, rows] = place;
    const fileShape = [rows, ...shape.slice(1)];
    return { name: name.replace(part, whole), shape, fileShape, fileRow: (row) => firstRow + row };
  };
}

/** query_key_value has, head by head, the rows of its query, its key and its value. */
function bloom(spec: DecoderSpec, store: Names): Place {
  const { headDim: D } = spec;
  const prefix = store.has("transformer.word_embeddings.weight") ? "transformer." : "";
  const names: Readonly<Record<string, string>> = {
    "model.embed_tokens": "word_embeddings",
    "model.embed_norm": "word_embeddings_layernorm",
    "model.norm": "ln_f",
    "self_attn.o_proj": "self_attention.dense",
    "mlp.up_proj": "mlp.dense_h_to_4h",
    "mlp.down_proj": "mlp.dense_4h_to_h",
  };
  const parts = ["q_proj", "k_proj", "v_proj"];
  return (name, shape) => {
    if (name === "lm_head.weight") return { name, shape };
    const { layer, what, kind } = splitName(name);
    const start = layer === undefined ? prefix : `${prefix}h.${layer}.`;
    const part = parts.findIndex((wanted) => what === `self_attn.${wanted}`);
    if (part >= 0) {
      const fileRow = (row: number): number => (Math.floor(row / D) * 3 + part) * D + (row % D);
      const fileShape = [3 * spec.headCount * D, ...shape.slice(1)];
      return { name: `${start}self_attention.query_key_value.${kind}`, shape, fileShape, fileRow };
    }
    return { name: `${start}${names[what] ?? what}.${kind}`, shape };
  };
}

function mpt(spec: DecoderSpec): Place {
  const width = spec.headCount * spec.headDim;
  const names: Readonly<Record<string, string>> = {
    "model.embed_tokens": "wte",
    "model.norm": "norm_f",
    input_layernorm: "norm_1",
    post_attention_layernorm: "norm_2",
    "self_attn.o_proj": "attn.out_proj",
    "mlp.up_proj": "ffn.up_proj",
    "mlp.down_proj": "ffn.down_proj",
  };
  const parts = ["q_proj", "k_proj", "v_proj"];
  return (name, shape) => {
    if (name === "lm_head.weight") return { name, shape };
    const { layer, what, kind } = splitName(name);
    const start = layer === undefined ? "transformer." : `transformer.blocks.${layer}.`;
    const part = parts.findIndex((wanted) => what === `self_attn.${wanted}`);
    if (part >= 0) {
      const fileShape = [3 * width, ...shape.slice(1)];
      return { name: `${start}attn.Wqkv.${kind}`, shape, fileShape, fileRow: (row) => part * width + row };
    }
    return { name: `${start}${names[what] ?? what}.${kind}`, shape };
  };
}

/** "model.layers.3.mlp.up_proj.weight" -> layer "3", what "mlp.up_proj", kind "weight"; without a layer, what is the whole name. */
function splitName(name: string): { layer: string | undefined; what: string; kind: string } {
  const inLayer = /^model\.layers\.(\d+)\.(.+)\.(\w+)$/.exec(name);
  if (inLayer !== null) return { layer: inLayer[1], what: inLayer[2] ?? "", kind: inLayer[3] ?? "" };
  const end = name.lastIndexOf(".");
  return { layer: undefined, what: name.slice(0, end), kind: name.slice(end + 1) };
}
