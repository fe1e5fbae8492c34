"""Adversarial terms that several methods share, over what their discriminators return."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from morn_losses.functional import relativistic_lsgan_loss
from ntir2dc.networks import scale_weights

Scores = list[list[Tensor]]
"""The maps of a domain's discriminators, of each from fine to coarse."""


def should_be(scores: Scores, target: float) -> Tensor:
    """Least squares: mean((D(x) - target)^2) of each map, summed over the maps (CycleGAN has one, UNIT three)."""
    return torch.stack([(m - target).square().mean() for maps in scores for m in maps]).sum()


def entropy_to(scores: Scores, target: float) -> Tensor:
    """Binary cross-entropy of the sigmoid of each map to the target, a mean, summed over the maps (DRIT++)."""
    maps = [m for of_one in scores for m in of_one]
    return torch.stack([F.binary_cross_entropy_with_logits(m, torch.full_like(m, target)) for m in maps]).sum()


def relativistic_loss(real: Scores, fake: Scores, side: Literal["discriminator", "generator"]) -> Tensor:
    r"""Relativistic least squares as ToDayGAN and its kin have it: each discriminator's by its number of maps.

    .. math::
        \frac{1}{3} \sum_d \frac{\sum_s w_s \, \overline{(r_{ds} - f_{ds} \mp 1)^2}}{n_d \sum_s w_s}

    with the weights 1, ..., n of :func:`ntir2dc.networks.scale_weights`; minus on the discriminators' side.
    """
    terms = [
        relativistic_lsgan_loss(r, f, side, scale_weights=scale_weights(len(r))) / len(r)
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()
