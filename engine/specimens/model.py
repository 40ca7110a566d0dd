"""What the four siblings share: token embedding, tied head, norm, and how an exported folder becomes a model again.

A sibling is a `LanguageModel`: `positions` makes what its layers need to know about places (nothing, for the recurrent ones), `hidden` runs a
whole batch from the start, `extend` goes on behind a state. Module names follow the Hugging Face layout of the family, so a checkpoint is
the state dict as it stands. Shapes: B batch, T tokens, E hidden size, V vocabulary.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Positions = tuple[Tensor, ...]


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """A LayerNorm in the dtype of x."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


@dataclass(frozen=True)
class Sizes:
    """What every sibling's config.json states in the same words."""

    vocab_size: int = 4096
    hidden_size: int = 256
    num_hidden_layers: int = 4
    embedding_multiplier: float = 16.0  # rows of the table have length 1; multiplied, their entries have variance 1

    @classmethod
    def from_config(cls, config: dict) -> "Sizes":
        return cls(**{field.name: config[field.name] for field in fields(cls)})


def apply(layer: nn.Module, *arguments):
    return layer(*arguments)


class LanguageModel(nn.Module, ABC):
    config: Sizes
    compiled = None  # `apply` as the trainer compiled it: one compilation serves every layer

    def call(self, layer: nn.Module, *arguments):
        """One layer, compiled while gradients are wanted: training repeats few shapes many times, evaluation many shapes."""
        run = self.compiled if self.compiled and torch.is_grad_enabled() else apply
        return run(layer, *arguments)


    @property
    @abstractmethod
    def table(self) -> nn.Embedding: ...

    @abstractmethod
    def is_matrix(self, name: str) -> bool:
        """Whether a parameter is a matrix that Muon trains."""

    @abstractmethod
    def positions(self, length: int, dtype: torch.dtype) -> Positions: ...

    @abstractmethod
    def layers(self, x: Tensor, positions: Positions) -> Tensor:
        """x [B, T, E] from the start of a text -> final normalised states [B, T, E]."""

    @abstractmethod
    def extend(self, ids: Tensor, positions: Positions, state: list | None) -> tuple[Tensor, list]:
        """States [B, T, E] for ids that follow `state` (of one row, shared by all B), and the state behind them."""

    def embed(self, ids: Tensor) -> Tensor:
        return self.table(ids) * self.config.embedding_multiplier

    def hidden(self, ids: Tensor, positions: Positions, dtype: torch.dtype) -> Tensor:
        """ids [B, T] -> final normalised states [B, T, E] in a dtype."""
        return self.layers(self.embed(ids).to(dtype), positions)

    def head(self, hidden: Tensor) -> Tensor:
        """[..., E] -> logits [..., V] with the tied, unscaled table."""
        return F.linear(hidden, self.table.weight.to(hidden.dtype))

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> logits [B, T, V] in float32."""
        return self.head(self.hidden(ids, self.positions(ids.shape[1], torch.float32), torch.float32))


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def load_pretrained(folder: str | Path) -> LanguageModel:
    """The exported folder (config.json, model.safetensors) as a float32 model."""
    from safetensors.torch import load_file

    from siblings import model_of

    folder = Path(folder)
    model = model_of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    weights = load_file(str(folder / "model.safetensors"))
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval()
