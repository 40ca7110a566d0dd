"""RWKV-7: the model of flash-linear-attention, its Triton kernels run by Triton's interpreter on the CPU.

Import this before anything imports triton.
"""

import math
import os
import warnings

os.environ["TRITON_INTERPRET"] = "1"

from triton.runtime.autotuner import Autotuner  # noqa: E402

# There is no device to time kernels on; every configuration computes the same numbers, so the first will do.
Autotuner._bench = lambda self, *args, **kwargs: [0.0, 0.0, 0.0]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fla.models  # noqa: E402, F401  (registers model type rwkv7)

from models_decoder import ALL, LONG, SHORT, USUAL, model  # noqa: E402


def rwkv7(**fields):
    base = {
        "architectures": ["RWKV7ForCausalLM"],
        "model_type": "rwkv7",
        "vocab_size": 49,
        "hidden_size": 32,
        "head_dim": 8,
        "num_heads": None,
        "num_hidden_layers": 3,
        "intermediate_size": 80,
        "hidden_ratio": 4.0,
        "hidden_act": "sqrelu",
        "decay_low_rank_dim": 5,
        "gate_low_rank_dim": 7,
        "a_low_rank_dim": 4,
        "v_low_rank_dim": 3,
        "norm_first": True,
        "norm_bias": True,
        "norm_eps": 1e-5,
        "fuse_norm": False,
        "attn_mode": "chunk",
        "attn": None,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return {key: value for key, value in {**base, **fields}.items() if value is not ...}


def rwkv7_models():
    official = rwkv7(num_hidden_layers=2)
    return [
        model("rwkv7", rwkv7(), ALL, [{"norm_eps": 0.1}]),
        # Fewer than 64 tokens everywhere: from there on fla runs its chunked kernel, which the interpreter does not.
        model("rwkv7_head_16", rwkv7(head_dim=16, num_hidden_layers=2, value_dim=[32, 32]), LONG),
        # The fused norms of fla, and no intermediate_size: four times the width.
        model("rwkv7_fused_norms", rwkv7(fuse_norm=True, num_hidden_layers=2, intermediate_size=..., vocab_size=101), USUAL),
        # The names and layouts of BlinkDL's own files; block 0 holds a value residual that is not used.
        model("rwkv7_official_names", official, SHORT + LONG, rules=official_rules(official), to_checkpoint=official_to_fla),
    ]


def official_rules(config):
    """The tensors of an official file: low-rank matrices lie as [inputs, rank] and [rank, outputs], vectors as [1, 1, E]."""
    wide, inner = config["hidden_size"], config["intermediate_size"]
    vector = [1, 1, wide]
    ranks = {"w": "decay", "a": "a", "v": "v", "g": "gate"}
    rules = []

    def add(name, shape, amp, offset=0.0):
        rules.append({"name": name, "shape": shape, "amp": round(amp, 6), "offset": offset})

    def norm(name):
        add(name + ".weight", [wide], 0.2, 1.0)
        add(name + ".bias", [wide], 0.1)

    add("emb.weight", [config["vocab_size"], wide], 1.0)
    for i in range(config["num_hidden_layers"]):
        at = f"blocks.{i}."
        for name in (["ln0"] if i == 0 else []) + ["ln1", "ln2"]:
            norm(at + name)
        for channel in "rwkvag":
            add(f"{at}att.x_{channel}", vector, 0.5, 0.5)
        for channel, rank in ranks.items():
            rank = config[rank + "_low_rank_dim"]
            if channel != "g":
                add(f"{at}att.{channel}0", vector, 0.5, -1.0 if channel == "w" else 0.0)
            add(f"{at}att.{channel}1", [wide, rank], math.sqrt(3 / wide))
            add(f"{at}att.{channel}2", [rank, wide], math.sqrt(3 / rank))
        add(at + "att.k_k", vector, 0.2, 0.8)
        add(at + "att.k_a", vector, 0.2, 1.0)
        add(at + "att.r_k", [wide // config["head_dim"], config["head_dim"]], 0.5)
        for name in ("receptance", "key", "value", "output"):
            add(f"{at}att.{name}.weight", [wide, wide], math.sqrt(3 / wide))
        norm(at + "att.ln_x")
        add(at + "ffn.x_k", vector, 0.5, 0.5)
        add(at + "ffn.key.weight", [inner, wide], math.sqrt(3 / wide))
        add(at + "ffn.value.weight", [wide, inner], math.sqrt(3 / inner))
    norm("ln_out")
    add("head.weight", [config["vocab_size"], wide], math.sqrt(3 / wide))
    return rules


PLAIN = {"receptance": "r_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj", "ln_x": "g_norm"}


def official_to_fla(tensors):
    """Official names and layouts to those of flash-linear-attention."""
    mapped = {}
    for name, value in tensors.items():
        parts = name.split(".")
        if parts[0] != "blocks":
            mapped[{"emb": "model.embeddings", "ln_out": "model.norm", "head": "lm_head"}[parts[0]] + "." + parts[1]] = value
            continue
        at = f"model.layers.{parts[1]}."
        if parts[2].startswith("ln"):
            mapped[at + {"ln0": "pre_norm", "ln1": "attn_norm", "ln2": "ffn_norm"}[parts[2]] + "." + parts[3]] = value
        elif parts[2] == "ffn":
            mapped[at + ".".join(parts[2:])] = value.reshape(-1) if parts[3] == "x_k" else value
        elif parts[3] in PLAIN:
            mapped[at + f"attn.{PLAIN[parts[3]]}.{parts[4]}"] = value
        elif parts[3].startswith("x_") or parts[3] == "r_k":
            mapped[at + "attn." + parts[3]] = value
        elif parts[3] in ("k_k", "k_a"):
            mapped[at + "attn." + parts[3]] = value.reshape(-1)
        elif parts[1] != "0" or parts[3][0] != "v":
            channel, place = parts[3]
            end = {"0": "2.bias", "1": "0.weight", "2": "2.weight"}[place]
            mapped[at + f"attn.{channel}_lora.lora.{end}"] = value.reshape(-1) if place == "0" else value.T
    return mapped


FAMILIES = {"rwkv7": rwkv7_models}
