"""Lloyd's algorithm for one problem at a time, on the host: looking at values is free, and the points stay in cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from morn_losses._clustering import ROUNDING, Init, KMeansOptions, n_candidates
from morn_losses._host.points import Problem, prepare, unit_rows
from morn_losses._host.products import MOST, Array, products, squared_lengths, weighted_sums

FARTHEST = 2.0**50  # starting centers are brought within this, so that their squares stay finite
EARLY = 4  # iterations whose sums are over all points anyway: a problem that ends in them is done at once
FEW = 256  # points that are summed up as fast as those among them that change their cluster
PRODUCTS = 16  # clusters up to which sums are products; torch's index_add_ is faster for more
CLOSE = 16  # distances this many times smaller than the squares that they are taken of are taken by differences


class Found(NamedTuple):
    """What :func:`cluster_one` finds in one problem."""

    centroids: Array  # (K, D)
    assignments: Array  # (n,)
    inertia: float
    counts: Array  # (K,)
    n_iter: int


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def cluster_alone(
    points: Tensor,
    masks: Tensor,
    which: Tensor,
    options: KMeansOptions,
    generator: torch.Generator | None,
    name: str,
    results: Sequence[Tensor],
) -> None:
    """Cluster those problems of ``(B, N, D)`` and masks ``(B, G, N)`` that ``which`` ``(P,)`` selects, one by one.

    ``results`` are centroids, assignments, inertia, counts and iterations; the problems' places in them are written.
    """
    present = masks.numpy()
    centroids, assignments, inertia, counts, n_iter = (x.numpy() for x in results)
    for p in which.nonzero().flatten().tolist():
        b, g = divmod(p, masks.shape[1])
        rows = np.flatnonzero(present[b, g])
        init = options.init if isinstance(options.init, str) else options.init[p].numpy()
        one = cluster_one(_take(points[b], rows), init, options, generator, name)
        assignments[p, rows] = one.assignments
        centroids[p], inertia[p], counts[p], n_iter[p] = one.centroids, one.inertia, one.counts, one.n_iter


def _take(points: Tensor, rows: Array) -> Tensor:
    """Return the rows of ``(N, D)``, which ascend; a view if they are the first."""
    if points.stride(0) < points.stride(1):  # a feature map seen as points: its rows are not in one piece
        return points.mT.index_select(1, torch.from_numpy(rows)).mT.contiguous()
    if rows[-1] + 1 == len(rows):
        return points[: len(rows)]
    return points.index_select(0, torch.from_numpy(rows))


def cluster_one(
    points: Tensor, init: Init | Array, options: KMeansOptions, generator: torch.Generator | None, name: str
) -> Found:
    """Cluster ``(n, D)``, n >= 1, from finite centers ``(K, D)`` or as the best of the starts that are drawn."""
    problem = prepare(points, options.metric, directions=isinstance(init, str), name=name)
    tolerance = math.sqrt(options.squared_tolerance(points.dtype) * problem.variance)
    best: Found | None = None
    for _ in range(options.n_init if isinstance(init, str) else 1):
        if isinstance(init, str):
            centers, alive = draw(problem, options, generator)
        elif options.metric == "cosine":  # only the directions count
            centers = unit_rows(init)
            alive = _first_of_its_kind(centers)
        else:
            centers = np.clip(init / problem.scale - problem.origin, -FARTHEST, FARTHEST)
            alive = _first_of_its_kind(centers)
        result = _lloyd(problem, centers, alive, options.max_iter, tolerance)
        best = result if best is None or result.inertia < best.inertia else best
    assert best is not None
    centroids = (best.centroids + problem.origin) * problem.scale
    inertia = best.inertia if options.metric == "cosine" else best.inertia * problem.scale * problem.scale
    return best._replace(centroids=centroids, inertia=inertia)


def draw(problem: Problem, options: KMeansOptions, generator: torch.Generator | None) -> tuple[Array, Array]:
    """Draw starting centers ``(K, D)`` among the points; also return which of them could be drawn ``(K,)``."""
    K, greedy = options.n_clusters, options.init == "k-means++"
    device = "cpu" if generator is None else generator.device
    shape = (K, n_candidates(K) if greedy else 1)
    uniforms = torch.rand(shape, dtype=torch.float64, device=device, generator=generator).cpu().numpy()
    centers = np.zeros((K, problem.values.shape[1]), problem.values.dtype)
    weights = np.ones(len(problem.values))
    if problem.metric == "cosine":  # a zero vector has no direction and may not become a center
        weights = (problem.squares > 0).astype(np.float64)
    for k in range(K):
        steps = weights.cumsum()
        if steps[-1] <= 0:
            return centers, np.arange(K) < k
        # the first points whose steps lie above the numbers drawn, so that none of weight 0 is
        rows = steps.searchsorted(uniforms[k, : 1 if k == 0 else None] * steps[-1], "right")
        best = 0
        if not greedy:
            weights[rows] = 0
        else:
            distances = _distances(problem, rows)
            left = np.minimum(distances, weights) if k > 0 else distances * weights
            # of the candidates the one that leaves the smallest sum
            best = int(left.sum(1).argmin())
            weights = left[best]
        centers[k] = problem.values[rows[best]]
    return centers, np.ones(K, dtype=np.bool_)


def _distances(problem: Problem, rows: Array) -> Array:
    """Return the squared distances of all points to some, ``(L, n)``; by differences where squares would cancel."""
    x, squares = problem.compared, problem.squares
    squared = products(x, x.take(rows, 0), None)
    squared *= -2
    squared += squares
    squared += squares[rows, None]
    for distances, row in zip(squared, rows, strict=True):
        near = (distances * CLOSE < squares).nonzero()[0]
        distances[near] = squared_lengths(x.take(near, 0) - x[row])  # of a copy exactly 0
    return squared


def _first_of_its_kind(centers: Array) -> Array:
    keys = [center.tobytes() for center in centers + 0.0]  # -0 becomes 0
    return np.array([key not in keys[:k] for k, key in enumerate(keys)])


def _assign(problem: Problem, centers: Array, alive: Array) -> tuple[Array, Array]:
    """Return for every point which cluster it belongs to, ``(K, n)``, and its score there, ``(n,)``.

    It belongs to the nearest that is alive, whose score is the largest: |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2); under
    cosine scores are x.c of centers of length 1.
    """
    if problem.metric == "cosine":
        targets, bias = unit_rows(centers), None if alive.all() else np.zeros(len(centers), centers.dtype)
    else:
        targets, bias = centers, -0.5 * squared_lengths(centers)
    if bias is not None:
        bias[~alive] = -np.inf
    scores = products(problem.compared, targets, bias)
    best = np.maximum.reduce(scores)
    members = scores == best
    if np.count_nonzero(members) > len(best):  # equally near: the first
        members = np.arange(len(centers))[:, None] == scores.argmax(0)
    return members, best


def _sums(values: Array, members: Array) -> Array:
    """Return the sums of the rows of each cluster, ``(K, D)``."""
    K = len(members)
    if K <= PRODUCTS:
        return weighted_sums(members.astype(values.dtype), values)
    # by blocks: sums of sums lose less to rounding than one long sum, and take a quarter of the points' memory
    block = np.arange(len(values)) // max(MOST, 4 * K)
    sums = torch.from_numpy(np.zeros((int(block[-1] + 1) * K, values.shape[1]), values.dtype))
    sums.index_add_(0, torch.from_numpy(block * K + members.argmax(0)), torch.from_numpy(values))
    return sums.view(-1, K, values.shape[1]).sum(0).numpy()


def _lloyd(problem: Problem, centers: Array, alive: Array, max_iter: int, tolerance: float) -> Found:
    """Iterate until the problem is done; a center that is not alive attracts no point.

    Once few points change their cluster, the sums follow them. What that loses to rounding, much where sizes differ
    much, is made good: a problem is done only by sums over all points.
    """
    values, n, K = problem.values, len(problem.values), len(centers)
    previous: Array | None = None
    sums, counts, exact = centers, alive, False
    settled = False  # the members are those of the centers
    for n_iter in range(1, max_iter + 1):
        members, best = _assign(problem, centers, alive)
        rows = None if previous is None else np.bitwise_or.reduce(members ^ previous).nonzero()[0]
        if rows is not None and len(rows) == 0 and exact and alive.all():
            settled = True
            break
        if previous is None or rows is None or n_iter <= EARLY or max(4, K // 2) * len(rows) + FEW > n:
            sums, exact = _sums(values, members), True
        elif len(rows) > 0:
            joined, left = members.take(rows, 1), previous.take(rows, 1)
            sums += weighted_sums(np.subtract(joined, left, dtype=values.dtype), values.take(rows, 0))
            exact = False
        counts = np.add.reduce(members, 1)
        if 0 in counts.tolist() and _restart(problem, centers, members, best, sums, counts):
            exact = False
        alive = counts > 0
        moved, shift = _move(sums, counts, centers)
        if not exact and (shift <= tolerance or n_iter == max_iter):
            sums, exact = _sums(values, members), True
            moved, shift = _move(sums, counts, centers)
        previous, centers = members, moved
        if shift <= tolerance:
            break

    if not settled:
        members, best = _assign(problem, centers, alive)
        counts = np.add.reduce(members, 1)
    labels = members.argmax(0)
    inertia = _inertia(problem, centers, labels, best)
    if 0 in counts.tolist():
        centers = np.where(counts[:, None] > 0, centers, centers[counts.argmax()])
    return Found(centers, labels, inertia, counts, n_iter)


def _move(sums: Array, counts: Array, centers: Array) -> tuple[Array, float]:
    """Return the mean of each cluster, and how far the centers move; one without points stays where it is."""
    moved = sums / counts[:, None].astype(sums.dtype)
    if 0 in counts.tolist():
        moved = np.where(counts[:, None] > 0, moved, centers)
    shift = (moved - centers).ravel()
    return moved, math.sqrt(shift @ shift)


def _inertia(problem: Problem, centers: Array, labels: Array, best: Array) -> float:
    """Return the sum of the distances of the points to their centers, whose scores are ``best``."""
    if problem.metric == "cosine":
        cosines = np.where(problem.squares > 0, best / np.sqrt(problem.squares), 0)
        return float(np.maximum(1 - cosines, 0).sum(dtype=np.float64))
    total = float(problem.squares.sum(dtype=np.float64))
    inertia = total - 2 * float(best.sum(dtype=np.float64))
    if inertia * CLOSE < total:
        inertia = float(squared_lengths(centers.take(labels, 0) - problem.compared).sum(dtype=np.float64))
    return inertia


def _restart(problem: Problem, centers: Array, members: Array, best: Array, sums: Array, counts: Array) -> bool:
    """Let the first vacant cluster start again from the point that is farthest from its own center, if any is off it.

    Changes members, sums and counts in place. The next vacant cluster waits for the next iteration, so that copies of
    one point do not start several clusters.
    """
    labels, squares, cosine = members.argmax(0), problem.squares, problem.metric == "cosine"
    splits = counts.take(labels) > 1
    if cosine:
        splits &= squares > 0
    distance = 1 - best / np.sqrt(squares) if cosine else squares - 2 * best
    distance = np.where(splits, distance, 0)
    row = int(distance.argmax())
    if distance[row] * CLOSE < (1 if cosine else squares[row]):  # too near to tell by scores
        x, targets = problem.compared, centers
        if cosine:
            x, targets = unit_rows(x), unit_rows(centers)
            squares = squared_lengths(x)
        distance = squared_lengths(targets.take(labels, 0) - x)
        # a cluster's mean may miss identical points by rounding; they are no reason to split it
        splits &= distance > (ROUNDING * np.finfo(x.dtype).eps) ** 2 * squares
        distance = np.where(splits, distance, 0)
        row = int(distance.argmax())
        if distance[row] <= 0:
            return False
    point, left, joined = problem.values[row], int(labels[row]), int(counts.argmin())
    members[[left, joined], row] = False, True
    sums[left] -= point
    sums[joined] = point
    counts[left] -= 1
    counts[joined] = 1
    return True
