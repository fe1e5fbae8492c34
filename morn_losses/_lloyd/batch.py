"""Lloyd's algorithm for many problems at once, in tiles: on any device, without waiting for it in every iteration."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morn_losses._lloyd import common
from morn_losses._lloyd.common import (
    ROUNDING,
    Clusters,
    Init,
    Metric,
    Options,
    squared_tolerance,
    unit_vectors,
)
from morn_losses._lloyd.tiles import Tiles, lay_out, make_tiles, sum_by_owner

FARTHEST = 2.0**30  # starting centers are brought within this many spreads, so that their squares stay finite
CHECK_EVERY = 4  # iterations between two looks at the device for a reason to stop


def cluster_tiles(points: Tensor, masks: Tensor, options: Options) -> Clusters:
    """Cluster the points ``(B, N, D)`` of each sample once for each of its masks ``(B, G, N)``: P = B * G problems."""
    init, metric = options.init, options.metric
    B, G, N = masks.shape
    if N == 0:
        points, masks = points.new_zeros(B, 1, points.shape[2]), masks.new_zeros(B, G, 1)
    counted, exists, slot, owner = lay_out(points, masks.flatten(0, 1), G)
    points = counted[..., :-1]
    size = sum_by_owner(exists.sum(1), owner, B * G)
    peak = torch.maximum(points.amax((1, 2)), -points.amin((1, 2))).nan_to_num(math.inf, math.inf)
    peak = peak.new_zeros(B * G).scatter_reduce(0, owner, peak, "amax")
    broken = ~peak.isfinite()
    centers = None
    if isinstance(init, Tensor):
        centers_broken = ~init.isfinite().flatten(1).all(1)
        broken = broken | centers_broken
        centers = torch.where(centers_broken[:, None, None], 0, init)
    _raise_on_host(broken, options.name)

    # a power of two is divided out without rounding, and the squares of what is left neither over- nor underflow
    peak = torch.where(broken, 1, peak).clamp(min=torch.finfo(points.dtype).tiny)
    scale = (peak / (2 * torch.frexp(peak).mantissa))[:, None, None]
    tiles, origin, variance = make_tiles(counted, exists, owner, size, scale, metric)
    if centers is not None:
        # under cosine only the directions count
        far = (centers / scale - origin).clamp_(-FARTHEST, FARTHEST)
        centers = unit_vectors(centers, 2) if metric == "cosine" else far

    tolerance = (squared_tolerance(options.tol, points.dtype) * variance).sqrt()
    best: Clusters | None = None
    for _ in range(options.n_init):
        if isinstance(init, str):
            start, alive = _draw(tiles, options.n_clusters, init, options.generator)
        else:
            assert centers is not None
            start, alive = centers, _first_of_its_kind(centers)
        found = _lloyd(tiles, start, alive, (size > 0) & ~broken, metric, options.max_iter, tolerance)
        best = found if best is None else _better(found, best, owner)
    assert best is not None

    centroids = torch.where((size > 0)[:, None, None], (best.centroids + origin) * scale, 0)
    inertia = best.inertia
    if metric == "euclidean":
        inertia = inertia * scale[:, 0, 0] * scale[:, 0, 0]  # one after the other: the square alone may be inf
    labels = torch.cat([best.assignments.flatten(), best.assignments.new_full((1,), -1)])
    return Clusters(
        centroids.masked_fill(broken[:, None, None], math.nan),
        labels[slot][:, :N],
        inertia.masked_fill(broken, math.nan),
        best.counts,
        best.n_iter,
    )


def _raise_on_host(broken: Tensor, name: str) -> None:
    """Raise ``ValueError`` for broken problems on the CPU; elsewhere looking would have to wait."""
    if common.on_host(broken) and bool(broken.any()):
        raise ValueError(f"{name}: expected finite values, got NaN or inf")


def _better(found: Clusters, best: Clusters, owner: Tensor) -> Clusters:
    """Keep for each problem the one of smaller inertia."""
    better = found.inertia < best.inertia
    return Clusters(
        torch.where(better[:, None, None], found.centroids, best.centroids),
        torch.where(better[owner][:, None], found.assignments, best.assignments),
        torch.where(better, found.inertia, best.inertia),
        torch.where(better[:, None], found.counts, best.counts),
        torch.where(better, found.n_iter, best.n_iter),
    )


def _first_of_its_kind(centers: Tensor) -> Tensor:
    """Return which centers ``(P, K)`` equal no earlier one of their problem."""
    repeats = [(centers[:, k : k + 1] == centers[:, :k]).all(2).any(1) for k in range(centers.shape[1])]
    return ~torch.stack(repeats, 1)


def _draw(tiles: Tiles, n_clusters: int, init: Init, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw starting centers ``(P, K, D)`` among the points, and say which could be drawn ``(P, K)``."""
    x = tiles.counted
    centers = x.new_zeros(tiles.n_problems, n_clusters, x.shape[2] - 1)
    alive = torch.zeros(centers.shape[:2], dtype=torch.bool, device=x.device)
    device = x.device if generator is None else generator.device
    weights = tiles.seedable.to(x.dtype)
    for k in range(n_clusters):
        # of exponential waiting times with these rates, the shortest is each point's with probability ~ its weight
        wait = torch.empty(weights.shape, dtype=x.dtype, device=device).exponential_(generator=generator)
        rate, row = tiles.argmax(weights / wait.to(x.device).clamp_(min=torch.finfo(x.dtype).tiny))
        alive[:, k] = rate > 0
        centers[:, k] = torch.where(alive[:, k, None], x.flatten(0, 1)[row, :-1], 0)
        if init == "random":
            spent = torch.where(alive[:, k], 0, math.inf).to(x.dtype)
            weights = weights.flatten().scatter_reduce(0, row, spent, "amin").view_as(weights)
        else:
            # by differences, so that a copy of a center weighs exactly 0
            target = tiles.compared.flatten(0, 1)[row]
            distance = (tiles.compared - target[tiles.owner][:, None]).square_().sum(2)
            weights = torch.where(tiles.seedable, distance if k == 0 else torch.minimum(weights, distance), 0)
    return centers, alive


