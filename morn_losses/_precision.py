"""Half-precision input is computed in float32, and autocast is kept out of sums, norms and divisions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def promote(x: Tensor) -> Tensor:
    """Return half and bfloat16 tensors as float32, any other unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Return a context that switches autocast off on the device of ``x``; the meta device knows none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def unit(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Map ``value_range`` linearly to [0, 1], half precision in float32; values outside it are not clipped."""
    low, high = value_range
    return (promote(x) - low) / (high - low)
