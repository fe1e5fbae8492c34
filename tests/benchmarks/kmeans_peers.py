"""What k-means is measured against: scikit-learn and faiss on the CPU, torch packages, and a plain loop."""

from __future__ import annotations

import contextlib
import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from torch import Tensor

from tests.benchmarks.harness import Run

K, D, MAX_ITER = 4, 256, 50
Metric = Literal["euclidean", "cosine"]
Problems = list[tuple[Tensor, Tensor]]
"""Points and starting centers of each."""


def normalized(x: Tensor) -> Tensor:
    """Return the rows at length 1."""
    unit: Tensor = x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return unit


def plain_loop(data: Problems, metric: Metric) -> list[Tensor]:
    """Cluster one problem after another by matrix products, as one writes it."""
    centers_found = []
    for x, centers in data:
        target = normalized(x) if metric == "cosine" else x
        tolerance, previous = 1e-4 * x.var(0, correction=0).mean(), None
        for _ in range(MAX_ITER):
            if metric == "cosine":
                labels = (target @ normalized(centers).T).argmax(1)
            else:
                labels = (centers.square().sum(1) - 2 * x @ centers.T).argmin(1)
            members = torch.nn.functional.one_hot(labels, K).to(x.dtype)
            moved = members.T @ x / members.sum(0)[:, None].clamp(min=1)
            shift, centers = (moved - centers).square().sum(), moved
            if shift <= tolerance or (previous is not None and torch.equal(labels, previous)):
                break
            previous = labels
        centers_found.append(centers)
    return centers_found


def by_sklearn(data: Problems, init: str | None = None) -> list[Any]:
    """Run scikit-learn's Lloyd algorithm."""
    return [
        SklearnKMeans(
            K, init=init or c.cpu().numpy(), n_init=1, max_iter=MAX_ITER, algorithm="lloyd", random_state=0
        ).fit(x.cpu().numpy())
        for x, c in data
    ]


def optional(name: str) -> ModuleType | None:
    """Import a peer if it is installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def by_faiss(data: Problems, metric: Metric) -> Run | None:
    """Run faiss' loop: spherical under cosine, until its objective stands still."""
    faiss = optional("faiss")
    if faiss is None:
        return None
    faiss.omp_set_num_threads(torch.get_num_threads())
    arrays = [((normalized(x) if metric == "cosine" else x).cpu().numpy(), c.cpu().numpy()) for x, c in data]

    def run() -> list[Any]:
        results = []
        for x, c in arrays:
            # all points: by default it would draw 256 for each cluster
            clustering = faiss.Kmeans(
                D, K, niter=MAX_ITER, spherical=metric == "cosine", max_points_per_centroid=2**30,
                min_points_per_centroid=1,
            )  # fmt: skip
            clustering.train(x, init_centroids=c)
            results.append(clustering)
        return results

    return run


def by_fast_pytorch_kmeans(data: Problems, metric: Metric) -> Run | None:
    """Run fast-pytorch-kmeans."""
    package = optional("fast_pytorch_kmeans")
    if package is None:
        return None
    return lambda: [
        package.KMeans(K, max_iter=MAX_ITER, mode=metric).fit_predict(x, centroids=c.clone()) for x, c in data
    ]


class _CappedError(Exception):
    """Raised when a package without a limit of iterations reaches ours."""


def by_kmeans_pytorch(data: Problems, metric: Metric) -> Run | None:
    """Run kmeans_pytorch, silenced, from given centers and under a limit of iterations, which it lacks."""
    package: Any = optional("kmeans_pytorch")
    if package is None:
        return None

    class Meter:
        def __init__(self, **_: object) -> None:
            self.count = 0

        def set_postfix(self, **_: object) -> None:
            pass

        def update(self) -> None:
            self.count += 1
            if self.count >= MAX_ITER:
                raise _CappedError

    package.tqdm, package.print = Meter, lambda *_: None

    def run() -> list[Tensor]:
        results = []
        for x, c in data:
            centers = c.clone()
            package.initialize = lambda *_, centers=centers: centers
            with contextlib.suppress(_CappedError):
                package.kmeans(x, K, distance=metric, device=x.device)
            results.append(centers)  # changed in place
        return results

    return run


def by_flash_kmeans(data: Problems) -> Run | None:
    """Run flash-kmeans, which takes a batch of problems of one size: all images at once, one size after another."""
    package = optional("flash_kmeans")
    if package is None:
        return None
    sizes = dict.fromkeys(len(x) for x, _ in data)
    batches = [
        (torch.stack([x for x, _ in data if len(x) == n]), torch.stack([c for x, c in data if len(x) == n]))
        for n in sizes
    ]
    return lambda: [
        package.batch_kmeans_Euclid(x, K, max_iters=MAX_ITER, tol=1e-4, init_centroids=c.clone()) for x, c in batches
    ]


def versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    installed = {"numpy": np.__version__}
    for name in (
        "scikit-learn",
        "faiss-cpu",
        "fast-pytorch-kmeans",
        "kmeans-pytorch",
        "flash-kmeans",
        "opencv-python-headless",
        "pytorch-msssim",
    ):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed
