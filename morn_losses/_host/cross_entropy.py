"""Weighted cross-entropy whose exponentials, which take most of the time, are taken once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from morn_losses._host.clearing import cleared_if_needed
from morn_losses._masked import safe_divide


def _from_largest(logits: Tensor) -> Tensor:
    """Return the logits minus the pixel's largest."""
    return logits - logits.amax(1, keepdim=True)


class _NegativeLogLikelihood(torch.autograd.Function):
    """``sum -weights * log softmax(logits)[labels]`` per sample, ``(B,)``; labels and weights are ``(B, 1, H, W)``.

    The backward pass makes the exponentials the gradient, in place.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        shifted = _from_largest(logits)
        of_label = shifted.gather(1, labels)
        ctx.exponentials = shifted.exp_()
        total = ctx.exponentials.sum(1, keepdim=True)
        ctx.save_for_backward(logits, total, labels, weights)
        losses: Tensor = total.log().sub_(of_label).mul_(weights)
        return losses.flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, total, labels, weights = ctx.saved_tensors
        scale = grad[:, None, None, None] * weights
        if torch.is_grad_enabled():  # a gradient to be differentiated again is one of the logits themselves
            return (logits.softmax(1) * scale).scatter_add(1, labels, -scale), None, None
        exponentials, ctx.exponentials = ctx.exponentials, None
        if exponentials is None:  # another pass over the same graph
            exponentials = _from_largest(logits).exp_()
        return exponentials.mul_(scale / total).scatter_add_(1, labels, -scale), None, None


def mean_log_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return what the equation of ``losses/class_balanced.py`` says."""
    K = logits.shape[1]
    known = labels.clamp(max=K - 1)[:, None]

    def total(logits: Tensor) -> Tensor:
        loss: Tensor = _NegativeLogLikelihood.apply(logits, known, weights[:, None])  # type: ignore[no-untyped-call]
        return loss

    return safe_divide(cleared_if_needed(total, logits, labels < K), weights.flatten(1).sum(1))
