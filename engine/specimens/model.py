"""The specimen decoder in PyTorch: the reference every other implementation is compared with.

A Qwen3-shaped decoder (RMSNorm, RoPE in the rotate-half layout, per-head QK-norm, SwiGLU,
grouped KV heads, tied embeddings) with two additions:

* key shift: with k_t the raw key projection at token t, the key used is
  (1 - g) * k_t + g * k_{t-1}, g = sigmoid(k_shift) per KV head and channel, k_{-1} = 0.
  It is applied before QK-norm and RoPE. Values are not shifted.
* the embedding row is multiplied by `embedding_multiplier` on the way in, not on the way out.

Module names follow the Hugging Face layout, so a checkpoint is the state dict as it stands.
Shapes: B batch, T tokens, E hidden size, H query heads, G KV heads, D head dimension, V vocabulary.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ModelConfig:
    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 704
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 1
    head_dim: int = 64
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    embedding_multiplier: float = 16.0

    @classmethod
    def from_json(cls, path: Path) -> "ModelConfig":
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


def rope_frequencies(head_dim: int, theta: float, rope_parameters: dict | None = None) -> tuple[Tensor, float]:
    """Inverse frequencies [D/2] in float64 and the factor on cos and sin, as Hugging Face computes them."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    inv_freq = theta**-exponents
    kind = (rope_parameters or {}).get("rope_type", "default")
    if kind == "default":
        return inv_freq, 1.0
    if kind != "yarn":
        raise ValueError(f"rope_type {kind!r}: this reference knows 'default' and 'yarn'")
    factor = float(rope_parameters["factor"])
    trained = rope_parameters["original_max_position_embeddings"]

    def dimension_of(rotations: float) -> float:
        return head_dim * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(dimension_of(rope_parameters.get("beta_fast", 32))), 0)
    high = min(math.ceil(dimension_of(rope_parameters.get("beta_slow", 1))), head_dim - 1)
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0, 1)
    return inv_freq / factor * ramp + inv_freq * (1 - ramp), 0.1 * math.log(factor) + 1.0


