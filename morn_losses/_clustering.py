"""What k-means shares with its kernel for the CPU: the options, and the drawing of starting centers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from morn_losses._checks import check_choice, check_floating, check_integer, check_number
from morn_losses._points import Points
from morn_losses._precision import unit_vectors

Metric = Literal["euclidean", "cosine"]
Init = Literal["k-means++", "random"]

FARTHEST = 2.0**30  # given centers are brought within this many units of the points, so that squares stay finite
ROUNDING = 64  # means that differ by this many units of rounding, relative to the spread, count as equal


@dataclass(frozen=True)
class KMeansOptions:
    """The options of :func:`morn_losses.functional.kmeans`, in range."""

    n_clusters: int
    metric: Metric
    init: Init | Tensor
    n_init: int
    max_iter: int
    tol: float

    def __post_init__(self) -> None:
        """Refuse what is out of range, in the words of the argument."""
        for name in ("n_clusters", "n_init", "max_iter"):
            object.__setattr__(self, name, as_integer(getattr(self, name), name, minimum=1))
        check_choice(self.metric, "metric", ("euclidean", "cosine"))
        if isinstance(self.init, Tensor):
            check_floating(self.init, "init")
        else:
            check_choice(self.init, "init", ("k-means++", "random"))
        check_number(self.tol, "tol", minimum=0)

    def squared_tolerance(self, dtype: torch.dtype) -> float:
        """Return ``tol``, or what rounding alone may shift: the same points may sum up differently in another order."""
        return float(max(self.tol, (ROUNDING * torch.finfo(dtype).eps) ** 2))


def as_integer(value: object, name: str, *, minimum: int) -> int:
    """Return an integer of Python or numpy, which may be an array without axes, as an int of at least ``minimum``."""
    if isinstance(value, (np.integer, np.ndarray)) and value.ndim == 0 and value.dtype.kind in "iu":
        value = value.item()
    check_integer(value, name, minimum=minimum)
    assert isinstance(value, int)
    return value


def n_candidates(n_clusters: int) -> int:
    """Return among how many points greedy k-means++ looks for a center; as many as scikit-learn does."""
    return 2 + int(math.log(n_clusters))


def draw_centers(x: Points, options: KMeansOptions, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw starting centers ``(P, K, D)`` among the points; also return which of them could be drawn ``(P, K)``."""
    (P, N, D), K = x.values.shape, options.n_clusters
    problems = torch.arange(P, device=x.values.device)
    device = x.values.device if generator is None else generator.device

    def race(weights: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Draw n points of each problem, each with probability in proportion to its weight and none twice."""
        # of exponential waiting times with these rates, the shortest are over first
        wait = torch.empty(weights.shape, dtype=weights.dtype, device=device).exponential_(generator=generator)
        rate, rows = (weights / wait.to(weights.device).clamp_(min=torch.finfo(wait.dtype).tiny)).topk(min(n, N), 1)
        return rows, rate > 0

    weights = x.allowed.to(x.values.dtype)
    if options.init == "random":
        rows, drawn = race(weights, K)
        rows, drawn = F.pad(rows, (0, K - rows.shape[1])), F.pad(drawn, (0, K - rows.shape[1]))
        return torch.where(drawn[..., None], x.values[problems[:, None], rows], 0), drawn

    centers, alive = x.values.new_zeros(P, K, D), x.allowed.new_zeros(P, K)
    squares = x.compared.square().sum(2)
    for k in range(K):
        rows, drawn = race(weights, 1 if k == 0 else n_candidates(K))
        alive[:, k] = drawn[:, 0]
        row = rows[:, 0]
        if rows.shape[1] > 1:
            # the candidate that leaves the smallest sum
            candidates = x.compared[problems[:, None], rows]
            bias = squares[:, None] + squares.gather(1, rows)[..., None]
            distances = torch.baddbmm(bias, candidates, x.compared.mT, alpha=-2)
            left = torch.minimum(weights[:, None], distances).sum(2)
            row = rows[problems, torch.where(drawn, left, math.inf).argmin(1)]
        centers[:, k] = torch.where(drawn[:, :1], x.values[problems, row], 0)
        # by differences, so that a copy of a center weighs exactly 0
        distance = torch.linalg.vector_norm(x.compared - x.compared[problems, row][:, None], dim=2).square_()
        weights = torch.where(x.allowed, distance if k == 0 else torch.minimum(weights, distance), 0)
    return centers, alive


def given_centers(x: Points, init: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    """Return given centers ``(P, K, D)`` about the origin and in the units of the points; and which repeat no other."""
    if metric == "cosine":  # only the directions count
        centers = unit_vectors(init, 2)
    else:
        centers = (init / x.unit - x.origin).clamp(-FARTHEST, FARTHEST)
    return centers, first_of_its_kind(centers)


def first_of_its_kind(centers: Tensor) -> Tensor:
    """Return which centers ``(P, K, D)`` equal no earlier one of their problem, ``(P, K)``."""
    repeats = [(centers[:, k : k + 1] == centers[:, :k]).all(2).any(1) for k in range(centers.shape[1])]
    return ~torch.stack(repeats, 1)
