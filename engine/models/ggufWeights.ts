/**
 * The tensors of a GGUF file under other names: a decoder's under those of `tensorShapes`, a recurrent model's under those of its
 * Hugging Face (or flash-linear-attention) checkpoint. What llama.cpp's converter changed is changed back (conversion/*.py):
 * queries and keys of llama and smollm3 have the rows of each head in pairs, Gemma's norms hold 1 + w, Mamba's A is -exp(A_log).
 */
import type { DecoderSpec, MambaSpec, Mamba2Spec, ModelSpec, Rwkv7Spec, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { NamedStore } from "../formats/tensorStore.ts";
import { interleavedRow } from "../position/rope.ts";
import { unsupported } from "./ggufMetadata.ts";
import { ROPE_TENSORS } from "./ggufRope.ts";
import { type FileRows, reshaped, weightView } from "./view.ts";
import { tensorShapes } from "./weights.ts";

/** Architectures whose converter turns half-split queries and keys into interleaved ones. */
const INTERLEAVED = ["llama", "smollm3"];

/**
 * The view of `store`, the tensors of the file `name` of this architecture. Throws `unsupported-model` where the file has a tensor
 * that nothing would read, because the model would then be run as another one.
 */
export function ggufWeights(spec: ModelSpec, architecture: string, store: NamedStore, name: string): WeightStore {
  const places = placesOf(spec, architecture, store);
  const asked = tensorShapes(spec);
  const read = new Set([...places].flatMap(([tensor, place]) => (asked.has(tensor) ? [place.name] : [])));
  const unread = [...store.names()].filter((tensor) => !read.has(tensor) && !isAside(tensor, spec));
  if (unread.length > 0) {
    const rest = unread.length > 3 ? ` and ${unread.length - 3} more` : "";
    throw unsupported(name, `the engine does not know what to do with tensor ${unread.slice(0, 3).join(", ")}${rest}`);
  }
  return weightView(store, (tensor) => places.get(tensor));
}

/** Tensors that say something else, or that converters add so that every layer has the same. */
function isAside(tensor: string, spec: ModelSpec): boolean {
  if (ROPE_TENSORS.includes(tensor) || /^blk\.\d+\.(attn_rot_embd|rope_freqs)\./.test(tensor)) return true;
  return spec.kind === "rwkv7" && /^blk\.0\.time_mix_v[012]\./.test(tensor);
}

function placesOf(spec: ModelSpec, architecture: string, store: NamedStore): Map<string, FileRows> {
  const places = new Places(store);
  switch (spec.kind) {
    case "decoder":
      decoder(spec, INTERLEAVED.includes(architecture), store, places);
      break;
    case "mamba":
      mamba(spec, places);
      break;
    case "mamba2":
      mamba2(spec, places);
      break;
    case "rwkv7":
      rwkv7(spec, store, places);
  }
  return places.found;
}

/** Collects where tensors lie; those that the file does not have are left out. */
class Places {
  readonly found = new Map<string, FileRows>();

  constructor(private readonly store: WeightStore) {}

  /** Weight and bias under both names. */
  pair(name: string, fileName: string, more: Partial<FileRows> = {}): void {
    for (const kind of ["weight", "bias"]) this.add(`${name}.${kind}`, `${fileName}.${kind}`, more);
  }

  add(name: string, fileName: string, more: Partial<FileRows> = {}): void {
    if (this.store.has(fileName)) this.found.set(name, { name: fileName, shape: this.store.shape(fileName), ...more });
  }
}

function decoder(spec: DecoderSpec, isInterleaved: boolean, store: WeightStore, places: Places): void {
  const { headCount: H, kvHeadCount: G, headDim: D, intermediateSize: F, normOffset } = spec;
  const norm: Partial<FileRows> = normOffset === 0 ? {} : { value: (stored) => stored - normOffset };
  const pairs: Partial<FileRows> = isInterleaved ? { fileRow: (row) => row - (row % D) + interleavedRow(row % D, D) } : {};
  places.add("model.embed_tokens.weight", "token_embd.weight");
  places.pair("model.embed_norm", "token_embd_norm");
  places.pair("model.norm", "output_norm", norm);
  places.add("lm_head.weight", "output.weight");
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const [to, from] = [`model.layers.${layer}.`, `blk.${layer}.`];
    places.pair(`${to}input_layernorm`, `${from}attn_norm`, norm);
    places.pair(`${to}self_attn.q_proj`, `${from}attn_q`, pairs);
    places.pair(`${to}self_attn.k_proj`, `${from}attn_k`, pairs);
    places.pair(`${to}self_attn.v_proj`, `${from}attn_v`);
    fused(store, places, `${from}attn_qkv`, [
      { name: `${to}self_attn.q_proj`, rows: H * D, more: pairs },
      { name: `${to}self_attn.k_proj`, rows: G * D, more: pairs },
      { name: `${to}self_attn.v_proj`, rows: G * D, more: {} },
    ]);
    places.pair(`${to}self_attn.o_proj`, `${from}attn_output`);
    places.add(`${to}self_attn.q_norm.weight`, `${from}attn_q_norm.weight`, norm);
    places.add(`${to}self_attn.k_norm.weight`, `${from}attn_k_norm.weight`, norm);
    places.pair(`${to}${spec.postNorms ? "pre_feedforward" : "post_attention"}_layernorm`, `${from}ffn_norm`, norm);
    if (spec.postNorms) {
      places.pair(`${to}post_attention_layernorm`, `${from}post_attention_norm`, norm);
      places.pair(`${to}post_feedforward_layernorm`, `${from}post_ffw_norm`, norm);
    }
    places.pair(`${to}mlp.down_proj`, `${from}ffn_down`);
    if (spec.mlp === "gated" && !store.has(`${from}ffn_gate.weight`)) {
      fused(store, places, `${from}ffn_up`, [
        { name: `${to}mlp.gate_proj`, rows: F, more: {} },
        { name: `${to}mlp.up_proj`, rows: F, more: {} },
      ]);
    } else {
      places.pair(`${to}mlp.gate_proj`, `${from}ffn_gate`);
      places.pair(`${to}mlp.up_proj`, `${from}ffn_up`);
    }
  }
}

