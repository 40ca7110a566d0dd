"""Whole forward passes of every family in float64 NumPy, written from the papers: the second opinion on what transformers computes."""

import math

import numpy as np

from rope import rope_dict, rope_table


def logits(config, tensors, ids):
    """[N, V] in float64 from tensors under their checkpoint names."""
    import forward_other

    return forward_other.FORWARDS.get(config["model_type"], decoder)(config, tensors, np.array(ids))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, angles, attention_factor):
    """x [N, heads, D], angles [N, pairs]: the first 2 * pairs numbers of each head turn, pair i is (x[i], x[i + pairs])."""
    pairs = angles.shape[-1]
    cos, sin = np.cos(angles)[:, None] * attention_factor, np.sin(angles)[:, None] * attention_factor
    a, b, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attend(q, k, v, scale, window=None, cap=None, bias=None):
    """q [N, H, D], k and v [N, G, D]; a window counts the token itself; bias [H, N, N] is added to the scaled scores."""
    n, heads = q.shape[:2]
    k, v = (np.repeat(x, heads // x.shape[1], 1) for x in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, k) * scale
    if cap:
        scores = np.tanh(scores / cap) * cap
    if bias is not None:
        scores = scores + bias
    back = np.arange(n)[:, None] - np.arange(n)[None]
    seen = (back >= 0) & (back < (window or n))
    return np.einsum("hij,jhd->ihd", softmax(np.where(seen, scores, -np.inf)), v).reshape(n, -1)


def windows(config):
    """The sliding window of each layer, None where it sees everything."""
    kind, count, window = config["model_type"], config["num_hidden_layers"], config.get("sliding_window")
    types = config.get("layer_types")
    if kind in ("mistral", "ministral3", "phi3"):
        return [window] * count
    if types is None:
        if kind == "gemma2":
            slides = [i % 2 == 0 for i in range(count)]
        elif kind == "gemma3_text":
            slides = [(i + 1) % config.get("sliding_window_pattern", 6) != 0 for i in range(count)]
        elif kind in ("qwen2", "qwen3") and config.get("use_sliding_window"):
            slides = [i >= config["max_window_layers"] for i in range(count)]
        elif kind == "smollm3" and config.get("use_sliding_window"):
            slides = [not rotates for rotates in rotated_layers(config)]
        else:
            slides = [False] * count
    else:
        slides = [kind == "sliding_attention" for kind in types]
    return [window if slide else None for slide in slides]


def rotated_layers(config):
    count = config["num_hidden_layers"]
    if config["model_type"] != "smollm3":
        return [True] * count
    interval = config.get("no_rope_layer_interval", 4)
    given = config.get("no_rope_layers")
    return [bool(x) for x in given] if given else [(i + 1) % interval != 0 for i in range(count)]


def decoder(config, w, ids):
    """Llama and its relatives: pre-norm blocks, gated MLP, rotary positions."""
    kind, eps, n = config["model_type"], config["rms_norm_eps"], len(ids)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    dim = config.get("head_dim") or hidden // heads
    gemma = kind.startswith("gemma")
    act = gelu_tanh if gemma else silu

    def norm(x, name):
        return rms_norm(x, (1.0 if gemma else 0.0) + w[name], eps)

    def project(x, name):
        y = x @ w[name + ".weight"].T
        return y + w[name + ".bias"] if name + ".bias" in w else y

    embedding = w["model.embed_tokens.weight"]
    x = embedding[ids] * (math.sqrt(hidden) if gemma else 1.0)
    scale = (config["query_pre_attn_scalar"] if gemma else dim) ** -0.5
    for i, (window, rotates) in enumerate(zip(windows(config), rotated_layers(config))):
        at = f"model.layers.{i}."
        h = norm(x, at + "input_layernorm.weight")
        if kind == "phi3":
            q, k, v = np.split(project(h, at + "self_attn.qkv_proj"), [heads * dim, (heads + groups) * dim], -1)
        else:
            q, k, v = (project(h, at + f"self_attn.{c}_proj") for c in "qkv")
        q, k, v = q.reshape(n, heads, dim), k.reshape(n, groups, dim), v.reshape(n, groups, dim)
        if at + "self_attn.q_norm.weight" in w:
            q, k = norm(q, at + "self_attn.q_norm.weight"), norm(k, at + "self_attn.k_norm.weight")
        if rotates:
            inverse, factor = rope_table(config, "sliding_attention" if window else "full_attention", dim, n)
            angles = np.arange(n)[:, None] * inverse[None]
            q, k = rotate(q, angles, factor), rotate(k, angles, factor)
        if kind == "ministral3":
            rope = rope_dict(config, None)
            step = np.floor(np.arange(n) / rope["original_max_position_embeddings"])
            q = q * (1.0 + rope["llama_4_scaling_beta"] * np.log1p(step))[:, None, None]
        o = project(attend(q, k, v, scale, window, config.get("attn_logit_softcapping")), at + "self_attn.o_proj")
        x = x + (norm(o, at + "post_attention_layernorm.weight") if gemma else o)
        h = norm(x, at + ("pre_feedforward_layernorm" if gemma else "post_attention_layernorm") + ".weight")
        if kind == "phi3":
            gate, up = np.split(project(h, at + "mlp.gate_up_proj"), 2, -1)
        else:
            gate, up = project(h, at + "mlp.gate_proj"), project(h, at + "mlp.up_proj")
        o = project(act(gate) * up, at + "mlp.down_proj")
        x = x + (norm(o, at + "post_feedforward_layernorm.weight") if gemma else o)
    z = norm(x, "model.norm.weight") @ w.get("lm_head.weight", embedding).T
    cap = config.get("final_logit_softcapping")
    return np.tanh(z / cap) * cap if cap else z
