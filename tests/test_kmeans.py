from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as ReferenceKMeans
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from morn_losses._clustering import KMeansOptions, draw_centers, n_candidates
from morn_losses._host import lloyd
from morn_losses._points import in_range
from morn_losses.kmeans import CHECK_EVERY, KMeans, KMeansResult, kmeans


@pytest.fixture(autouse=True, params=[1, 2**60], ids=["kernel", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is promised holds both ways, whatever the size of a problem."""
    monkeypatch.setattr("morn_losses.kmeans.LARGE", request.param)


def reference(points: Tensor, init: Tensor, max_iter: int = 100, tol: float = 1e-4) -> Any:
    model = ReferenceKMeans(len(init), init=init.numpy(), n_init=1, max_iter=max_iter, tol=tol, algorithm="lloyd")
    return model.fit(points.numpy())


def by_loops(
    points: np.ndarray, centers: np.ndarray, max_iter: int = 100, tol: float = 1e-4
) -> tuple[np.ndarray, list[int], float, int]:
    """Lloyd's algorithm with cosine distances and plain means, point by point."""

    def distance(x: np.ndarray, c: np.ndarray) -> float:
        lengths = math.sqrt(x @ x) * math.sqrt(c @ c)
        return 1 - (x @ c) / lengths if lengths > 0 else 1.0

    def nearest() -> list[int]:
        return [int(np.argmin([distance(x, c) for c in centers])) for x in points]

    previous: list[int] = []
    n_iter = 0
    for _ in range(max_iter):
        n_iter += 1
        labels = nearest()
        means = np.array([np.mean([x for x, i in zip(points, labels, strict=True) if i == k], 0)
                          for k in range(len(centers))])  # fmt: skip
        shift = ((means - centers) ** 2).sum()
        centers = means
        if labels == previous or shift <= tol * points.var(0).mean():
            break
        previous = labels
    labels = nearest()
    return centers, labels, sum(distance(x, centers[i]) for x, i in zip(points, labels, strict=True)), n_iter


def check(result: KMeansResult, points: Tensor, mask: Tensor | None = None, metric: str = "euclidean") -> None:
    """What holds for every result, hard cases included."""
    mask = torch.ones(points.shape[:2], dtype=torch.bool) if mask is None else mask
    B, K, _ = result.centroids.shape
    assert result.centroids.isfinite().all()
    assert result.inertia.isfinite().all()
    assert (result.counts.sum(1) == mask.sum(1)).all()
    for b in range(B):
        labels = result.assignments[b]
        assert (labels[~mask[b]] == -1).all()
        x, own = points[b][mask[b]], labels[mask[b]]
        assert torch.bincount(own, minlength=K).tolist() == result.counts[b].tolist()
        if len(x) == 0:
            assert result.centroids[b].abs().sum() + result.inertia[b] + result.n_iter[b] == 0
            continue
        occupied = result.centroids[b][result.counts[b] > 0]
        for k in range(K):
            assert (result.centroids[b, k] == occupied).all(1).any()
        scale = x.abs().max().clamp(min=1e-30)
        if metric == "euclidean":
            distances = ((x[:, None] - result.centroids[b]) / scale).double().square().sum(2)
            total = distances.gather(1, own[:, None]).sum() * scale * scale
        else:
            distances = 1 - torch.nn.functional.cosine_similarity(x[:, None], result.centroids[b][None], dim=2, eps=0)
            distances = distances.nan_to_num(1)
            total = distances.gather(1, own[:, None]).sum()
        margin = 1e-4 if x.dtype == torch.float32 else 1e-9
        assert (distances.gather(1, own[:, None])[:, 0] <= distances.amin(1) + margin).all()
        torch.testing.assert_close(result.inertia[b].double(), total.double(), rtol=1e-4, atol=1e-5 * float(scale) ** 2)


def test_value_by_hand() -> None:
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0], [12.0]])
    result = kmeans(points, 2, init=torch.tensor([[0.0], [1.0]]))
    # 0 | 1 10 11 12 (mean 8.5) -> 0 1 | 10 11 12 (means 0.5, 11) -> unchanged
    assert result.centroids.tolist() == [[0.5], [11.0]]
    assert result.assignments.tolist() == [0, 0, 1, 1, 1]
    assert result.inertia.item() == 2.5
    assert result.counts.tolist() == [2, 3]
    assert result.n_iter.item() == 3


def test_ragged_batches_equal_scikit_learn_from_the_same_centers() -> None:
    for trial in range(40):
        generator = torch.Generator().manual_seed(trial)
        K, D = 2 + trial % 5, 1 + trial % 7
        sizes = torch.randint(K, 300, (5,), generator=generator)
        points = torch.randn(5, 300, D, generator=generator, dtype=torch.float64) * 10 ** (trial % 3) + trial
        mask = torch.arange(300) < sizes[:, None]
        mask = mask.gather(1, torch.rand(5, 300, generator=generator).argsort(1))
        init = torch.stack([points[b][mask[b]][:K] for b in range(5)])
        result = kmeans(points, K, mask=mask, init=init)
        check(result, points, mask)
        for b in range(5):
            expected = reference(points[b][mask[b]], init[b])
            assert result.inertia[b].item() == pytest.approx(expected.inertia_, rel=1e-9)
            np.testing.assert_allclose(result.centroids[b].numpy(), expected.cluster_centers_, rtol=1e-9, atol=1e-9)
            assert result.assignments[b][mask[b]].tolist() == expected.labels_.tolist()
            assert result.n_iter[b].item() == expected.n_iter_


