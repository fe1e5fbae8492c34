"""k-means: six ragged problems an image, from the same start, against scikit-learn, faiss and torch packages."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from morn_losses.functional import kmeans
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.kmeans_peers import (
    MAX_ITER,
    D,
    K,
    Metric,
    Problems,
    by_faiss,
    by_fast_pytorch_kmeans,
    by_flash_kmeans,
    by_kmeans_pytorch,
    by_sklearn,
    plain_loop,
)

TITLE = "k-means"
SIZES = (30, 80, 200, 500, 1000, 2000)


def problems(kind: str, images: int, sizes: tuple[int, ...], seed: int = 0, device: str = "cpu") -> Problems:
    """Return points and starting centers: rectified noise without structure, or four clusters far apart."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for n in sizes * images:
        x = torch.randn(n, D, generator=generator)
        if kind == "clusters":
            x += 2 * torch.randn(K, D, generator=generator)[torch.randint(K, (n,), generator=generator)]
        else:
            x = x.relu()
        drawn.append((x.to(device), x[torch.randperm(n, generator=generator)[:K]].to(device)))
    return drawn


def pad(data: Problems) -> tuple[Tensor, Tensor, Tensor]:
    """Return the problems as one padded batch, its mask, and the starting centers."""
    N = max(len(x) for x, _ in data)
    device = data[0][0].device
    points = torch.zeros(len(data), N, D, device=device)
    mask = torch.zeros(len(data), N, dtype=torch.bool, device=device)
    for i, (x, _) in enumerate(data):
        points[i, : len(x)], mask[i, : len(x)] = x, True
    return points, mask, torch.stack([c for _, c in data])


def rows(settings: Settings) -> list[Row]:
    """Measure both workloads under both metrics for 1, 8 and 32 images, and the k-means++ start."""
    sizes = (12, 30) if settings.tiny else SIZES
    metrics: tuple[Metric, ...] = ("euclidean", "cosine")
    measured = []
    for kind in ("noise", "clusters"):
        for metric in metrics:
            # loops over 192 problems take a second each on a GPU
            for images in (1,) if settings.tiny else (1, 8) if settings.on_gpu else (1, 8, 32):
                data = problems(kind, images, sizes, device=settings.device)
                points, mask, starts = pad(data)

                def ours(init: Any = starts, points: Tensor = points, mask: Tensor = mask, m: Metric = metric) -> Any:
                    return kmeans(points, K, mask=mask, init=init, max_iter=MAX_ITER, metric=m)

                runs: dict[str, Run | None] = {"morn_losses": ours}
                if metric == "euclidean":
                    runs["scikit-learn"] = partial(by_sklearn, data)
                runs["faiss-cpu"] = by_faiss(data, metric)
                runs["fast-pytorch-kmeans"] = by_fast_pytorch_kmeans(data, metric)
                runs["kmeans_pytorch"] = by_kmeans_pytorch(data, metric)
                if settings.on_gpu and metric == "euclidean":
                    runs["flash-kmeans"] = by_flash_kmeans(data)
                runs["plain loop"] = partial(plain_loop, data, metric)
                note = ""
                if metric == "euclidean":
                    of_ours = float(ours().inertia.double().sum())
                    reference = sum(model.inertia_ for model in by_sklearn(data))
                    note = f"inertia {of_ours / reference:.6f} of scikit-learn's"
                measured.append(compare(f"{kind}, {metric}, {images} x {len(sizes)} problems", runs, settings, note))
                if images <= 8 and metric == "euclidean":
                    measured.append(
                        compare(
                            f"{kind}, k-means++ start, {images} x {len(sizes)} problems",
                            {
                                "morn_losses": partial(ours, "k-means++"),
                                "scikit-learn": partial(by_sklearn, data, "k-means++"),
                            },
                            settings,
                        )
                    )
    return measured
