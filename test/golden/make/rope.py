"""Inverse frequencies and attention factor of every rope type in float64, written from the papers and config fields, not from transformers."""

import math

import numpy as np

MODEL_THETA = {"smollm3": 2000000.0, "ministral3": 1000000.0}


def rope_dict(config, layer_type):
    """The rope fields of one layer, whether the config is flat or nested, old keys or new."""
    kind = config["model_type"]
    new = config.get("rope_parameters")
    if kind == "gemma3_text":
        if new is not None:
            return dict(new[layer_type])
        if layer_type == "sliding_attention":
            return {"rope_theta": config.get("rope_local_base_freq", 10000.0)}
        return {"rope_theta": config.get("rope_theta", 1000000.0), **(config.get("rope_scaling") or {})}
    rope = dict(new if new is not None else config.get("rope_scaling") or {})
    rope.setdefault("rope_theta", config.get("rope_theta", MODEL_THETA.get(kind, 10000.0)))
    rope.setdefault("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if config.get("original_max_position_embeddings") is not None:
        rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    return rope


def rope_table(config, layer_type, head_dim, length):
    """([pairs], attention factor) for a request of `length` tokens. Pair i is (x[i], x[i + pairs])."""
    rope = rope_dict(config, layer_type)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if config["model_type"] == "phi3" and kind in ("su", "yarn"):
        kind = "longrope"
    theta, trained = rope["rope_theta"], config["max_position_embeddings"]
    first = rope.get("original_max_position_embeddings") or trained
    width = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    pairs = np.arange(width // 2)
    plain = theta ** (-2.0 * pairs / width)
    if kind == "default":
        return plain, 1.0
    if kind == "linear":
        return plain / rope["factor"], 1.0
    if kind == "dynamic":
        growth = rope["factor"] * max(length, trained) / trained - (rope["factor"] - 1)
        return (theta * growth ** (width / (width - 2))) ** (-2.0 * pairs / width), 1.0
    if kind == "proportional":
        kept = int(rope.get("partial_rotary_factor", 1.0) * head_dim // 2)
        whole = np.zeros(head_dim // 2)
        whole[:kept] = theta ** (-2.0 * np.arange(kept) / head_dim)
        return whole / rope.get("factor", 1.0), 1.0
    if kind == "llama3":
        turns = first * plain / (2 * math.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        share = np.clip((turns - low) / (high - low), 0.0, 1.0)
        return plain * (share + (1 - share) / rope["factor"]), 1.0
    if kind == "longrope":
        factor = rope.get("factor") or trained / first
        attention = rope.get("attention_factor") or (1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(first)))
        return plain / np.array(rope["long_factor" if length > first else "short_factor"]), attention
    if kind == "yarn":
        return yarn(rope, plain, width, first)
    raise ValueError(kind)


def yarn(rope, plain, width, first):
    factor, theta = rope["factor"], rope["rope_theta"]

    def pair_of(turns):
        return width * math.log(first / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_of(rope.get("beta_fast", 32)), pair_of(rope.get("beta_slow", 1))
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    slow = np.clip((np.arange(len(plain)) - low) / ((high - low) or 0.001), 0.0, 1.0)

    def magnitude(weight):
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    both = rope.get("mscale") and rope.get("mscale_all_dim")
    attention = magnitude(rope["mscale"]) / magnitude(rope["mscale_all_dim"]) if both else magnitude(1.0)
    return plain * (1 - slow) + plain / factor * slow, rope.get("attention_factor") or attention