def _target(centers: Tensor, metric: Metric) -> Tensor:
    return unit_vectors(centers, 2) if metric == "cosine" else centers


def _assign(tiles: Tiles, target: Tensor, penalty: Tensor, metric: Metric) -> Tensor:
    """Return the cluster of every point, ``(n, TILE)``: the nearest one without a penalty of inf, else the first."""
    bias = target.square().sum(2) + penalty if metric == "euclidean" else penalty
    bias = bias.index_select(0, tiles.owner)[..., None]
    distances = torch.baddbmm(bias, target.index_select(0, tiles.owner), tiles.compared.mT, alpha=-2)
    # min returns the first of equals as argmin does, several times faster on the CPU
    return distances.min(1).indices


def _sums(tiles: Tiles, labels: Tensor, cluster_ids: Tensor) -> Tensor:
    """Return the sum and, last, the number of the points of each cluster, ``(P, K, D + 1)``."""
    members = labels[:, None] == cluster_ids
    return tiles.total(members.to(tiles.counted.dtype) @ tiles.counted)


def _own(tiles: Tiles, values: Tensor, labels: Tensor) -> Tensor:
    """Return for every point what ``values`` ``(P, K, ...)`` holds for its cluster: ``(n, TILE, ...)``."""
    row = (tiles.owner[:, None] * values.shape[1] + labels).flatten()
    return values.flatten(0, 1).index_select(0, row).view(*labels.shape, *values.shape[2:])


