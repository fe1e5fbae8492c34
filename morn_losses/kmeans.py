"""Batched, ragged k-means."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from morn_losses._checks import (
    as_bool,
    check_choice,
    check_floating,
    check_generator,
    check_integer,
    check_number,
    check_real,
    check_shape,
)
from morn_losses._lloyd import Init, Metric, Options, cluster


class KMeansResult(NamedTuple):
    """Result of :func:`morn_losses.functional.kmeans`; without the batch axis for points ``(N, D)``."""

    centroids: Tensor
    """``(B, K, D)``; a cluster without points repeats another's."""
    assignments: Tensor
    """``(B, N)`` int64: each point's cluster, -1 where masked."""
    inertia: Tensor
    """``(B,)``: sum over the points of the squared Euclidean, or the cosine, distance to their centroid."""
    counts: Tensor
    """``(B, K)`` int64: points of each cluster."""
    n_iter: Tensor
    """``(B,)`` int64: iterations until the problem was done."""


def check_kmeans_options(n_clusters: int, metric: str, init: object, n_init: int, max_iter: int, tol: float) -> None:
    """Check the options that k-means shares with the losses built on it; :func:`check_centers` looks at shapes."""
    check_integer(n_clusters, "n_clusters", minimum=1)
    check_choice(metric, "metric", ("euclidean", "cosine"))
    if isinstance(init, Tensor):
        check_floating(init, "init")
    else:
        check_choice(init, "init", ("k-means++", "random"))
    check_integer(n_init, "n_init", minimum=1)
    check_integer(max_iter, "max_iter", minimum=1)
    check_number(tol, "tol", minimum=0)


def check_centers(init: object, axes: str, expected: tuple[int, ...]) -> None:
    """Check that starting centers, where ``init`` is not the name of a way to start, are of shape ``expected``."""
    if isinstance(init, Tensor):
        check_shape(init, "init", axes, expected)


def kmeans(
    points: Tensor,
    n_clusters: int,
    *,
    mask: Tensor | None = None,
    metric: Metric = "euclidean",
    init: Init | Tensor = "k-means++",
    n_init: int = 1,
    max_iter: int = 100,
    tol: float = 1e-4,
    generator: torch.Generator | None = None,
) -> KMeansResult:
    r"""K-means: many sets of points, of different sizes, in one call, by Lloyd's algorithm.

    .. math:: \min_{u_1, \dots, u_K} \sum_n \min_k d(x_n, u_k)

    where :math:`d` is the squared Euclidean or the cosine distance. Centroids are plain means in both cases, so that
    the sum need not fall in every step under cosine; a zero vector is at cosine distance 1 from everything.

    Problems are solved as scikit-learn's ``KMeans(algorithm="lloyd")`` solves them from the same centers: until no
    assignment changes, or until the squared shifts of the centroids sum to at most ``tol`` times the mean variance of
    the problem's points; assignments always belong to the centroids returned. No problem's result depends on the
    others given its starting centers. An emptied cluster is re-seeded at the point that is farthest from its centroid,
    one cluster in an iteration. With fewer distinct points than clusters the surplus clusters have count 0 and repeat
    an existing centroid.

    Work grows with the points that exist, not with the padded size. The host waits for the device once to size the
    batch and every few iterations to stop. Nothing carries a gradient.

    Args:
        points: ``(B, N, D)``, or ``(N, D)`` for one problem without a batch axis.
        n_clusters: K.
        mask: ``(B, N)`` (``(N,)`` without a batch axis), bool or {0, 1}: the points that exist. The others may hold
            anything. None: all.
        metric: ``"euclidean"`` or ``"cosine"``.
        init: ``"k-means++"`` (each center drawn with probability in proportion to the distance to the nearest earlier
            one), ``"random"`` (K points), or centers ``(B, K, D)`` (``(K, D)`` without a batch axis).
        n_init: number of starts, of which each problem keeps the one of smallest inertia; centers start once.
        max_iter: iterations at most.
        tol: see above; with 0 only unchanged assignments, or shifts within rounding, end a problem.
        generator: source of the random start; None is torch's global one.

    Returns:
        :class:`KMeansResult` ``(centroids, assignments, inertia, counts, n_iter)``. A problem without points has
        centroids, counts, inertia and iterations 0.

    Raises:
        ValueError: wrong shapes, options out of range; NaN or inf in an existing point or a center that one starts from
            (CPU only: elsewhere the problem's centroids and inertia are NaN, and the others are not affected); a mask
            of other values than 0 and 1 (CPU only: elsewhere any value but 0 counts as 1).
        TypeError: points that are not floating-point, a complex mask.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0], [float("nan"), 0.0]])
        >>> mask = torch.tensor([True, True, True, True, False])
        >>> result = kmeans(points, 2, mask=mask, init=points[[0, 3]])
        >>> result.centroids
        tensor([[0.0000, 0.5000],
                [8.0000, 0.5000]])
        >>> result.assignments
        tensor([ 0,  0,  1,  1, -1])
        >>> result.inertia
        tensor(1.)

    Source: section 3.4.2, its clustering step.
    """
    check_floating(points, "points")
    if points.ndim not in (2, 3) or points.shape[-1] < 1 or points.shape[0] < points.ndim - 2:
        raise ValueError(f"points: expected (B, N, D) or (N, D) with B, D >= 1, got {tuple(points.shape)}")
    check_kmeans_options(n_clusters, metric, init, n_init, max_iter, tol)
    check_generator(generator)
    batched = points.ndim == 3
    if mask is None:
        mask = torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)
    else:
        check_real(mask, "mask")
        check_shape(mask, "mask", "(B, N)" if batched else "(N,)", points.shape[:-1])
        mask = as_bool(mask, "mask")
    check_centers(init, "(B, K, D)" if batched else "(K, D)", (*points.shape[:-2], n_clusters, points.shape[-1]))
    if not batched:
        points, mask = points[None], mask[None]
        init = init[None] if isinstance(init, Tensor) else init
    options = Options(n_clusters, metric, init, n_init, max_iter, tol, generator, name="points")
    found = cluster(points, mask[:, None], options)
    return KMeansResult(*(found if batched else (x[0] for x in found)))


class KMeans(nn.Module):
    """Module of :func:`morn_losses.functional.kmeans`; ``forward(points, mask=None, generator=None)``."""

    init: Init | Tensor

    def __init__(
        self,
        n_clusters: int,
        *,
        metric: Metric = "euclidean",
        init: Init | Tensor = "k-means++",
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
    ) -> None:
        super().__init__()
        check_kmeans_options(n_clusters, metric, init, n_init, max_iter, tol)
        self.n_clusters = n_clusters
        self.metric: Metric = metric
        if isinstance(init, Tensor):
            self.register_buffer("init", init, persistent=False)
        else:
            self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol

    def forward(
        self, points: Tensor, mask: Tensor | None = None, generator: torch.Generator | None = None
    ) -> KMeansResult:
        """Return the clusters; see :func:`morn_losses.functional.kmeans`."""
        return kmeans(
            points,
            self.n_clusters,
            mask=mask,
            metric=self.metric,
            init=self.init,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            generator=generator,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        init = f"centers {tuple(self.init.shape)}" if isinstance(self.init, Tensor) else repr(self.init)
        return (
            f"{self.n_clusters}, metric={self.metric!r}, init={init}, n_init={self.n_init}, "
            f"max_iter={self.max_iter}, tol={self.tol}"
        )
