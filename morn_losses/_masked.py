"""Statistics per sample over a mask. What lies outside the mask never enters, neither a value nor a gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``x`` over ``mask`` for each sample: ``(B, ...) -> (B,)``."""
    return torch.where(mask, x, 0).flatten(1).sum(1)


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """``numerator / denominator``; exactly 0, connected to the graph, where the denominator is not above 0."""
    empty = denominator <= 0  # a NaN is not, and shows in the quotient
    return torch.where(empty, 0, numerator) / torch.where(empty, 1, denominator)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``x`` over ``mask`` for each sample; 0 where the mask is empty."""
    return safe_divide(masked_sum(x, mask), mask.flatten(1).sum(1).to(x.dtype))


def masked_min(x: Tensor, mask: Tensor) -> Tensor:
    """Minimum of ``x`` over ``mask`` for each sample; 0 (with zero gradient) where the mask is empty."""
    lowest = torch.where(mask, x, float("inf")).flatten(1).amin(1)
    return torch.where(mask.flatten(1).any(1), lowest, 0)