@pytest.mark.parametrize("n_clusters", [4, 20])
def test_a_large_problem_equals_scikit_learn_from_the_same_centers(n_clusters: int) -> None:
    points = torch.randn(3000, 40, dtype=torch.float64).relu()
    result = kmeans(points, n_clusters, init=points[:n_clusters])
    expected = reference(points, points[:n_clusters])
    assert result.n_iter.item() == expected.n_iter_ > 20
    assert result.assignments.tolist() == expected.labels_.tolist()
    assert result.inertia.item() == pytest.approx(expected.inertia_, rel=1e-9)
    np.testing.assert_allclose(result.centroids.numpy(), expected.cluster_centers_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("spread", [1.0, 0.1, 1e-3])
def test_inertia_of_tight_clusters_keeps_its_digits_in_float32(spread: float, metric: Any) -> None:
    points = (torch.eye(3, 20)[torch.arange(600) % 3] * 3 + torch.randn(600, 20) * spread).double()
    result = kmeans(points.float(), 3, init=points[:3].float(), metric=metric)
    expected = kmeans(points, 3, init=points[:3], metric=metric)
    assert torch.equal(result.assignments, expected.assignments)
    # 1 - cos has no more digits than cos
    absolute = 600 * 1e-7 if metric == "cosine" else 0
    torch.testing.assert_close(result.inertia.double(), expected.inertia, rtol=2e-5, atol=absolute)


@pytest.mark.parametrize(("max_iter", "tol"), [(1, 1e-4), (3, 1e-4), (100, 0.0), (100, 1e-2), (100, 0.3)])
def test_stopping_equals_scikit_learn(max_iter: int, tol: float) -> None:
    points = torch.randn(400, 3, dtype=torch.float64) * 50
    result = kmeans(points, 6, init=points[:6], max_iter=max_iter, tol=tol)
    expected = reference(points, points[:6], max_iter, tol)
    assert result.n_iter.item() == expected.n_iter_
    assert result.inertia.item() == pytest.approx(expected.inertia_, rel=1e-9)
    # stopped early or not, assignments belong to the centroids returned
    assert result.assignments.tolist() == torch.cdist(points, result.centroids).argmin(1).tolist()
    assert torch.bincount(result.assignments, minlength=6).tolist() == result.counts.tolist()


def test_tolerance_is_relative_to_the_spread() -> None:
    points = torch.randn(300, 2, dtype=torch.float64)
    n_iter = kmeans(points, 5, init=points[:5], tol=0.01).n_iter
    assert 1 < n_iter < kmeans(points, 5, init=points[:5], tol=0).n_iter
    for scale, shift in ((1e5, 0), (1e-5, 0), (1, 1e4)):
        moved = points * scale + shift
        assert kmeans(moved, 5, init=moved[:5], tol=0.01).n_iter == n_iter


def test_cosine_equals_the_algorithm_written_with_loops() -> None:
    for trial in range(10):
        points = torch.randn(3, 40, 4, dtype=torch.float64) * torch.rand(3, 40, 1, dtype=torch.float64) * 3
        points[:, 7] = 0
        result = kmeans(points, 3, init=points[:, :3], metric="cosine", tol=(trial % 2) * 1e-3)
        check(result, points, metric="cosine")
        for b in range(3):
            centers, labels, inertia, n_iter = by_loops(
                points[b].numpy(), points[b, :3].numpy(), tol=(trial % 2) * 1e-3
            )
            np.testing.assert_allclose(result.centroids[b].numpy(), centers, rtol=1e-9, atol=1e-9)
            assert result.assignments[b].tolist() == labels
            assert result.inertia[b].item() == pytest.approx(inertia)
            assert result.n_iter[b].item() == n_iter


def test_cosine_centroids_are_plain_means() -> None:
    points = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0]])
    result = kmeans(points, 2, init=torch.tensor([[9.0, 1.0], [1.0, 9.0]]), metric="cosine")
    assert result.centroids.tolist() == [[3.0, 0.0], [0.0, 2.0]]
    assert result.inertia.item() == 0
    # by Euclidean distance (5, 0) is alone
    assert kmeans(points, 2, init=points[1:]).assignments.tolist() == [1, 0, 1]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_masked_points_have_no_influence(metric: Any, bad: float) -> None:
    points = torch.randn(3, 50, 4)
    mask = torch.rand(3, 50) > 0.4
    mask[:, 0] = False
    init = torch.randn(3, 3, 4)
    points[~mask] = 0
    clean = kmeans(points, 3, mask=mask, init=init, metric=metric)
    points[~mask] = bad
    result = kmeans(points, 3, mask=mask, init=init, metric=metric)
    for value, expected in zip(result, clean, strict=True):
        assert torch.equal(value, expected)
    drawn = [kmeans(p, 3, mask=mask, metric=metric, generator=torch.Generator().manual_seed(1))
             for p in (points, points.nan_to_num(0, 0))]  # fmt: skip
    assert torch.equal(drawn[0].centroids, drawn[1].centroids)


