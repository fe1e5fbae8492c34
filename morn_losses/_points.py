"""Sets of points of different sizes as one padded batch, in range."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from morn_losses._precision import unit_vectors

BLOCK = 64  # points summed up at once: sums of sums lose less to rounding than one long sum


class Points(NamedTuple):
    """P sets of up to N points, about an origin and in units that keep their squares in range."""

    values: Tensor  # (P, N, D): what means are taken of; 0 where no point exists
    compared: Tensor  # (P, N, D): what distances are taken of: the values, or under cosine their directions
    exists: Tensor  # (P, N)
    allowed: Tensor  # (P, N): may become a center; a zero vector has no direction
    origin: Tensor  # (P, 1, D)
    unit: Tensor  # (P, 1, 1)
    variance: Tensor  # (P,): mean of the columns' variances
    finite: Tensor  # (P,)


def pack(points: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut the points ``(B, N, D)`` of each of the masks ``(B, G, N)`` to the size of the largest of B * G sets.

    Returns them, ``(B * G, n, D)``, padded to whole blocks; which of them exist; and what :func:`unpack` asks for.
    """
    sizes = masks.sum(2, keepdim=True)
    n = int(sizes.max()) if masks.shape[2] > 0 else 0  # waits for the device
    if n == 0:  # no step meets an empty axis
        points, masks, n = points.new_zeros(len(points), 1, points.shape[2]), masks.new_zeros(*masks.shape[:2], 1), 1
    rows = masks.to(torch.int8).argsort(dim=2, descending=True, stable=True)[..., :n]
    exists = torch.arange(n, device=rows.device) < sizes
    packed = points.gather(1, rows.flatten(1)[..., None].expand(-1, -1, points.shape[2])).view(-1, n, points.shape[2])
    rest = -n % BLOCK if n > BLOCK else 0
    return F.pad(packed, (0, 0, 0, rest)), F.pad(exists.flatten(0, 1), (0, rest)), rows.flatten(0, 1)


def unpack(labels: Tensor, exists: Tensor, rows: Tensor, n_points: int) -> Tensor:
    """Return the labels ``(P, n)`` of packed points at their places ``(P, N)``, and -1 elsewhere."""
    unpacked = labels.new_full((len(labels), max(n_points, 1)), -1)
    return unpacked.scatter_(1, rows, torch.where(exists, labels, -1)[:, : rows.shape[1]])[:, :n_points]


def sums(members: Tensor, values: Tensor) -> Tensor:
    """Return ``members @ values``, ``(P, K, n) @ (P, n, D)``, block by block."""
    P, n, D = values.shape
    size = min(n, BLOCK)
    by_block = members.view(P, -1, n // size, size).transpose(1, 2) @ values.view(P, n // size, size, D)
    return by_block.sum(1)


def in_range(points: Tensor, exists: Tensor, metric: str) -> Points:
    """Return the points ``(P, N, D)`` that exist divided by a power of two, which rounds nothing, about their mean.

    Far from their mean ``|x|^2 - 2 x.c + |c|^2`` would cancel.
    """
    points = torch.where(exists[..., None], points, 0)
    peak = points.abs().amax((1, 2))
    finite = peak.isfinite()
    peak = torch.where(finite, peak, 1).clamp(min=torch.finfo(points.dtype).tiny)
    unit = (peak / (2 * torch.frexp(peak).mantissa))[:, None, None]
    values = points / unit
    size = exists.sum(1)[:, None, None].clamp(min=1)
    mean = values.sum(1, keepdim=True) / size
    centered = torch.where(exists[..., None], values - mean, 0)
    variance = centered.square().sum((1, 2)) / size[:, 0, 0] / points.shape[2]
    if metric == "euclidean":
        return Points(centered, centered, exists, exists, mean, unit, variance, finite)
    directions = unit_vectors(points, 2)
    return Points(values, directions, exists, directions.any(2), torch.zeros_like(mean), unit, variance, finite)


def refuse_nested(x: object, name: str) -> None:
    """Raise ``TypeError`` for a nested tensor, whose parts differ in size."""
    if isinstance(x, Tensor) and x.is_nested:
        raise TypeError(
            f"{name}: expected a padded tensor and a mask, got a nested tensor; torch.nested.to_padded_tensor pads one"
        )
