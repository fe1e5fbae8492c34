from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from morn_losses._host import products
from morn_losses.kmeans import kmeans


@pytest.mark.parametrize("openblas", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "D", "K"),
    [(1, 1, 1), (7, 3, 2), (256, 256, 4), (512, 256, 4), (700, 256, 4), (300, 5, 40), (90, 3000, 5)],
)
def test_products_and_sums(n: int, D: int, K: int, dtype: Any, openblas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "OPENBLAS", openblas)
    rng = np.random.default_rng(0)
    points, targets = rng.normal(size=(n, D)).astype(dtype), rng.normal(size=(K, D)).astype(dtype)
    bias = rng.normal(size=K).astype(dtype)
    bias[-1] = -np.inf
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-11}
    for given, added in ((None, 0), (bias, bias[:, None])):
        found = products.products(points, targets, given)
        assert found.dtype == dtype
        assert found.flags.c_contiguous
        np.testing.assert_allclose(found, targets.astype(float) @ points.T.astype(float) + added, **tolerance)
    weights = rng.integers(-1, 2, size=(K, n)).astype(dtype)
    found = products.weighted_sums(weights, points)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, weights.astype(float) @ points.astype(float), **tolerance)
    np.testing.assert_allclose(products.squared_lengths(points), np.square(points.astype(float)).sum(1), **tolerance)


def test_several_threads_take_huge_products_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def mm(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return torch.addmm(torch.zeros(1, 1), *args, **options)

    monkeypatch.setattr(products, "OPENBLAS", True)
    monkeypatch.setattr(torch, "mm", mm)
    points, targets = np.ones((products.HUGE // 64 + 1, 16), np.float32), np.ones((4, 16), np.float32)
    for n_threads, expected in ((1, 0), (2, 1)):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        assert (products.products(points, targets, None) == 16).all()
        assert len(calls) == expected


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_any_blas_finds_the_same_clusters(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(2, 900, 64, dtype=torch.float64).relu()
    found = []
    for openblas in (True, False):
        monkeypatch.setattr(products, "OPENBLAS", openblas)
        found.append(kmeans(points, 4, init=points[:, :4], metric=metric))
    for value, other in zip(*found, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)