@pytest.mark.parametrize("tol", [1e-4, 0.05])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_problem_does_not_depend_on_the_others(metric: Any, tol: float) -> None:
    points = torch.randn(6, 400, 3, dtype=torch.float64)
    points[4] *= 1e6
    mask = torch.arange(400) < torch.tensor([400, 60, 0, 130, 250, 5])[:, None]
    init = points[:, :4]
    whole = kmeans(points, 4, mask=mask, init=init, metric=metric, tol=tol)
    check(whole, points, mask, metric)
    assert len(set(whole.n_iter.tolist())) > 3, "problems should end at different times"
    for b in range(6):
        alone = kmeans(points[b], 4, mask=mask[b], init=init[b], metric=metric, tol=tol)
        for value, expected in zip(alone, whole, strict=True):
            torch.testing.assert_close(value, expected[b], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_large_and_small_problems_share_a_call(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(5, 400, 3, dtype=torch.float64)
    mask = torch.rand(5, 400) < torch.tensor([1.0, 0.1, 0.0, 0.9, 0.05])[:, None]
    init = points[:, :4]
    expected = kmeans(points, 4, mask=mask, init=init, metric=metric)
    monkeypatch.setattr("morn_losses.kmeans.LARGE", 600)
    found = kmeans(points, 4, mask=mask, init=init, metric=metric)
    check(found, points, mask, metric)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)
    check(kmeans(points, 4, mask=mask, metric=metric, n_init=2), points, mask, metric)
    points[3][mask[3].nonzero()[7]] = math.nan
    with pytest.raises(ValueError, match="points: expected finite values"):
        kmeans(points, 4, mask=mask, init=init, metric=metric)


def test_sums_that_follow_the_points_lose_nothing_to_rounding() -> None:
    # points of 1e12 leave the first cluster late, among points of 1 whose mean their rounding errors would drown
    points = torch.cat([torch.randn(3000, 2), torch.randn(40, 2) * 1e12])
    start = torch.tensor([[0.0, 0.0], [1e9, 0.0], [0.0, 1e11], [-1e12, 3e11]])
    result = kmeans(points, 4, init=start, tol=0)
    for k in range(4):
        own = points[result.assignments == k].double()
        torch.testing.assert_close(result.centroids[k].double(), own.mean(0), rtol=1e-4, atol=1e-4 * own.abs().max())


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_hard_cases(init: Any, metric: Any) -> None:
    points = torch.randn(8, 20, 3)
    mask = torch.ones(8, 20, dtype=torch.bool)
    points[0, 1::2] = points[0, ::2]  # every point twice
    points[1] = points[1, :3].repeat(7, 1)[:20]  # fewer distinct points than clusters
    mask[2, 4:] = False  # fewer points than clusters
    mask[3, 1:] = False  # one point
    mask[4] = False  # none
    points[5] = points[5, 0]  # all identical
    points[6, 5:] = 0  # zero vectors
    points[7] = 0
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        result = kmeans(points, 6, mask=mask, metric=metric, init=init, generator=generator)
        check(result, points, mask, metric)
        assert (result.n_iter < 20).all()
        assert sorted(result.counts[1].tolist())[:3] == [0, 0, 0]
        assert result.inertia[1] < 1e-5
        assert sorted(result.counts[2].tolist()) == [0, 0, 1, 1, 1, 1]
        torch.testing.assert_close(result.centroids[3], points[3, :1].expand(6, 3))
        assert sorted(result.counts[3].tolist()) == [0] * 5 + [1]
        torch.testing.assert_close(result.centroids[5], points[5, :1].expand(6, 3))
        assert result.counts[5].max() == 20
        assert result.counts[7].max() == 20
        # a zero vector is at cosine distance 1 from everything
        assert result.inertia[7].item() == (20 if metric == "cosine" else 0)
        if metric == "cosine":
            assert result.inertia[6] >= 15


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_a_zero_vector_has_no_direction_to_start_from(init: Any) -> None:
    angles = torch.arange(5) * 0.3
    points = torch.zeros(100, 105, 2)
    points[:, ::21] = torch.stack([angles.cos(), angles.sin()], 1)
    result = kmeans(points, 5, init=init, metric="cosine", max_iter=1)
    assert (result.counts.sort(1).values == torch.tensor([1, 1, 1, 1, 101])).all()
    # nor does an emptied cluster restart from one, though they are farthest from all
    start = points[:, ::21].clone()
    start[:, 4] = -1
    result = kmeans(points, 5, init=start, metric="cosine")
    assert (result.counts.sort(1).values == torch.tensor([1, 1, 1, 1, 101])).all()


def test_no_points_at_all() -> None:
    for N in (0, 3):
        result = kmeans(torch.full((2, N, 3), math.nan), 4, mask=torch.zeros(2, N, dtype=torch.bool))
        assert result.assignments.tolist() == [[-1] * N] * 2
        for value in (result.centroids, result.inertia, result.counts, result.n_iter):
            assert value.abs().sum() == 0
        assert result.centroids.shape == (2, 4, 3)
        # nor does it matter where they would have started
        init = torch.full((2, 4, 3), math.nan)
        result = kmeans(torch.zeros(2, N, 3), 4, mask=torch.zeros(2, N), init=init)
        assert result.centroids.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [7, 300, 5000])
def test_copies_of_few_points_settle_at_once(n: int, dtype: torch.dtype) -> None:
    distinct = torch.tensor([[0.1, 0.7], [0.3, -0.9], [1.1, 0.2]], dtype=dtype)
    points = distinct[torch.arange(n) % 3]
    for tol in (1e-4, 0.0):
        result = kmeans(points, 5, tol=tol)
        assert sorted(result.counts.tolist())[:2] == [0, 0]
        assert result.inertia < 1e-6
        assert result.n_iter < 10
        # from equal centers every distinct point has to be found by re-seeding
        result = kmeans(points, 5, tol=tol, init=distinct[:1].expand(5, 2) + 0.01)
        assert sorted(result.counts.tolist())[:2] == [0, 0]
        assert result.inertia < 1e-6
        assert result.n_iter < 15


