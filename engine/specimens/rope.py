"""RoPE with the scalings of the experiment, and ALiBi: what tells the attention siblings where a token stands.

Sources: arXiv 2104.09864 (RoPE, in the rotate-half layout), 2306.15595 (linear), the NTK-aware base theta s^(D / (D - 2)),
2309.00071 (YaRN with its attention temperature), 2108.12409 (ALiBi). D head dimension, T tokens, H query heads.
"""

import math

import torch
from torch import Tensor


def temperature(factor: float) -> float:
    """YaRN's factor on cos and sin, whose square multiplies the scores."""
    return 0.1 * math.log(factor) + 1.0


def frequencies(head_dim: int, theta: float, rope: dict) -> tuple[Tensor, float]:
    """Inverse frequencies [D/2] in float64 and the factor on cos and sin, for Hugging Face's keys.

    `attention_factor` replaces the factor of any kind; without it only yarn has one other than 1.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    plain = theta**-exponents
    kind, factor = rope["rope_type"], float(rope.get("factor", 1.0))
    attention_factor = rope.get("attention_factor", temperature(factor) if kind == "yarn" else 1.0)
    if kind == "default":
        return plain, attention_factor
    if kind == "linear":
        return plain / factor, attention_factor
    if kind == "ntk":
        return (theta * factor ** (head_dim / (head_dim - 2))) ** -exponents, attention_factor
    if kind == "yarn":
        return yarn(plain, head_dim, theta, factor, rope["original_max_position_embeddings"]), attention_factor
    raise ValueError(f"rope_type {kind!r}: this reference knows default, linear, ntk and yarn")


def yarn(plain: Tensor, head_dim: int, theta: float, factor: float, trained: int) -> Tensor:
    """Fast pairs as they are, slow pairs divided by the factor, a ramp between 32 and 1 rotations over the trained length."""

    def pair_of(rotations: float) -> float:
        return head_dim * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = max(math.floor(pair_of(32)), 0), min(math.ceil(pair_of(1)), head_dim - 1)
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain / factor * ramp + plain * (1 - ramp)


def tables(inverse: Tensor, attention_factor: float, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each [T, D] float32, for positions 0..length-1."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * inverse
    angles = torch.cat([angles, angles], dim=-1)
    return (angles.cos() * attention_factor).float(), (angles.sin() * attention_factor).float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, H, T, D], cos and sin [T, D]."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


def alibi_slopes(heads: int) -> Tensor:
    """[H], for a power of two of heads."""
    return 2.0 ** (-8.0 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)


def alibi_bias(heads: int, queries: int, keys: int) -> Tensor:
    """[1, H, queries, keys] float32 for the last `queries` of `keys` positions: minus slope times distance, minus infinity ahead."""
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    bias = -alibi_slopes(heads)[:, None, None] * distance
    return bias.masked_fill(distance < 0, -math.inf)[None].float()
