"""How good the starts of k-means are: inertia against scikit-learn's, over many problems, by the kernel and without.

python -m tests.benchmarks.kmeans_starts
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import torch
from sklearn.cluster import KMeans as SklearnKMeans
from torch import Tensor

from morn_losses.functional import kmeans

N, D, K, STARTS = 200, 8, 6, 3
WAYS = {"kernel": 1, "plain": 2**60}


def problems(kind: str, number: int) -> Tensor:
    """Return noise, or six clusters whose means are 3 spreads off the middle, ``(number, N, D)``."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(number, N, D, generator=generator, dtype=torch.float64)
    if kind == "clusters":
        means = 3 * torch.randn(number, K, D, generator=generator, dtype=torch.float64)
        own = torch.randint(K, (number, N, 1), generator=generator)
        x += means.gather(1, own.expand(number, N, D))
    return x


def ratios(kind: str, number: int, seeds: int) -> dict[str, list[float]]:
    """Return the mean inertia by that of scikit-learn for each way and seed; also of scikit-learn with other seeds."""
    points = problems(kind, number)

    def theirs(seed: int) -> float:
        fits = (SklearnKMeans(K, n_init=STARTS, random_state=seed).fit(x.numpy()) for x in points)
        return float(sum(fit.inertia_ for fit in fits) / number)

    reference = theirs(0)
    by_way = {"scikit-learn, other seeds": [theirs(seed) / reference for seed in range(1, seeds + 1)]}
    for way, large in WAYS.items():
        with patch("morn_losses.kmeans.LARGE", large):
            by_way[way] = [
                float(kmeans(points, K, n_init=STARTS, generator=torch.Generator().manual_seed(seed)).inertia.mean())
                / reference
                for seed in range(seeds)
            ]
    return by_way


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(f"{args.problems} problems of {N} points, {D} dimensions, {K} clusters, {STARTS} starts each\n")
    print("| points | way | mean inertia by scikit-learn's, for each seed |\n|---|---|---|")
    for kind in ("noise", "clusters"):
        for way, values in ratios(kind, args.problems, args.seeds).items():
            print(f"| {kind} | {way} | {', '.join(f'{value:.4f}' for value in values)} |")


if __name__ == "__main__":
    main()