def test_an_emptied_cluster_restarts_at_the_point_farthest_from_its_centroid() -> None:
    points = torch.tensor([[0.0], [1.0], [2.0], [20.0], [22.0], [29.0]], dtype=torch.float64)
    init = torch.tensor([[1.0], [21.0], [1000.0]], dtype=torch.float64)
    result = kmeans(points, 3, init=init, max_iter=1)
    # the third center attracts nothing; 29 is farthest from its own center, and leaves it
    assert result.centroids.tolist() == [[1.0], [21.0], [29.0]]
    assert result.counts.tolist() == [3, 2, 1]
    assert result.inertia.item() == reference(points, init).inertia_ == 4.0
    # the same under cosine: the third direction is opposite to all
    angles = torch.tensor([0.0, 0.02, 1.0, 1.02, 1.5], dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin()], 1)
    init = torch.stack([points[0], points[2], -points[3]])
    result = kmeans(points, 3, init=init, metric="cosine")
    assert result.assignments.tolist() == [0, 0, 1, 1, 2]


def test_far_points_at_their_center_do_not_hide_a_near_one_off_its_own() -> None:
    # in float32 the squares of the far points know of no distance of 3
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 5.0], [3e5, 7e5], [3e5, 7e5]])
    result = kmeans(points, 3, init=torch.tensor([[0.0, 2.0], [3e5, 7e5], [-9e8, 0.0]]), max_iter=1)
    assert result.centroids[2].tolist() == [0.0, 5.0]
    assert result.counts.tolist() == [2, 2, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_centers_do_not_share_the_points_by_rounding(dtype: torch.dtype) -> None:
    points = torch.randn(200, 31, dtype=dtype)
    result = kmeans(points, 33, init=points.mean(0).expand(33, 31) + 0.1, max_iter=1)
    # all to the first, and the farthest point starts the second
    assert (result.counts > 0).nonzero().flatten().tolist() == [0, 1]


def test_many_emptied_clusters_restart_as_scikit_learn_ends() -> None:
    blobs = torch.randn(6, 1, 2, dtype=torch.float64).mul(30) + torch.randn(6, 25, 2, dtype=torch.float64) * 0.1
    points = blobs.flatten(0, 1)
    init = torch.full((6, 2), 1e4, dtype=torch.float64) + torch.arange(6)[:, None] * 1e3
    init[0] = points[0]
    result = kmeans(points, 6, init=init)
    check(KMeansResult(*(x[None] for x in result)), points[None])
    assert (result.counts == 25).all()
    assert result.inertia.item() == pytest.approx(reference(points, blobs[:, 0]).inertia_)


def test_a_lone_point_is_not_taken_from_its_cluster() -> None:
    # the point alone with the far second center gains nothing from a third
    points = torch.tensor([[0.0], [1.0], [100.0]])
    result = kmeans(points, 3, init=torch.tensor([[0.4], [60.0], [-999.0]]), max_iter=1)
    assert result.counts.tolist() == [1, 1, 1]
    assert result.inertia.item() == 0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-19, 1e19, 1e30, 3e38])
def test_any_scale(metric: Any, scale: float) -> None:
    points = torch.randn(2, 60, 3)
    points = points / points.abs().max()
    init = points[:, :4]
    expected = kmeans(points, 4, init=init, metric=metric)
    result = kmeans(points * scale, 4, init=init * scale, metric=metric)
    assert torch.equal(result.assignments, expected.assignments)
    torch.testing.assert_close(result.centroids / scale, expected.centroids, rtol=1e-4, atol=1e-5)
    assert not result.inertia.isnan().any()
    drawn = kmeans(points * scale, 4, metric=metric)
    assert drawn.centroids.isfinite().all()
    assert (drawn.counts > 0).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_huge_spread_of_scales_in_one_problem(metric: Any) -> None:
    scales = 10.0 ** torch.linspace(-30, 30, 61)
    points = torch.randn(4, 61, 3) * scales[:, None]
    for init in ("k-means++", "random", torch.randn(4, 5, 3) * 1e30, torch.randn(4, 5, 3) * 1e-30):
        result = kmeans(points, 5, init=init, metric=metric)
        assert result.centroids.isfinite().all()
        assert not result.inertia.isnan().any()
        assert (result.counts.sum(1) == 61).all()
    # centers far beyond the points
    result = kmeans(points[:, :20], 5, init=torch.randn(4, 5, 3) * 1e30, metric=metric)
    assert result.centroids.isfinite().all()
    assert (result.counts.sum(1) == 20).all()


def test_small_clusters_far_from_the_origin_are_told_apart_in_float32() -> None:
    points = torch.tensor([1000.0, 1000.01, 1000.5, 1000.51])[:, None] + torch.zeros(1, 8)
    assert kmeans(points, 2, init=points[:2]).assignments.tolist() == [0, 0, 1, 1]


