"""What is not finite at a pixel that takes no part: cleared, but only where there is any."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def cleared_if_needed(loss: Callable[[Tensor], Tensor], logits: Tensor, counted: Tensor) -> Tensor:
    """Return ``loss(logits)``, ``(B,)``, whatever lies outside of ``counted`` ``(B, H, W)``, which it weighs with 0.

    A NaN there shows in the value, and would make a NaN gradient in the backward of the softmax. To look for one costs
    less than to clear all.
    """
    values = loss(logits)
    if bool(values.isfinite().all()):
        return values
    return loss(torch.where(counted[:, None], logits, 0))
