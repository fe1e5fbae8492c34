"""Canny's edges on any device. The gradient and its thinning run once, the hysteresis once for all thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from morn_losses._checks import check_image, check_number, check_real
from morn_losses._host import canny as host
from morn_losses.image import central_differences, to_gray

# relative to the strongest gradient; keeps ties and equality with a threshold from hanging on rounding errors
DECIMALS = 6
TOLERANCE = 10.0**-DECIMALS
# what rounding leaves of a flat image whose values are at most 1
FLAT = 1e-12
# steps of the hysteresis between two looks of the host at whether it has ended
STEPS = 16


@overload
def canny_edges(gray: Tensor, low: float = 0.1, high: float = 0.2, sigma: float = math.sqrt(2)) -> Tensor: ...
@overload
def canny_edges(
    gray: NDArray[Any], low: float = 0.1, high: float = 0.2, sigma: float = math.sqrt(2)
) -> NDArray[np.bool_]: ...
def canny_edges(
    gray: NDArray[Any] | Tensor, low: float = 0.1, high: float = 0.2, sigma: float = math.sqrt(2)
) -> NDArray[np.bool_] | Tensor:
    r"""Canny edges of a gray image, or of a batch of images on any device.

    The gradient :math:`g = \nabla (G_\sigma * I)` is the central difference of the image smoothed by a Gaussian
    (borders repeated), and its magnitude is divided by its maximum over the image,

    .. math:: m = |g| / \max |g|

    so that the thresholds are shares of the strongest gradient (MATLAB's convention) and neither the scale of the
    values nor the sign of the contrast matters. A pixel survives the non-maximum suppression where m is not exceeded on
    either side along g, interpolated between the two neighbours that g points between; of equally strong neighbours
    the one farther to the right (or below) survives. Edges are the 8-connected groups of survivors with
    :math:`m \ge low` that hold one with :math:`m \ge high`. Magnitudes are rounded to six decimals before the
    thresholds. As in MATLAB the outermost pixels are never edges.

    It is computed in float64, or in float32 on MPS, which has nothing wider. On a GPU the host waits for nothing but
    the end of the hysteresis, for which it looks once in 16 steps. The edges carry no gradient;
    those of :func:`~morn_losses.edges.soft_edges` do.

    Args:
        gray: numpy ``(H, W)``, or a tensor ``(B, C, H, W)`` with C = 1 or 3, of which
            :func:`~morn_losses.functional.to_gray` is taken. Real and finite, any dtype, any range.
        low: threshold an edge's pixels have to reach, in [0, 1], at most ``high``.
        high: threshold one pixel of an edge has to reach, in [0, 1].
        sigma: standard deviation of the Gaussian in pixels, larger than 0.

    Returns:
        numpy: bool ``(H, W)``; a tensor: bool ``(B, 1, H, W)``, each image as its gray values alone. Nowhere True for a
        flat image.

    Raises:
        TypeError: ``gray`` is no real numpy array or tensor.
        ValueError: another number of axes or channels, an empty axis, thresholds out of range or order, NaN or infinite
            values (of arrays and tensors on the CPU; elsewhere such an image has no edges).

    Example:
        >>> step = np.zeros((5, 8))
        >>> step[:, 4:] = 1
        >>> canny_edges(step).astype(int)[2]
        array([0, 0, 0, 0, 1, 0, 0, 0])
        >>> canny_edges(torch.from_numpy(step)[None, None])[0, 0, 2].long()
        tensor([0, 0, 0, 0, 1, 0, 0, 0])

    Source: J. Canny, "A computational approach to edge detection", 1986.
    """
    check_number(low, "low", minimum=0, maximum=1)
    check_number(high, "high", minimum=0, maximum=1)
    if low > high:
        raise ValueError(f"low: expected at most high = {high}, got {low}")
    check_number(sigma, "sigma", minimum=0, exclusive=True)
    if isinstance(gray, Tensor):
        return hysteresis(thinned_gradient(as_gray(gray, "gray"), sigma), low, high)
    edges: NDArray[np.bool_] = hysteresis(thinned_gradient(_from_array(gray), sigma), low, high)[0, 0].numpy()
    return edges


def as_gray(image: Tensor, name: str) -> Tensor:
    """Return the gray values ``(B, 1, H, W)`` of real images in the widest dtype of their device, without grad."""
    check_real(image, name)
    wide = image.detach().to(torch.float32 if image.device.type == "mps" else torch.float64)
    check_image(wide, name)
    if on_host(wide) and not np.isfinite(wide.numpy()).all():
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    return to_gray(wide)


def _from_array(gray: object) -> Tensor:
    if not isinstance(gray, np.ndarray):
        raise TypeError(f"gray: expected a numpy array or a torch.Tensor, got {type(gray).__name__}")
    if gray.dtype.kind not in "biuf":
        raise TypeError(f"gray: expected a real dtype, got {gray.dtype}")
    if gray.ndim != 2 or min(gray.shape) < 1:
        raise ValueError(f"gray: expected (H, W) without an empty axis, got {gray.shape}")
    return as_gray(from_array(gray)[None, None], "gray")


def from_array(array: NDArray[Any]) -> Tensor:
    """Return a tensor of a real array, float64."""
    shared = array.flags.c_contiguous and array.flags.writeable  # which is what a tensor can share
    return torch.from_numpy(array.astype(np.float64, copy=not shared))


def on_host(x: Tensor) -> bool:
    """Return whether the kernels for the CPU take a tensor."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def thinned_gradient(gray: Tensor, sigma: float = math.sqrt(2)) -> Tensor:
    """Return the normalised gradient magnitude where it survives the non-maximum suppression, 0 elsewhere.

    Takes and returns what :func:`as_gray` returns.
    """
    if on_host(gray):
        weights = gaussian(sigma)
        return _each(gray, lambda x: host.thinned_gradient(x, weights, AHEAD, TOLERANCE, DECIMALS, FLAT))
    return thinned_anywhere(gray, sigma)


def hysteresis(strength: Tensor, low: float, high: float) -> Tensor:
    """Keep the 8-connected groups of positive pixels of at least ``low`` that hold one of at least ``high``."""
    if on_host(strength):
        return _each(strength, lambda x: host.hysteresis(x, low, high))
    return hysteresis_anywhere(strength, low, high)


def edge_levels(gray: Tensor, count: int) -> Tensor:
    """Return at how many of the thresholds ``t = j / (count + 1)`` each pixel is an edge: ``(B, 1, H, W)``, int32.

    It is one at t if ``hysteresis(thinned_gradient(gray), t / 2, t)`` keeps it, and then at every lower threshold too,
    so that ``levels >= j`` are the edges at the j-th.
    """
    if on_host(gray):
        weights = gaussian(math.sqrt(2))

        def levels(x: NDArray[np.float64]) -> NDArray[np.int32]:
            survivors = host.survivors(x, weights, AHEAD, TOLERANCE, DECIMALS, FLAT)
            return host.edge_levels(*survivors, x.shape, count, DECIMALS)

        return _each(gray, levels)
    return levels_anywhere(thinned_anywhere(gray, math.sqrt(2)), count)


def _each(images: Tensor, kernel: Callable[[NDArray[np.float64]], NDArray[Any]]) -> Tensor:
    maps = [torch.from_numpy(kernel(image)) for image in images[:, 0].numpy()]
    return torch.stack(maps)[:, None] if len(maps) > 1 else maps[0][None, None]


# ---- the definitions of these three; on the CPU the kernels of _host give the same bits ------------------------------


def thinned_anywhere(gray: Tensor, sigma: float) -> Tensor:
    """Define :func:`thinned_gradient`."""
    gx, gy = smooth_gradient(gray, sigma)
    m = (gx.square() + gy.square()).sqrt()
    peak = m.amax((1, 2, 3), keepdim=True)
    m = m / peak
    ahead, behind = beside(m, gx, gy)
    survives = (m > ahead + TOLERANCE) & (m >= behind - TOLERANCE) & (peak > FLAT) & inside(m)
    return torch.where(survives, m.round(decimals=DECIMALS), 0)


def hysteresis_anywhere(strength: Tensor, low: float, high: float) -> Tensor:
    """Define :func:`hysteresis`."""
    weak = (strength >= low) & (strength > 0)
    return _flooded((weak & (strength >= high)).float(), weak.float()) > 0


def levels_anywhere(strength: Tensor, count: int) -> Tensor:
    """Define :func:`edge_levels`: the level a pixel reaches itself, flooded under the one whose half it reaches."""
    thresholds = high_thresholds(count, strength)
    own, reach = (torch.bucketize(strength, t, right=True).float() for t in (thresholds, thresholds / 2))
    return _flooded(own, reach).int()


def high_thresholds(count: int, like: Tensor) -> Tensor:
    """Return the thresholds ``j / (count + 1)`` for ``j = 1 ... count``, of a tensor's dtype and device."""
    return torch.arange(1, count + 1, dtype=like.dtype, device=like.device) / (count + 1)


def _flooded(levels: Tensor, limits: Tensor) -> Tensor:
    """Morphological reconstruction: raise levels to their neighbours', under limits, until nothing changes."""
    while True:
        before = levels
        for _ in range(STEPS):
            levels = torch.minimum(F.max_pool2d(levels, 3, stride=1, padding=1), limits)
        if _is_settled(before, levels):
            return levels


def _is_settled(before: Tensor, after: Tensor) -> bool:
    return torch.equal(before, after)  # the one place where the host waits for the device


# ---- what Canny's edges and the soft ones share ----------------------------------------------------------------------

# one half of the directions counts as ahead; its boundary is irrational, so that no edge along the grid lies on it
AHEAD = (math.sqrt(5) - 1) / 2


def gaussian(sigma: float) -> list[float]:
    """Return the weights of a Gaussian that ends at four standard deviations."""
    radius = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    total = sum(weights)
    return [w / total for w in weights]


def smooth_gradient(gray: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Return the central differences of ``(B, 1, H, W)``, scaled to at most 1 in size and smoothed by a Gaussian."""
    scale = gray.detach().abs().amax((1, 2, 3), keepdim=True)
    x = gray / torch.where(scale == 0, 1, scale)
    weights = gaussian(sigma)
    radius = len(weights) // 2
    for dim in (-2, -1):
        size = x.shape[dim]
        wide = torch.cat([x.narrow(dim, 0, 1)] * radius + [x] + [x.narrow(dim, -1, 1)] * radius, dim)
        x = x * weights[radius]
        for k in range(radius):
            x = x + (wide.narrow(dim, k, size) + wide.narrow(dim, 2 * radius - k, size)) * weights[k]
    return central_differences(x, "replicate")


def beside(m: Tensor, gx: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
    """Return m one pixel ahead and one behind along the gradient, between the two neighbours that it points between.

    As far as a pixel has neighbours; it is 0 outside the image.
    """
    H, W = m.shape[-2:]
    row = W + 2
    back = gx + gy * AHEAD < 0
    step_x = torch.where((gx < 0) != back, -1, 1)
    step_y = torch.where((gy < 0) != back, -row, row)
    size_x, size_y = gx.abs(), gy.abs()
    straight, diagonal = torch.where(size_x >= size_y, step_x, step_y), step_x + step_y
    larger = torch.maximum(size_x, size_y)
    weight = torch.minimum(size_x, size_y) / torch.where(larger == 0, 1, larger)
    here = torch.arange((H + 2) * row, device=m.device).view(H + 2, row)[1:-1, 1:-1]
    padded = F.pad(m, (1, 1, 1, 1)).flatten(1)

    def between(straight: Tensor, diagonal: Tensor) -> Tensor:
        first, second = (padded.gather(1, (here + step).flatten(1)).view_as(m) for step in (straight, diagonal))
        return first + weight * (second - first)

    return between(straight, diagonal), between(-straight, -diagonal)


def inside(m: Tensor) -> Tensor:
    """Return where ``(B, 1, H, W)`` has all its neighbours, bool ``(H, W)``."""
    H, W = m.shape[-2:]
    inner = torch.zeros((H, W), dtype=torch.bool, device=m.device)
    inner[1:-1, 1:-1] = True
    return inner
