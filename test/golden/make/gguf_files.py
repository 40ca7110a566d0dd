"""Writes test/golden/gguf: tiny GGUF files as llama.cpp's converter lays them out, and the logits of transformers on the same numbers.

    python gguf_files.py

Every tensor is stored in its type, read back from those bytes and mapped back to the checkpoint's layout; transformers runs on that.
The conventions are those of convert_hf_to_gguf.py (llama.cpp, 2026): names and metadata keys come from the gguf package.
"""

import json
import pathlib

import families  # first: it sets up Triton's interpreter

import gguf
import numpy as np
import transformers
from gguf.quants import dequantize, quantize

import models_gguf
from rope import rope_dict, rope_table
from weight_rule import fill, uniforms

OUT = pathlib.Path(__file__).resolve().parent.parent / "gguf"
ARCH = {"gemma3_text": "gemma3"}
Type = gguf.GGMLQuantizationType


def swap_halves(rows, heads):
    """Rows of q or k of arch llama: pair i of a head lies at rows 2i and 2i + 1 instead of i and i + half."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unswap_halves(rows, heads):
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def placed(config, tensors):
    """(gguf name, array, checkpoint name, the way back) of every tensor."""
    kind = config["model_type"]
    layers = next(config[key] for key in ("num_hidden_layers", "n_layer", "n_layers") if key in config)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == ARCH.get(kind, kind))
    names = gguf.get_tensor_name_map(arch, layers)
    mixes = {}
    for name, value in tensors.items():
        there, back = (lambda x: x), (lambda x: x)
        asked = name.removeprefix("transformer.") if kind == "bloom" else name
        if kind in ("llama", "smollm3") and (".q_proj." in name or ".k_proj." in name):
            heads = config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"]
            there, back = (lambda x, h=heads: swap_halves(x, h)), (lambda x, h=heads: unswap_halves(x, h))
        if kind.startswith("gemma") and name.endswith("norm.weight"):
            there, back = (lambda x: x + np.float32(1)), (lambda x: x - np.float32(1))
        if name.endswith(".A_log"):
            there = lambda x: -np.exp(x.astype(np.float64)).reshape(-1, x.shape[-1] if x.ndim > 1 else 1)
            back = lambda x, s=value.shape: np.log(-x.astype(np.float64)).reshape(s)
        if kind == "mamba2" and name.endswith(".D"):
            there, back = (lambda x: x.reshape(-1, 1)), (lambda x: x.reshape(-1))
        if name.endswith("mixer.norm.weight"):
            there, back = (lambda x: x.reshape(config["n_groups"], -1)), (lambda x: x.reshape(-1))
        if name.endswith("conv1d.weight"):
            there, back = (lambda x: x[:, 0]), (lambda x: x[:, None])
        if name.endswith(".dt_bias"):
            asked = name.replace(".dt_bias", ".dt_proj.bias")
        if "query_key_value" in name:
            heads, shape = config["n_head"], value.shape
            there = lambda x, h=heads, s=shape: x.reshape(h, 3, -1, *s[1:]).swapaxes(0, 1).reshape(s)
            back = lambda x, h=heads, s=shape: x.reshape(3, h, -1, *s[1:]).swapaxes(0, 1).reshape(s)
        if kind == "rwkv7":
            if ".attn.x_" in name:
                mixes.setdefault(name.split(".")[2], {})[name[-1]] = value
                continue
            asked = rwkv7_name(name)
            if name.endswith("r_k"):
                there, back = (lambda x: x.reshape(-1)), (lambda x, s=value.shape: x.reshape(s))
        target = names.get_name(asked, try_suffixes=(".weight", ".bias"))
        assert target, name
        if kind == "rwkv7" and not target.endswith((".weight", ".bias")):
            target += ".weight"
        yield target, there(value), name, back
        if kind == "rwkv7" and name.startswith("model.layers.0.") and "_lora" in name and ".a_lora" in name:
            # llama.cpp wants v0, v1, v2 in block 0 too; the converter repeats a0, a1, a2 there.
            yield target.replace("time_mix_a", "time_mix_v"), value, None, None
    for layer, mix in mixes.items():
        for_all = np.stack([mix[c] for c in "rwkvag"])
        yield f"blk.{layer}.time_mix_lerp_fused.weight", for_all, [f"model.layers.{layer}.attn.x_{c}" for c in "rwkvag"], list


def rwkv7_name(name):
    """The name under which the converter looks an RWKV-7 tensor up."""
    changes = [("attn_norm", "attention_norm"), ("ffn_norm", "ln2"), (".attn.", ".attention."), (".ffn.", ".feed_forward."), ("g_norm", "ln_x")]
    changes += [("_lora.lora.0.weight", "1.weight"), ("_lora.lora.2.weight", "2.weight"), ("_lora.lora.2.bias", "0.weight")]
    for old, new in changes:
        name = name.replace(old, new)
    return name


# Blocks that the gguf package reads but does not write: bytes of a block, and (offset of an f16 scale, its size) so that weights come
# out near 1 / 16.
RANDOM_BLOCKS = {
    "Q2_K": (84, [(80, 6e-3), (82, 9e-3)]),
    "Q3_K": (110, [(108, 1.4e-3)]),
    "Q4_K": (144, [(0, 3e-4), (2, 2.2e-3)]),
    "Q5_K": (176, [(0, 1.5e-4), (2, 2.3e-3)]),
    "Q6_K": (210, [(208, 4.4e-5)]),
    "IQ4_NL": (18, [(0, 8.6e-4)]),
    "IQ4_XS": (136, [(0, 4.8e-5)]),
}


def stored(name, value, kind):
    """The bytes [rows, bytes of a row] of a tensor and the numbers that a reader gets from them."""
    value = np.ascontiguousarray(value, dtype=np.float32)
    if kind in RANDOM_BLOCKS:
        size, scales = RANDOM_BLOCKS[kind]
        width = 32 if kind == "IQ4_NL" else 256
        rows, blocks = value.shape[0], value.shape[1] // width
        data = (uniforms(name + "/" + kind, rows * blocks * size) * 256).astype(np.uint8).reshape(-1, size)
        spread = 0.5 + uniforms(name + "/scale", len(data))
        for offset, scale in scales:
            data[:, offset : offset + 2] = (scale * spread).astype(np.float16).view(np.uint8).reshape(-1, 2)
        data = data.reshape(rows, blocks * size)
    else:
        data = quantize(value, Type[kind])
    return data, dequantize(data, Type[kind]).reshape(value.shape)


def kind_of(storage, name, value):
    kind = next((kind for end, kind in storage.items() if name.endswith(end)), "F32") if value.ndim > 1 else "F32"
    # As the converter: rows that no block divides stay F16.
    return "F16" if kind == "Q8_0" and value.shape[-1] % 32 else kind


def add_metadata(writer, config, kinds):
    kind = config["model_type"]
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("tiny " + kind)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    most = max(set(kinds), key=kinds.count)
    writer.add_file_type({"F16": 1, "BF16": 32, "Q8_0": 7, "Q4_K": 15, "Q3_K": 12}.get(most, 0))
    {"bloom": add_bloom, "mpt": add_mpt, "mamba": add_ssm, "mamba2": add_ssm, "rwkv7": add_rwkv7}.get(kind, add_decoder)(writer, config)


def add_decoder(writer, config):
    kind = config["model_type"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if "head_dim" in config:
        writer.add_key_length(dim)
        writer.add_value_length(dim)
    if kind in ("llama", "smollm3"):
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(dim)
    rope = rope_dict(config, "full_attention")
    writer.add_rope_freq_base(rope["rope_theta"])
    scaling = rope.get("rope_type", rope.get("type"))
    if scaling == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if scaling == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "phi3":
        writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * dim))
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_attn_factors(rope_table(config, "full_attention", dim, 1)[1])
        writer.add_sliding_window(config["sliding_window"] or 0)
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if kind == "gemma3_text":
        writer.add_rope_freq_base_swa(rope_dict(config, "sliding_attention")["rope_theta"])
    if kind.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])


def add_bloom(writer, config):
    wide = config["hidden_size"]
    writer.add_context_length(config["seq_length"])
    writer.add_embedding_length(wide)
    writer.add_feed_forward_length(4 * wide)
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def add_mpt(writer, config):
    attention = config["attn_config"]
    writer.add_context_length(config["max_seq_len"])
    writer.add_embedding_length(config["d_model"])
    writer.add_feed_forward_length(4 * config["d_model"])
    writer.add_block_count(config["n_layers"])
    writer.add_head_count(config["n_heads"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_clamp_kqv(attention["clip_qkv"])
    writer.add_max_alibi_bias(attention["alibi_bias_max"])


def add_ssm(writer, config):
    two = config["model_type"] == "mamba2"
    writer.add_context_length(2**20)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_ssm_conv_kernel(config["conv_kernel"])
    writer.add_ssm_inner_size(2 * config["hidden_size"])
    writer.add_ssm_state_size(config["state_size"])
    writer.add_ssm_time_step_rank(config["num_heads"] if two else config["time_step_rank"])
    writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    if two:
        writer.add_ssm_group_count(config["n_groups"])
    else:
        writer.add_ssm_dt_b_c_rms(False)


def add_rwkv7(writer, config):
    writer.add_context_length(1048576)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_layer_norm_eps(config["norm_eps"])
    writer.add_wkv_head_size(config["head_dim"])
    writer.add_decay_lora_rank(config["decay_low_rank_dim"])
    writer.add_iclr_lora_rank(config["a_low_rank_dim"])
    writer.add_value_residual_mix_lora_rank(config["v_low_rank_dim"])
    writer.add_gate_lora_rank(config["gate_low_rank_dim"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(0)


def add_tokenizer(writer, config):
    """Pieces of one letter after four special tokens, and a pair; RWKV has one control token and escapes as Python does."""
    count = config["vocab_size"]
    if config["model_type"] == "rwkv7":
        writer.add_tokenizer_model("rwkv")
        texts = ["\n", "\n\n", *map(chr, range(32, 29 + count))]
        writer.add_token_list(["<s>"] + [repr(text.encode())[2:-1] for text in texts])
        writer.add_token_types([3] + [1] * (count - 1))
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        writer.add_eot_token_id(2)
        return
    letters = [chr(code) for code in range(33, 33 + count - 6)]
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<unk>", "<s>", "</s>", "<|endoftext|>", "\u2581", *letters, '!"'])
    writer.add_token_scores([0.0] * 5 + [-1.0 - place for place in range(len(letters))] + [-0.5])
    writer.add_token_types([2, 3, 3, 3] + [1] * (count - 4))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def write_model(entry):
    config, storage = entry["config"], entry.get("storage", {})
    plain = families.Checkpoint(config)
    if entry["name"].startswith("llama_") and config["hidden_size"] == 256:
        plain.tensors = {name: fill(entry["name"] + "/" + name, value.shape, *near(name, value)) for name, value in plain.tensors.items()}
    writer = gguf.GGUFWriter(OUT / f"{entry['name']}.gguf", ARCH.get(config["model_type"], config["model_type"]))
    effective, rows = {}, []
    for target, value, name, back in placed(config, plain.tensors):
        kind = kind_of(storage, target, value)
        data, read = stored(f"{entry['name']}/{target}", value, kind)
        rows.append((target, data, kind))
        if isinstance(name, list):
            effective.update(zip(name, back(read)))
        elif name is not None:
            effective[name] = back(read)
    add_metadata(writer, config, [kind for _, _, kind in rows])
    add_tokenizer(writer, config)
    dim = config.get("head_dim") or config.get("hidden_size", 0) // config.get("num_attention_heads", 1)
    extra = rope_dict(config, "full_attention") if "num_attention_heads" in config else {}
    if extra.get("rope_type") == "llama3":
        plain_table = extra["rope_theta"] ** (-2.0 * np.arange(dim // 2) / dim)
        rows.append(("rope_freqs.weight", (plain_table / rope_table(config, None, dim, 1)[0]).astype(np.float32), "F32"))
    if "long_factor" in extra:
        rows.append(("rope_factors_long.weight", np.array(extra["long_factor"], np.float32), "F32"))
        rows.append(("rope_factors_short.weight", np.array(extra["short_factor"], np.float32), "F32"))
    for target, data, kind in rows:
        writer.add_tensor(target, data, raw_dtype=Type[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = families.Checkpoint(config, values=effective)
    result = families.run_cases(entry, checkpoint)
    return {"name": entry["name"], "config": config, "cases": result}


def near(name, value):
    return (0.2, 1.0) if name.endswith("norm.weight") else (float(np.sqrt(3.0 / value.shape[-1])), 0.0)


def main():
    OUT.mkdir(exist_ok=True)
    models = [write_model(entry) for entry in models_gguf.gguf_models()]
    made = {"gguf": "0.19.0", "transformers": transformers.__version__}
    (OUT / "expected.json").write_text(families.text_of(made, models))
    sizes = {path.name: path.stat().st_size for path in sorted(OUT.iterdir())}
    print(json.dumps(sizes, indent=1), sum(sizes.values()))


if __name__ == "__main__":
    main()
