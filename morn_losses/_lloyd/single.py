"""Lloyd's algorithm for one problem at a time, on the host: looking at values is free, and the points stay in cache."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from morn_losses._lloyd.common import (
    FARTHEST,
    ROUNDING,
    Clusters,
    Init,
    Metric,
    first_of_its_kind,
    squared_tolerance,
    unit_vectors,
)

ORDINARY = 2.0**20  # points up to this size and down to its inverse are taken as they are


class Points(NamedTuple):
    """The points of one problem."""

    values: Tensor  # (n, D), contiguous; sums of these give means
    compared: Tensor  # (n, D): what distances are taken of
    metric: Metric


def cluster_one(
    points: Tensor,
    n_clusters: int,
    *,
    metric: Metric,
    init: Init | Tensor,
    uniforms: Tensor,
    max_iter: int,
    tol: float,
    name: str,
) -> Clusters:
    """Cluster ``(n, D)``, n >= 1, once for each row of ``uniforms`` ``(n_init, K)``, which the centers are drawn with.

    ``init`` may be finite centers ``(K, D)``. The result has no axis of problems.
    """
    points = points.contiguous()
    low, high = (float(x) for x in torch.aminmax(points))
    peak = max(-low, high)
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(f"{name}: expected finite values, got NaN or inf")
    compared = _directions(points) if metric == "cosine" else points
    # a power of two is divided out without rounding, and the squares of what is left neither over- nor underflow
    power = 2.0 ** (math.frexp(max(peak, torch.finfo(points.dtype).tiny))[1] - 1)
    scale = 1.0 if 1 / ORDINARY < peak < ORDINARY else power
    points = points if scale == 1 else points / scale
    mean = points.mean(0)
    # about the mean: |x|^2 - 2 x.c + |c|^2 would cancel far from the origin
    centered = points - mean
    variance = float(torch.linalg.vector_norm(centered, dim=1).square().mean()) / points.shape[1]
    tolerance = math.sqrt(squared_tolerance(tol, points.dtype) * variance)
    if metric == "euclidean":
        origin, problem = mean, Points(centered, centered, metric)
    else:
        origin, problem = torch.zeros_like(mean), Points(points, compared, metric)

    best: Clusters | None = None
    for row in uniforms:
        if isinstance(init, Tensor):
            centers, alive = _given(init, origin, scale, FARTHEST * power / scale, metric)
        else:
            centers, alive = _draw(problem, n_clusters, init, row)
        found = _lloyd(problem, centers, alive, max_iter, tolerance)
        best = found if best is None or float(found.inertia) < float(best.inertia) else best
    assert best is not None
    inertia = best.inertia * scale * scale if metric == "euclidean" else best.inertia
    return best._replace(centroids=(best.centroids + origin) * scale, inertia=inertia)


def _directions(points: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    shortest, longest = (float(x) for x in torch.aminmax(lengths))
    ordinary = 1 / ORDINARY < shortest and longest < ORDINARY
    return points / lengths if ordinary else unit_vectors(points, 1)


def _given(init: Tensor, origin: Tensor, scale: float, limit: float, metric: Metric) -> tuple[Tensor, Tensor]:
    # under cosine only the directions count
    centers = unit_vectors(init, 1) if metric == "cosine" else (init / scale - origin).clamp_(-limit, limit)
    return centers, first_of_its_kind(centers[None])[0]


def _draw(problem: Points, n_clusters: int, init: Init, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw starting centers ``(K, D)`` among the points, and say which could be drawn ``(K,)``."""
    x = problem.compared
    centers = problem.values.new_zeros(n_clusters, x.shape[1])
    alive = torch.zeros(n_clusters, dtype=torch.bool, device=x.device)
    # a zero vector has no direction and may not become a center
    weights = x.any(1).double() if problem.metric == "cosine" else x.new_ones(len(x), dtype=torch.float64)
    for k in range(n_clusters):
        steps = weights.cumsum(0)
        if float(steps[-1]) <= 0:
            break
        # the first point whose step lies above the number drawn, so that none of weight 0 is
        row = int(torch.searchsorted(steps, uniforms[k] * steps[-1], right=True))
        centers[k], alive[k] = problem.values[row], True
        if init == "random":
            weights[row] = 0
        elif k + 1 < n_clusters:
            # by differences, so that a copy of a center weighs exactly 0
            distances = torch.linalg.vector_norm(x - x[row], dim=1).double().square_()
            weights = distances * weights if k == 0 else torch.minimum(weights, distances)
    return centers, alive


def _target(centers: Tensor, metric: Metric) -> Tensor:
    return unit_vectors(centers, 1) if metric == "cosine" else centers


