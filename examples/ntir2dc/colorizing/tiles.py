"""Large frames in tiles that agree: all of them share the statistics of the norms, taken once from a reduced frame.

A norm that measured each tile by itself would give neighbors different colors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntir2dc.colorizing.sizes import resized, translate
from ntir2dc.data.samples import DataError

HALO = 32
"""Pixels around a tile that are translated and thrown away; the network's stride, 4, has to divide it."""

SMALLEST_TILE = 2 * HALO + 32

STRIDE = 4


@dataclass
class Statistics:
    """Mean and scale of each norm, in the order in which they are called; measured, or applied.

    Args:
        measured: of each norm, ``(groups, 1)`` each.
        applied: whether they are applied; else each call is measured and added.
    """

    measured: list[tuple[Tensor, Tensor]]
    applied: bool = False
    calls: int = 0

    def normalize(self, x: Tensor, groups: int, eps: float) -> Tensor:
        """Return ``(B, C, H, W)`` without mean and scale of ``groups`` groups of channels."""
        B, C, H, W = x.shape
        grouped = x.float().reshape(B, groups, -1)
        if self.applied:
            mean, scale = self.measured[self.calls % len(self.measured)]
            self.calls += 1
        else:
            variance, mean = torch.var_mean(grouped, (0, 2), correction=0)
            mean, scale = mean[:, None], (variance + eps).rsqrt()[:, None]
            self.measured.append((mean, scale))
        return ((grouped - mean) * scale).reshape(B, C, H, W).to(x.dtype)


@contextmanager
def shared_statistics(network: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Let instance and group norms take statistics from, or note them in, one place while the context lasts."""
    changed: list[nn.InstanceNorm2d | nn.GroupNorm] = []
    for norm in network.modules():
        if isinstance(norm, nn.InstanceNorm2d | nn.GroupNorm):
            norm.forward = _forward(norm, statistics)  # type: ignore[method-assign, assignment]
            changed.append(norm)
    try:
        yield
    finally:
        for norm in changed:
            del norm.forward


def _forward(norm: nn.InstanceNorm2d | nn.GroupNorm, statistics: Statistics) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else x.shape[1]
        x = statistics.normalize(x, groups, norm.eps)
        if norm.weight is None:
            return x
        return x * norm.weight[:, None, None] + norm.bias[:, None, None]

    return forward


def check_tile(tile: int) -> None:
    """Raise a :class:`DataError` unless tiles of this side leave something between their halos; 0 is none."""
    if tile and (tile < SMALLEST_TILE or tile % STRIDE):
        raise DataError(f"tile: expected 0 or a multiple of {STRIDE} from {SMALLEST_TILE} on, got {tile}")


def translate_in_tiles(translator: nn.Module, x: Tensor, tile: int, halo: int = HALO) -> Tensor:
    """Return the translation of ``(B, 3, H, W)``, of which the network never sees more than ``tile`` by ``tile``.

    Args:
        translator: the network.
        x: frames; those that are no larger than a tile are translated whole.
        tile: side of what the network sees, the halo included.
        halo: what is thrown away at each side of it that is no border of the frame.
    """
    H, W = x.shape[-2:]
    if max(H, W) <= tile:
        return translate(translator, x)
    return torch.cat([_one_in_tiles(translator, frame[None], tile, halo) for frame in x])


@torch.inference_mode()
def _one_in_tiles(translator: nn.Module, x: Tensor, tile: int, halo: int) -> Tensor:
    H, W = x.shape[-2:]
    share = tile / max(H, W)
    statistics = Statistics([])
    with shared_statistics(translator, statistics):
        translate(translator, resized(x, (max(1, round(H * share)), max(1, round(W * share)))))
        statistics.applied = True
        out = torch.empty_like(x, dtype=torch.float32)
        for top, first_row, last_row in _spans(H, tile, halo):
            for left, first_column, last_column in _spans(W, tile, halo):
                piece = translate(translator, x[..., top : top + tile, left : left + tile])
                rows, columns = slice(first_row - top, last_row - top), slice(first_column - left, last_column - left)
                out[..., first_row:last_row, first_column:last_column] = piece[..., rows, columns]
    return out


def _spans(size: int, tile: int, halo: int) -> list[tuple[int, int, int]]:
    """Return for each tile along an axis where it starts, and from where to where it is kept.

    Starts are multiples of the network's stride: it treats pixels by their place in it.
    """
    starts = list(range(0, max(size - tile, 0), tile - 2 * halo))
    last = -(-max(size - tile, 0) // STRIDE) * STRIDE
    starts = [*starts, last]
    edges = [0, *(start + halo for start in starts[1:]), size]
    return list(zip(starts, edges, edges[1:], strict=False))
