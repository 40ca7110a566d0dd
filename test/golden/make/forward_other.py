"""ALiBi decoders and recurrent models in float64 NumPy, written from the papers."""

import math

import numpy as np

from forward import attend, gelu_tanh, rms_norm, silu


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def alibi_slopes(heads, bias_max=8.0):
    """Press et al. 2021: 2^(-max i / n) for a power of two n; else the slopes of the next power of two, its even ones first."""
    whole = 2 ** math.ceil(math.log2(heads))
    slopes = 2.0 ** (-bias_max * np.arange(1, whole + 1) / whole)
    return slopes if whole == heads else np.concatenate([slopes[1::2], slopes[0::2]])[:heads]


def alibi(heads, n, bias_max=8.0):
    """[H, N, N]: minus slope times distance."""
    back = np.arange(n)[:, None] - np.arange(n)[None]
    return -alibi_slopes(heads, bias_max)[:, None, None] * back


def bloom(config, w, ids):
    n, eps = len(ids), config["layer_norm_epsilon"]
    heads = config.get("n_head") or config["num_attention_heads"]
    prefix = "" if "word_embeddings.weight" in w else "transformer."

    def norm(x, name):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"], eps)

    def project(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    embedding = w[prefix + "word_embeddings.weight"]
    x = norm(embedding[ids], prefix + "word_embeddings_layernorm")
    dim = x.shape[-1] // heads
    bias = alibi(heads, n)
    after = config.get("apply_residual_connection_post_layernorm")
    for i in range(config["n_layer"]):
        at = f"{prefix}h.{i}."
        h = norm(x, at + "input_layernorm")
        # The rows of a head lie together: its query, its key, its value.
        q, k, v = project(h, at + "self_attention.query_key_value").reshape(n, heads, 3, dim).transpose(2, 0, 1, 3)
        x = (h if after else x) + project(attend(q, k, v, dim**-0.5, bias=bias), at + "self_attention.dense")
        h = norm(x, at + "post_attention_layernorm")
        x = (h if after else x) + project(gelu_tanh(project(h, at + "mlp.dense_h_to_4h")), at + "mlp.dense_4h_to_h")
    return norm(x, prefix + "ln_f") @ w.get("lm_head.weight", embedding).T


def erf(x):
    return np.vectorize(math.erf)(x)


def mpt(config, w, ids):
    n, heads, eps = len(ids), config["n_heads"], config.get("layer_norm_epsilon", 1e-5)
    attention = config.get("attn_config") or {}
    embedding = w["transformer.wte.weight"]
    x = embedding[ids]
    dim = x.shape[-1] // heads
    bias = alibi(heads, n, attention.get("alibi_bias_max", 8))
    scale = attention.get("softmax_scale") or dim**-0.5
    clip = attention.get("clip_qkv") or math.inf
    for i in range(config["n_layers"]):
        at = f"transformer.blocks.{i}."
        h = layer_norm(x, w[at + "norm_1.weight"], 0.0, eps)
        qkv = np.clip(h @ w[at + "attn.Wqkv.weight"].T, -clip, clip)
        q, k, v = (part.reshape(n, heads, dim) for part in np.split(qkv, 3, -1))
        x = x + attend(q, k, v, scale, bias=bias) @ w[at + "attn.out_proj.weight"].T
        h = layer_norm(x, w[at + "norm_2.weight"], 0.0, eps) @ w[at + "ffn.up_proj.weight"].T
        x = x + (0.5 * h * (1.0 + erf(h / math.sqrt(2.0)))) @ w[at + "ffn.down_proj.weight"].T
    return layer_norm(x, w["transformer.norm_f.weight"], 0.0, eps) @ w.get("lm_head.weight", embedding).T


def softplus(x):
    return np.logaddexp(0.0, x)


def causal_convolution(x, w, name):
    """x [N, C], depthwise, the last tap on the current token."""
    weight = w[name + ".weight"][:, 0]
    taps = weight.shape[-1]
    padded = np.concatenate([np.zeros((taps - 1, x.shape[-1])), x])
    y = sum(padded[t : t + len(x)] * weight[:, t] for t in range(taps))
    return y + w.get(name + ".bias", 0.0)


def project(x, w, name):
    return x @ w[name + ".weight"].T + w.get(name + ".bias", 0.0)


def mamba(config, w, ids):
    """Gu & Dao 2023."""
    eps, size = config["layer_norm_epsilon"], config["state_size"]
    embedding = w["backbone.embeddings.weight"]
    x = embedding[ids]
    for i in range(config["num_hidden_layers"]):
        at = f"backbone.layers.{i}."
        mixer = at + "mixer."
        u, z = np.split(project(rms_norm(x, w[at + "norm.weight"], eps), w, mixer + "in_proj"), 2, -1)
        u = silu(causal_convolution(u, w, mixer + "conv1d"))
        rank = w[mixer + "dt_proj.weight"].shape[1]
        low, b, c = np.split(project(u, w, mixer + "x_proj"), [rank, rank + size], -1)
        step = softplus(project(low, w, mixer + "dt_proj"))
        rate = -np.exp(w[mixer + "A_log"])
        state, y = np.zeros(rate.shape), np.zeros_like(u)
        for t in range(len(ids)):
            state = np.exp(step[t][:, None] * rate) * state + np.outer(step[t] * u[t], b[t])
            y[t] = state @ c[t] + w[mixer + "D"] * u[t]
        x = x + project(y * silu(z), w, mixer + "out_proj")
    return rms_norm(x, w["backbone.norm_f.weight"], eps) @ w.get("lm_head.weight", embedding).T


def limits(config):
    low, high = config.get("time_step_limit") or (0.0, math.inf)
    return low, math.inf if isinstance(high, dict) else high


def mamba2(config, w, ids):
    """Dao & Gu 2024, as a recurrence."""
    eps, size, heads, dim, groups = (config[key] for key in ("layer_norm_epsilon", "state_size", "num_heads", "head_dim", "n_groups"))
    inner, n = heads * dim, len(ids)
    embedding = w["backbone.embeddings.weight"]
    x = embedding[ids]
    for i in range(config["num_hidden_layers"]):
        at = f"backbone.layers.{i}."
        mixer = at + "mixer."
        rows = project(rms_norm(x, w[at + "norm.weight"], eps), w, mixer + "in_proj")
        z, ubc, step = np.split(rows, [inner, 2 * inner + 2 * groups * size], -1)
        u, b, c = np.split(silu(causal_convolution(ubc, w, mixer + "conv1d")), [inner, inner + groups * size], -1)
        u = u.reshape(n, heads, dim)
        b, c = (np.repeat(part.reshape(n, groups, size), heads // groups, 1) for part in (b, c))
        step = np.clip(softplus(step + w[mixer + "dt_bias"]), *limits(config))
        keep = np.exp(-np.exp(w[mixer + "A_log"]) * step)
        state, y = np.zeros((heads, dim, size)), np.zeros((n, heads, dim))
        for t in range(n):
            state = keep[t][:, None, None] * state + np.einsum("hp,hn->hpn", step[t][:, None] * u[t], b[t])
            y[t] = np.einsum("hpn,hn->hp", state, c[t]) + w[mixer + "D"][:, None] * u[t]
        gated = (y.reshape(n, inner) * silu(z)).reshape(n, groups, inner // groups)
        normed = rms_norm(gated, 1.0, eps).reshape(n, inner) * w[mixer + "norm.weight"]
        x = x + project(normed, w, mixer + "out_proj")
    return rms_norm(x, w["backbone.norm_f.weight"], eps) @ w.get("lm_head.weight", embedding).T


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def rwkv7(config, w, ids):
    """Peng et al. 2025: a state [values, keys] for each head, moved by w, erased along kappa, written along k."""
    n, wide, dim, eps = len(ids), config["hidden_size"], config["head_dim"], config["norm_eps"]
    heads = wide // dim

    def norm(x, name):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"], eps)

    def step(x):
        return np.concatenate([np.zeros((1, wide)), x[:-1]]) - x

    def low_rank(x, name, act=lambda y: y):
        return act(x @ w[name + ".lora.0.weight"].T) @ w[name + ".lora.2.weight"].T + w.get(name + ".lora.2.bias", 0.0)

    x = w["model.embeddings.weight"][ids]
    first = None
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        x = norm(x, at + "pre_norm") if i == 0 else x
        h = norm(x, at + "attn_norm")
        at += "attn."
        mixed = {c: h + step(h) * w[at + "x_" + c].reshape(-1) for c in "rwkvag"}
        r, k, v = (mixed[c] @ w[f"{at}{c}_proj.weight"].T for c in "rkv")
        decay = np.exp(-math.exp(-0.5) * sigmoid(low_rank(mixed["w"], at + "w_lora", np.tanh)))
        first = v if i == 0 else first
        v = v if i == 0 else v + (first - v) * sigmoid(low_rank(mixed["v"], at + "v_lora"))
        rate = sigmoid(low_rank(mixed["a"], at + "a_lora"))
        gate = low_rank(mixed["g"], at + "g_lora", sigmoid)
        kappa = (k * w[at + "k_k"]).reshape(n, heads, dim)
        kappa = kappa / np.maximum(np.sqrt((kappa**2).sum(-1, keepdims=True)), 1e-12)
        k = k * (1.0 + (rate - 1.0) * w[at + "k_a"])
        r, k, v, rate, decay = (y.reshape(n, heads, dim) for y in (r, k, v, rate, decay))
        out, states = np.zeros((n, heads, dim)), np.zeros((heads, dim, dim))
        for t in range(n):
            erased = np.einsum("hvk,hk->hv", states, kappa[t])
            states = states * decay[t][:, None, :] - np.einsum("hv,hk->hvk", erased, kappa[t] * rate[t]) + np.einsum("hv,hk->hvk", v[t], k[t])
            out[t] = np.einsum("hvk,hk->hv", states, r[t])
        out = layer_norm(out, 1.0, 0.0, dim * eps).reshape(n, wide) * w[at + "g_norm.weight"] + w[at + "g_norm.bias"]
        out = out + ((r * k * w[at + "r_k"]).sum(-1, keepdims=True) * v).reshape(n, wide)
        x = x + (out * gate) @ w[at + "o_proj.weight"].T
        at = f"model.layers.{i}."
        h = norm(x, at + "ffn_norm")
        h = np.maximum((h + step(h) * w[at + "ffn.x_k"]) @ w[at + "ffn.key.weight"].T, 0.0) ** 2
        x = x + h @ w[at + "ffn.value.weight"].T
    return norm(x, "model.norm") @ w["lm_head.weight"].T


FORWARDS = {"bloom": bloom, "mpt": mpt, "mamba": mamba, "mamba2": mamba2, "rwkv7": rwkv7}
