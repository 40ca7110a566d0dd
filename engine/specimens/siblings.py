"""The four siblings and the larger default model: which mechanism, which sizes, and what their config.json says."""

from dataclasses import asdict

from mamba import Mamba, MambaConfig
from model import LanguageModel, Sizes
from rwkv7 import Rwkv7, Rwkv7Config
from transformer import Transformer, TransformerConfig

CONFIGS: dict[str, Sizes] = {
    "rope": TransformerConfig(),
    "alibi": TransformerConfig(position_embedding_type="alibi"),
    "mamba": MambaConfig(),
    "rwkv7": Rwkv7Config(),
    "ask": TransformerConfig(num_hidden_layers=6, hidden_size=320, intermediate_size=896, num_attention_heads=5, embedding_multiplier=320**0.5),
}

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
