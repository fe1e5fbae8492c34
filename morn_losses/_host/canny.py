"""Canny's edges of one image on the CPU: the same bits as the definitions in :mod:`morn_losses.edges.canny`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Numbers: TypeAlias = "NDArray[np.intp]"

# pixels in a block of rows: its arrays stay in the cache, and small enough not to be mapped anew each time
_BLOCK = 8192
_UNLIMITED = np.iinfo(np.intp).max


def thinned_gradient(
    values: Floats, weights: list[float], ahead: float, tolerance: float, decimals: int, flat: float
) -> Floats:
    """Return the normalised gradient magnitude of ``(H, W)`` where it is a maximum along the gradient, 0 elsewhere.

    ``weights`` are those of the Gaussian, from one end to the other.
    """
    from scipy import ndimage

    H, W = values.shape
    strength = np.zeros((H, W))
    scale = max(values.max(), -values.min())
    if scale == 0:
        return strength
    padded = np.empty((H + 2, W + 2))
    smooth = padded[1:-1, 1:-1]
    np.divide(values, scale, out=smooth)
    for axis in (0, 1):
        ndimage.correlate1d(smooth, weights, axis, output=smooth, mode="nearest")
    padded[0], padded[-1] = padded[1], padded[-2]
    padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]

    magnitude = np.empty((H, W))
    step = max(_BLOCK // W, 1)
    for top in range(0, H, step):
        rows = padded[top : top + step + 2]
        gx, gy = rows[1:-1, 2:] - rows[1:-1, :-2], rows[2:, 1:-1] - rows[:-2, 1:-1]
        gx *= gx
        gx += np.multiply(gy, gy, out=gy)
        np.sqrt(gx, out=magnitude[top : top + step])
    peak = magnitude.max()
    if peak <= flat:
        return strength
    magnitude /= peak

    # by three bits (left, up, rather along x than along y): where the two neighbours in the gradient's direction lie
    along_x, along_y = np.array((1, -1) * 4), np.array((W, W, -W, -W) * 2)
    straights, diagonals = np.concatenate((along_y[:4], along_x[4:])), along_x + along_y
    flattened, thinned = magnitude.reshape(-1), strength.reshape(-1)

    def neighbour(straight: Numbers, diagonal: Numbers, weight: Floats) -> Floats:
        # clipped: at the ends of a row the next row is taken, and what comes of it is dropped below
        first: Floats = flattened.take(straight, mode="clip")
        between: Floats = flattened.take(diagonal, mode="clip")
        between -= first
        between *= weight
        between += first
        return between

    with np.errstate(invalid="ignore"):  # 0 / 0 where it is flat, which exceeds nothing
        for top in range(1, H - 1, step):
            bottom = min(top + step, H - 1)
            rows = padded[top : bottom + 2]
            dx, dy = rows[1:-1, 2:] - rows[1:-1, :-2], rows[2:, 1:-1] - rows[:-2, 1:-1]
            dx, dy = dx.reshape(-1), dy.reshape(-1)
            pixels, m = np.arange(top * W, bottom * W), flattened[top * W : bottom * W]
            back = dx + dy * ahead < 0
            left, up = (dx < 0) != back, (dy < 0) != back
            size_x, size_y = np.abs(dx, out=dx), np.abs(dy, out=dy)
            bits = left.view(np.uint8) + 2 * up.view(np.uint8) + 4 * (size_x >= size_y).view(np.uint8)
            weight = np.minimum(size_x, size_y)
            weight /= np.maximum(size_x, size_y, out=size_x)
            straight, diagonal = straights.take(bits), diagonals.take(bits)
            beside = neighbour(pixels + straight, pixels + diagonal, weight)
            beside += tolerance
            kept = np.flatnonzero(m > beside)  # the greater part falls here already
            m, weight, pixels = m.take(kept), weight.take(kept), pixels.take(kept)
            straight, diagonal = straight.take(kept), diagonal.take(kept)
            kept = np.flatnonzero(m >= neighbour(pixels - straight, pixels - diagonal, weight) - tolerance)
            thinned[pixels.take(kept)] = m.take(kept).round(decimals)
    strength[:, 0] = strength[:, -1] = 0
    return strength


def hysteresis(strength: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """Keep the 8-connected groups of positive pixels of at least ``low`` that hold one of at least ``high``."""
    from scipy import ndimage

    groups, count = ndimage.label((strength >= low) & (strength > 0), structure=np.ones((3, 3)))
    kept = np.zeros(count + 1, dtype=np.bool_)
    kept[groups[strength >= high]] = True
    kept[0] = False
    edges: NDArray[np.bool_] = kept[groups]
    return edges


def edge_levels(strength: Floats, count: int, decimals: int) -> NDArray[np.int32]:
    """At how many of the thresholds ``t = j / (count + 1)`` ``hysteresis(strength, t / 2, t)`` keeps each pixel.

    The outermost pixels are 0, as :func:`thinned_gradient` leaves them. A pixel's level is the highest that is some
    pixel's ``own`` and within ``reach`` of all on a path there. A path loses nothing by going first to the neighbour of
    the largest reach, so each pixel is merged with the hill that it climbs in this way; what is left to solve are the
    hills and the saddles between them.
    """
    row = strength.shape[1]
    flattened = strength.reshape(-1)
    settled = np.zeros(flattened.size, dtype=np.int32)
    pixels = np.flatnonzero(flattened >= 0.5 / (count + 1))
    if pixels.size == 0:
        return settled.reshape(strength.shape)
    # in integers, since the strength is a multiple of 1 / unit: how many thresholds, or their halves, are at most that
    unit = 10**decimals
    shares = (flattened.take(pixels) * unit).round().astype(np.int64) * (count + 1)
    own, reach = (np.minimum(shares // u, count) for u in (unit, unit // 2))

    # the neighbour of the largest reach, of several the last one: nobody climbs in circles
    around = np.array([dy * row + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    coded: NDArray[Any] = np.zeros(flattened.size, np.int16 if count < 2**11 else np.int64)
    coded[pixels] = 16 * reach
    highest = coded.copy()
    inner = slice(row + 1, -row - 1)
    for i, offset in enumerate(around.tolist()):
        there = coded[row + 1 + offset : coded.size - row - 1 + offset] + coded.dtype.type(i)
        np.maximum(highest[inner], there, out=highest[inner])
    number = np.full(flattened.size, -1, np.int32)
    number[pixels] = np.arange(pixels.size)
    hill, tops = _merged(number.take(pixels + around.take(highest.take(pixels) % 16)).astype(np.intp))
    peaks = own.take(tops)
    np.maximum.at(peaks, hill, own)

    saddles = []
    for offset in (1, row - 1, row, row + 1):
        other = number.take(pixels + offset)
        one = np.flatnonzero(other >= 0)
        other = other.take(one)
        between = np.flatnonzero(hill.take(one) != hill.take(other))
        one, other = one.take(between), other.take(between)
        saddles.append((hill.take(one), hill.take(other), np.minimum(reach.take(one), reach.take(other))))
    levels = _flooded(peaks, *(np.concatenate(parts) for parts in zip(*saddles, strict=True)))
    settled[pixels] = np.maximum(own, np.minimum(reach, levels.take(hill)))
    return settled.reshape(strength.shape)


def _merged(parent: Numbers) -> tuple[Numbers, Numbers]:
    """Return for each node the number of the tree that it is in, and the trees' roots."""
    while True:
        above = parent.take(parent)
        if np.array_equal(above, parent):
            break
        parent = above.take(above)
    is_root = parent == np.arange(parent.size)
    return (np.cumsum(is_root) - 1).take(parent), np.flatnonzero(is_root)


