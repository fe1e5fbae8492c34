"""K-means under fire: many small problems with copies, empty sets and any spread of scales, by its kernel and without.

Always: no NaN, an end, sums that fit. Euclidean: the end comes long before ``max_iter``; inertia is at most that of the
starting centers, and in float64, without ties, that of scikit-learn from the same centers within 1 %. Under cosine the
centroids are plain means: the sum of cosine distances may rise from one iteration to the next, and assignments may
even go in a circle until ``max_iter``, so that neither is asked for. The same circle is found where ``tol`` is 0 and
the points' scales are further apart than the dtype can tell: such points change sides by rounding.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as ReferenceKMeans
from torch import Tensor

from fuzz.counts import COUNTS, FULL, no_hang
from morn_losses import KMeans
from morn_losses.estimators import BatchKMeans
from morn_losses.functional import kmeans

PROBLEMS = 100_000 if FULL else 1_500
COMPARED = 10_000 if FULL else 150
KINDS = ("plain", "grid", "copies", "few", "same", "zero", "scaled", "spread")


def integer(low: int, high: int, source: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=source))


def draw_points(kind: str, N: int, D: int, dtype: torch.dtype, source: torch.Generator) -> Tensor:
    x = torch.randn(N, D, generator=source, dtype=torch.float64)
    largest = 37 if dtype == torch.float32 else 300
    if kind == "grid":
        x = x.round()
    elif kind == "copies":
        x = x[torch.arange(N) // 2]
    elif kind == "few":
        x = x[torch.arange(N) % integer(1, 3, source)]
    elif kind == "same":
        x = x[:1].expand(N, D)
    elif kind == "zero":
        x = x * (torch.rand(N, 1, generator=source) < 0.3)
    elif kind == "scaled":
        x = x.clamp(-9, 9) / 9 * 10.0 ** integer(-largest, largest, source) + integer(0, 1, source)
    elif kind == "spread":
        x = x.clamp(-9, 9) * 10 ** (largest * (torch.rand(N, 1, generator=source, dtype=torch.float64) * 1.9 - 1))
    return x.to(dtype)


def best_of(points: Tensor, centers: Tensor) -> Tensor:
    """Sum of the squared distances of ``(N, D)`` to the nearest center."""
    return (points[:, None] - centers).square().sum(2).amin(1).sum() if len(points) > 0 else points.new_zeros(())


def check_problem(
    points: Tensor, start: Tensor | None, centroids: Tensor, labels: Tensor, inertia: Tensor, counts: Tensor
) -> None:
    assert centroids.isfinite().all()
    assert not inertia.isnan()
    assert torch.bincount(labels, minlength=len(counts)).tolist() == counts.tolist()
    if start is None or len(points) == 0:
        return
    # in float64, in units of the largest value, where every square is in range
    unit = torch.cat([points, start]).abs().max().double().clamp(min=1e-300)
    x, found = points.double() / unit, centroids.double() / unit
    before, after = best_of(x, start.double() / unit), (x - found[labels]).square().sum()
    rounding = 1e-4 if points.dtype == torch.float32 else 1e-9
    # distances are compared as |x|^2 - 2 x.c + |c|^2, exact to some units of rounding of the largest square
    exact = 8 * len(x) * torch.finfo(points.dtype).eps
    assert after <= before * (1 + rounding) + exact, (float(before), float(after))


def test_kmeans_under_fire(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.Generator()
    source.seed() if FULL else source.manual_seed(0)
    seed = source.initial_seed()
    tried = longest = 0
    while tried < PROBLEMS:
        B, N, D, K = (integer(*limits, source) for limits in ((1, 64), (0, 24), (1, 4), (1, 6)))
        dtype = (torch.float32, torch.float64)[integer(0, 1, source)]
        metric = ("euclidean", "euclidean", "cosine")[integer(0, 2, source)]
        kinds = [KINDS[integer(0, len(KINDS) - 1, source)] for _ in range(B)]
        points = torch.stack([draw_points(kind, N, D, dtype, source) for kind in kinds])
        mask = torch.rand(B, N, generator=source) < torch.rand(B, 1, generator=source) * 1.5
        how = ("k-means++", "random", "points", "anywhere")[integer(0, 3, source)]
        init = how
        if how in ("points", "anywhere"):
            init = torch.randn(B, K, D, generator=source, dtype=torch.float64).to(dtype)
        if how == "points":
            for b in range(B):
                chosen = mask[b].nonzero()[:, 0]
                chosen = chosen[torch.randperm(len(chosen), generator=source)][:K]
                init[b, : len(chosen)] = points[b, chosen]
        tol = (1e-4, 0.0)[integer(0, 1, source)]
        way = integer(0, 1, source)
        monkeypatch.setattr("morn_losses.kmeans.LARGE", (1, 2**60)[way])
        with no_hang():
            result = kmeans(points, K, mask=mask, metric=metric, init=init, tol=tol, max_iter=300, generator=source)
        for b, kind in enumerate(kinds):
            exists = mask[b]
            start = init[b] if isinstance(init, Tensor) and metric == "euclidean" else None
            centroids, labels, inertia, counts, n_iter = (value[b] for value in result)
            assert (labels[~exists] == -1).all()
            by = ("by the kernel", "together")[way]
            where = f"seed {seed}, problem {tried + b} {by}: {kind}, {how}, {metric}, {dtype}, tol {tol}"
            try:
                check_problem(points[b][exists], start, centroids, labels[exists], inertia, counts)
                settles = metric == "euclidean" and (tol > 0 or kind != "spread")
                assert n_iter < 100 or not settles, f"{int(n_iter)} iterations"
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}\n{points[b][exists]}\n{start}") from error
            if settles:
                longest = max(longest, int(n_iter))
            if n_iter == 300:
                COUNTS["kmeans in a circle until max_iter"][f"{metric} {kind}, tol {tol}"] += 1
            COUNTS["kmeans"][f"{metric} {kind}"] += 1
        tried += B
    if FULL:
        print(f"\nseed {seed}: at most {longest} iterations")


def test_predict_under_fire() -> None:
    source = torch.Generator()
    source.seed() if FULL else source.manual_seed(2)
    seed = source.initial_seed()
    for _ in range(PROBLEMS // 10):
        B, N, D, K = (integer(*limits, source) for limits in ((1, 5), (0, 24), (1, 4), (1, 6)))
        dtype = (torch.float32, torch.float64)[integer(0, 1, source)]
        kind = KINDS[integer(0, len(KINDS) - 1, source)]
        points = torch.stack([draw_points(kind, N, D, dtype, source) for _ in range(B)])
        mask = torch.rand(B, N, generator=source) < 0.7
        centroids = draw_points(kind, B * K, D, dtype, source).view(B, K, D)
        labels = KMeans(K).predict(points, centroids, mask)
        assert labels.shape == mask.shape
        assert ((labels >= 0) == mask).all()
        assert (labels < K).all()
        for x, c, own in zip(points, centroids, labels, strict=True):
            exists = own >= 0
            counts = torch.bincount(own[exists], minlength=K)
            try:
                # no center moves: what is assigned is as near as the nearest
                check_problem(x[exists], c, c, own[exists], torch.zeros(()), counts)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {kind}, {dtype}: {error}\n{x[exists]}\n{c}") from error
        COUNTS["kmeans predict"][kind] += 1


def test_an_estimator_under_fire() -> None:
    source = torch.Generator()
    source.seed() if FULL else source.manual_seed(3)
    for _ in range(PROBLEMS // 10):
        N, D, K = (integer(*limits, source) for limits in ((6, 24), (1, 4), (1, 6)))
        dtype = (torch.float32, torch.float64)[integer(0, 1, source)]
        kind = ("plain", "grid", "copies", "few", "same", "zero")[integer(0, 5, source)]
        points = draw_points(kind, N, D, dtype, source).numpy()
        metric = ("euclidean", "cosine")[integer(0, 1, source)]
        model = BatchKMeans(K, metric=metric, random_state=integer(0, 9, source)).fit(points)
        assert np.isfinite(model.cluster_centers_).all()
        assert set(model.labels_) == set(model.fit_predict(points)) <= set(range(K))
        # ties may be told apart otherwise, at no cost
        distances = model.transform(points)
        again, fitted = (
            np.take_along_axis(distances, own[:, None], 1) for own in (model.predict(points), model.labels_)
        )
        np.testing.assert_allclose(again, fitted, rtol=1e-3, atol=1e-3)
        assert math.isclose(-model.score(points), model.inertia_, rel_tol=1e-3, abs_tol=1e-4), (kind, metric)
        COUNTS["BatchKMeans"][f"{metric} {kind}"] += 1


def test_kmeans_without_ties_equals_scikit_learn_from_the_same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.Generator().manual_seed(1)
    furthest = 0.0
    for i in range(COMPARED // 50):
        monkeypatch.setattr("morn_losses.kmeans.LARGE", (1, 2**60)[i % 2])
        N, D, K = (integer(*limits, source) for limits in ((6, 60), (1, 4), (1, 6)))
        scale = 10.0 ** integer(-20, 20, source)
        points = torch.randn(50, N, D, generator=source, dtype=torch.float64) * scale
        tol = (1e-4, 0.0)[integer(0, 1, source)]
        result = kmeans(points, K, init=points[:, :K], tol=tol, max_iter=300)
        for b in range(50):
            reference = ReferenceKMeans(K, init=points[b, :K].numpy(), n_init=1, max_iter=300, tol=tol)
            expected = reference.fit(points[b].numpy()).inertia_
            found = float(result.inertia[b])
            assert math.isclose(found, expected, rel_tol=0.01, abs_tol=1e-12 * scale**2), (found, expected, b)
            furthest = max(furthest, abs(found - expected) / (expected + 1e-12 * scale**2))
            COUNTS["kmeans against scikit-learn"]["within 1 %"] += 1
    if FULL:
        print(f"\ninertia within {furthest:.1e} of scikit-learn's")
