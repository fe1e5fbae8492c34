"""From one value per sample to what the caller asked for."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from morn_losses._checks import check_choice

Reduction = Literal["mean", "sum", "none"]


def check_reduction(reduction: object) -> None:
    """Raise ``ValueError`` unless ``reduction`` is one of the three."""
    check_choice(reduction, "reduction", ("mean", "sum", "none"))


def reduce(per_sample: Tensor, reduction: Reduction) -> Tensor:
    """Reduce ``(B,)`` to its mean, its sum, or leave it; the caller has checked which."""
    if reduction == "mean":
        return per_sample.mean()
    if reduction == "sum":
        return per_sample.sum()
    return per_sample
