"""The attention siblings: a Qwen3-shaped decoder with RoPE or ALiBi.

RMSNorm, QK-norm on every head, SwiGLU, grouped KV heads, tied embeddings, and the key shift: with k_t the raw key of token t the key used is
(1 - g) k_t + g k_{t-1}, g = sigmoid(k_shift) per KV head and channel, k_{-1} = 0, in front of QK-norm and RoPE. Values are not shifted. It
gives attention the view of the previous token that Mamba's convolution and RWKV's token shift have.
Shapes: B batch, T tokens, S keys, E hidden size, H query heads, G KV heads, D head dimension.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rope
from model import LanguageModel, Positions, RMSNorm, Sizes


Turn = tuple[Tensor, Tensor] | None  # cos and sin [T, D] of RoPE


@dataclass(frozen=True)
class TransformerConfig(Sizes):
    intermediate_size: int = 704
    num_attention_heads: int = 4
    num_key_value_heads: int = 1
    head_dim: int = 64
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    position_embedding_type: str = "rope"  # or "alibi"


class LayerCache(NamedTuple):
    """Keys and values of one layer, [B, G, S, D], and the last raw key [B, 1, G, D] for the shift."""

    keys: Tensor
    values: Tensor
    last_key: Tensor


class Attention(nn.Module):
    def __init__(self, config: TransformerConfig):
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

    def project(self, x: Tensor, turn: Turn, previous_key: Tensor | None):
        """x [B, T, E] -> q [B, H, T, D], k and v [B, G, T, D], raw last key [B, 1, G, D]; rotated where there is RoPE."""
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
        query, key = self.q_norm(query.transpose(1, 2)), self.k_norm(key.transpose(1, 2))
        if turn is not None:
            query, key = rope.rotate(query, *turn), rope.rotate(key, *turn)
        return query, key, value.transpose(1, 2), raw_key[:, -1:]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention over [B, G, S, D] keys; causal when mask is None. Returns [B, T, E]."""
        repeats = self.config.num_attention_heads // self.config.num_key_value_heads
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, turn: Turn, mask: Tensor | None, cache: LayerCache | None) -> tuple[Tensor, LayerCache]:
        """x [B, T, E] behind `cache`, which may be of one row; returns x and this layer's new cache."""
        batch = x.shape[0]
        previous = None if cache is None else cache.last_key.expand(batch, -1, -1, -1)
        query, key, value, last_key = self.self_attn.project(self.input_layernorm(x), turn, previous)
        if cache is not None:
            key = torch.cat([cache.keys.expand(batch, -1, -1, -1), key], dim=2)
            value = torch.cat([cache.values.expand(batch, -1, -1, -1), value], dim=2)
        x = x + self.self_attn.attend(query, key, value, mask)
        return x + self.mlp(self.post_attention_layernorm(x)), LayerCache(key, value, last_key)


class Decoder(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Transformer(LanguageModel):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.rope = {"rope_type": "default"}  # how positions are scaled, in Hugging Face's keys
        self.middle: Tensor | None = None  # states [B, T, E] behind half of the layers, of the last run: what probes of the training read

    @property
    def table(self) -> nn.Embedding:
        return self.model.embed_tokens

    @property
    def rotates(self) -> bool:
        return self.config.position_embedding_type == "rope"

    def is_matrix(self, name: str) -> bool:
        return "proj" in name

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

    def positions(self, length: int, dtype: torch.dtype) -> Positions:
        """cos and sin [T, D]; with ALiBi the causal bias [1, H, T, T]."""
        config = self.config
        if not self.rotates:
            return (rope.alibi_bias(config.num_attention_heads, length, length).to(dtype),)
        cos, sin = rope.tables(*rope.frequencies(config.head_dim, config.rope_theta, self.rope), length)
        return cos.to(dtype), sin.to(dtype)

    def run(self, x: Tensor, turn: Turn, mask: Tensor | None, caches: list[LayerCache] | None) -> tuple[Tensor, list[LayerCache]]:
        grown = []
        for index, layer in enumerate(self.model.layers):
            x, cache = self.call(layer, x, turn, mask, caches[index] if caches else None)
            grown.append(cache)
            if 2 * (index + 1) == len(self.model.layers):
                self.middle = x
        return self.model.norm(x), grown

    def layers(self, x: Tensor, positions: Positions) -> Tensor:
        if self.rotates:
            return self.run(x, positions, None, None)[0]
        return self.run(x, None, positions[0], None)[0]

    def extend(self, ids: Tensor, positions: Positions, state: list[LayerCache] | None) -> tuple[Tensor, list[LayerCache]]:
        """`positions` of RoPE are those of all tokens so far and more; ALiBi's bias is made here."""
        past = state[0].keys.shape[2] if state else 0
        length = ids.shape[1]
        x = self.embed(ids)
        if not self.rotates:
            bias = rope.alibi_bias(self.config.num_attention_heads, length, past + length)
            return self.run(x, None, bias, state)
        cos, sin = (table[past : past + length] for table in positions)
        mask = torch.ones(length, past + length, dtype=torch.bool).tril(past) if past else None
        return self.run(x, (cos, sin), mask, state)
