"""The RWKV-7 sibling (arXiv 2503.14456), with the tensor names of flash-linear-attention.

Shapes: B batch, T tokens, E hidden size, H heads of width P (H P = E), F width of the channel mix.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import LanguageModel, Positions, Sizes, layer_norm
from scans import wkv

MIXES = ("r", "w", "k", "v", "a", "g")


@dataclass(frozen=True)
class Rwkv7Config(Sizes):
    intermediate_size: int = 704
    head_dim: int = 64
    decay_low_rank_dim: int = 32
    a_low_rank_dim: int = 32
    v_low_rank_dim: int = 16
    gate_low_rank_dim: int = 64
    norm_eps: float = 1e-5


class LayerState(NamedTuple):
    """The rows before the first of the time mix and of the channel mix, [B, 1, E], and the matrices [B, H, P keys, P values]."""

    attention_input: Tensor
    mlp_input: Tensor
    wkv: Tensor

    def expand(self, batch: int) -> "LayerState":
        return LayerState(self.attention_input.expand(batch, -1, -1), self.mlp_input.expand(batch, -1, -1), self.wkv.expand(batch, -1, -1, -1))


class LowRank(nn.Module):
    """up(act(down x)) + bias, under the names lora.0 and lora.2."""

    def __init__(self, width: int, rank: int, bias: bool, activation: nn.Module):
        super().__init__()
        self.lora = nn.Sequential(nn.Linear(width, rank, bias=False), activation, nn.Linear(rank, width, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.lora(x)


def shift(x: Tensor, previous: Tensor) -> Tensor:
    """x_{t-1} - x_t; x [B, T, E], previous [B, 1, E] the row before the first."""
    return torch.cat([previous, x[:, :-1]], dim=1) - x


class TimeMix(nn.Module):
    def __init__(self, config: Rwkv7Config, layer: int):
        super().__init__()
        self.config = config
        width = config.hidden_size
        for mix in MIXES:
            setattr(self, f"x_{mix}", nn.Parameter(torch.empty(width)))
        self.r_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.w_lora = LowRank(width, config.decay_low_rank_dim, True, nn.Tanh())
        self.a_lora = LowRank(width, config.a_low_rank_dim, True, nn.Identity())
        if layer > 0:
            self.v_lora = LowRank(width, config.v_low_rank_dim, True, nn.Identity())
        self.g_lora = LowRank(width, config.gate_low_rank_dim, False, nn.Sigmoid())
        self.k_k = nn.Parameter(torch.full((width,), 0.85))
        self.k_a = nn.Parameter(torch.ones(width))
        self.r_k = nn.Parameter(torch.zeros(width // config.head_dim, config.head_dim))
        self.g_norm = nn.GroupNorm(width // config.head_dim, width, eps=config.head_dim * config.norm_eps)

    def forward(self, x: Tensor, state: LayerState, first_values: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, T, E] -> output, its values (layer 0's are mixed into those of the others), matrices behind the last token."""
        batch, length, width = x.shape
        heads = (batch, length, width // self.config.head_dim, self.config.head_dim)
        before = shift(x, state.attention_input)
        r, w, k, v, a, g = (x + before * getattr(self, f"x_{mix}").to(x.dtype) for mix in MIXES)
        receptance, key, value = self.r_proj(r).float(), self.k_proj(k).float(), self.v_proj(v).float()
        decay = torch.exp(-math.exp(-0.5) * torch.sigmoid(self.w_lora(w).float()))
        if first_values is not None:
            value = torch.lerp(value, first_values, torch.sigmoid(self.v_lora(v).float()))
        rate = torch.sigmoid(self.a_lora(a).float())
        gate = self.g_lora(g)
        removal = F.normalize((key * self.k_k).view(heads), dim=-1)
        key = key * (1 + (rate - 1) * self.k_a)
        receptance, decay, key, rate = (tensor.view(heads) for tensor in (receptance, decay, key, rate))
        y, _, matrices = wkv(receptance, decay, key, value.view(heads), removal, rate, state.wkv)
        y = self.g_norm(y.flatten(0, 1).flatten(1)).view(heads)
        y = y + (receptance * key * self.r_k).sum(-1, keepdim=True) * value.view(heads)
        return self.o_proj(y.flatten(2).to(x.dtype) * gate), value, matrices


class ChannelMix(nn.Module):
    def __init__(self, config: Rwkv7Config):
        super().__init__()
        self.x_k = nn.Parameter(torch.empty(config.hidden_size))
        self.key = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.value = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        mixed = x + shift(x, previous) * self.x_k.to(x.dtype)
        return self.value(torch.relu(self.key(mixed)).square())


class Layer(nn.Module):
    def __init__(self, config: Rwkv7Config, layer: int):
        super().__init__()
        if layer == 0:
            self.pre_norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.attn_norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.attn = TimeMix(config, layer)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.ffn = ChannelMix(config)

    def forward(self, x: Tensor, state: LayerState, first_values: Tensor | None) -> tuple[Tensor, LayerState, Tensor]:
        h = layer_norm(x, self.attn_norm)
        mixed, values, matrices = self.attn(h, state, first_values)
        x = x + mixed
        m = layer_norm(x, self.ffn_norm)
        return x + self.ffn(m, state.mlp_input), LayerState(h[:, -1:], m[:, -1:], matrices), values


class Backbone(nn.Module):
    def __init__(self, config: Rwkv7Config):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.norm_eps)