def rope_tables(inv_freq: Tensor, attention_factor: float, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each [T, D] float32, for positions 0..length-1."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * inv_freq
    angles = torch.cat([angles, angles], dim=-1)
    return (angles.cos() * attention_factor).float(), (angles.sin() * attention_factor).float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE in the rotate-half layout; x [B, H, T, D], cos and sin [T, D]."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


@dataclass
class LayerCache:
    """Keys and values of one layer, [B, G, T, D], and the last raw key [B, 1, G, D] for the shift."""

    keys: Tensor
    values: Tensor
    last_key: Tensor


class Attention(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        width, heads, groups, dim = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.q_proj = nn.Linear(width, heads * dim, bias=False)
        self.k_proj = nn.Linear(width, groups * dim, bias=False)
        self.v_proj = nn.Linear(width, groups * dim, bias=False)
        self.o_proj = nn.Linear(heads * dim, width, bias=False)
        self.q_norm = RMSNorm(dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(dim, config.rms_norm_eps)
        self.k_shift = nn.Parameter(torch.zeros(groups, dim))

    def project(self, x: Tensor, cos: Tensor, sin: Tensor, previous_key: Tensor | None):
        """x [B, T, E] -> rotated q [B, H, T, D], rotated k and v [B, G, T, D], raw last key [B, 1, G, D]."""
        batch, length, _ = x.shape
        config = self.config
        query = self.q_proj(x).view(batch, length, config.num_attention_heads, config.head_dim)
        raw_key = self.k_proj(x).view(batch, length, config.num_key_value_heads, config.head_dim)
        value = self.v_proj(x).view(batch, length, config.num_key_value_heads, config.head_dim)
        if previous_key is None:
            previous_key = torch.zeros_like(raw_key[:, :1])
        gate = torch.sigmoid(self.k_shift).to(raw_key.dtype)
        shifted = torch.cat([previous_key, raw_key[:, :-1]], dim=1)
        key = raw_key * (1 - gate) + shifted * gate
        query = rotate(self.q_norm(query.transpose(1, 2)), cos, sin)
        key = rotate(self.k_norm(key.transpose(1, 2)), cos, sin)
        return query, key, value.transpose(1, 2), raw_key[:, -1:]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention over [B, G, S, D] keys; causal when mask is None. Returns [B, T, E]."""
        repeats = self.config.num_attention_heads // self.config.num_key_value_heads
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        query, key, value, _ = self.project(x, cos, sin, None)
        return self.attend(query, key, value, None)


class MLP(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))

    def extend(self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None, mask: Tensor | None):
        """Like forward for x [B, T, E] that follows `cache` (broadcast over B); returns x and this layer's new cache."""
        batch = x.shape[0]
        previous = None if cache is None else cache.last_key.expand(batch, -1, -1, -1)
        query, key, value, last_key = self.self_attn.project(self.input_layernorm(x), cos, sin, previous)
        if cache is not None:
            key = torch.cat([cache.keys.expand(batch, -1, -1, -1), key], dim=2)
            value = torch.cat([cache.values.expand(batch, -1, -1, -1), value], dim=2)
        x = x + self.self_attn.attend(query, key, value, mask)
        return x + self.mlp(self.post_attention_layernorm(x)), LayerCache(key, value, last_key)


class Decoder(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class KeyShiftForCausalLM(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self._tables: dict = {}

    def initialize(self) -> None:
        """Unit-variance embeddings after the multiplier; residual outputs scaled down by the depth."""
        residual_scale = 1 / math.sqrt(2 * self.config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if "proj" in name:
                nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    parameter.data.mul_(residual_scale)
            elif "embed_tokens" in name:
                nn.init.normal_(parameter, std=1 / self.config.embedding_multiplier)

    def tables(self, length: int, dtype: torch.dtype, rope_parameters: dict | None = None) -> tuple[Tensor, Tensor]:
        key = (length, dtype, json.dumps(rope_parameters, sort_keys=True))
        if key not in self._tables:
            frequencies = rope_frequencies(self.config.head_dim, self.config.rope_theta, rope_parameters)
            cos, sin = rope_tables(*frequencies, length)
            self._tables[key] = cos.to(dtype), sin.to(dtype)
        return self._tables[key]

    def embed(self, ids: Tensor) -> Tensor:
        return self.model.embed_tokens(ids) * self.config.embedding_multiplier

    def head(self, hidden: Tensor) -> Tensor:
        """[..., E] -> logits [..., V] with the tied, unscaled table."""
        return F.linear(hidden, self.model.embed_tokens.weight.to(hidden.dtype))

    def hidden(self, ids: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """ids [B, T] -> final normalised states [B, T, E] in the dtype of the tables."""
        x = self.embed(ids).to(cos.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.model.norm(x)

    def forward(self, ids: Tensor, rope_parameters: dict | None = None) -> Tensor:
        """ids [B, T] -> logits [B, T, V]."""
        return self.head(self.hidden(ids, *self.tables(ids.shape[1], torch.float32, rope_parameters)))

    def extend(self, ids: Tensor, cos: Tensor, sin: Tensor, caches: list[LayerCache] | None, mask: Tensor | None):
        """Hidden states for ids that follow `caches`; cos and sin [T, D] are those of their own positions."""
        x = self.embed(ids).to(cos.dtype)
        grown = []
        for index, layer in enumerate(self.model.layers):
            x, cache = layer.extend(x, cos, sin, caches[index] if caches else None, mask)
            grown.append(cache)
        return self.model.norm(x), grown


def load_pretrained(folder: str | Path) -> KeyShiftForCausalLM:
    """The exported folder (config.json, model.safetensors in float16) as a float32 model."""
    from safetensors.torch import load_file

    folder = Path(folder)
    model = KeyShiftForCausalLM(ModelConfig.from_json(folder / "config.json"))
    weights = load_file(str(folder / "model.safetensors"))
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval()
