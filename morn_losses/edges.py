"""Edge maps on the CPU: Canny. The gradient and its thinning run once, the hysteresis once per threshold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morn_losses._checks import check_number

__all__ = ["canny_edges"]

# relative to the strongest gradient; keeps ties and equality with a threshold from hanging on rounding errors
_DECIMALS = 6
_TOLERANCE = 10.0**-_DECIMALS


def canny_edges(gray: NDArray[Any], low: float, high: float, sigma: float = math.sqrt(2)) -> NDArray[np.bool_]:
    r"""Canny edges of a gray image.

    The gradient :math:`g = \nabla (G_\sigma * I)` is the central difference of the image smoothed by a Gaussian
    (borders repeated), and its magnitude is divided by its maximum over the image,

    .. math:: m = |g| / \max |g|

    so that the thresholds are shares of the strongest gradient (MATLAB's convention) and neither the scale of the
    values nor the sign of the contrast matters. A pixel survives the non-maximum suppression where m is not exceeded on
    either side along g, interpolated between the two neighbours that g points between; of equally strong neighbours
    the one farther to the right (or below) survives. Edges are the 8-connected groups of survivors with
    :math:`m \ge low` that hold one with :math:`m \ge high`. Magnitudes are rounded to six decimals before the
    thresholds. As in MATLAB the outermost pixels are never edges.

    Args:
        gray: ``(H, W)``, real and finite, any range.
        low: threshold an edge's pixels have to reach, in [0, 1], at most ``high``.
        high: threshold one pixel of an edge has to reach, in [0, 1].
        sigma: standard deviation of the Gaussian in pixels, larger than 0.

    Returns:
        bool ``(H, W)``; nowhere True for a flat image.

    Raises:
        TypeError: ``gray`` is no real numpy array.
        ValueError: another number of axes, an empty one, NaN or infinite values, thresholds out of range or order.

    Example:
        >>> step = np.zeros((5, 8))
        >>> step[:, 4:] = 1
        >>> canny_edges(step, 0.1, 0.2).astype(int)[2]
        array([0, 0, 0, 0, 1, 0, 0, 0])

    Source: J. Canny, "A computational approach to edge detection", 1986.
    """
    check_number(low, "low", minimum=0, maximum=1)
    check_number(high, "high", minimum=0, maximum=1)
    if low > high:
        raise ValueError(f"low: expected at most high = {high}, got {low}")
    return hysteresis(thinned_gradient(gray, sigma), low, high)


def thinned_gradient(gray: NDArray[Any], sigma: float = math.sqrt(2)) -> NDArray[np.float64]:
    """Return the normalised gradient magnitude where it survives the non-maximum suppression, 0 elsewhere."""
    from scipy import ndimage

    values = _checked(gray)
    check_number(sigma, "sigma", minimum=0, exclusive=True)
    strength = np.zeros(values.shape)
    scale = np.abs(values).max()
    if scale == 0:
        return strength
    values = values / scale
    smooth = np.pad(ndimage.gaussian_filter(values, sigma, mode="nearest"), 1, mode="edge")
    gx = smooth[1:-1, 2:] - smooth[1:-1, :-2]
    gy = smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    magnitude = np.hypot(gx, gy)
    peak = magnitude.max()
    if peak <= 1e-12:  # what float64 rounding leaves of a flat image
        return strength
    magnitude /= peak

    rows, columns = np.nonzero(magnitude[1:-1, 1:-1] > 0)
    rows, columns = rows + 1, columns + 1
    m, dx, dy = magnitude[rows, columns], gx[rows, columns], gy[rows, columns]
    # one half of the directions counts as ahead; its boundary is irrational, so that no edge along the grid lies on it
    orientation = np.where(dx + dy * (math.sqrt(5) - 1) / 2 < 0, -1, 1)
    step_x = orientation * np.sign(dx).astype(np.intp)
    step_y = orientation * np.sign(dy).astype(np.intp)
    size_x, size_y = np.abs(dx), np.abs(dy)
    along_x = size_x >= size_y
    weight = np.minimum(size_x, size_y) / np.maximum(size_x, size_y)
    straight_x, straight_y = np.where(along_x, step_x, 0), np.where(along_x, 0, step_y)

    def neighbour(side: int) -> Any:
        straight = magnitude[rows + side * straight_y, columns + side * straight_x]
        diagonal = magnitude[rows + side * step_y, columns + side * step_x]
        return (1 - weight) * straight + weight * diagonal

    survives = (m > neighbour(1) + _TOLERANCE) & (m >= neighbour(-1) - _TOLERANCE)
    strength[rows[survives], columns[survives]] = m[survives].round(_DECIMALS)
    return strength


def hysteresis(strength: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    """Keep the 8-connected groups of positive pixels of at least ``low`` that hold one of at least ``high``."""
    from scipy import ndimage

    groups, count = ndimage.label((strength >= low) & (strength > 0), structure=np.ones((3, 3)))
    kept = np.zeros(count + 1, dtype=np.bool_)
    kept[groups[strength >= high]] = True
    kept[0] = False
    edges: NDArray[np.bool_] = kept[groups]
    return edges


def edge_levels(strength: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """At how many of the thresholds t, ascending and positive, ``hysteresis(strength, t / 2, t)`` keeps each pixel.

    A pixel that is an edge at t is one at every lower threshold, so ``levels > j`` are the edges at ``thresholds[j]``.
    The levels are the morphological reconstruction of the thresholds a pixel reaches itself under those whose half it
    reaches; they are flooded from the highest down, and every pixel is settled once.
    """
    height, width = strength.shape
    padded = np.pad(strength, 1).ravel()
    limits = np.searchsorted(thresholds / 2, padded, side="right")
    # the few pixels that are an edge at any threshold, and which of them are neighbours
    pixels = np.flatnonzero(limits)
    number = np.full(padded.size, -1)
    number[pixels] = np.arange(pixels.size)
    row = width + 2
    around = number[pixels[:, None] + (-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1)]
    beside = around >= 0
    flat, ends = around[beside].tolist(), [*beside.sum(1).cumsum().tolist(), 0]

    own, reach = np.searchsorted(thresholds, padded[pixels], side="right"), limits[pixels]
    raises = (beside & (np.minimum(reach[around], own[:, None]) > own[around])).any(1)
    reaches: list[int] = reach.tolist()
    levels: list[int] = own.tolist()
    queues: list[list[int]] = [[] for _ in range(len(thresholds) + 1)]
    for pixel in np.flatnonzero(raises).tolist():
        queues[levels[pixel]].append(pixel)
    for level in range(len(thresholds), 0, -1):
        for pixel in queues[level]:  # grows while it is read
            if levels[pixel] != level:
                continue
            for neighbour in flat[ends[pixel - 1] : ends[pixel]]:
                reached = reaches[neighbour]
                if reached > level:
                    reached = level
                if reached > levels[neighbour]:
                    levels[neighbour] = reached
                    queues[reached].append(neighbour)
    settled = np.zeros(padded.size, dtype=np.int64)
    settled[pixels] = levels
    return settled.reshape(height + 2, row)[1:-1, 1:-1]


def _checked(gray: object) -> NDArray[np.float64]:
    if not isinstance(gray, np.ndarray):
        raise TypeError(f"gray: expected a numpy array, got {type(gray).__name__}")
    if gray.dtype.kind not in "biuf":
        raise TypeError(f"gray: expected a real dtype, got {gray.dtype}")
    if gray.ndim != 2 or min(gray.shape) < 1:
        raise ValueError(f"gray: expected (H, W) without an empty axis, got {gray.shape}")
    values = gray.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("gray: expected finite values, got NaN or infinity")
    return values
