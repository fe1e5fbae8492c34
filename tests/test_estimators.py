from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans as ReferenceKMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from morn_losses.estimators import BatchKMeans
from morn_losses.functional import kmeans

BLOBS = (
    np.repeat(np.random.default_rng(0).normal(size=(5, 3)) * 10, 40, 0)
    + np.random.default_rng(1).normal(size=(200, 3))
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Skipping check")  # for arrays of other libraries, which are not asked for
@pytest.mark.parametrize("options", [{}, {"metric": "cosine", "n_init": 2}])
def test_it_is_an_estimator(options: dict[str, Any]) -> None:
    check_estimator(BatchKMeans(**options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_scikit_learn_from_the_same_centers(dtype: Any) -> None:
    points, start = BLOBS.astype(dtype), BLOBS[::40].astype(dtype)
    ours = BatchKMeans(5, init=start).fit(points)
    theirs = ReferenceKMeans(5, init=start, n_init=1).fit(points)
    assert ours.labels_.tolist() == theirs.labels_.tolist()
    assert (ours.n_iter_, ours.n_features_in_) == (theirs.n_iter_, theirs.n_features_in_)
    assert ours.cluster_centers_.dtype == dtype
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-5)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    others = np.random.default_rng(2).normal(size=(50, 3)).astype(dtype) * 10
    assert ours.predict(others).tolist() == theirs.predict(others).tolist()
    np.testing.assert_allclose(ours.transform(others), theirs.transform(others), rtol=1e-4)
    assert ours.score(others) == pytest.approx(theirs.score(others), rel=1e-5)
    assert ours.get_feature_names_out().tolist() == [f"batchkmeans{i}" for i in range(5)]


def test_defaults_are_scikit_learns() -> None:
    theirs, ours = ReferenceKMeans().get_params(), BatchKMeans().get_params()
    shared = set(ours) & set(theirs) - {"n_init"}  # "auto" there, which is 1 for k-means++
    assert shared == {"n_clusters", "init", "max_iter", "tol", "random_state"}
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert ours["n_init"] == 1


def test_a_seed_gives_the_same_and_leaves_torchs_numbers_alone() -> None:
    state = torch.get_rng_state()
    fits = [BatchKMeans(9, random_state=s).fit(BLOBS).inertia_ for s in (3, 3, 4, np.random.RandomState(3))]
    assert torch.equal(torch.get_rng_state(), state)
    assert fits[0] == fits[1] == fits[3] != fits[2]


def test_cosine_clusters_by_direction() -> None:
    found = BatchKMeans(4, metric="cosine", random_state=0).fit(BLOBS)
    expected = kmeans(torch.from_numpy(BLOBS), 4, metric="cosine", init=torch.from_numpy(found.cluster_centers_))
    assert found.labels_.tolist() == expected.assignments.tolist()
    assert found.predict(BLOBS * np.linspace(0.1, 9, 200)[:, None]).tolist() == found.labels_.tolist()
    lengths = np.linalg.norm(BLOBS, axis=1)[:, None] * np.linalg.norm(found.cluster_centers_, axis=1)
    np.testing.assert_allclose(found.transform(BLOBS), 1 - BLOBS @ found.cluster_centers_.T / lengths, atol=1e-12)
    assert -found.score(BLOBS) == pytest.approx(found.inertia_)


def test_in_a_pipeline_with_a_clone_and_numpys_integers() -> None:
    model = make_pipeline(StandardScaler(), BatchKMeans(np.int64(5), n_init=5, random_state=0))
    assert clone(model).fit_predict(BLOBS).tolist() == model.fit(BLOBS)[-1].labels_.tolist()
    assert np.bincount(model.predict(BLOBS)).tolist() == [40] * 5
    read_only = BLOBS.copy()
    read_only.flags.writeable = False
    assert BatchKMeans(5, random_state=0).fit(read_only[::-1]).inertia_ > 0


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=8"):
        BatchKMeans().fit(BLOBS[:3])
    for name, bad in (("metric", "l1"), ("init", "first"), ("n_init", 0), ("max_iter", 0), ("tol", -1.0),
                      ("n_clusters", 0)):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}: expected"):
            BatchKMeans(**{name: bad}).fit(BLOBS)
    with pytest.raises(ValueError, match=r"init: expected \(K, D\) = \(5, 3\), got \(4, 3\)"):
        BatchKMeans(5, init=BLOBS[:4]).fit(BLOBS)
    with pytest.raises(ValueError, match="NaN"):
        BatchKMeans(2).fit(BLOBS * np.nan)


@pytest.mark.gpu
def test_on_cuda_it_finds_the_same() -> None:
    here, there = (BatchKMeans(5, init=BLOBS[:5], device=device).fit(BLOBS) for device in (None, "cuda"))
    assert here.labels_.tolist() == there.labels_.tolist() == there.predict(BLOBS).tolist()
