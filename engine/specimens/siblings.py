"""The four siblings and the larger default model: which mechanism, which sizes, what they grow from, and what their config.json says."""

from pathlib import Path

from dataclasses import asdict

from safetensors.torch import load_file

from mamba import Mamba, MambaConfig
from model import LanguageModel, Sizes
from rwkv7 import Rwkv7, Rwkv7Config
from transformer import Transformer, TransformerConfig

CONFIGS: dict[str, Sizes] = {
    "rope": TransformerConfig(),
    "alibi": TransformerConfig(position_embedding_type="alibi"),
    "mamba": MambaConfig(),
    "rwkv7": Rwkv7Config(),
    "ask": TransformerConfig(num_hidden_layers=6),
}
GROWN_LAYERS = (0, 1, 1, 2, 2, 3)  # of the smaller transformer, in the larger one; the second of two begins as a layer that adds nothing

FAMILIES = {
    "lcp_keyshift": (Transformer, TransformerConfig, "LcpKeyShiftForCausalLM"),
    "mamba": (Mamba, MambaConfig, "MambaForCausalLM"),
    "rwkv7": (Rwkv7, Rwkv7Config, "RWKV7ForCausalLM"),
}


def build(config: Sizes) -> LanguageModel:
    for model, sizes, _ in FAMILIES.values():
        if type(config) is sizes:
            return model(config)
    raise ValueError(f"no family for {type(config).__name__}")


def grow(model: Transformer, folder: Path) -> None:
    """Begin with the weights of an exported transformer of fewer layers: the same function, with layers that can learn to add something."""
    weights = load_file(str(folder / "model.safetensors"))
    source = {name: tensor.float() for name, tensor in weights.items() if ".layers." not in name}
    for layer, origin in enumerate(GROWN_LAYERS):
        prefix, repeated = f"model.layers.{origin}.", origin in GROWN_LAYERS[:layer]
        for name, tensor in weights.items():
            if name.startswith(prefix):
                silent = repeated and name.endswith(("o_proj.weight", "down_proj.weight"))
                source[f"model.layers.{layer}.{name.removeprefix(prefix)}"] = tensor.float() * (0.0 if silent else 1.0)
    model.load_state_dict(source)


def model_of(config: dict) -> LanguageModel:
    """The untrained model that a config.json describes."""
    model, sizes, _ = FAMILIES[config["model_type"]]
    return model(sizes.from_config(config))


def config_json(config: Sizes, trained: int) -> dict:
    """The architecture half of config.json, in Hugging Face's keys."""
    for model_type, (_, sizes, architecture) in FAMILIES.items():
        if type(config) is sizes:
            break
    else:
        raise ValueError(f"no family for {type(config).__name__}")
    stated = {"architectures": [architecture], "model_type": model_type, **asdict(config)}
    stated |= {"max_position_embeddings": trained, "tie_word_embeddings": True}
    if isinstance(config, TransformerConfig):
        stated["hidden_act"] = "silu"
        if config.position_embedding_type == "rope":
            stated["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if isinstance(config, MambaConfig):
        stated |= {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True, "intermediate_size": config.inner_size}
    if isinstance(config, Rwkv7Config):
        stated |= {"hidden_act": "sqrelu", "norm_first": True, "norm_bias": True, "num_heads": config.hidden_size // config.head_dim}
    return stated
