"""Reconstruction (section 3.2.1): distance in pixels and in structure, as the cycle and the scale loss measure it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pytorch_msssim import ssim
from torch import Tensor, nn

from morn_losses._checks import (
    check_choice,
    check_image,
    check_integer,
    check_number,
    check_same_shape,
    check_value_range,
)
from morn_losses._masked import masked_sum
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import full_precision, promote, unit
from morn_losses._reduction import Reduction, check_reduction, reduce

Distance = Literal["smooth_l1", "l1"]


def check_distance_options(
    weight_l1: float, weight_ssim: float, window_size: int, value_range: tuple[float, float]
) -> tuple[float, float, int, tuple[float, float]]:
    """Check the options that ``image_distance`` takes; return the numbers."""
    weight_l1 = check_number(weight_l1, "weight_l1", minimum=0)
    weight_ssim = check_number(weight_ssim, "weight_ssim", minimum=0)
    window_size = check_integer(window_size, "window_size", minimum=3)
    if window_size % 2 == 0:
        raise ValueError(f"window_size: expected an odd int, got {window_size}")
    return weight_l1, weight_ssim, window_size, check_value_range(value_range)


def _check_options(
    distance: str,
    weight_l1: float,
    weight_ssim: float,
    window_size: int,
    value_range: tuple[float, float],
    reduction: str,
) -> tuple[float, float, int, tuple[float, float]]:
    """Check the options; return the numbers."""
    check_choice(distance, "distance", ("smooth_l1", "l1"))
    numbers = check_distance_options(weight_l1, weight_ssim, window_size, value_range)
    check_reduction(reduction)
    return numbers


def _ssim(x: Tensor, y: Tensor, window_size: int, name: str) -> Tensor:
    """Return the structural similarity of each sample of images in [0, 1], float32 or float64."""
    B, C, H, W = x.shape
    if min(H, W) < window_size:
        # the package would only warn, and then leave that axis unfiltered
        raise ValueError(f"{name}: expected H and W of at least window_size = {window_size}, got {H} and {W}")
    # the package's window, float32 before the cast; made here because the package copies its own from the host
    offsets = torch.arange(window_size, dtype=torch.float32, device=x.device) - window_size // 2
    gauss = torch.exp(-offsets.square() / (2 * 1.5**2))
    # grouped, contiguous convolutions are exact on CUDA; a single channel would run in TF32, whose error drowns C2
    groups = max(C, 2)
    window = (gauss / gauss.sum()).to(x.dtype).repeat(groups, 1, 1, 1)
    x, y = (image.expand(B, groups, H, W).contiguous() for image in (x, y))
    with full_precision(x):
        value: Tensor = ssim(x, y, data_range=1.0, size_average=False, win=window)
    return value


def image_distance(
    output: Tensor,
    target: Tensor,
    *,
    distance: Distance,
    weight_l1: float,
    weight_ssim: float,
    window_size: int,
    value_range: tuple[float, float],
    name: str,
) -> Tensor:
    """Weighted distance plus ``1 - SSIM`` of checked images ``(B, C, H, W)`` of one shape: ``(B,)``."""
    output, target = promote(output), promote(target)
    dtype = torch.promote_types(output.dtype, target.dtype)
    output, target = output.to(dtype), target.to(dtype)
    terms = []
    if weight_l1 > 0:
        pixelwise = F.smooth_l1_loss if distance == "smooth_l1" else F.l1_loss
        terms.append(weight_l1 * pixelwise(output, target, reduction="none").flatten(1).mean(1))
    if weight_ssim > 0:
        similarity = _ssim(unit(output, value_range), unit(target, value_range), window_size, name)
        terms.append(weight_ssim * (1 - similarity))
    if not terms:
        return masked_sum(output, torch.zeros((), dtype=torch.bool, device=output.device))
    return torch.stack(terms).sum(0)


def reconstruction_loss(
    output: Tensor,
    target: Tensor,
    *,
    distance: Distance = "smooth_l1",
    weight_l1: float = 10.0,
    weight_ssim: float = 1.0,
    window_size: int = 3,
    value_range: tuple[float, float] = (-1.0, 1.0),
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Reconstruction loss: a pixel distance on the values as given plus ``1 - SSIM`` on the images mapped to [0, 1].

    .. math::
        \mathcal{L}_{rec} = \lambda_{l1}\, \overline{d(x, y)} + \lambda_{ssim} \left( 1 - \overline{
            \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
                 {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}} \right)

    where ``d`` is the smooth L1 distance (``delta^2 / 2`` for ``|delta| < 1``, else
    ``|delta| - 1/2``) or ``|delta|``, the moments are those under a Gaussian window of sigma 1.5 that lies
    inside the image, ``C_1 = 0.01^2`` and ``C_2 = 0.03^2``.

    The window of the SSIM is float32's, also for float64 images: their SSIM is accurate to about 1e-7.

    With ``distance="l1"`` this is the cycle loss of section 3.2.1; the published code takes the smooth distance there.

    Choice: the weights and the window are the published code's, since the paper gives none.

    Args:
        output: the reconstruction ``(B, C, H, W)``, C = 1 or 3, in ``value_range``.
        target: what it should be, same shape. Both carry grad.
        distance: ``"smooth_l1"`` or ``"l1"``.
        weight_l1: weight of the pixel distance, at least 0; a term of weight 0 is not computed.
        weight_ssim: weight of ``1 - SSIM``, at least 0.
        window_size: side of the SSIM window, odd, at least 3.
        value_range: ``(low, high)`` of both images.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample, 0 for equal images (``1 - SSIM`` is in [0, 2]); ``(B,)`` for
        ``reduction="none"``.

    Raises:
        ValueError: shapes that differ, images smaller than the window where SSIM is computed, options out of range.
        TypeError: an image that is not floating-point.

    Example:
        >>> black, white = torch.full((1, 1, 4, 4), -1.0), torch.ones(1, 1, 4, 4)
        >>> reconstruction_loss(white, white)
        tensor(0.)
        >>> reconstruction_loss(white, black).round(decimals=4)  # 10 * (2 - 1 / 2) + 1 - 0.01^2 / (1 + 0.01^2)
        tensor(15.9999)

    Source: section 3.2.1; Wang et al. (2004), through pytorch-msssim.
    """
    check_image(output, "output")
    check_image(target, "target")
    check_same_shape(target, "target", output, "output")
    weight_l1, weight_ssim, window_size, value_range = _check_options(
        distance, weight_l1, weight_ssim, window_size, value_range, reduction
    )
    per_sample = image_distance(
        output,
        target,
        distance=distance,
        weight_l1=weight_l1,
        weight_ssim=weight_ssim,
        window_size=window_size,
        value_range=value_range,
        name="output",
    )
    return reduce(per_sample, reduction)


@takes_options_of(reconstruction_loss)
class ReconstructionLoss(nn.Module):
    """Module of `morn_losses.functional.reconstruction_loss`; ``forward(output, target)``."""

    def __init__(
        self,
        *,
        distance: Distance = "smooth_l1",
        weight_l1: float = 10.0,
        weight_ssim: float = 1.0,
        window_size: int = 3,
        value_range: tuple[float, float] = (-1.0, 1.0),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        numbers = _check_options(distance, weight_l1, weight_ssim, window_size, value_range, reduction)
        self.weight_l1, self.weight_ssim, self.window_size, self.value_range = numbers
        self.distance: Distance = distance
        self.reduction: Reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss; see `morn_losses.functional.reconstruction_loss`."""
        return reconstruction_loss(
            output,
            target,
            distance=self.distance,
            weight_l1=self.weight_l1,
            weight_ssim=self.weight_ssim,
            window_size=self.window_size,
            value_range=self.value_range,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