@settings(max_examples=80, deadline=None)
@given(
    values=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=12),
    exists=st.lists(st.booleans(), min_size=12, max_size=12),
    n_clusters=st.integers(1, 6),
    metric=st.sampled_from(["euclidean", "cosine"]),
    init=st.sampled_from(["k-means++", "random", "given"]),
    double=st.booleans(),
)
def test_every_result_is_sound(
    values: list[tuple[int, int]], exists: list[bool], n_clusters: int, metric: Any, init: Any, double: bool
) -> None:
    points = torch.tensor([values], dtype=torch.float64 if double else torch.float32)
    mask = torch.tensor([exists[: len(values)]])
    if init == "given":
        init = points[:, torch.arange(n_clusters) % len(values)] * 2
    result = kmeans(points, n_clusters, mask=mask, metric=metric, init=init)
    check(result, points, mask, metric)
    assert (result.n_iter < 100).all()
    if metric == "euclidean":
        distinct = len(points[0][mask[0]].unique(dim=0))
        assert (result.counts > 0).sum() <= distinct
        if n_clusters >= distinct > 0 and init != "given":
            assert (result.counts > 0).sum() == distinct
            assert result.inertia.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_same_seed_same_result(init: Any) -> None:
    points = torch.randn(2, 100, 3)
    results = [kmeans(points, 6, init=init, generator=torch.Generator().manual_seed(s)) for s in (3, 3, 4)]
    assert torch.equal(results[0].centroids, results[1].centroids)
    assert not torch.equal(results[0].centroids, results[2].centroids)
    # without a generator torch's global one is used, with one it is left alone
    torch.manual_seed(5)
    first = kmeans(points, 6, init=init)
    torch.manual_seed(5)
    assert torch.equal(kmeans(points, 6, init=init).centroids, first.centroids)
    state = torch.get_rng_state()
    kmeans(points, 6, init=init, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)