class Rwkv7(LanguageModel):
    def __init__(self, config: Rwkv7Config):
        super().__init__()
        self.config = config
        self.model = Backbone(config)

    @property
    def table(self) -> nn.Embedding:
        return self.model.embeddings

    def is_matrix(self, name: str) -> bool:
        return name.endswith(("_proj.weight", "key.weight", "value.weight")) or "lora" in name and name.endswith("weight")

    def initialize(self) -> None:
        """Mixes, decays and rates spread over channels and depth as the authors' code does; matrices as the other siblings."""
        config = self.config
        width, depth = config.hidden_size, config.num_hidden_layers
        nn.init.normal_(self.table.weight, std=1 / config.embedding_multiplier)
        channel = torch.arange(width) / width
        for index, layer in enumerate(self.model.layers):
            early = 1 - index / depth
            powers = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
            for mix, power in powers.items():
                getattr(layer.attn, f"x_{mix}").data.copy_(1 - channel ** (power * early))
            layer.ffn.x_k.data.copy_(1 - channel ** (early**4))
            self.initialize_matrices(layer)
            late = index / max(1, depth - 1)
            layer.attn.w_lora.lora[2].bias.data.copy_(-6.5 + 5 * (torch.arange(width) / (width - 1)) ** (0.85 + late**0.5))
            nn.init.zeros_(layer.attn.a_lora.lora[2].bias)
            if index > 0:
                nn.init.ones_(layer.attn.v_lora.lora[2].bias)

    def initialize_matrices(self, layer: Layer) -> None:
        residual_scale = 1 / math.sqrt(2 * self.config.num_hidden_layers)
        for name, parameter in layer.named_parameters():
            if not self.is_matrix(name):
                continue
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))
            if name.endswith(("o_proj.weight", "ffn.value.weight")):
                parameter.data.mul_(residual_scale)
            elif name.endswith("k_proj.weight"):
                parameter.data.mul_(1 / math.sqrt(self.config.head_dim))  # keys as long as the removal key, whose length is 1
            elif name.endswith("lora.2.weight") and "g_lora" not in name:
                nn.init.zeros_(parameter)

    def positions(self, length: int, dtype: torch.dtype) -> Positions:
        return ()

    def start(self, batch: int, like: Tensor) -> list[LayerState]:
        config = self.config
        row = like.new_zeros(batch, 1, config.hidden_size)
        matrices = torch.zeros(batch, config.hidden_size // config.head_dim, config.head_dim, config.head_dim)
        return [LayerState(row, row, matrices)] * config.num_hidden_layers

    def run(self, x: Tensor, states: list[LayerState]) -> tuple[Tensor, list[LayerState]]:
        after, first_values = [], None
        x = layer_norm(x, self.model.layers[0].pre_norm)
        for layer, state in zip(self.model.layers, states):
            x, state, values = self.call(layer, x, state, first_values)
            first_values = values if first_values is None else first_values
            after.append(state)
        return layer_norm(x, self.model.norm), after

    def layers(self, x: Tensor, positions: Positions) -> Tensor:
        return self.run(x, self.start(x.shape[0], x))[0]

    def extend(self, ids: Tensor, positions: Positions, state: list[LayerState] | None) -> tuple[Tensor, list[LayerState]]:
        x = self.embed(ids)
        states = [layer.expand(x.shape[0]) for layer in state] if state else self.start(x.shape[0], x)
        return self.run(x, states)
