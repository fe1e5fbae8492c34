"""Conditional gradient repair (section 3.5): the translation keeps the strong background edges of its source."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morn_losses._checks import as_mask, check_image, check_shape, check_value_range
from morn_losses._masked import masked_mean, masked_sum, safe_divide
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import unit
from morn_losses._reduction import Reduction, check_reduction, reduce
from morn_losses.image import PaddingMode, central_differences, check_gradient_options, magnitude, to_gray

ROUNDING = 256
"""Units of rounding, relative to rho, that equal gradients of an image differ by, and their mean from them."""


def _check_options(
    padding_mode: str, eps: float, value_range: tuple[float, float], reduction: str
) -> tuple[float, tuple[float, float]]:
    """Check the options; return the numbers."""
    eps, value_range = check_gradient_options(padding_mode, eps), check_value_range(value_range)
    check_reduction(reduction)
    return eps, value_range


def cgr_loss(
    real: Tensor,
    fake: Tensor,
    mask: Tensor | None = None,
    *,
    padding_mode: PaddingMode = "replicate",
    eps: float = 1e-6,
    value_range: tuple[float, float] = (-1.0, 1.0),
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Conditional gradient repair, Eq. 18-19: the share of the source's strong gradients that the translation lost.

    .. math::
        \mathcal{L}_{cgr} = \frac{\sum \mathrm{relu}(M_{gh} \odot (GM^{rb}_{bg} - GM^{fa}_{bg}))}
                                 {\sum M_{gh} \odot GM^{rb}_{bg}},
        \qquad M_{gh} = \mathbb{I}\{GM^{rb}_{bg} > \rho\},
        \qquad \rho = \frac{\sum GM^{rb}_{bg}}{\sum M_{bg}}

    where ``GM_bg`` is the gradient magnitude of the image mapped to [0, 1], inside the background mask.
    The mask selects positions of the gradient maps: a position's neighbours take part in its gradient.

    Choice: ``rho`` is the mean over the background, not over the whole frame, since the paper calls it "the
    average gradient of the background region"; a larger foreground then does not lower the bar.

    Choice: above ``rho`` is what exceeds it by more than rounding does, 3e-5 of it in float32; else chance would
    decide whether a ramp of one gradient is above its own mean.

    Args:
        real: the source image ``(B, C, H, W)``, C = 1 or 3, in ``value_range``; its gradient map carries no grad.
        fake: its translation, same B, H, W; C may differ.
        mask: background region, bool or {0, 1}, ``(B, H, W)`` or ``(B, 1, H, W)``; None is everywhere.
        padding_mode: border of the gradient, ``"replicate"`` or ``"zeros"`` (published code).
        eps: of `morn_losses.functional.gradient_magnitude`, larger than 0.
        value_range: ``(low, high)`` of both images.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value in [0, 1] per sample; ``(B,)`` for ``reduction="none"``. 0 where the mask is empty or the source is
        flat inside it, NaN where the source is not finite inside it, or the translation at a strong gradient.

    Raises:
        ValueError: shapes that differ, an empty axis, options out of range, a mask of other values than 0 and 1 (eager
            CPU tensors only; elsewhere any value but 0 counts as 1).
        TypeError: an image that is not floating-point, a complex mask.

    Example:
        >>> source = torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]])
        >>> cgr_loss(source, source, value_range=(0, 1))
        tensor(0.)
        >>> cgr_loss(source, 0.25 * source, value_range=(0, 1)).round(decimals=2)
        tensor(0.7500)

    Source: Eq. 18-19, section 3.5.
    """
    check_image(real, "real")
    check_image(fake, "fake")
    B, _, H, W = real.shape
    check_shape(fake, "fake", "(B, C, H, W)", (B, fake.shape[1], H, W))
    eps, value_range = _check_options(padding_mode, eps, value_range, reduction)
    if mask is None:
        region = torch.ones((B, 1, H, W), dtype=torch.bool, device=real.device)
    else:
        region = as_mask(mask, "mask", (B, H, W))

    def gradient_within(image: Tensor, where: Tensor) -> Tensor:
        gray = to_gray(unit(image, value_range))
        gx, gy = central_differences(gray, padding_mode)
        # masked before the root: its backward would turn a NaN outside the mask into a NaN gradient
        return magnitude(torch.where(where, gx, 0), torch.where(where, gy, 0), eps)

    gm_real = gradient_within(real.detach(), region)
    rho = masked_mean(gm_real, region)[:, None, None, None]
    # a source that is not finite must not pass for a flat one
    strong = (gm_real > rho * (1 + ROUNDING * torch.finfo(rho.dtype).eps)) | ~rho.isfinite()
    gm_fake = gradient_within(fake, strong)
    # the rectifier would hide an infinite gradient, whose backward is NaN
    lost = masked_sum(torch.where(gm_fake.isfinite(), (gm_real - gm_fake).relu(), torch.nan), strong)
    return reduce(safe_divide(lost, masked_sum(gm_real, strong)), reduction)


@takes_options_of(cgr_loss)
class CGRLoss(nn.Module):
    """Module of `morn_losses.functional.cgr_loss`; ``forward(real, fake, mask=None)``."""

    def __init__(
        self,
        *,
        padding_mode: PaddingMode = "replicate",
        eps: float = 1e-6,
        value_range: tuple[float, float] = (-1.0, 1.0),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.eps, self.value_range = _check_options(padding_mode, eps, value_range, reduction)
        self.padding_mode: PaddingMode = padding_mode
        self.reduction: Reduction = reduction

    def forward(self, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss; see `morn_losses.functional.cgr_loss`."""
        return cgr_loss(
            real,
            fake,
            mask,
            padding_mode=self.padding_mode,
            eps=self.eps,
            value_range=self.value_range,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
