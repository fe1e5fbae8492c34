r"""Paired contrasts between two rows, with an interval over seeds and test images.

Both rows are trained with the same seeds and judged on the same images, so that everything is a difference within a
seed. Its uncertainty has two levels. Resampling the S seeds, S - 1 at a time so that it is unbiased, gives the variance
:math:`s^2 / S` of their mean: training, and what a seed makes of the single images. Resampling the test images, one
draw for both rows and all seeds, gives what the test set adds, since all seeds share it: the covariance between the
seeds' differences under these draws (their own variance is in :math:`s^2` already).

Choice: the interval is the difference :math:`\pm t` times the root of the sum, not percentiles of draws. With three
seeds no draw leaves the range of the three differences, which covers the truth three times out of four at best. t has
Satterthwaite's degrees of freedom, from S - 1 for the seeds and N - 1 for the images: three seeds that differ a lot
give a wide interval, and more seeds a much smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from morn_losses import LabelSpace
from ntir2dc.evaluation import Scores, weighted_figures

Floats = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean difference, its 95% interval (NaN with fewer than two seeds), and the difference within each seed."""

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]


def image_counts(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Return how often each of n images is drawn: ``(1 + resamples, n)``, the first row all ones."""
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    return np.concatenate((np.ones((1, n)), draws.astype(np.float64)))


def estimate(differences: Floats, n_images: int) -> Estimate:
    """Turn differences into an interval.

    Args:
        differences: ``(S, 1 + R)``: for each seed that of the test set, then those of R resampled test sets. Columns
            that hold a NaN (a figure that a resample leaves undefined) are left out.
        n_images: in the test set.
    """
    by_seed, drawn = differences[:, 0], differences[:, 1:]
    drawn = drawn[:, np.isfinite(drawn).all(0)]
    value, S = float(by_seed.mean()), len(by_seed)
    if S < 2 or drawn.shape[1] < 2 or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, tuple(by_seed.tolist()))
    of_seeds = float(by_seed.var(ddof=1)) / S
    shared = np.cov(drawn)[~np.eye(S, dtype=bool)]
    of_images = max(0.0, float(shared.mean()))
    parts = of_seeds**2 / (S - 1) + of_images**2 / max(1, n_images - 1)
    freedom = (of_seeds + of_images) ** 2 / parts if parts > 0 else math.inf
    reach = math.sqrt(of_seeds + of_images) * float(student.ppf((1 + LEVEL) / 2, freedom))
    return Estimate(value, value - reach, value + reach, tuple(by_seed.tolist()))


def paired(
    row: Sequence[Sequence[Scores]],
    against: Sequence[Sequence[Scores]],
    key: str,
    space: LabelSpace,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Compare two rows in one figure.

    Args:
        row: for each seed the scores of all test images.
        against: of the other row, the same seeds and images in the same order.
        key: of the figure, one of ``ntir2dc.evaluation.COLUMNS``.
        space: the label space of the judge.
        resamples: draws.

    Raises:
        ValueError: other numbers of seeds or images.
    """
    sizes = {len(scores) for scores in (*row, *against)}
    if len(row) != len(against) or not row or len(sizes) != 1:
        raise ValueError("row, against: expected the same seeds and the same images")
    (n,) = sizes
    counts = image_counts(n, resamples)
    differences = [
        weighted_figures(a, counts, space)[key] - weighted_figures(b, counts, space)[key]
        for a, b in zip(row, against, strict=True)
    ]
    return estimate(np.stack(differences), n)


def verdict(interval: Estimate, margin: float | None) -> str:
    """Say in a word what an interval says about a claim: of a gain (None), or of no loss beyond a margin."""
    if not math.isfinite(interval.low):
        return "not known"
    bound = 0.0 if margin is None else -margin
    if interval.low > bound:
        return "holds"
    return "does not hold" if interval.high < bound else "undecided"
