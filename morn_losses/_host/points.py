"""The points of one problem on the host: in range, near the origin, and with their squared lengths."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from morn_losses._clustering import Metric
from morn_losses._host.products import Array, squared_lengths
from morn_losses._precision import unit_vectors

ORDINARY = 2.0**40  # squares up to this and down to its inverse need no scaling


class Problem(NamedTuple):
    """The points of one problem, as they are or about another origin and scaled; arrays share memory with tensors."""

    values: Array  # (n, D): what means are taken of
    compared: Array  # (n, D): what distances are taken of; under cosine their lengths do not matter
    squares: Array  # (n,): squared lengths of what is compared
    metric: Metric
    origin: Array  # (D,): what was taken off the points
    scale: float  # what they were divided by before
    variance: float  # mean of the columns' variances


def prepare(points: Tensor, metric: Metric, *, directions: bool, name: str) -> Problem:
    """Return the points ``(n, D)``, n >= 1, ready to be compared; under cosine as ``directions`` if asked or needed."""
    points = points.detach().contiguous()
    values, origin, squares, variance = _near_origin(points, metric)
    scale = 1.0
    if not 1 / ORDINARY < variance < ORDINARY:
        peak = max(abs(float(x)) for x in torch.aminmax(points))
        if not math.isfinite(peak):
            raise ValueError(f"{name}: expected finite values, got NaN or inf")
        # a power of two is divided out without rounding, and the squares of what is left neither over- nor underflow
        scale = 2.0 ** (math.frexp(max(peak, torch.finfo(points.dtype).tiny))[1] - 1)
        values, origin, squares, variance = _near_origin(points / scale, metric)
    compared = values
    if metric == "cosine" and (directions or not _ordinary(squares)):
        compared = unit_vectors(points, 1).numpy()
        squares = squared_lengths(compared)
    return Problem(values, compared, squares, metric, origin, scale, variance)


def _near_origin(points: Tensor, metric: Metric) -> tuple[Array, Array, Array, float]:
    """Return values, origin, squared lengths and mean variance.

    Compared far from the origin, |x|^2 - 2 x.c + |c|^2 would cancel, and so would variances; near it, a copy is saved.
    """
    n, D = points.shape
    values, mean = points.numpy(), points.mean(0)
    squares = squared_lengths(values)
    square, offset = float(squares.sum(dtype=np.float64)) / n, float(mean @ mean)
    if 2 * offset < square:
        return values, np.zeros(D, values.dtype), squares, (square - offset) / D
    centered = (points - mean).numpy()
    about_mean = squared_lengths(centered)
    variance = float(about_mean.sum(dtype=np.float64)) / n / D
    if metric == "cosine":
        return values, np.zeros(D, values.dtype), squares, variance
    return centered, mean.numpy(), about_mean, variance


def unit_rows(centers: Array) -> Array:
    """Return the rows at length 1; a zero vector stays 0."""
    squares = squared_lengths(centers)
    if _ordinary(squares):
        unit: Array = centers / np.sqrt(squares)[:, None]
        return unit
    return unit_vectors(torch.from_numpy(centers), 1).numpy()


def _ordinary(squares: Array) -> bool:
    few = squares.tolist()  # quicker than numpy's minimum and maximum of a few
    return bool(min(few) > 1 / ORDINARY and max(few) < ORDINARY)
