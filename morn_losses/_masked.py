"""Statistics per sample over a mask. What lies outside the mask never enters, neither a value nor a gradient."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
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


def nearest(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize ``(B, H, W)`` as torch's ``mode="nearest"`` does, which knows no integers but bytes."""
    rows, columns = (
        F.interpolate(torch.arange(n, dtype=torch.float32, device=labels.device)[None, None], m, mode="nearest")
        for n, m in zip(labels.shape[1:], size, strict=True)
    )
    return labels[:, rows[0, 0].long()[:, None], columns[0, 0].long()]


def class_masks(labels: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return which labels ``(B, H, W)`` belong to which group of ids: ``(B, n_groups, H * W)``."""
    flat = labels.flatten(1)
    return torch.stack([functools.reduce(torch.logical_or, [flat == i for i in ids]) for ids in groups], 1)