def _lloyd(
    tiles: Tiles,
    centers: Tensor,
    alive: Tensor,
    running: Tensor,
    metric: Metric,
    max_iter: int,
    tolerance: Tensor,
) -> Clusters:
    """Iterate until no problem runs. Labels are those of the tiles, ``(n, TILE)``.

    A center that is not alive attracts no point: it repeats another, or waits for a point to start again from.
    """
    every = tiles
    cluster_ids = torch.arange(centers.shape[1], device=centers.device)[:, None]
    penalty = torch.where(alive, 0, math.inf).to(centers.dtype)
    n_iter = torch.zeros_like(running, dtype=torch.int64)
    n_running = -1
    for iteration in range(max_iter):
        if common.on_host(centers) or iteration % CHECK_EVERY == 0:
            n_running, before = int(running.sum()), n_running
            if n_running == 0:
                break
            if n_running != before:
                tiles = _drop_idle(tiles, running)
        n_iter += running
        labels = _assign(tiles, _target(centers, metric), penalty, metric)
        sums = _sums(tiles, labels, cluster_ids)
        occupied = sums[..., -1] > 0
        vacant = ~occupied & running[:, None]
        if not common.on_host(centers) or bool(vacant.any()):
            sums += _restart(tiles, centers, labels, sums[..., -1], vacant, metric)
            occupied = sums[..., -1] > 0
            penalty = torch.where(running[:, None], torch.where(occupied, 0, math.inf), penalty)
        moves = (occupied & running[:, None])[..., None]
        moved = torch.where(moves, sums[..., :-1] / sums[..., -1:], centers)
        # unchanged assignments give the same sums again, and no shift
        shift = torch.linalg.vector_norm(moved - centers, dim=(1, 2))
        running = running & (shift > tolerance)
        centers = moved

    target = _target(centers, metric)
    labels = _assign(every, target, penalty, metric)
    counts = every.total(((labels[:, None] == cluster_ids) & every.exists[:, None]).sum(2))
    target = _own(every, target, labels)
    if metric == "euclidean":
        distance = target.sub_(every.compared).square_().sum(2)
    else:
        distance = (1 - target.mul_(every.compared).sum(2)).clamp_(min=0)
    inertia = every.total(torch.where(every.exists, distance, 0).sum(1))
    first = (counts > 0).to(torch.int8).argmax(1)
    existing = centers[torch.arange(len(first), device=first.device), first]
    centers = torch.where((counts > 0)[..., None], centers, existing[:, None])
    return Clusters(centers, labels, inertia, counts, n_iter)


def _drop_idle(tiles: Tiles, running: Tensor) -> Tiles:
    """Drop the tiles of problems that are done, once they are enough for the copies to pay."""
    busy = running[tiles.owner]
    return tiles.keep(busy) if 4 * int(busy.sum()) <= 3 * len(busy) else tiles


def _restart(tiles: Tiles, centers: Tensor, labels: Tensor, counts: Tensor, vacant: Tensor, metric: Metric) -> Tensor:
    """Let the first vacant cluster of each problem start again from the point that is farthest from its own center.

    Returns the change of the sums ``(P, K, D + 1)``, which is 0 where every point is at its center. The next vacant
    cluster waits for the next iteration, so that copies of one point do not start several clusters.
    """
    x = tiles.compared
    distance = _own(tiles, _target(centers, metric), labels).sub_(x).square_().sum(2)
    # a cluster's mean may miss identical points by rounding; they are no reason to split it
    rounding = (ROUNDING * torch.finfo(x.dtype).eps) ** 2 * x.square().sum(2)
    splits = tiles.seedable & (_own(tiles, counts, labels) > 1) & (distance > rounding)
    farthest, row = tiles.argmax(torch.where(splits, distance, 0))
    restarts = ((farthest > 0) & vacant.any(1))[:, None]
    cluster_ids = torch.arange(vacant.shape[1], device=vacant.device)
    joins = restarts & (cluster_ids == vacant.to(torch.int8).argmax(1)[:, None])
    leaves = restarts & (cluster_ids == labels.flatten()[row][:, None])
    change = joins.to(x.dtype) - leaves.to(x.dtype)
    return change[..., None] * tiles.counted.flatten(0, 1)[row][:, None]
