"""Half-precision input is computed in float32, and autocast is kept out of sums, norms and divisions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def promote(x: Tensor) -> Tensor:
    """Return half and bfloat16 tensors as float32, any other unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def on_host(x: Tensor) -> bool:
    """Return whether looking at the values of ``x`` costs nothing; elsewhere it waits for the device."""
    return x.device.type == "cpu"


def unit_vectors(x: Tensor, dim: int) -> Tensor:
    """Return ``x`` at length 1 along ``dim``; a zero vector stays 0."""
    peak = x.detach().abs().amax(dim, keepdim=True)
    zero = peak == 0
    # the direction does not depend on the peak, which therefore may be a constant, and squares stay in range
    x = x / torch.where(zero, 1, peak)
    return x / torch.where(zero, 1, x.square().sum(dim, keepdim=True)).sqrt()


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Return a context that switches autocast off on the device of ``x``; the meta device knows none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def to_unit_range(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Map ``value_range`` linearly to [0, 1]; values outside it are not clipped."""
    low, high = value_range
    return (x - low) / (high - low)
