"""What both ways of running Lloyd's algorithm share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Metric = Literal["euclidean", "cosine"]
Init = Literal["k-means++", "random"]

ROUNDING = 64  # means that differ by this many units of rounding, relative to the spread, count as equal


@dataclass(frozen=True)
class Options:
    """The options of k-means; see :func:`morn_losses.functional.kmeans`."""

    n_clusters: int
    metric: Metric
    init: Init | Tensor  # centers: (P, K, D)
    n_init: int
    max_iter: int
    tol: float
    generator: torch.Generator | None
    name: str  # what errors call the points


class Clusters(NamedTuple):
    """What clustering finds, with a leading axis of P problems."""

    centroids: Tensor
    assignments: Tensor
    inertia: Tensor
    counts: Tensor
    n_iter: Tensor


def on_host(x: Tensor) -> bool:
    """Whether looking at the values of ``x`` costs nothing; elsewhere it waits for the device."""
    return x.device.type == "cpu"


def unit_vectors(x: Tensor, dim: int) -> Tensor:
    """Return ``x`` at length 1 along ``dim``; a zero vector stays 0."""
    peak = x.detach().abs().amax(dim, keepdim=True)
    zero = peak == 0
    # the direction does not depend on the peak, which therefore may be a constant, and squares stay in range
    x = x / torch.where(zero, 1, peak)
    return x / torch.where(zero, 1, x.square().sum(dim, keepdim=True)).sqrt()


def squared_tolerance(tol: float, dtype: torch.dtype) -> float:
    """Return ``tol``, or what rounding alone may shift: the same points may sum up differently in another order."""
    return float(max(tol, (ROUNDING * torch.finfo(dtype).eps) ** 2))
