"""Lloyd's algorithm for one problem at a time, on the host: looking at values is free, and the points stay in cache."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morn_losses._lloyd.common import ROUNDING, Init, Metric, squared_tolerance, unit_vectors

Array: TypeAlias = NDArray[Any]

ORDINARY = 2.0**40  # variances up to this and down to its inverse need no scaling
FARTHEST = 2.0**50  # starting centers are brought within this, so that their squares stay finite
EARLY = 4  # iterations whose sums are over all points anyway: a problem that ends in them is done at once
FEW = 1024  # points that are summed up as fast as those among them that change their cluster
BLOCK = 256  # rows summed up at once: sums of sums lose less to rounding than one long sum


class Points(NamedTuple):
    """The points of one problem, in tables ``(n, width)``: D columns, one of ones, and zeros up to an even stride."""

    values: Tensor  # sums of these give means and, in the column of ones, counts
    compared: Tensor  # what distances are taken of
    D: int
    metric: Metric


class Found(NamedTuple):
    """What :func:`cluster_one` finds in one problem."""

    centroids: Tensor  # (K, D)
    assignments: Tensor  # (n,)
    inertia: Tensor  # ()
    counts: Tensor  # (K,)
    n_iter: int


def cluster_one(
    points: Tensor,
    n_clusters: int,
    *,
    metric: Metric,
    init: Init | Tensor,
    uniforms: Tensor | None,
    max_iter: int,
    tol: float,
    name: str,
) -> Found:
    """Cluster ``(n, D)``, n >= 1, from finite centers ``(K, D)`` or once for each row of ``uniforms`` ``(n_init, K)``.

    The rows are what random centers are drawn with.
    """
    points = points.detach()
    D = points.shape[1]
    mean, centered, variance = _center(points)
    directions = _directions(points) if metric == "cosine" else None
    scale = 1.0
    if not 1 / ORDINARY < variance < ORDINARY:
        peak = max(abs(float(x)) for x in torch.aminmax(points))
        if not math.isfinite(peak):
            raise ValueError(f"{name}: expected finite values, got NaN or inf")
        # a power of two is divided out without rounding, and the squares of what is left neither over- nor underflow
        scale = 2.0 ** (math.frexp(max(peak, torch.finfo(points.dtype).tiny))[1] - 1)
        points = points / scale
        mean, centered, variance = _center(points)
    tolerance = math.sqrt(squared_tolerance(tol, points.dtype) * variance)
    if directions is None:
        problem = Points(centered, centered, D, metric)
    else:
        centered[:, :D] = points
        problem = Points(centered, directions, D, metric)

    best: Found | None = None
    for row in [None] if uniforms is None else uniforms:
        if isinstance(init, str):
            assert row is not None
            centers, alive = _draw(problem, n_clusters, init, row)
        elif metric == "cosine":  # only the directions count
            centers = unit_vectors(init, 1)
            alive = _first_of_its_kind(centers)
        else:
            centers = (init / scale - mean).clamp_(-FARTHEST, FARTHEST)
            alive = _first_of_its_kind(centers)
        found = _lloyd(problem, centers, alive, max_iter, tolerance)
        best = found if best is None or bool(found.inertia < best.inertia) else best
    assert best is not None
    if metric == "cosine":
        return best._replace(centroids=best.centroids * scale)
    return best._replace(centroids=(best.centroids + mean) * scale, inertia=best.inertia * scale * scale)


def _table(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return an empty table for the points, and the view of its first D columns."""
    n, D = points.shape
    width = D + 1 if D < 64 else (D // 16 + 1) * 16  # rows that start at odd addresses are slow to multiply
    table = points.new_empty(n, width)
    table[:, D] = 1
    table[:, D + 1 :] = 0
    return table, table[:, :D]


def _center(points: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the mean, a table of the points about it, and the mean of their variances.

    Compared far from the origin, |x|^2 - 2 x.c + |c|^2 would cancel.
    """
    mean = points.mean(0)
    table, centered = _table(points)
    torch.sub(points, mean, out=centered)
    return mean, table, float(torch.linalg.vector_norm(centered, dim=1).square_().mean()) / points.shape[1]


def _directions(points: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    shortest, longest = (float(x) for x in torch.aminmax(lengths))
    table, directions = _table(points)
    if shortest > ORDINARY**-0.5 and longest < ORDINARY**0.5:
        torch.div(points, lengths, out=directions)
    else:
        directions[:] = unit_vectors(points, 1)
    return table


def _first_of_its_kind(centers: Tensor) -> Array:
    seen: set[tuple[float, ...]] = set()
    first = []
    for center in map(tuple, centers.tolist()):
        first.append(center not in seen)
        seen.add(center)
    return np.array(first)


def _draw(problem: Points, n_clusters: int, init: Init, uniforms: Tensor) -> tuple[Tensor, Array]:
    """Draw starting centers ``(K, D)`` among the points, and say which of the K could be drawn."""
    x = problem.compared[:, : problem.D]
    centers = x.new_zeros(n_clusters, problem.D)
    weights = x.new_ones(len(x), dtype=torch.float64)
    if problem.metric == "cosine":  # a zero vector has no direction and may not become a center
        weights = x.any(1).double()
    for k, uniform in enumerate(uniforms.tolist()):
        steps = weights.cumsum(0)
        total = float(steps[-1])
        if total <= 0:
            return centers, np.arange(n_clusters) < k
        # the first point whose step lies above the number drawn, so that none of weight 0 is
        row = int(torch.searchsorted(steps, uniform * total, right=True))
        centers[k] = problem.values[row, : problem.D]
        if init == "random":
            weights[row] = 0
        elif k + 1 < n_clusters:
            # by differences, so that a copy of a center weighs exactly 0
            distances = torch.linalg.vector_norm(x - x[row], dim=1).double().square_()
            weights = distances.mul_(weights) if k == 0 else torch.minimum(weights, distances)
    return centers, np.ones(n_clusters, dtype=np.bool_)


def _unit(centers: Array) -> Array:
    """:func:`unit_vectors` of the rows."""
    peak = np.abs(centers).max(1, keepdims=True)
    centers = centers / np.where(peak > 0, peak, 1)
    return centers / np.where(peak > 0, np.sqrt((centers * centers).sum(1, keepdims=True)), 1)


def _assign(problem: Points, centers: Array, alive: Array) -> Tensor:
    """Return the cluster of every point, ``(n,)``: the nearest one that is alive."""
    D = problem.D
    # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2)
    target = np.zeros((len(centers), problem.compared.shape[1]), centers.dtype)
    if problem.metric == "cosine":
        target[:, :D] = _unit(centers)
    else:
        target[:, :D] = centers
        target[:, D] = -0.5 * (centers * centers).sum(1)
    if not alive.all():
        target[~alive, D] = -np.inf
    # max returns the first of equals as argmax does, ten times faster
    return torch.mm(torch.from_numpy(target), problem.compared.mT).max(0).indices


def _blocks(n: int, n_clusters: int) -> Tensor:
    """Return, for each of n rows, the number of its block times K; a block's sums take a quarter of its memory."""
    block = max(BLOCK, 4 * n_clusters)
    return torch.arange(n, device="cpu").div_(block, rounding_mode="floor").mul_(n_clusters)


def _sums(values: Tensor, labels: Tensor, blocks: Tensor, n_clusters: int) -> Array:
    """Return the sum of the rows of each cluster, ``(K, width)``, summed up by blocks first."""
    n_sums = int(blocks[-1]) + n_clusters
    sums = values.new_zeros(n_sums, values.shape[1]).index_add_(0, blocks + labels, values)
    return (sums.view(-1, n_clusters, values.shape[1]).sum(0) if n_sums > n_clusters else sums).numpy()


def _follow(values: Array, labels: Array, previous: Array, rows: Array, sums: Array) -> None:
    """Bring the sums from the previous labels of these rows to their new ones, in place."""
    one_hot = np.eye(len(sums), dtype=sums.dtype)
    sums += (one_hot[labels[rows]] - one_hot[previous[rows]]).T @ values[rows]


def _move(sums: Array, centers: Array, alive: Array) -> tuple[Array, float]:
    """Return the mean of each cluster, and how far the centers move; one without points stays where it is."""
    D = centers.shape[1]
    counts = sums[:, D : D + 1]
    means = sums[:, :D] / (counts if alive.all() else np.maximum(counts, 1))
    if not alive.all():
        means = np.where(counts > 0, means, centers)
    shift = (means - centers).ravel()
    return means, math.sqrt(shift @ shift)


def _lloyd(problem: Points, start: Tensor, alive: Array, max_iter: int, tolerance: float) -> Found:
    """Iterate until the problem is done; a center that is not alive attracts no point.

    Once few points change their cluster, the sums follow them. What that loses to rounding, much where sizes differ
    much, is made good: a problem is done only by sums over all points. torch does what is done to all points, numpy
    the rest, as its calls cost less.
    """
    n, K, D = len(problem.values), len(start), problem.D
    values, centers = problem.values.numpy(), start.numpy()
    blocks = _blocks(n, K)
    previous: Array | None = None
    sums, exact = centers, False
    settled = False  # the labels are those of the centers
    for n_iter in range(1, max_iter + 1):
        assigned = _assign(problem, centers, alive)
        labels = assigned.numpy()
        rows = None if previous is None else np.flatnonzero(labels != previous)
        if rows is not None and len(rows) == 0 and exact and alive.all():
            settled = True
            break
        if previous is None or rows is None or n_iter <= EARLY or 4 * len(rows) + FEW > n:
            sums, exact = _sums(problem.values, assigned, blocks, K), True
        elif len(rows) > 0:
            _follow(values, labels, previous, rows, sums)
            exact = False
        previous = labels
        alive = sums[:, D] > 0
        if not alive.all() and _restart(problem, centers, labels, sums):
            alive, exact = sums[:, D] > 0, False
        moved, shift = _move(sums, centers, alive)
        if not exact and (shift <= tolerance or n_iter == max_iter):
            sums, exact = _sums(problem.values, assigned, blocks, K), True
            moved, shift = _move(sums, centers, alive)
        centers = moved
        if shift <= tolerance:
            break

    if not settled:
        assigned = _assign(problem, centers, alive)
    counts = np.bincount(assigned.numpy(), minlength=K)
    x, cosine = problem.compared[:, :D], problem.metric == "cosine"
    own = torch.from_numpy(_unit(centers) if cosine else centers).index_select(0, assigned)
    if cosine:
        distance = (1 - own.mul_(x).sum(1)).clamp_(min=0)
    else:
        distance = torch.linalg.vector_norm(own.sub_(x), dim=1).square_()
    if counts.min() == 0:
        centers = np.where(counts[:, None] > 0, centers, centers[counts.argmax()])
    return Found(torch.from_numpy(centers), assigned, distance.sum(), torch.from_numpy(counts), n_iter)


def _restart(problem: Points, centers: Array, labels: Array, sums: Array) -> bool:
    """Let the first vacant cluster start again from the point that is farthest from its own center, if any is off it.

    Changes labels and sums in place. The next vacant cluster waits for the next iteration, so that copies of one point
    do not start several clusters.
    """
    x, counts = problem.compared[:, : problem.D].numpy(), sums[:, problem.D]
    target = _unit(centers) if problem.metric == "cosine" else centers
    distance = np.square(target[labels] - x).sum(1)
    squares = np.square(x).sum(1)
    # a cluster's mean may miss identical points by rounding; they are no reason to split it
    splits = (counts[labels] > 1) & (distance > (ROUNDING * np.finfo(x.dtype).eps) ** 2 * squares)
    if problem.metric == "cosine":
        splits &= squares > 0
    distance = np.where(splits, distance, 0)
    row = int(distance.argmax())
    if distance[row] <= 0:
        return False
    point, left, joined = problem.values[row].numpy(), labels[row], int(counts.argmin())
    labels[row] = joined
    sums[left] -= point
    sums[joined] = point
    return True