def _assign(problem: Points, target: Tensor, penalty: Tensor) -> Tensor:
    """Return the cluster of every point, ``(n,)``: the nearest one without a penalty of inf, else the first."""
    bias = penalty if problem.metric == "cosine" else target.square().sum(1).add_(penalty)
    # min returns the first of equals as argmin does, ten times faster
    return torch.addmm(bias[:, None], target, problem.compared.mT, alpha=-2).min(0).indices


def _sums(values: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Return the sum of the points of each cluster, ``(K, D)``."""
    return (labels == torch.arange(n_clusters, device=labels.device)[:, None]).to(values.dtype) @ values


def _lloyd(problem: Points, centers: Tensor, alive: Tensor, max_iter: int, tolerance: float) -> Clusters:
    """Iterate until the problem is done; a center that is not alive attracts no point.

    Once few points change their cluster, the sums follow them. What that loses to rounding, much where sizes differ
    much, is made good: a problem is done only by sums over all points.
    """
    values, K = problem.values, len(centers)
    penalty = torch.where(alive, 0, math.inf).to(values.dtype)
    labels = torch.full((len(values),), -1, device=values.device)
    sums, counts, exact = centers, torch.zeros(K, dtype=torch.int64, device=values.device), False
    settled = False  # the labels are those of the centers
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        found = _assign(problem, _target(centers, problem.metric), penalty)
        rows = (found != labels).nonzero()[:, 0]
        if len(rows) == 0 and exact and int(counts.count_nonzero()) == K:
            settled = True
            break
        if 4 * len(rows) > len(values):
            sums, exact = _sums(values, found, K), True
        elif len(rows) > 0:
            changed = values.index_select(0, rows)
            sums.index_add_(0, found[rows], changed).index_add_(0, labels[rows], changed, alpha=-1)
            exact = False
        labels, counts = found, torch.bincount(found, minlength=K)
        vacant = int(counts.count_nonzero()) < K
        if vacant:
            if _restart(problem, centers, labels, sums, counts):
                exact = False
            penalty = torch.where(counts > 0, 0, math.inf).to(values.dtype)
        moved = _means(sums, counts, centers, vacant)
        shift = float(torch.linalg.vector_norm(moved - centers))
        if not exact and (shift <= tolerance or n_iter == max_iter):
            sums, exact = _sums(values, labels, K), True
            moved = _means(sums, counts, centers, vacant)
            shift = float(torch.linalg.vector_norm(moved - centers))
        centers = moved
        if shift <= tolerance:
            break

    target = _target(centers, problem.metric)
    if not settled:
        labels = _assign(problem, target, penalty)
        counts = torch.bincount(labels, minlength=K)
    own = target.index_select(0, labels)
    if problem.metric == "euclidean":
        distance = torch.linalg.vector_norm(own.sub_(problem.compared), dim=1).square_()
    else:
        distance = (1 - own.mul_(problem.compared).sum(1)).clamp_(min=0)
    occupied = counts > 0
    centers = torch.where(occupied[:, None], centers, centers[int(occupied.to(torch.int8).argmax())])
    return Clusters(centers, labels, distance.sum(), counts, counts.new_tensor(n_iter))


def _means(sums: Tensor, counts: Tensor, centers: Tensor, vacant: bool) -> Tensor:
    """Return the mean of each cluster; one without points stays where it is."""
    means = sums / counts[:, None]
    return torch.where(counts[:, None] > 0, means, centers) if vacant else means


def _restart(problem: Points, centers: Tensor, labels: Tensor, sums: Tensor, counts: Tensor) -> bool:
    """Let the first vacant cluster start again from the point that is farthest from its own center, if any is off it.

    Changes labels, sums and counts in place. The next vacant cluster waits for the next iteration, so that copies of
    one point do not start several clusters.
    """
    x = problem.compared
    distance = _target(centers, problem.metric).index_select(0, labels).sub_(x).square_().sum(1)
    squares = x.square().sum(1)
    # a cluster's mean may miss identical points by rounding; they are no reason to split it
    splits = (counts[labels] > 1) & (distance > (ROUNDING * torch.finfo(x.dtype).eps) ** 2 * squares)
    if problem.metric == "cosine":
        splits &= squares > 0
    farthest, row = torch.where(splits, distance, 0).max(0)
    if float(farthest) <= 0:
        return False
    left, joined = int(labels[row]), int((counts == 0).to(torch.int8).argmax())
    labels[row] = joined
    sums[left] -= problem.values[row]
    sums[joined] = problem.values[row]
    counts[left] -= 1
    counts[joined] += 1
    return True
