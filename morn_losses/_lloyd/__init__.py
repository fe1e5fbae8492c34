"""Lloyd's algorithm over a ragged batch of problems: large ones on the host one by one, all others in tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from morn_losses._lloyd import common
from morn_losses._lloyd.batch import cluster_tiles
from morn_losses._lloyd.common import Clusters, Init, Metric, Options, unit_vectors
from morn_losses._lloyd.products import Array
from morn_losses._lloyd.single import cluster_one
from morn_losses._precision import full_precision, promote

__all__ = ["Clusters", "Init", "Metric", "Options", "cluster", "unit_vectors"]

# numbers in a problem from which on the host is faster with it alone
LARGE = 2**12


@torch.no_grad()
def cluster(points: Tensor, masks: Tensor, options: Options) -> Clusters:
    """Cluster the points ``(B, N, D)`` of each sample once for each of its masks ``(B, G, N)``: P = B * G problems.

    Which way a problem takes depends on its own size alone.
    """
    points = promote(points)
    B, G, N = masks.shape
    sizes = masks.sum(2).flatten()
    host = common.on_host(points)
    if isinstance(options.init, Tensor):
        centers = torch.where((sizes > 0)[:, None, None], options.init.to(points.dtype), 0)
        if host and not bool(centers.isfinite().all()):
            raise ValueError("init: expected finite values, got NaN or inf")
        options = replace(options, init=centers, n_init=1)
    with full_precision(points):
        if not host:
            return cluster_tiles(points, masks, options)
        large = sizes * points.shape[2] >= LARGE
        if bool(large.all()):
            found = _nothing(points, B * G, N, options.n_clusters)
        else:
            found = cluster_tiles(points, masks & ~large.view(B, G, 1), options)
        _one_by_one(points, masks, large, options, found)
    return found


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def _one_by_one(points: Tensor, masks: Tensor, large: Tensor, options: Options, found: Clusters) -> None:
    """Cluster the large problems ``(P,)``, and write what is found to their places."""
    alone = large.nonzero().flatten()
    present, uniforms = masks.numpy(), None
    if isinstance(options.init, str):
        device = points.device if options.generator is None else options.generator.device
        shape = (options.n_init, len(alone), options.n_clusters)
        uniforms = torch.rand(shape, dtype=torch.float64, device=device, generator=options.generator).cpu().numpy()
    centroids, assignments, inertia, counts, n_iter = (x.numpy() for x in found)
    for i, p in enumerate(alone.tolist()):
        b, g = divmod(p, masks.shape[1])
        rows = np.flatnonzero(present[b, g])
        init = options.init if isinstance(options.init, str) else options.init[p].numpy()
        one = cluster_one(_take(points[b], rows), init, None if uniforms is None else uniforms[:, i], options)
        assignments[p, rows] = one.assignments
        centroids[p], inertia[p], counts[p], n_iter[p] = one.centroids, one.inertia, one.counts, one.n_iter


def _nothing(points: Tensor, n_problems: int, n_points: int, n_clusters: int) -> Clusters:
    """Return the result of problems without points."""
    counts = torch.zeros(n_problems, n_clusters, dtype=torch.int64, device=points.device)
    return Clusters(
        points.new_zeros(n_problems, n_clusters, points.shape[2]),
        counts.new_full((n_problems, n_points), -1),
        points.new_zeros(n_problems),
        counts,
        counts.new_zeros(n_problems),
    )


def _take(points: Tensor, rows: Array) -> Tensor:
    """Return the rows of ``(N, D)``, which ascend; a view if they are the first."""
    if points.stride(0) < points.stride(1):  # a feature map seen as points: its rows are not in one piece
        return points.mT.index_select(1, torch.from_numpy(rows)).mT.contiguous()
    if rows[-1] + 1 == len(rows):
        return points[: len(rows)]
    return points.index_select(0, torch.from_numpy(rows))
