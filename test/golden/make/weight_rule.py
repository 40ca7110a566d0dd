"""Weights and prompts that follow from names, so that no weight file is stored.

value[i] = offset + amp * (2 u_i - 1), row-major; u is the mulberry32 stream seeded by FNV-1a-32 of the tensor's name in UTF-8.
test/support/goldenModels.ts computes the same values.
"""

import math
import re

import numpy as np


def fnv1a32(name):
    state = 0x811C9DC5
    for byte in name.encode("utf-8"):
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    return state


def uniforms(name, count):
    """`count` values in [0, 1). The state of mulberry32 is a counter, so the whole stream is one vector expression."""
    with np.errstate(over="ignore"):
        t = np.uint32(fnv1a32(name)) + np.uint32(0x6D2B79F5) * np.arange(1, count + 1, dtype=np.uint32)
        t = (t ^ (t >> np.uint32(15))) * (t | np.uint32(1))
        t ^= t + (t ^ (t >> np.uint32(7))) * (t | np.uint32(61))
        return (t ^ (t >> np.uint32(14))).astype(np.float64) / 4294967296.0


def fill(name, shape, amp, offset=0.0):
    """float64 array of `shape`."""
    return (offset + amp * (2.0 * uniforms(name, math.prod(shape)) - 1.0)).reshape(shape)


def values_of(rule):
    return fill(rule["name"], tuple(rule["shape"]), rule["amp"], rule["offset"])


# Amplitude and offset by the end of a tensor's name; the first match counts. Norms lie near one, biases are of visible size, matrices keep
# the variance (sqrt(3 / inputs)).
AMPLITUDES = [
    (r"(embed_tokens|word_embeddings|wte|embeddings)\.weight$", 1.0, 0.0),
    (r"conv1d\.weight$", 0.6, 0.0),
    (r"conv1d\.bias$", 0.2, 0.0),
    (r"A_log$", 0.5, 0.5),
    (r"mixer\.D$", 0.5, 1.0),
    (r"mixer\.dt_bias$", 0.5, -0.5),
    (r"dt_proj\.bias$", 0.5, -1.0),
    (r"attn\.x_[rwkvag]$", 0.5, 0.5),
    (r"ffn\.x_k$", 0.5, 0.5),
    (r"attn\.k_k$", 0.2, 0.8),
    (r"attn\.k_a$", 0.2, 1.0),
    (r"attn\.r_k$", 0.5, 0.0),
    (r"w_lora\.lora\.2\.bias$", 0.5, -1.0),
    (r"norm(_\w+)?\.bias$|layernorm\.bias$|ln_f\.bias$", 0.1, 0.0),
    (r"norm(_\w+)?\.weight$|layernorm\.weight$|ln_f\.weight$", 0.2, 1.0),
    (r"\.bias$", 0.5, 0.0),
]


def rule_of(name, shape, model_type, tied):
    """The rule of one tensor: {name, shape, amp, offset}."""
    gemma = model_type.startswith("gemma")
    shape = list(shape)
    for pattern, amp, offset in AMPLITUDES:
        if re.search(pattern, name):
            # Gemma multiplies by 1 + weight.
            if gemma and offset == 1.0 and "norm" in name:
                offset = 0.0
            # A tied head would only repeat the last token if the embedding outweighed what the layers add.
            if amp == 1.0 and tied:
                amp = 0.3 if gemma else 0.2
            break
    else:
        amp, offset = round(math.sqrt(3.0 / shape[-1]), 6), 0.0
    return {"name": name, "shape": shape, "amp": amp, "offset": offset}


def prompt(name, length, vocabulary):
    """Token ids [length] with a token said twice in a row, one that comes back later, and id 0 in the middle: id 0 is a real token here."""
    ids = [int(u * vocabulary) for u in uniforms(name, length)]
    if length >= 5:
        ids[3] = ids[2]
        ids[length // 2] = 0
    if length >= 8:
        ids[length - 2] = ids[1]
    return ids
