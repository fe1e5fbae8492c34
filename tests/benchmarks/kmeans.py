"""k-means: six ragged problems an image, from the same start, against scikit-learn, faiss and torch packages."""

from __future__ import annotations

import contextlib
import importlib
from functools import partial
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from torch import Tensor

from morn_losses.functional import kmeans
from tests.benchmarks.harness import Row, Run, Settings, compare

TITLE = "k-means"
SIZES = (30, 80, 200, 500, 1000, 2000)
K, D, MAX_ITER = 4, 256, 50
Metric = Literal["euclidean", "cosine"]
Problems = list[tuple[Tensor, Tensor]]


def problems(kind: str, images: int, sizes: tuple[int, ...], seed: int = 0) -> Problems:
    """Return points and starting centers: rectified noise without structure, or four clusters far apart."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for n in sizes * images:
        x = torch.randn(n, D, generator=generator)
        if kind == "clusters":
            x += 2 * torch.randn(K, D, generator=generator)[torch.randint(K, (n,), generator=generator)]
        else:
            x = x.relu()
        found.append((x, x[torch.randperm(n, generator=generator)[:K]].clone()))
    return found


def pad(data: Problems) -> tuple[Tensor, Tensor, Tensor]:
    """Return the problems as one padded batch, its mask, and the starting centers."""
    N = max(len(x) for x, _ in data)
    points, mask = torch.zeros(len(data), N, D), torch.zeros(len(data), N, dtype=torch.bool)
    for i, (x, _) in enumerate(data):
        points[i, : len(x)], mask[i, : len(x)] = x, True
    return points, mask, torch.stack([c for _, c in data])


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
        SklearnKMeans(K, init=init or c.numpy(), n_init=1, max_iter=MAX_ITER, algorithm="lloyd", random_state=0).fit(
            x.numpy()
        )
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
    arrays = [(normalized(x).numpy() if metric == "cosine" else x.numpy(), c.numpy()) for x, c in data]

    def run() -> list[Any]:
        found = []
        for x, c in arrays:
            # all points: by default it would draw 256 for each cluster
            clustering = faiss.Kmeans(
                D, K, niter=MAX_ITER, spherical=metric == "cosine", max_points_per_centroid=2**30,
                min_points_per_centroid=1,
            )  # fmt: skip
            clustering.train(x, init_centroids=c)
            found.append(clustering)
        return found

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
        found = []
        for x, c in data:
            centers = c.clone()
            package.initialize = lambda *_, centers=centers: centers
            with contextlib.suppress(_CappedError):
                package.kmeans(x, K, distance=metric)
            found.append(centers)  # changed in place
        return found

    return run


def rows(settings: Settings) -> list[Row]:
    """Measure both workloads under both metrics for 1, 8 and 32 images, and the k-means++ start."""
    sizes = (12, 30) if settings.tiny else SIZES
    metrics: tuple[Metric, ...] = ("euclidean", "cosine")
    found = []
    for kind in ("noise", "clusters"):
        for metric in metrics:
            for images in (1,) if settings.tiny else (1, 8, 32):
                data = problems(kind, images, sizes)
                points, mask, starts = pad(data)

                def ours(init: Any = starts, points: Tensor = points, mask: Tensor = mask, m: Metric = metric) -> Any:
                    return kmeans(points, K, mask=mask, init=init, max_iter=MAX_ITER, metric=m)

                runs: dict[str, Run | None] = {"morn_losses": ours}
                if metric == "euclidean":
                    runs["scikit-learn"] = partial(by_sklearn, data)
                runs["faiss-cpu"] = by_faiss(data, metric)
                runs["fast-pytorch-kmeans"] = by_fast_pytorch_kmeans(data, metric)
                runs["kmeans_pytorch"] = by_kmeans_pytorch(data, metric)
                runs["plain loop"] = partial(plain_loop, data, metric)
                note = ""
                if metric == "euclidean":
                    of_ours = float(ours().inertia.double().sum())
                    reference = sum(model.inertia_ for model in by_sklearn(data))
                    note = f"inertia {of_ours / reference:.6f} of scikit-learn's"
                found.append(compare(f"{kind}, {metric}, {images} x {len(sizes)} problems", runs, settings, note))
                if images <= 8 and metric == "euclidean":
                    found.append(
                        compare(
                            f"{kind}, k-means++ start, {images} x {len(sizes)} problems",
                            {
                                "morn_losses": partial(ours, "k-means++"),
                                "scikit-learn": partial(by_sklearn, data, "k-means++"),
                            },
                            settings,
                        )
                    )
    return found


def versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"numpy": np.__version__}
    for name in (
        "scikit-learn",
        "faiss-cpu",
        "fast-pytorch-kmeans",
        "kmeans-pytorch",
        "scikit-image",
        "pytorch-msssim",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
