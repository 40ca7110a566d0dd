"""The Mamba sibling (arXiv 2312.00752), with the tensor names of Hugging Face's `mamba`.

Shapes: B batch, T tokens, E hidden size, I inner channels, N states of a channel, R rank of the time step, K taps of the convolution.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import LanguageModel, Positions, RMSNorm, Sizes
from scans import selective_scan


@dataclass(frozen=True)
class MambaConfig(Sizes):
    num_hidden_layers: int = 6
    state_size: int = 16
    conv_kernel: int = 4
    expand: int = 2
    time_step_rank: int = 16
    layer_norm_epsilon: float = 1e-5

    @property
    def inner_size(self) -> int:
        return self.expand * self.hidden_size


class LayerState(NamedTuple):
    """The last K - 1 inputs of the convolution [B, K - 1, I], and the states [B, N, I]."""

    tail: Tensor
    scan: Tensor

    def expand(self, batch: int) -> "LayerState":
        return LayerState(self.tail.expand(batch, -1, -1), self.scan.expand(batch, -1, -1))


class Mixer(nn.Module):
    def __init__(self, config: MambaConfig):
        super().__init__()
        self.config = config
        inner, states, rank = config.inner_size, config.state_size, config.time_step_rank
        self.in_proj = nn.Linear(config.hidden_size, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, config.conv_kernel, groups=inner)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.empty(inner, states))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=False)

    def convolve(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Causal and depthwise, as sums of shifted rows; x [B, T, I], tail [B, K - 1, I]. Returns the result and the next tail."""
        padded = torch.cat([tail, x], dim=1)
        weight, length = self.conv1d.weight.to(x.dtype), x.shape[1]
        taps = [padded[:, tap : tap + length] * weight[:, 0, tap] for tap in range(self.config.conv_kernel)]
        return sum(taps) + self.conv1d.bias.to(x.dtype), padded[:, length:]

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        config = self.config
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u, tail = self.convolve(u, state.tail)
        u = F.silu(u)
        low, b, c = self.x_proj(u).split([config.time_step_rank, config.state_size, config.state_size], dim=-1)
        step = F.softplus(F.linear(low, self.dt_proj.weight).float() + self.dt_proj.bias)
        rates = -torch.exp(self.A_log).t().contiguous()
        y, _, scan = selective_scan(u.float(), step, rates, b.float(), c.float(), state.scan)
        y = y.to(x.dtype) + u * self.D.to(x.dtype)
        return self.out_proj(y * F.silu(z)), LayerState(tail, scan)


class Layer(nn.Module):
    def __init__(self, config: MambaConfig):
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.mixer = Mixer(config)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        mixed, after = self.mixer(self.norm(x), state)
        return x + mixed, after


class Backbone(nn.Module):
    def __init__(self, config: MambaConfig):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm_f = RMSNorm(config.hidden_size, config.layer_norm_epsilon)


class Mamba(LanguageModel):
    def __init__(self, config: MambaConfig):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)

    @property
    def table(self) -> nn.Embedding:
        return self.backbone.embeddings

    def is_matrix(self, name: str) -> bool:
        return "_proj.weight" in name and "dt_proj" not in name

    def initialize(self) -> None:
        """As the paper: rates 1..N, time steps spread over [0.001, 0.1]; the rest as the other siblings."""
        config = self.config
        nn.init.normal_(self.table.weight, std=1 / config.embedding_multiplier)
        for layer in self.backbone.layers:
            mixer = layer.mixer
            for projection in (mixer.in_proj, mixer.x_proj, mixer.dt_proj, mixer.out_proj):
                nn.init.normal_(projection.weight, std=1 / math.sqrt(projection.weight.shape[1]))
            mixer.out_proj.weight.data.mul_(1 / math.sqrt(config.num_hidden_layers))
            step = torch.exp(torch.rand(config.inner_size) * math.log(100) + math.log(0.001))
            mixer.dt_proj.bias.data.copy_(step + torch.log(-torch.expm1(-step)))
            mixer.A_log.data.copy_(torch.log(torch.arange(1, config.state_size + 1).float()).expand(config.inner_size, -1))
            nn.init.zeros_(mixer.conv1d.bias)

    def positions(self, length: int, dtype: torch.dtype) -> Positions:
        return ()

    def start(self, batch: int, like: Tensor) -> list[LayerState]:
        config = self.config
        tail = like.new_zeros(batch, config.conv_kernel - 1, config.inner_size)
        scan = torch.zeros(batch, config.state_size, config.inner_size)
        return [LayerState(tail, scan)] * config.num_hidden_layers

    def run(self, x: Tensor, states: list[LayerState]) -> tuple[Tensor, list[LayerState]]:
        after = []
        for layer, state in zip(self.backbone.layers, states):
            x, state = self.call(layer, x, state)
            after.append(state)
        return self.backbone.norm_f(x), after

    def layers(self, x: Tensor, positions: Positions) -> Tensor:
        return self.run(x, self.start(x.shape[0], x))[0]

    def extend(self, ids: Tensor, positions: Positions, state: list[LayerState] | None) -> tuple[Tensor, list[LayerState]]:
        x = self.embed(ids)
        states = [layer.expand(x.shape[0]) for layer in state] if state else self.start(x.shape[0], x)
        return self.run(x, states)
