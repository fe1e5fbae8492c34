"""Lloyd's algorithm over a ragged batch of problems: large ones on the host one by one, all others in tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from morn_losses._lloyd import common
from morn_losses._lloyd.common import Clusters, Init, Metric, unit_vectors
from morn_losses._lloyd.single import cluster_one
from morn_losses._lloyd.tiles import cluster_tiles
from morn_losses._precision import full_precision, promote

__all__ = ["Clusters", "Init", "Metric", "cluster", "unit_vectors"]

# numbers in a problem from which on the host is faster with it alone
LARGE = 2**12


@torch.no_grad()
def cluster(
    points: Tensor,
    masks: Tensor,
    n_clusters: int,
    *,
    metric: Metric,
    init: Init | Tensor,
    n_init: int,
    max_iter: int,
    tol: float,
    generator: torch.Generator | None,
    name: str,
) -> Clusters:
    """Cluster the points ``(B, N, D)`` of each sample once for each of its masks ``(B, G, N)``: P = B * G problems.

    ``init`` may be centers ``(P, K, D)``; ``name`` is what errors call the points. Which way a problem takes depends on
    its own size alone.
    """
    points = promote(points)
    B, G, N = masks.shape
    D = points.shape[2]
    sizes = masks.sum(2).flatten()
    if isinstance(init, Tensor):
        init = torch.where((sizes > 0)[:, None, None], init.to(points.dtype), 0)
        if common.on_host(init) and not bool(init.isfinite().all()):
            raise ValueError("init: expected finite values, got NaN or inf")
        n_init = 1
    large = (sizes * D >= LARGE) if common.on_host(points) else torch.zeros_like(sizes, dtype=torch.bool)
    with full_precision(points):
        if not common.on_host(points) or not bool(large.all()):
            found = cluster_tiles(
                points,
                masks & ~large.view(B, G, 1),
                n_clusters,
                metric=metric,
                init=init,
                n_init=n_init,
                max_iter=max_iter,
                tol=tol,
                generator=generator,
                name=name,
            )
        else:
            found = _nothing(points, B * G, N, n_clusters)
        if common.on_host(points) and bool(large.any()):
            alone = large.nonzero().flatten()
            uniforms = None
            if isinstance(init, str):
                device = points.device if generator is None else generator.device
                shape = (n_init, len(alone), n_clusters)
                uniforms = torch.rand(shape, dtype=torch.float64, device=device, generator=generator).to(points.device)
            ones = []
            for i, p in enumerate(alone.tolist()):
                rows = masks[p // G, p % G].nonzero().flatten()
                one = cluster_one(
                    _take(points[p // G], rows),
                    n_clusters,
                    metric=metric,
                    init=init if isinstance(init, str) else init[p],
                    uniforms=None if uniforms is None else uniforms[:, i],
                    max_iter=max_iter,
                    tol=tol,
                    name=name,
                )
                found.assignments[p].index_copy_(0, rows, one.assignments)
                ones.append(one)
            found.centroids[alone] = torch.stack([one.centroids for one in ones])
            found.inertia[alone] = torch.stack([one.inertia for one in ones])
            found.counts[alone] = torch.stack([one.counts for one in ones])
            found.n_iter[alone] = alone.new_tensor([one.n_iter for one in ones])
    return found


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


def _take(points: Tensor, rows: Tensor) -> Tensor:
    """Return the rows of ``(N, D)``, which ascend; a view if they are the first."""
    if points.stride(0) < points.stride(1):  # a feature map seen as points: its rows are not in one piece
        return points.mT.index_select(1, rows).mT.contiguous()
    if int(rows[-1]) + 1 == len(rows):
        return points[: len(rows)]
    return points.index_select(0, rows)
