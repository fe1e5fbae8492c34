"""Points of many problems in tiles of equal size, each owned by one problem.

Work and memory follow the number of points that exist, and every step is one batched matrix product over the tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morn_losses._lloyd import common
from morn_losses._lloyd.common import Metric, unit_vectors

TILE = 64  # rows of a tile; a problem is padded by less than one tile


@dataclass(frozen=True)
class Tiles:
    """The existing points of all problems, n tiles of ``TILE`` rows."""

    counted: Tensor  # (n, TILE, D + 1): the points, then a 1; sums of these give means. 0 where no point exists
    directions: Tensor | None  # (n, TILE, D), under cosine
    exists: Tensor  # (n, TILE)
    seedable: Tensor  # (n, TILE): may become a center; a zero vector has no direction
    owner: Tensor  # (n,): the problem of each tile
    n_problems: int

    @property
    def compared(self) -> Tensor:
        """What distances are taken of, ``(n, TILE, D)``."""
        return self.counted[..., :-1] if self.directions is None else self.directions

    def total(self, values: Tensor) -> Tensor:
        """Sum ``(n, ...)`` over the tiles of each problem: ``(P, ...)``."""
        return sum_by_owner(values, self.owner, self.n_problems)

    def argmax(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest of ``(n, TILE)`` in each problem and its row in the flattened tiles, ``(P,)`` each.

        A problem without tiles gets -inf and the row of another.
        """
        best, column = values.max(1)
        top = best.new_full((self.n_problems,), -math.inf).scatter_reduce(0, self.owner, best, "amax")
        last = len(self.owner) - 1
        number = torch.arange(last + 1, device=values.device)
        tile = number.new_full((self.n_problems,), last).scatter_reduce(
            0, self.owner, torch.where(best == top[self.owner], number, last), "amin"
        )
        return top, tile * TILE + column[tile]

    def keep(self, which: Tensor) -> Tiles:
        """Return the tiles that ``which`` (n,) selects; a device is waited for once."""
        rows = which.nonzero()[:, 0]
        return replace(
            self,
            counted=self.counted[rows],
            directions=None if self.directions is None else self.directions[rows],
            exists=self.exists[rows],
            seedable=self.seedable[rows],
            owner=self.owner[rows],
        )


def sum_by_owner(values: Tensor, owner: Tensor, n_owners: int) -> Tensor:
    """Sum ``(n, ...)`` by owner: ``(n_owners, ...)``, always in the same order."""
    total = values.new_zeros((n_owners, *values.shape[1:]))
    if common.on_host(values):
        return total.index_add_(0, owner, values)
    return total.index_put_((owner,), values, accumulate=True)  # index_add_ adds in no fixed order on CUDA


def lay_out(points: Tensor, mask: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lay the points ``(B, N, D)`` that exist for each problem ``(P, N)`` out in tiles.

    Returns the rows with a 1 appended ``(n, TILE, D + 1)``, which of them exist ``(n, TILE)``, each point's place in
    the flattened rows ``(P, N)`` (one past their end if it does not exist), and the owner of each tile ``(n,)``.
    """
    P, N = mask.shape
    n_tiles = (mask.sum(1) + TILE - 1) // TILE
    n_tiles[:1].clamp_(min=1)  # without any point there is still a tile, and no step meets an empty axis
    n = int(n_tiles.sum())  # the call's only look at the data before the iterations
    owner = torch.arange(P, device=mask.device).repeat_interleave(n_tiles, output_size=n)
    first = (n_tiles.cumsum(0) - n_tiles) * TILE
    slot = torch.where(mask, mask.cumsum(1) - 1 + first[:, None], n * TILE)
    source = torch.arange(N, device=mask.device).expand(P, N)
    row = source.new_full((n * TILE + 1,), -1).scatter_(0, slot.flatten(), source.flatten())[:-1].view(n, TILE)
    exists = row >= 0
    row = torch.where(exists, row, row[:, :1].clamp(min=0))  # padded with the tile's first point, which can do no harm
    counted = points.new_ones(n, TILE, points.shape[2] + 1)
    # by two indices: flattened, a feature map seen as points would be copied whole
    counted[..., :-1] = points[(owner // group)[:, None], row]
    counted[0] = torch.where(exists[0, 0], counted[0], 0)  # unless it does not exist, in the tile without any
    return counted, exists, slot, owner


def make_tiles(
    counted: Tensor, exists: Tensor, owner: Tensor, size: Tensor, scale: Tensor, metric: Metric
) -> tuple[Tiles, Tensor, Tensor]:
    """Return the tiles, the origin ``(P, 1, D)`` that was taken off them and each problem's mean variance."""
    points = counted[..., :-1]
    directions = unit_vectors(points, 2) if metric == "cosine" else None
    seedable = exists if directions is None else exists & directions.any(2)
    points.div_(scale[owner])
    weights = exists.to(points.dtype)
    existing = size.clamp(min=1)[:, None]
    mean = sum_by_owner((weights[:, None] @ points)[:, 0], owner, len(size)) / existing
    # about the mean: |x|^2 - 2 x.c + |c|^2 would cancel far from the origin
    centered = points.sub_(mean[owner][:, None]) if metric == "euclidean" else points - mean[owner][:, None]
    squares = torch.linalg.vector_norm(centered, dim=2).square_().mul_(weights).sum(1)
    variance = sum_by_owner(squares, owner, len(size)) / existing[:, 0] / points.shape[2]
    origin = mean if metric == "euclidean" else torch.zeros_like(mean)
    counted.mul_(weights[..., None])
    return Tiles(counted, directions, exists, seedable, owner, len(size)), origin[:, None], variance
