"""Canny's edges of one image on the CPU: the same bits as the definitions in :mod:`morn_losses.edges.canny`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Numbers: TypeAlias = "NDArray[np.intp]"
Levels: TypeAlias = "NDArray[np.signedinteger[Any]]"

# pixels in a block of rows: its arrays stay in the cache, and small enough not to be mapped anew each time
_BLOCK = 8192


def survivors(
    values: Floats, weights: list[float], ahead: float, tolerance: float, decimals: int, flat: float
) -> tuple[Numbers, Floats]:
    """Return where the gradient magnitude of ``(H, W)`` is a maximum along the gradient, and its values there.

    ``weights`` are those of the Gaussian, from one end to the other; the places are numbers of pixels, ascending; the
    values are shares of the largest.
    """
    from scipy import ndimage

    H, W = values.shape
    none = np.zeros(0, np.intp), np.zeros(0)
    scale = max(values.max(), -values.min())
    if scale == 0 or min(H, W) < 3:
        return none
    # everything in a frame of one pixel, so that one number finds a pixel and its neighbours in each array
    row = W + 2
    # (the two large arrays as one: glibc then keeps the memory for the next image, in place of mapping it anew)
    smooth, magnitude = np.zeros((2, H + 2, row))
    rather_x = np.zeros((H + 2, row), np.bool_)
    image = smooth[1:-1, 1:-1]
    np.divide(values, scale, out=image)
    for axis in (0, 1):
        ndimage.correlate1d(image, weights, axis, output=image, mode="nearest")
    smooth[0], smooth[-1] = smooth[1], smooth[-2]
    smooth[:, 0], smooth[:, -1] = smooth[:, 1], smooth[:, -2]
    step = max(_BLOCK // W, 1)
    for top in range(1, H + 1, step):
        rows, to = smooth[top - 1 : min(top + step, H + 1) + 1], slice(top, min(top + step, H + 1))
        gx, gy = rows[1:-1, 2:] - rows[1:-1, :-2], rows[2:, 1:-1] - rows[:-2, 1:-1]
        gx *= gx
        gy *= gy
        np.greater_equal(gx, gy, out=rather_x[to, 1:-1])
        gx += gy
        np.sqrt(gx, out=magnitude[to, 1:-1])
    peak = magnitude.max()
    if peak <= flat:
        return none
    magnitude /= peak

    # by three bits (left, up, rather along x than along y): where the two neighbours in the gradient's direction lie
    along_x, along_y = np.array((1, -1) * 4), np.array((row, row, -row, -row) * 2)
    straights, diagonals = np.concatenate((along_y[:4], along_x[4:])), along_x + along_y
    smooth, magnitude = smooth.reshape(-1), magnitude.reshape(-1)

    def neighbour(straight: Numbers, diagonal: Numbers, weight: Floats) -> Floats:
        first: Floats = magnitude.take(straight)
        between: Floats = magnitude.take(diagonal)
        between -= first
        between *= weight
        between += first
        return between

    levels = []
    candidates = _candidates(magnitude.reshape(H + 2, row), rather_x, tolerance)
    for start in range(0, candidates.size, _BLOCK):
        pixels = candidates[start : start + _BLOCK]
        m = magnitude.take(pixels)
        dx = smooth.take(pixels + 1) - smooth.take(pixels - 1)
        dy = smooth.take(pixels + row) - smooth.take(pixels - row)
        back = dx + dy * ahead < 0
        left, up = (dx < 0) != back, (dy < 0) != back
        size_x, size_y = np.abs(dx, out=dx), np.abs(dy, out=dy)
        bits = left.view(np.uint8) + 2 * up.view(np.uint8) + 4 * (size_x >= size_y).view(np.uint8)
        weight = np.minimum(size_x, size_y)
        weight /= np.maximum(size_x, size_y, out=size_x)
        straight, diagonal = straights.take(bits), diagonals.take(bits)
        kept = np.flatnonzero(m > neighbour(pixels + straight, pixels + diagonal, weight) + tolerance)
        m, weight, pixels = m.take(kept), weight.take(kept), pixels.take(kept)
        straight, diagonal = straight.take(kept), diagonal.take(kept)
        kept = np.flatnonzero(m >= neighbour(pixels - straight, pixels - diagonal, weight) - tolerance)
        levels.append((pixels.take(kept), m.take(kept)))
    if not levels:
        return none
    places, strengths = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    return places - 2 * (places // row) - (W + 1), strengths.round(decimals)


def _candidates(magnitude: Floats, rather_x: NDArray[np.bool_], tolerance: float) -> Numbers:
    """Return a superset of the survivors among the inner pixels: those that no side exceeds altogether.

    What lies between two of the three neighbours on one side is at least the least of them. 16 bits hold that with two
    steps to spare for rounding and the tolerance, and many of them fit into a register.
    """
    H, W = magnitude.shape
    steps = np.empty((H, W), np.uint16)
    np.multiply(magnitude, 60_000, out=steps, casting="unsafe")
    inner, upper = (slice(2, -2), slice(2, -2)), steps[2:-2, 2:-2] + np.uint16(2)
    column = np.minimum(np.minimum(steps[1:-3], steps[3:-1]), steps[2:-2])
    along_x = upper >= np.maximum(column[:, 1:-3], column[:, 3:-1])
    line = np.minimum(np.minimum(steps[:, 1:-3], steps[:, 3:-1]), steps[:, 2:-2])
    along_y = upper >= np.maximum(line[1:-3], line[3:-1])
    along_x &= rather_x[inner]
    along_y &= ~rather_x[inner]
    along_x |= along_y
    along_x &= magnitude[inner] > tolerance
    candidates = np.zeros((H, W), np.bool_)
    candidates[inner] = along_x
    return np.flatnonzero(candidates)


def thinned_gradient(values: Floats, *options: Any) -> Floats:
    """Return the :func:`survivors` in their places, 0 elsewhere."""
    strength = np.zeros(values.shape)
    places, strengths = survivors(values, *options)
    strength.reshape(-1)[places] = strengths
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


def edge_levels(
    places: Numbers, strengths: Floats, shape: tuple[int, int], count: int, decimals: int
) -> NDArray[np.int32]:
    """At how many of the thresholds ``t = j / (count + 1)`` ``hysteresis(strength, t / 2, t)`` keeps each pixel.

    The strength is that of :func:`survivors`; none is outermost. A pixel's level is the highest that is some pixel's
    ``own`` and within ``reach`` of all on a path there. A path loses nothing by going first to the neighbour of the
    largest reach, so each pixel is merged with the hill that it climbs in this way; what is left to solve are the hills
    and the saddles between them.
    """
    size, row = shape[0] * shape[1], shape[1]
    settled = np.zeros(size, dtype=np.int32)
    within = np.flatnonzero(strengths >= 0.5 / (count + 1))
    if within.size == 0:
        return settled.reshape(shape)
    pixels = places.take(within)
    # in integers, since the strength is a multiple of 1 / unit: how many thresholds, or their halves, are at most that
    unit = 10**decimals
    shares = (strengths.take(within) * unit).round().astype(np.int64) * (count + 1)
    # 16 bits where they hold 16 times a level, which is needed below
    kind = np.int16 if count < 2**11 else np.int64
    own, reach = (np.minimum(shares // u, count).astype(kind) for u in (unit, unit // 2))

    # the neighbour of the largest reach, of several the last one: nobody climbs in circles
    around = np.array([dy * row + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    coded: Levels = np.zeros(size, kind)
    coded[pixels] = reach * kind(16)
    highest = coded.copy()
    inner = slice(row + 1, -row - 1)
    for i, offset in enumerate(around.tolist()):
        there = coded[row + 1 + offset : size - row - 1 + offset] + kind(i)
        np.maximum(highest[inner], there, out=highest[inner])
    number = np.full(size, -1, np.int32)
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
    return settled.reshape(shape)


def _merged(parent: Numbers) -> tuple[Numbers, Numbers]:
    """Return for each node the number of the tree that it is in, and the trees' roots."""
    while True:
        above = parent.take(parent)
        if np.array_equal(above, parent):
            break
        parent = above.take(above)
    is_root = parent == np.arange(parent.size)
    return (np.cumsum(is_root) - 1).take(parent), np.flatnonzero(is_root)


def _flooded(own: Levels, one: Numbers, other: Numbers, width: Levels) -> Levels:
    """Return the best level that each node can reach: the least width on a path, and at its end the node's own level.

    Each round every node joins the neighbour to which its way is widest (Boruvka's algorithm): any path from the node
    can start that way, so its level is its own, or the new node's as far as the way lets it through.
    """
    rounds, unlimited = [], np.iinfo(own.dtype).max
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
        parent, widest = np.arange(own.size), np.full(own.size, unlimited, own.dtype)
        parent[joins], widest[joins] = ends.take(last ^ 1), width.take(last // 2)
        above = parent.take(joins)
        roots = joins[(parent.take(above) == joins) & (joins < above)]  # where two join each other
        parent[roots], widest[roots] = roots, unlimited
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
