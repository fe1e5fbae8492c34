"""An edge map in the manner of Canny's with a gradient, for losses that compare edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morn_losses._checks import check_image, check_number
from morn_losses._precision import full_precision, promote
from morn_losses.edges.canny import FLAT, beside, inside, smooth_gradient
from morn_losses.image import magnitude, to_gray

# makes the magnitude, a share of the strongest, differentiable at 0
_EPS = 1e-8


def soft_edges(
    image: Tensor, low: float = 0.1, high: float = 0.2, sigma: float = math.sqrt(2), *, softness: float = 0.5
) -> Tensor:
    r"""Edge map in the manner of :func:`~morn_losses.edges.canny_edges` that has a gradient.

    With m the gradient magnitude of the smoothed image as a share of the image's largest, and :math:`m_+, m_-` its
    values one pixel ahead and behind along the gradient, each between the two neighbours that it points between,

    .. math::
        e = S\Big(\frac{m - low}{high - low}\Big) \;
            S\Big(\frac12 + \frac{m - m_+}{\tau m}\Big) \; S\Big(\frac12 + \frac{m - m_-}{\tau m}\Big),
        \qquad S(u) = 3 v^2 - 2 v^3, \quad v = \min(\max(u, 0), 1)

    An edge counts in full where it is strong and exceeds what is beside it by the share :math:`\tau / 2` of itself, not
    at all where it is weak or something beside it exceeds it by as much, and in half where one side is as strong: an
    edge between two pixels is shared by them. As ``low`` and ``high`` come together at a threshold t, and
    :math:`\tau` goes to 0, the map goes to ``canny_edges(image, t, t)`` but for these shares. There is no hysteresis: a
    weak edge counts in part whatever it is connected to.

    Args:
        image: ``(B, C, H, W)``, C = 1 or 3, any range: neither scale, offset nor the sign of the contrast matters.
        low: up to this share of the largest gradient nothing is an edge; larger than 0, less than ``high``.
        high: from this share on an edge counts in full; at most 1.
        sigma: standard deviation of the Gaussian in pixels, larger than 0.
        softness: :math:`\tau`, larger than 0; a small one makes thin lines, whose gradient is in few pixels.

    Returns:
        ``(B, 1, H, W)`` in [0, 1], float32 for half precision. Exactly 0, with zero gradient, in the outermost pixels
        and in a flat image; an image that is not finite is NaN in all others.

    Raises:
        TypeError: an image that is not floating-point.
        ValueError: another number of axes or channels, an empty axis, options out of range or order.

    Example:
        >>> step = torch.zeros(1, 1, 5, 8)
        >>> step[..., 4:] = 1
        >>> soft_edges(step)[0, 0, 2]
        tensor([0.0000, 0.0000, 0.0000, 0.5000, 0.5000, 0.0000, 0.0000, 0.0000])
    """
    check_image(image, "image")
    check_number(low, "low", minimum=0, maximum=1, exclusive=True)
    check_number(high, "high", minimum=0, maximum=1)
    if low >= high:
        raise ValueError(f"low: expected less than high = {high}, got {low}")
    check_number(sigma, "sigma", minimum=0, exclusive=True)
    check_number(softness, "softness", minimum=0, exclusive=True)
    with full_precision(image):
        gx, gy = smooth_gradient(to_gray(promote(image)), sigma)
        peak = (gx.square() + gy.square()).amax((1, 2, 3), keepdim=True)
        flat = peak <= max(FLAT, 16 * torch.finfo(gx.dtype).eps) ** 2
        gx, gy = (torch.where(flat, 0, g) / torch.where(flat, 1, peak).sqrt() for g in (gx, gy))
        m = magnitude(gx, gy, _EPS) / (math.sqrt(1 + _EPS) - math.sqrt(_EPS))
        edges = _smooth_step((m - low) / (high - low))
        for side in beside(m, gx, gy):
            edges = edges * _smooth_step(0.5 + (m - side) / (softness * m.clamp_min(low)))
        return torch.where(inside(m), edges, 0)


def _smooth_step(u: Tensor) -> Tensor:
    v = u.clamp(0, 1)
    return v.square() * (3 - 2 * v)