def one_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as k-means++ does that is not greedy."""
    for module in ("_clustering", "_host.lloyd"):
        monkeypatch.setattr(f"morn_losses.{module}.n_candidates", lambda n_clusters: 1)


def test_plus_plus_draws_by_squared_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    one_candidate(monkeypatch)
    # {0} {3 7} comes out of the start 0, 3 alone, drawn with probability (9 / (9 + 49) + 9 / (9 + 16)) / 3
    points = torch.tensor([[0.0], [3.0], [7.0]]).expand(6000, 3, 1)
    for init, probability in (("k-means++", (9 / 58 + 9 / 25) / 3), ("random", 1 / 3)):
        result = kmeans(points, 2, init=init, max_iter=1, generator=torch.Generator().manual_seed(0))
        alone = (result.assignments[:, 1] == result.assignments[:, 2]).double().mean().item()
        assert alone == pytest.approx(probability, abs=4 * math.sqrt(probability / 6000))


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_neither_zero_vectors_nor_copies_are_drawn(init: Any) -> None:
    points = torch.zeros(40, 2)
    points[[3, 5]] = torch.eye(2)
    options = KMeansOptions(4, "cosine", init, 1, 100, 1e-4)
    for _ in range(30):
        _, by_kernel = lloyd.draw(lloyd.prepare(points, "cosine", directions=True, name=""), options, None)
        _, plain = draw_centers(in_range(points[None], torch.ones(1, 40, dtype=torch.bool), "cosine"), options, None)
        assert by_kernel.tolist() == plain[0].tolist() == [True, True, False, False]


def drawn(points: Tensor, n_clusters: int, init: Any, kernel: bool) -> Tensor:
    """The rows of ``(P, N, D)`` that are drawn to start from, ``(P, K)``; no two are equal."""
    options, generator = KMeansOptions(n_clusters, "euclidean", init, 1, 100, 1e-4), torch.Generator().manual_seed(0)
    if kernel:
        starts = [
            lloyd.draw(lloyd.prepare(p, "euclidean", directions=True, name=""), options, generator) for p in points
        ]
        centers, alive = (torch.from_numpy(np.stack(x)) for x in zip(*starts, strict=True))
        values = torch.stack([torch.from_numpy(lloyd.prepare(p, "euclidean", directions=True, name="").values)
                              for p in points])  # fmt: skip
    else:
        x = in_range(points, torch.ones(points.shape[:2], dtype=torch.bool), "euclidean")
        values, (centers, alive) = x.values, draw_centers(x, options, generator)
    assert alive.all()
    return (centers[:, :, None] == values[:, None]).all(3).int().argmax(2)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_every_point_may_be_drawn_first_and_none_twice(
    init: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    one_candidate(monkeypatch)
    rows = drawn(torch.arange(5.0)[:, None].expand(6000, 5, 1), 5, init, "kernel" in request.node.name)
    assert (rows.sort(1).values == torch.arange(5)).all()
    assert (torch.bincount(rows[:, 0]) / 6000 - 0.2).abs().max() < 0.03
    # after 0, the points 1 2 3 4 are drawn by 1 4 9 16
    second = torch.bincount(rows[rows[:, 0] == 0, 1], minlength=5)
    weights = torch.tensor([0, 1, 4, 9, 16]) / 30 if init == "k-means++" else torch.tensor([0, 1, 1, 1, 1]) / 4
    assert (second / second.sum() - weights).abs().max() < 0.05


def test_of_the_candidates_that_one_is_kept_which_leaves_the_smallest_sum(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for module in ("_clustering", "_host.lloyd"):  # so many that every point is among them
        monkeypatch.setattr(f"morn_losses.{module}.n_candidates", lambda n_clusters: 400)
    points = torch.randn(30, 12, 3, dtype=torch.float64)
    rows = drawn(points, 4, "k-means++", "kernel" in request.node.name)
    between = torch.cdist(points, points).square()
    for distances, own in zip(between, rows.tolist(), strict=True):
        for k in range(1, 4):
            left = torch.minimum(distances[own[:k]].amin(0), distances).sum(1)
            assert left[own[k]].item() == pytest.approx(left.min().item())
            assert left[own[k]] < left.mean()


@pytest.mark.parametrize("n_clusters", [1, 2, 7, 8, 150])
def test_as_many_candidates_as_scikit_learn(n_clusters: int) -> None:
    assert n_candidates(n_clusters) == 2 + int(np.log(n_clusters))


def test_starts_are_as_good_as_those_of_scikit_learn() -> None:
    means = torch.randn(20, 6, 8, dtype=torch.float64) * 3
    points = means.gather(1, torch.randint(6, (20, 200, 1)).expand(20, 200, 8)) + torch.randn(20, 200, 8)
    found = kmeans(points, 6, n_init=3).inertia.mean().item()
    expected = np.mean([ReferenceKMeans(6, n_init=3, random_state=0).fit(p.numpy()).inertia_ for p in points])
    assert found < 1.02 * expected


def test_n_init_keeps_the_best_of_the_starts() -> None:
    blobs = torch.randn(10, 8, 1, 2, dtype=torch.float64) * 20 + torch.randn(10, 8, 6, 2, dtype=torch.float64) * 0.1
    bests = []
    for points in blobs.flatten(1, 2):
        generator = torch.Generator().manual_seed(0)
        singles = [kmeans(points, 8, init="random", generator=generator) for _ in range(5)]
        best = kmeans(points, 8, init="random", n_init=5, generator=torch.Generator().manual_seed(0))
        check(KMeansResult(*(x[None] for x in best)), points[None])
        bests.append(int(torch.stack([s.inertia for s in singles]).argmin()))
        for value, expected in zip(best, singles[bests[-1]], strict=True):
            assert torch.equal(value, expected)
    assert len(set(bests)) > 1, "the best start should differ between problems"
    # in a batch each problem keeps its own
    together = kmeans(blobs.flatten(1, 2), 8, init="random", n_init=5)
    check(together, blobs.flatten(1, 2))
    once = torch.stack([kmeans(blobs.flatten(1, 2), 8, init="random").inertia for _ in range(5)])
    assert (together.inertia <= once.amax(0)).all()
    assert together.inertia.mean() < once.mean(0).mean()


@pytest.mark.parametrize("tol", [1e-4, 0.05])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_path_of_other_devices_gives_the_same(metric: Any, tol: float, monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(5, 300, 3, dtype=torch.float64)
    points[3, 10:] = points[3, :10].repeat(29, 1)
    mask = torch.arange(300) < torch.tensor([300, 140, 0, 300, 2])[:, None]
    init = points[:, :6].clone()
    init[0, 3] = -1e5
    expected = kmeans(points, 6, mask=mask, init=init, metric=metric, tol=tol)
    monkeypatch.setattr("morn_losses.kmeans.on_host", lambda x: False)
    for value, of_host in zip(kmeans(points, 6, mask=mask, init=init, metric=metric, tol=tol), expected, strict=True):
        torch.testing.assert_close(value, of_host, rtol=1e-9, atol=1e-9)


class Looks(TorchDispatchMode):
    """Counts the operations that wait for a device: a value is read, or a size depends on one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        by_mask = func == aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.count += by_mask or func in (aten._local_scalar_dense.default, aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_on_other_devices_it_looks_every_few_iterations(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morn_losses.kmeans.on_host", lambda x: False)
    points = torch.randn(3, 2000, 4)

    def looks(max_iter: int) -> tuple[int, int]:
        with Looks() as seen:
            result = kmeans(points, 12, init=points[:, :12], metric=metric, max_iter=max_iter, tol=0)
        return seen.count, int(result.n_iter.max())

    (once, _), (often, n_iter) = looks(1), looks(60)
    assert n_iter > 30
    assert often - once <= n_iter / CHECK_EVERY + 1


@pytest.mark.gpu
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_on_cuda_it_gives_the_same_and_seldom_waits(metric: Any, recwarn: pytest.WarningsRecorder) -> None:
    points = torch.randn(6, 700, 16, dtype=torch.float64)
    mask = torch.arange(700) < torch.tensor([30, 80, 200, 500, 700, 0])[:, None]
    expected = kmeans(points, 4, mask=mask, init=points[:, :4], metric=metric)
    given = {"mask": mask.cuda(), "init": points[:, :4].cuda(), "metric": metric}
    on_device = points.cuda()
    kmeans(on_device, 4, **given)  # libraries that wait while they start
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    warnings.simplefilter("always")
    recwarn.clear()
    try:
        found = kmeans(on_device, 4, **given)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    n_iter = int(expected.n_iter.max())
    assert len(recwarn) <= n_iter / CHECK_EVERY + 3
    for value, of_cpu in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), of_cpu, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_points(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(3, 200, 2)
    init = points[:, :3].clone()
    clean = kmeans(points, 3, init=init)
    broken = points.clone()
    broken[1, 150, 1] = bad
    with pytest.raises(ValueError, match="points: expected finite values, got NaN or inf"):
        kmeans(broken, 3, init=init)
    broken_init = init.clone()
    broken_init[1, 2, 0] = bad
    with pytest.raises(ValueError, match="init: expected finite values"):
        kmeans(points, 3, init=broken_init)
    # where looking would cost a wait, the call ends and the other problems are not touched
    monkeypatch.setattr("morn_losses.kmeans.on_host", lambda x: False)
    for result in (kmeans(broken, 3, init=init), kmeans(points, 3, init=broken_init)):
        assert result.centroids[1].isnan().all()
        assert result.inertia[1].isnan()
        assert result.n_iter[1] == 0
        for value, expected in zip(result, clean, strict=True):
            torch.testing.assert_close(value[::2], expected[::2])
    for init_name in ("k-means++", "random"):
        assert kmeans(broken, 3, init=init_name).centroids[::2].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    points = torch.randn(2, 50, 4).to(dtype)
    result = kmeans(points, 3, init=points[:, :3])
    expected = kmeans(points.float(), 3, init=points[:, :3].float())
    assert result.centroids.dtype == result.inertia.dtype == torch.float32
    assert torch.equal(result.centroids, expected.centroids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(kmeans(points.float(), 3, init=points[:, :3].float()).centroids, expected.centroids)


def test_dtypes_and_no_gradient() -> None:
    points = torch.randn(2, 30, 4, dtype=torch.float64, requires_grad=True)
    before = points.detach().clone()
    init = points[:, :3] * 1
    init_before = init.detach().clone()
    result = kmeans(points, 3, init=init)
    assert result.centroids.dtype == result.inertia.dtype == torch.float64
    assert result.assignments.dtype == result.counts.dtype == result.n_iter.dtype == torch.int64
    assert not any(x.requires_grad for x in result)
    assert torch.equal(points, before)
    assert torch.equal(init, init_before)


def test_one_problem_without_a_batch_axis() -> None:
    points = torch.randn(30, 4)
    mask = torch.rand(30) > 0.3
    result = kmeans(points, 3, mask=mask, init=points[:3])
    assert [tuple(x.shape) for x in result] == [(3, 4), (30,), (), (3,), ()]
    for value, expected in zip(result, kmeans(points[None], 3, mask=mask[None], init=points[None, :3]), strict=True):
        assert torch.equal(value, expected[0])


def test_memory_layout_and_masks_of_numbers() -> None:
    points = torch.randn(2, 4, 60)
    mask = torch.rand(2, 60) > 0.3
    init = torch.randn(2, 3, 4)
    expected = kmeans(points.mT.contiguous(), 3, mask=mask, init=init)
    assert torch.equal(kmeans(points.mT, 3, mask=mask.long(), init=init).centroids, expected.centroids)


def test_module_equals_function() -> None:
    points, mask = torch.randn(2, 40, 3), torch.rand(2, 40) > 0.5
    options: dict[str, Any] = {"metric": "cosine", "init": "random", "n_init": 2, "max_iter": 7, "tol": 0.01}
    module = KMeans(4, **options)
    result = module(points, mask, torch.Generator().manual_seed(1))
    expected = kmeans(points, 4, mask=mask, generator=torch.Generator().manual_seed(1), **options)
    for value, other in zip(result, expected, strict=True):
        assert torch.equal(value, other)
    assert repr(module) == "KMeans(n_clusters=4, metric='cosine', init='random', n_init=2, max_iter=7, tol=0.01)"
    torch.manual_seed(1)
    default = KMeans(4)(points)
    torch.manual_seed(1)
    assert torch.equal(kmeans(points, 4).centroids, default.centroids)


def test_module_with_given_centers() -> None:
    points = torch.randn(2, 40, 3)
    module = KMeans(3, init=points[:, :3].clone())
    assert torch.equal(module(points).centroids, kmeans(points, 3, init=points[:, :3]).centroids)
    assert not module.state_dict()
    assert module.double().init.dtype == torch.float64
    assert "init=centers (2, 3, 3)" in repr(module)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_predict_assigns_without_moving(metric: Any) -> None:
    points = torch.randn(3, 200, 4, dtype=torch.float64)
    points[1, 5] = 0
    mask = torch.rand(3, 200) > 0.3
    module = KMeans(5, metric=metric)
    result = module(points, mask)
    centroids = result.centroids.clone()
    assert torch.equal(module.predict(points, centroids, mask), result.assignments)
    assert torch.equal(centroids, result.centroids)
    # other points than those that it was found from, against a plain comparison
    others = torch.randn(3, 50, 4, dtype=torch.float64)
    if metric == "euclidean":
        expected = torch.cdist(others, centroids).argmin(2)
    else:
        expected = torch.nn.functional.cosine_similarity(others[:, :, None], centroids[:, None], dim=3).argmax(2)
    assert torch.equal(module.predict(others, centroids), expected)
    assert torch.equal(module.predict(others[0], centroids[0]), expected[0])
    # of equal centroids the first; masked points may hold anything
    assert module.predict(others, centroids[:, :1].expand(3, 5, 4)).unique().tolist() == [0]
    others[~mask[:, :50]] = math.nan
    assert torch.equal(module.predict(others, centroids, mask[:, :50]), expected.where(mask[:, :50], -1))
    for scale in (1e-150, 1e150):
        assert torch.equal(module.predict(points * scale, centroids * scale, mask), result.assignments)


def test_predict_without_points() -> None:
    assert KMeans(2).predict(torch.zeros(3, 0, 4), torch.zeros(3, 2, 4)).shape == (3, 0)
    nothing = KMeans(2).predict(torch.full((1, 3, 4), math.nan), torch.zeros(1, 2, 4), torch.zeros(1, 3))
    assert nothing.tolist() == [[-1, -1, -1]]


def test_predict_names_what_is_wrong() -> None:
    x, module = torch.randn(2, 10, 3), KMeans(4)
    with pytest.raises(ValueError, match=r"centroids: expected \(B, K, D\) = \(2, 4, 3\), got \(2, 5, 3\)"):
        module.predict(x, torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"centroids: expected \(K, D\) = \(4, 3\)"):
        module.predict(x[0], torch.zeros(1, 4, 3))
    with pytest.raises(TypeError, match="centroids: expected a floating-point dtype"):
        module.predict(x, torch.zeros(2, 4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"mask: expected \(B, N\) = \(2, 10\)"):
        module.predict(x, torch.zeros(2, 4, 3), torch.ones(10))
    for name, bad in (("points", (x / 0, torch.zeros(2, 4, 3))), ("centroids", (x, torch.zeros(2, 4, 3) / 0))):
        with pytest.raises(ValueError, match=f"{name}: expected finite values"):
            module.predict(*bad)


@pytest.mark.parametrize("of", [np.int64, np.uint8, lambda n: np.array(n, dtype=np.int32)])
def test_numpys_integers_are_integers(of: Any) -> None:
    points = torch.randn(40, 3)
    given = {"n_init": of(2), "max_iter": of(7)}
    for seed in (1, 2):
        torch.manual_seed(seed)
        found = kmeans(points, of(4), **given)
        torch.manual_seed(seed)
        assert torch.equal(found.centroids, kmeans(points, 4, n_init=2, max_iter=7).centroids)
    assert repr(KMeans(of(4), **given)) == repr(KMeans(4, n_init=2, max_iter=7))
    for bad in (np.array([4]), np.float64(4), np.bool_(True), np.array(4.0)):
        with pytest.raises(TypeError, match="n_clusters: expected an int"):
            kmeans(points, bad)
    with pytest.raises(ValueError, match="n_clusters: expected an int >= 1, got 0"):
        kmeans(points, of(0))


def test_options_may_be_changed_and_are_judged_again() -> None:
    module = KMeans(4)
    module.n_clusters = 2
    assert module(torch.randn(10, 3)).centroids.shape == (2, 3)
    module.n_clusters = 0
    with pytest.raises(ValueError, match="n_clusters: expected an int >= 1, got 0"):
        module(torch.randn(10, 3))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_nested_tensors_are_refused_in_a_sentence() -> None:
    for layout in (torch.strided, torch.jagged):
        nested = torch.nested.nested_tensor([torch.randn(5, 3), torch.randn(8, 3)], layout=layout)
        with pytest.raises(TypeError, match="points: expected a padded tensor and a mask, got a nested tensor"):
            kmeans(nested, 2)
        with pytest.raises(TypeError, match="points: .*to_padded_tensor"):
            KMeans(2).predict(nested, torch.zeros(2, 2, 3))
    padded = torch.nested.to_padded_tensor(nested, 0.0)
    mask = torch.arange(8) < torch.tensor([5, 8])[:, None]
    assert kmeans(padded, 2, mask=mask).counts.sum(1).tolist() == [5, 8]


def test_it_runs_outside_of_a_compiled_graph() -> None:
    points = torch.randn(2, 60, 3)

    def step(x: Tensor) -> Tensor:
        return kmeans(2 * x, 4, init=2 * x[:, :4]).centroids + 1

    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(step, backend="eager")(points), step(points))


def test_errors_name_the_argument() -> None:
    x = torch.randn(2, 10, 3)
    with pytest.raises(TypeError, match="points: expected a floating-point dtype"):
        kmeans(torch.ones(2, 10, 3, dtype=torch.long), 2)
    for shape in ((10,), (2, 2, 10, 3), (2, 10, 0), (0, 10, 3)):
        with pytest.raises(ValueError, match=r"points: expected \(B, N, D\) or \(N, D\)"):
            kmeans(torch.zeros(shape), 2)
    with pytest.raises(ValueError, match=r"mask: expected \(B, N\) = \(2, 10\), got \(2, 9\)"):
        kmeans(x, 2, mask=torch.ones(2, 9))
    with pytest.raises(ValueError, match=r"mask: expected \(N,\) = \(10,\), got \(1, 10\)"):
        kmeans(x[0], 2, mask=torch.ones(1, 10))
    with pytest.raises(ValueError, match=r"mask: expected bool or values 0 and 1, got \[2\]"):
        kmeans(x, 2, mask=torch.full((2, 10), 2))
    with pytest.raises(TypeError, match="mask: expected a real dtype"):
        kmeans(x, 2, mask=torch.ones(2, 10, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"init: expected \(B, K, D\) = \(2, 2, 3\), got \(2, 3, 3\)"):
        kmeans(x, 2, init=x[:, :3])
    with pytest.raises(ValueError, match=r"init: expected \(K, D\) = \(2, 3\)"):
        kmeans(x[0], 2, init=x[:, :2])
    with pytest.raises(ValueError, match="init: expected one of 'k-means.."):
        kmeans(x, 2, init="kmeans")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="init: expected a floating-point dtype"):
        kmeans(x, 2, init=torch.ones(2, 2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="metric"):
        kmeans(x, 2, metric="l1")  # type: ignore[arg-type]
    for name in ("n_init", "max_iter"):
        with pytest.raises(ValueError, match=f"{name}: expected an int >= 1, got 0"):
            kmeans(x, 2, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_clusters: expected an int >= 1, got 0"):
        kmeans(x, 0)
    with pytest.raises(TypeError, match="n_clusters"):
        kmeans(x, 2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tol"):
        kmeans(x, 2, tol=-1e-4)
    with pytest.raises(TypeError, match="generator"):
        kmeans(x, 2, generator=0)  # type: ignore[arg-type]
