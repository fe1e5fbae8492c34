"""Batched, ragged k-means: Lloyd's algorithm on many sets of points in one call."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morn_losses._checks import as_bool, check_floating, check_generator, check_real, check_shape
from morn_losses._clustering import (
    ROUNDING,
    Init,
    KMeansOptions,
    Metric,
    draw_centers,
    first_of_its_kind,
    given_centers,
)
from morn_losses._eager import outside_compile
from morn_losses._host.lloyd import cluster_alone
from morn_losses._options import hold, show_options
from morn_losses._points import Points, in_range, pack, refuse_nested, sums, unpack
from morn_losses._precision import full_precision, on_host, promote, unit_vectors

LARGE = 2**12  # numbers in a problem from which on the CPU is faster with it alone
CHECK_EVERY = 4  # iterations between two looks at the device for a reason to stop


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

    Work grows with the size of the largest problem, whatever the points are padded to; on the CPU large problems are
    solved one by one, by a kernel of their own. The host waits for the device once to size the batch and every few
    iterations to stop. Nothing carries a gradient.

    Args:
        points: ``(B, N, D)``, or ``(N, D)`` for one problem without a batch axis.
        n_clusters: K.
        mask: ``(B, N)`` (``(N,)`` without a batch axis), bool or {0, 1}: the points that exist. The others may hold
            anything. None: all.
        metric: ``"euclidean"`` or ``"cosine"``.
        init: ``"k-means++"`` (greedy, as scikit-learn's: for each center 2 + log K candidates are drawn, with
            probability in proportion to the squared distance to the nearest earlier center, and the one that leaves the
            smallest sum of them is kept), ``"random"`` (K points), or centers ``(B, K, D)`` (``(K, D)`` without a batch
            axis).
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
        TypeError: points that are not floating-point, a complex mask, nested tensors.

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
    mask = _check_points(points, mask)
    options = KMeansOptions(n_clusters, metric, init, n_init, max_iter, tol)
    return _kmeans(points, mask, options, generator)


def _check_points(points: Tensor, mask: Tensor | None) -> Tensor:
    """Check the points and the mask; return the latter as bool."""
    refuse_nested(points, "points")
    check_floating(points, "points")
    if points.ndim not in (2, 3) or points.shape[-1] < 1 or points.shape[0] < points.ndim - 2:
        raise ValueError(f"points: expected (B, N, D) or (N, D) with B, D >= 1, got {tuple(points.shape)}")
    if mask is None:
        return torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)
    refuse_nested(mask, "mask")
    check_real(mask, "mask")
    check_shape(mask, "mask", "(B, N)" if points.ndim == 3 else "(N,)", points.shape[:-1])
    return as_bool(mask, "mask")


def _kmeans(points: Tensor, mask: Tensor, options: KMeansOptions, generator: torch.Generator | None) -> KMeansResult:
    """Cluster ``(B, N, D)`` or ``(N, D)`` that have been checked."""
    check_generator(generator)
    init, batched = options.init, points.ndim == 3
    if isinstance(init, Tensor):
        expected = (*points.shape[:-2], options.n_clusters, points.shape[-1])
        check_shape(init, "init", "(B, K, D)" if batched else "(K, D)", expected)
    if batched:
        return cluster(points, mask[:, None], options, generator)
    options = options if isinstance(init, str) else replace(options, init=init[None])
    return KMeansResult(*(x[0] for x in cluster(points[None], mask[None, None], options, generator)))


def cluster(
    points: Tensor,
    masks: Tensor,
    options: KMeansOptions,
    generator: torch.Generator | None = None,
    name: str = "points",
) -> KMeansResult:
    """Cluster the points ``(B, N, D)`` of each sample once for each of its masks ``(B, G, N)``: P = B * G problems."""
    run = outside_compile(_cluster) if torch.compiler.is_compiling() else _cluster
    return run(points, masks, options, generator, name)


@torch.no_grad()
def _cluster(
    points: Tensor, masks: Tensor, options: KMeansOptions, generator: torch.Generator | None, name: str
) -> KMeansResult:
    points = promote(points)
    sizes = masks.sum(2).flatten()
    if isinstance(options.init, Tensor):
        centers = torch.where((sizes > 0)[:, None, None], options.init.to(points.dtype), 0)
        if on_host(points) and not bool(centers.isfinite().all()):
            raise ValueError("init: expected finite values, got NaN or inf")
        options = replace(options, init=centers)
    with full_precision(points):
        if not on_host(points):
            return _together(points, masks, options, generator, name)
        large = sizes * points.shape[2] >= LARGE  # a problem's way depends on its own size alone
        if bool(large.all()):
            result = _nothing(points, masks, options)
        else:
            result = _together(points, masks & ~large.view(*masks.shape[:2], 1), options, generator, name)
        cluster_alone(points, masks, large, options, generator, name, result)
    return result


def _together(
    points: Tensor, masks: Tensor, options: KMeansOptions, generator: torch.Generator | None, name: str
) -> KMeansResult:
    """Cluster all problems at once, on any device; see :func:`cluster`."""
    packed, exists, rows = pack(points, masks)
    x = in_range(packed, exists, options.metric)
    init, n_init, broken = options.init, options.n_init, ~x.finite
    if isinstance(init, Tensor):
        n_init, broken = 1, broken | ~init.isfinite().all(2).all(1)
    if on_host(broken) and bool(broken.any()):
        raise ValueError(f"{name}: expected finite values, got NaN or inf")
    running = exists.any(1) & ~broken
    best: KMeansResult | None = None
    for _ in range(n_init):
        if isinstance(init, Tensor):
            start = given_centers(x, init, options.metric)
        else:
            start = draw_centers(x, options, generator)
        result = _lloyd(x, *start, running, options)
        best = result if best is None else _better(result, best)
    assert best is not None
    centroids = torch.where(exists.any(1)[:, None, None], (best.centroids + x.origin) * x.unit, 0)
    inertia = best.inertia
    if options.metric == "euclidean":
        inertia = inertia * x.unit[:, 0, 0] * x.unit[:, 0, 0]  # one after the other: the square alone may be inf
    return best._replace(
        centroids=centroids.masked_fill(broken[:, None, None], math.nan),
        assignments=unpack(best.assignments, exists, rows, points.shape[1]),
        inertia=inertia.masked_fill(broken, math.nan),
    )


def _lloyd(x: Points, centers: Tensor, alive: Tensor, running: Tensor, options: KMeansOptions) -> KMeansResult:
    """Move the centers ``(P, K, D)`` until no problem runs; one that is not alive attracts no point."""
    tolerance = (options.squared_tolerance(centers.dtype) * x.variance).sqrt()
    n_iter = torch.zeros_like(running, dtype=torch.int64)
    for i in range(options.max_iter):
        if i % CHECK_EVERY == 0 and not bool(running.any()):
            break
        n_iter += running
        members = _members(x, _nearest(x, centers, alive, options.metric), centers)
        members = _restart(x, centers, members, options.metric)
        counts = members.sum(2, keepdim=True)
        moved = torch.where(counts > 0, sums(members, x.values) / counts, centers)
        # unchanged assignments give the same means again, and no shift
        shift = torch.linalg.vector_norm(moved - centers, dim=(1, 2))
        centers = torch.where(running[:, None, None], moved, centers)
        alive = torch.where(running[:, None], counts[..., 0] > 0, alive)
        running = running & (shift > tolerance)

    labels = _nearest(x, centers, alive, options.metric)
    counts = _members(x, labels, centers).sum(2, dtype=torch.int64)
    own = _own(centers, labels, options.metric)
    if options.metric == "cosine":
        distance = (1 - (own * x.compared).sum(2)).clamp(min=0)
    else:
        distance = (own - x.compared).square().sum(2)
    first = (counts > 0).to(torch.int8).argmax(1)[:, None, None].expand(-1, 1, centers.shape[2])
    centers = torch.where((counts > 0)[..., None], centers, centers.gather(1, first))
    return KMeansResult(centers, labels, torch.where(x.exists, distance, 0).sum(1), counts, n_iter)


def _nearest(x: Points, centers: Tensor, alive: Tensor, metric: Metric) -> Tensor:
    """Return the cluster of every point, ``(P, N)``: the nearest of those alive, of equals the first."""
    targets = _targets(centers, metric)
    # |x - c|^2 without |x|^2, which is the same for every c; under cosine without |c|^2, which is 1
    bias = targets.square().sum(2) if metric == "euclidean" else torch.zeros_like(targets[..., 0])
    bias = torch.where(alive, bias, math.inf)
    distances = torch.baddbmm(bias[..., None], targets, x.compared.mT, alpha=-2)
    # min returns the first of equals as argmin does, several times faster on the CPU
    return distances.min(1).indices


def _members(x: Points, labels: Tensor, centers: Tensor) -> Tensor:
    """Return which points belong to which cluster, ``(P, K, N)``, as numbers."""
    ids = torch.arange(centers.shape[1], device=labels.device)[:, None]
    return ((labels[:, None] == ids) & x.exists[:, None]).to(centers.dtype)


def _targets(centers: Tensor, metric: Metric) -> Tensor:
    """Return what points are compared with, as ``Points.compared`` is."""
    return unit_vectors(centers, 2) if metric == "cosine" else centers


def _own(centers: Tensor, labels: Tensor, metric: Metric) -> Tensor:
    """Return what each point is compared with at its own center, ``(P, N, D)``."""
    targets = _targets(centers, metric)
    return targets.gather(1, labels[..., None].expand(-1, -1, targets.shape[2]))


def _restart(x: Points, centers: Tensor, members: Tensor, metric: Metric) -> Tensor:
    """Let the first empty cluster of each problem start again from the point that is farthest from its own center.

    The next one waits for the next iteration, so that copies of one point do not start several clusters.
    """
    counts = members.sum(2)
    empty = counts == 0
    if on_host(empty) and not bool(empty.any()):
        return members
    labels = members.argmax(1)
    distance = (_own(centers, labels, metric) - x.compared).square().sum(2)
    # a cluster's mean may miss identical points by rounding; they are no reason to split it
    rounding = (ROUNDING * torch.finfo(distance.dtype).eps) ** 2 * x.compared.square().sum(2)
    splits = x.allowed & (counts.gather(1, labels) > 1) & (distance > rounding)
    farthest, row = torch.where(splits, distance, 0).max(1, keepdim=True)
    takes = (empty.any(1, keepdim=True) & (farthest > 0)) & (torch.arange(members.shape[2], device=row.device) == row)
    first = torch.arange(members.shape[1], device=row.device) == empty.to(torch.int8).argmax(1, keepdim=True)
    return torch.where(takes[:, None], first[..., None].to(members.dtype), members)


def _better(new: KMeansResult, best: KMeansResult) -> KMeansResult:
    """Keep for each problem the one of smaller inertia."""
    better = new.inertia < best.inertia
    return KMeansResult(
        *(torch.where(better.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(new, best, strict=True))
    )


def _nothing(points: Tensor, masks: Tensor, options: KMeansOptions) -> KMeansResult:
    """Return the result of problems without points."""
    (B, G, N), K = masks.shape, options.n_clusters
    counts = torch.zeros(B * G, K, dtype=torch.int64, device=points.device)
    return KMeansResult(
        points.new_zeros(B * G, K, points.shape[2]),
        counts.new_full((B * G, N), -1),
        points.new_zeros(B * G),
        counts,
        counts.new_zeros(B * G),
    )


class KMeans(nn.Module):
    """Module of :func:`morn_losses.functional.kmeans`: many sets of points, of different sizes, in one call.

    ``forward(points, mask=None, generator=None) -> KMeansResult``, of points ``(B, N, D)`` or ``(N, D)``.

    Args:
        n_clusters: K.
        metric: ``"euclidean"`` or ``"cosine"``.
        init: ``"k-means++"``, ``"random"``, or centers ``(B, K, D)`` (``(K, D)`` without a batch axis).
        n_init: number of starts, of which each problem keeps the one of smallest inertia.
        max_iter: iterations at most.
        tol: the squared shifts of the centroids, relative to the points' mean variance, that end a problem.
    """

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
        hold(self, KMeansOptions(n_clusters, metric, init, n_init, max_iter, tol))

    @property
    def options(self) -> KMeansOptions:
        """The options that the module holds."""
        return KMeansOptions(*(getattr(self, field.name) for field in fields(KMeansOptions)))

    if TYPE_CHECKING:

        def __call__(
            self, points: Tensor, mask: Tensor | None = None, generator: torch.Generator | None = None
        ) -> KMeansResult:
            """Call :meth:`forward`."""

    def forward(
        self, points: Tensor, mask: Tensor | None = None, generator: torch.Generator | None = None
    ) -> KMeansResult:
        """Return the clusters; see :func:`morn_losses.functional.kmeans`."""
        return _kmeans(points, _check_points(points, mask), self.options, generator)

    @torch.no_grad()
    def predict(self, points: Tensor, centroids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the nearest centroid of every point; none of them moves.

        Args:
            points: ``(B, N, D)``, or ``(N, D)``.
            centroids: ``(B, K, D)``, or ``(K, D)``; :func:`~morn_losses.functional.kmeans` returns them.
            mask: ``(B, N)``, or ``(N,)``: the points that exist. None: all.

        Returns:
            int64 ``(B, N)``, or ``(N,)``: which centroid, the first of equals, and -1 where masked.

        Raises:
            ValueError: wrong shapes; NaN or inf in a centroid or in a point that exists (CPU only).
        """
        mask, options = _check_points(points, mask), self.options
        check_floating(centroids, "centroids")
        batched = points.ndim == 3
        expected = (*points.shape[:-2], options.n_clusters, points.shape[-1])
        check_shape(centroids, "centroids", "(B, K, D)" if batched else "(K, D)", expected)
        if mask.numel() == 0:
            return mask.long()
        points = promote(points)
        if not batched:
            points, centroids, mask = points[None], centroids[None], mask[None]
        with full_precision(points):
            centroids = centroids.to(points.dtype)
            first = first_of_its_kind(centroids)
            # in units that suit both
            x = in_range(torch.cat([points, centroids], 1), F.pad(mask, (0, len(first[0])), value=True), options.metric)
            if on_host(x.finite) and not bool(x.finite.all()):
                name = "points" if bool(centroids.isfinite().all()) else "centroids"
                raise ValueError(f"{name}: expected finite values, got NaN or inf")
            N = points.shape[1]
            labels = _nearest(x._replace(compared=x.compared[:, :N]), x.values[:, N:], first, options.metric)
            labels = torch.where(mask, labels, -1)
        return labels if batched else labels[0]

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
