"""Boundary loss, a few classes at a time so that they stay in cache; the backward pass keeps a byte for each value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from morn_losses._host.clearing import cleared_if_needed

CACHED = 2**17
"""Numbers that are worked on at once, where float32 has a cache of half a MiB."""


def _edges(x: Tensor) -> Tensor:
    """Return the sum over each 3 x 3 window, zeros outside, minus ``9 x``; a symmetric map, and so its own adjoint."""
    rows = x.clone()
    rows[..., 1:, :] += x[..., :-1, :]
    rows[..., :-1, :] += x[..., 1:, :]
    windows = rows.clone()
    windows[..., 1:] += rows[..., :-1]
    windows[..., :-1] += rows[..., 1:]
    return windows.sub_(x, alpha=9)


class _Mismatch(torch.autograd.Function):
    """``sum |edges(y) - edges(counted p)|`` per sample, ``(B,)``, and the sum of ``edges(y)``: nine times the loss's.

    The edges of labels are small whole numbers.
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor, labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        B, K, H, W = p.shape
        step = max(1, CACHED // (B * H * W))
        ctx.pieces = [slice(k, k + step) for k in range(0, K, step)]
        ids, signs = torch.arange(K)[:, None, None], torch.empty_like(p, dtype=torch.int8)
        missed, total = p.new_zeros(B), p.new_zeros(B)
        for piece in ctx.pieces:
            target = _edges((labels[:, None] == ids[piece]).to(torch.int8)).abs_()
            edges = _edges(p[:, piece] * counted[:, None])
            sign = edges.sign()
            difference = target - edges.abs_()
            missed += difference.abs().flatten(1).sum(1)
            total += target.flatten(1).sum(1)
            signs[:, piece] = sign.mul_(difference.sign_())
        ctx.save_for_backward(signs, counted)
        ctx.mark_non_differentiable(total)
        return missed, total

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        signs, counted = ctx.saved_tensors
        scale = -grad[:, None, None, None]
        gradient = torch.empty_like(signs, dtype=grad.dtype)
        for piece in ctx.pieces:
            gradient[:, piece] = _edges(scale * signs[:, piece]) * counted[:, None]
        return gradient, None, None


def mismatch(logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Return what the equation of ``losses/boundary.py`` says."""

    def share(logits: Tensor) -> Tensor:
        missed, total = _Mismatch.apply(logits.softmax(1), labels, counted)  # type: ignore[no-untyped-call]
        # without labels nothing is missed, but a NaN has to show; the edges of any label sum up to more than 1
        missing: Tensor = missed / total.clamp(min=1)
        return missing

    return cleared_if_needed(share, logits, counted)
