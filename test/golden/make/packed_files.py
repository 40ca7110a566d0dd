"""Writes test/golden/packed: tiny safetensors folders whose matrices are packed by AWQ, GPTQ or as 8-bit floats, and their logits.

    python packed_files.py

Codes, scales and zero points are random; transformers runs in float32 on the matrices they stand for, so the logits are those of exact
products, not of the 16-bit or 8-bit kernels that these formats are made for.
"""

import json
import pathlib

import families  # first: it sets up Triton's interpreter

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from models_decoder import llama, model, qwen2, qwen3
from weight_rule import uniforms

OUT = pathlib.Path(__file__).resolve().parent.parent / "packed"
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "torch_dtype": "float16"}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm", "modules_to_not_convert": None}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False, "checkpoint_format": "gptq", "lm_head": False}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
# The order of eight output channels in the nibbles of one AWQ word, lowest first.
AWQ_CHANNELS = [0, 2, 4, 6, 1, 3, 5, 7]


def packed_models():
    def folder(name, config, **quantization):
        return model(name, {**config, "quantization_config": quantization} if quantization else config)

    return [
        folder("awq", llama(num_attention_heads=4, **SIZES), **AWQ),
        folder("awq_bias", qwen2(tie_word_embeddings=True, **SIZES), **{**AWQ, "group_size": 64, "modules_to_not_convert": ["down_proj"]}),
        folder("gptq", llama(num_attention_heads=4, **SIZES), **GPTQ),
        # Symmetric: every zero point is 8. Inputs belong to groups in an order of their own.
        folder("gptq_act_order", llama(num_attention_heads=4, **SIZES), **{**GPTQ, "sym": True, "desc_act": True}),
        # The second format stores zero points as they are, so 0 is one of them.
        folder("gptq_v2", llama(num_attention_heads=4, **SIZES), **{**GPTQ, "checkpoint_format": "gptq_v2"}),
        folder("gptq_8_bits", qwen2(**SIZES), **{**GPTQ, "bits": 8, "sym": True}),
        # One group for a whole column.
        folder("gptq_one_group", llama(num_attention_heads=4, **SIZES), **{**GPTQ, "group_size": -1}),
        # Plain 8-bit floats, both kinds, without scales.
        folder("f8", llama(num_attention_heads=4, **SIZES)),
        # A scale for each block of rows and columns; in the second the last blocks of a row are not whole.
        folder("f8_blocks", qwen3(**SIZES), **FP8),
        folder("f8_blocks_uneven", qwen3(**SIZES), **{**FP8, "weight_block_size": [32, 48]}),
    ]


def integers(name, shape, low, high):
    return (low + uniforms(name, int(np.prod(shape))) * (high - low)).astype(np.int64).reshape(shape)


def words(codes, bits):
    """Eight or four codes, lowest first along the last axis, to one int32."""
    per = 32 // bits
    parts = codes.reshape(*codes.shape[:-1], -1, per).astype(np.uint32) << (bits * np.arange(per, dtype=np.uint32))
    return torch.from_numpy(np.bitwise_or.reduce(parts, -1).view(np.int32).copy())


def affine(name, shape, bits, group, zeros_from):
    """Codes [in, out], zero points and scales [groups, out] of a matrix [out, in]."""
    out, inner = shape
    groups = inner // group
    codes = integers(name + "/codes", (inner, out), 0, 2**bits)
    middle = 2 ** (bits - 1)
    zeros = integers(name + "/zeros", (groups, out), zeros_from, 2**bits) if zeros_from is not None else np.full((groups, out), middle)
    spread = 0.5 + uniforms(name + "/scales", groups * out).reshape(groups, out)
    return codes, zeros, (spread * np.sqrt(3.0 / inner) / middle).astype(np.float16)


def awq(name, value, settings):
    group = settings["group_size"]
    codes, zeros, scales = affine(name, value.shape, 4, group, 0)

    def shuffled(x):
        return x.reshape(x.shape[0], -1, 8)[:, :, AWQ_CHANNELS].reshape(x.shape)

    exact = (codes - np.repeat(zeros, group, 0)) * np.repeat(scales.astype(np.float64), group, 0)
    return {"qweight": words(shuffled(codes), 4), "qzeros": words(shuffled(zeros), 4), "scales": torch.from_numpy(scales)}, exact.T


def gptq(name, value, settings):
    bits, inner = settings["bits"], value.shape[1]
    group = settings["group_size"] if settings["group_size"] > 0 else inner
    v2 = settings["checkpoint_format"] == "gptq_v2"
    codes, zeros, scales = affine(name, value.shape, bits, group, None if settings["sym"] else 0 if v2 else 1)
    owner = np.arange(inner) // group
    if settings["desc_act"]:
        owner = owner[np.argsort(uniforms(name + "/order", inner), kind="stable")]
    exact = (codes - zeros[owner]) * scales.astype(np.float64)[owner]
    stored = zeros if v2 else zeros - 1
    tensors = {"qweight": words(codes.T, bits).T.contiguous(), "qzeros": words(stored, bits), "scales": torch.from_numpy(scales)}
    return {**tensors, "g_idx": torch.from_numpy(owner.astype(np.int32))}, exact.T


def float8(name, value, settings):
    kind = torch.float8_e5m2 if settings is None and "proj" in name and "mlp" in name else torch.float8_e4m3fn
    wide = torch.tensor(value * (100.0 if settings else 1.0), dtype=torch.float32).to(kind)
    exact = wide.to(torch.float64).numpy()
    if settings is None:
        return {"weight": wide}, exact
    high, broad = settings["weight_block_size"]
    blocks = (-(-value.shape[0] // high), -(-value.shape[1] // broad))
    scales = (0.01 * (0.5 + uniforms(name + "/scales", blocks[0] * blocks[1]))).astype(np.float32).reshape(blocks)
    spread = np.repeat(np.repeat(scales.astype(np.float64), high, 0), broad, 1)[: value.shape[0], : value.shape[1]]
    return {"weight": wide, "weight_scale_inv": torch.from_numpy(scales)}, exact * spread


def write_model(entry):
    config, name = entry["config"], entry["name"]
    settings = config.get("quantization_config")
    pack = {"awq": awq, "gptq": gptq, "fp8": float8}[settings["quant_method"]] if settings else float8
    plain = {key: value for key, value in config.items() if key not in ("quantization_config", "torch_dtype")}
    left = (settings or {}).get("modules_to_not_convert") or []
    tensors, exact, packed = {}, {}, []
    for key, value in families.Checkpoint(plain).tensors.items():
        if "_proj.weight" in key and not any(part in key for part in left):
            given, exact[key] = pack(f"{name}/{key}", value, settings)
            packed.append(key)
            tensors.update({key.removesuffix("weight") + part: tensor for part, tensor in given.items()})
        else:
            tensors[key] = torch.tensor(value, dtype=torch.float32).to(torch.float16)
            exact[key] = tensors[key].to(torch.float64).numpy()
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    cases = families.run_cases({**entry, "config": plain}, families.Checkpoint(plain, values=exact))
    # Corners of every packed matrix, so that a wrong unpacking shows where it is.
    corners = {key: np.concatenate([exact[key][:2, :4].ravel(), exact[key][-2:, -4:].ravel()]) for key in packed}
    return {"name": name, "config": config, "corners": {key: [families.number(x) for x in values] for key, values in corners.items()}, "cases": cases}


def main():
    models = [write_model(entry) for entry in packed_models()]
    made = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    (OUT / "expected.json").write_text(families.text_of(made, models))
    print(sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file()))


if __name__ == "__main__":
    main()