interface Part {
  name: string;
  rows: number;
  more: Partial<FileRows>;
}

/** Several projections behind each other in one matrix, and their biases in one vector. */
function fused(store: WeightStore, places: Places, fileName: string, parts: readonly Part[]): void {
  const allRows = parts.reduce((sum, { rows }) => sum + rows, 0);
  for (const kind of ["weight", "bias"]) {
    if (!store.has(`${fileName}.${kind}`)) continue;
    const rest = store.shape(`${fileName}.${kind}`).slice(1);
    let first = 0;
    for (const { name, rows, more } of parts) {
      const before = first;
      const inPart = more.fileRow;
      places.add(`${name}.${kind}`, `${fileName}.${kind}`, {
        shape: [rows, ...rest],
        fileShape: [allRows, ...rest],
        fileRow: (row) => before + (inPart === undefined ? row : inPart(row)),
      });
      first += rows;
    }
  }
}

/** A_log of A = -exp(A_log). */
const fromA: Partial<FileRows> = { value: (stored) => Math.log(-stored) };

function stateSpaceEnds(places: Places): void {
  places.add("backbone.embeddings.weight", "token_embd.weight");
  places.add("backbone.norm_f.weight", "output_norm.weight");
  places.add("lm_head.weight", "output.weight");
}

/** Taps of a depthwise convolution: [channels, 1, K] in Hugging Face, [channels, K] here. */
function convolution(places: Places, to: string, from: string, channels: number, taps: number): void {
  places.add(`${to}conv1d.weight`, `${from}ssm_conv1d.weight`, { shape: [channels, 1, taps], fileShape: [channels, taps] });
  places.add(`${to}conv1d.bias`, `${from}ssm_conv1d.bias`);
}

function mamba(spec: MambaSpec, places: Places): void {
  stateSpaceEnds(places);
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const [to, from] = [`backbone.layers.${layer}.mixer.`, `blk.${layer}.`];
    places.add(`backbone.layers.${layer}.norm.weight`, `${from}attn_norm.weight`);
    places.pair(`${to}in_proj`, `${from}ssm_in`);
    convolution(places, to, from, spec.innerSize, spec.convKernel);
    places.add(`${to}x_proj.weight`, `${from}ssm_x.weight`);
    places.pair(`${to}dt_proj`, `${from}ssm_dt`);
    places.add(`${to}A_log`, `${from}ssm_a`, fromA);
    places.add(`${to}D`, `${from}ssm_d`);
    places.pair(`${to}out_proj`, `${from}ssm_out`);
  }
}