def _flooded(own: Numbers, one: Numbers, other: Numbers, width: Numbers) -> Numbers:
    """Return the best level that each node can reach: the least width on a path, and at its end the node's own level.

    Each round every node joins the neighbour to which its way is widest (Boruvka's algorithm): any path from the node
    can start that way, so its level is its own, or the new node's as far as the way lets it through.
    """
    rounds = []
    while True:
        useful = np.flatnonzero(width > np.minimum(own.take(one), own.take(other)))
        if useful.size == 0:
            break
        useful = useful.take(np.argsort(width.take(useful), kind="stable"))
        one, other, width = one.take(useful), other.take(useful), width.take(useful)
        ends = np.stack((one, other), 1).reshape(-1)
        last = np.full(own.size, -1)
        last[ends] = np.arange(ends.size)  # of several the last, which is the widest
        joins = np.flatnonzero(last >= 0)
        last = last.take(joins)
        parent, widest = np.arange(own.size), np.full(own.size, _UNLIMITED)
        parent[joins], widest[joins] = ends.take(last ^ 1), width.take(last // 2)
        above = parent.take(joins)
        roots = joins[(parent.take(above) == joins) & (joins < above)]  # where two join each other
        parent[roots], widest[roots] = roots, _UNLIMITED
        tree, tops = _merged(parent)
        best = own.take(tops)
        np.maximum.at(best, tree, np.minimum(widest, own))
        rounds.append((own, widest, tree))
        own, one, other = best, tree.take(one), tree.take(other)
        between = np.flatnonzero(one != other)
        one, other, width = one.take(between), other.take(between), width.take(between)
    for before, widest, tree in reversed(rounds):
        own = np.maximum(before, np.minimum(widest, own.take(tree)))
    return own
