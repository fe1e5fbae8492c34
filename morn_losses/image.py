"""Image operations: channel extrema (Eq. 1), gray values and the gradient magnitude that SGA and CGR share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from morn_losses._checks import check_choice, check_image, check_number
from morn_losses._precision import promote

PaddingMode = Literal["replicate", "zeros"]


def channel_max(x: Tensor) -> Tensor:
    r"""Maximum over the channels at each position, Eq. 1.

    .. math:: O_{i,j} = \max_{c \in \{1, \dots, C\}} I_{c,i,j}

    Args:
        x: ``(B, C, H, W)``, any C.

    Returns:
        ``(B, H, W)``.

    Example:
        >>> channel_max(torch.tensor([[[[0.0]], [[2.0]], [[1.0]]]]))
        tensor([[[2.]]])

    Source: Eq. 1, section 3.2.2.
    """
    check_image(x, "x", channels=None)
    return x.amax(1)


def channel_min(x: Tensor) -> Tensor:
    r"""Minimum over the channels at each position, the counterpart of Eq. 1.

    Args:
        x: ``(B, C, H, W)``, any C.

    Returns:
        ``(B, H, W)``.

    Example:
        >>> channel_min(torch.tensor([[[[0.0]], [[2.0]], [[1.0]]]]))
        tensor([[[0.]]])

    Source: Eq. 1, section 3.2.2.
    """
    check_image(x, "x", channels=None)
    return x.amin(1)


def to_gray(x: Tensor) -> Tensor:
    """Gray values: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); one channel is returned as it is.

    Args:
        x: ``(B, C, H, W)``, C = 1 or 3.

    Returns:
        ``(B, 1, H, W)`` in the range of ``x``; half precision comes back as float32.

    Example:
        >>> to_gray(torch.tensor([[[[1.0]], [[0.0]], [[0.0]]]]))
        tensor([[[[0.2990]]]])
    """
    check_image(x, "x")
    x = promote(x)
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def check_gradient_options(padding_mode: str, eps: float) -> float:
    """Check the options of the gradient magnitude, for itself and for the losses built on it; return ``eps``."""
    check_choice(padding_mode, "padding_mode", ("replicate", "zeros"))
    return check_number(eps, "eps", minimum=0, exclusive=True)


def _pad(x: Tensor, dim: int, padding_mode: PaddingMode) -> Tensor:
    # concatenated slices: replication_pad2d has no deterministic backward on CUDA
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, -1, 1)
    if padding_mode == "zeros":
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    return torch.cat((first, x, last), dim)


def central_differences(gray: Tensor, padding_mode: PaddingMode) -> tuple[Tensor, Tensor]:
    """Differences ``[-1, 0, 1]`` along the columns and the rows of ``(B, 1, H, W)``."""
    H, W = gray.shape[-2:]
    wide, high = _pad(gray, -1, padding_mode), _pad(gray, -2, padding_mode)
    return wide.narrow(-1, 2, W) - wide.narrow(-1, 0, W), high.narrow(-2, 2, H) - high.narrow(-2, 0, H)


def magnitude(gx: Tensor, gy: Tensor, eps: float) -> Tensor:
    """``sqrt(gx^2 + gy^2 + eps) - sqrt(eps)``, computed so that it is exactly 0 where both are 0."""
    square = gx.square() + gy.square()
    # an eps below the dtype's range would be 0, and the root not differentiable there
    eps = max(eps, torch.finfo(square.dtype).tiny)
    root_eps = torch.tensor(eps, dtype=square.dtype, device=square.device).sqrt()
    return (square + eps).sqrt() - root_eps


def gradient_magnitude(x: Tensor, *, padding_mode: PaddingMode = "replicate", eps: float = 1e-6) -> Tensor:
    r"""Gradient magnitude of the gray image.

    .. math:: GM = \sqrt{g_x^2 + g_y^2 + \epsilon} - \sqrt{\epsilon}

    with the central differences :math:`g_x = I_{i,j+1} - I_{i,j-1}` and :math:`g_y = I_{i+1,j} - I_{i-1,j}`.

    Args:
        x: ``(B, C, H, W)``, C = 1 or 3.
        padding_mode: ``"replicate"`` repeats the border, so that it has no gradient of its own; ``"zeros"`` is what
            the published code does. Choice: the paper does not say how the border is treated.
        eps: makes the magnitude differentiable where the image is flat; larger than 0.

    Returns:
        ``(B, 1, H, W)``, at least 0, exactly 0 where flat.

    Example:
        >>> gradient_magnitude(torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]])).round(decimals=2)
        tensor([[[[0., 1., 1., 0.]]]])
    """
    eps = check_gradient_options(padding_mode, eps)
    return magnitude(*central_differences(to_gray(x), padding_mode), eps)