function mamba2(spec: Mamba2Spec, places: Places): void {
  const { headCount, headDim, groupCount, stateSize, convKernel } = spec;
  const inner = headCount * headDim;
  stateSpaceEnds(places);
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const [to, from] = [`backbone.layers.${layer}.mixer.`, `blk.${layer}.`];
    const perHead = { shape: [headCount], fileShape: [headCount, 1] };
    places.add(`backbone.layers.${layer}.norm.weight`, `${from}attn_norm.weight`);
    places.pair(`${to}in_proj`, `${from}ssm_in`);
    convolution(places, to, from, inner + 2 * groupCount * stateSize, convKernel);
    places.add(`${to}dt_bias`, `${from}ssm_dt.bias`);
    places.add(`${to}A_log`, `${from}ssm_a`, { ...perHead, ...fromA });
    places.add(`${to}D`, `${from}ssm_d`, perHead);
    places.add(`${to}norm.weight`, `${from}ssm_norm.weight`, {
      ...{ shape: [inner], fileShape: [groupCount, inner / groupCount], picked: reshaped(inner) },
    });
    places.pair(`${to}out_proj`, `${from}ssm_out`);
  }
}

/** Order of the six token-shift weights in one tensor. */
const SHIFTS = ["r", "w", "k", "v", "a", "g"];

function rwkv7(spec: Rwkv7Spec, store: WeightStore, places: Places): void {
  const { headCount, headDim, hiddenSize: E } = spec;
  places.add("model.embeddings.weight", "token_embd.weight");
  places.pair("model.layers.0.pre_norm", "token_embd_norm");
  places.pair("model.norm", "output_norm");
  places.add("lm_head.weight", "output.weight");
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const [to, from] = [`model.layers.${layer}.`, `blk.${layer}.`];
    places.pair(`${to}attn_norm`, `${from}attn_norm`);
    places.pair(`${to}ffn_norm`, `${from}attn_norm_2`);
    shifts(places, store, `${to}attn.x_`, `${from}time_mix_lerp_fused.weight`, E);
    // Layer 0 mixes in no earlier value; what stands there is a copy of `a`.
    for (const map of layer === 0 ? ["w", "a"] : ["w", "a", "v"]) {
      places.add(`${to}attn.${map}_lora.lora.0.weight`, `${from}time_mix_${map}1.weight`);
      places.add(`${to}attn.${map}_lora.lora.2.weight`, `${from}time_mix_${map}2.weight`);
      places.add(`${to}attn.${map}_lora.lora.2.bias`, `${from}time_mix_${map}0.weight`);
    }
    places.add(`${to}attn.g_lora.lora.0.weight`, `${from}time_mix_g1.weight`);
    places.add(`${to}attn.g_lora.lora.2.weight`, `${from}time_mix_g2.weight`);
    places.add(`${to}attn.k_k`, `${from}time_mix_k_k.weight`);
    places.add(`${to}attn.k_a`, `${from}time_mix_k_a.weight`);
    places.add(`${to}attn.r_k`, `${from}time_mix_r_k.weight`, {
      shape: [headCount, headDim],
      fileShape: [E],
      picked: reshaped(E),
    });
    places.add(`${to}attn.r_proj.weight`, `${from}time_mix_receptance.weight`);
    places.add(`${to}attn.k_proj.weight`, `${from}time_mix_key.weight`);
    places.add(`${to}attn.v_proj.weight`, `${from}time_mix_value.weight`);
    places.add(`${to}attn.o_proj.weight`, `${from}time_mix_output.weight`);
    places.pair(`${to}attn.g_norm`, `${from}time_mix_ln`);
    places.add(`${to}ffn.x_k`, `${from}channel_mix_lerp_k.weight`);
    places.add(`${to}ffn.key.weight`, `${from}channel_mix_key.weight`);
    places.add(`${to}ffn.value.weight`, `${from}channel_mix_value.weight`);
  }
}

/** Six vectors in one tensor of six rows, whatever dimensions of 1 stand between them. */
function shifts(places: Places, store: WeightStore, to: string, from: string, hiddenSize: number): void {
  if (!store.has(from)) return;
  const fileShape = store.shape(from);
  if (fileShape[0] !== SHIFTS.length || fileShape.reduce((product, size) => product * size, 1) !== SHIFTS.length * hiddenSize) {
    const message = `tensor ${from} is [${fileShape.join(", ")}] and should be ${SHIFTS.length} vectors of ${hiddenSize}`;
    throw new EngineError("bad-weights", message, "choose another GGUF file of this model", { name: from });
  }
  for (const [index, shift] of SHIFTS.entries()) {
    const picked = { count: SHIFTS.length * hiddenSize, at: (channel: number) => index * hiddenSize + channel };
    places.add(to + shift, from, { shape: [hiddenSize], fileShape, picked });
  }
}
