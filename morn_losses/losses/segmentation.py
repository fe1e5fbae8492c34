"""Segmentation loss (section 3.3.4): class-balanced cross-entropy plus the boundary loss."""

from __future__ import annotations

from torch import Tensor, nn

from morn_losses._checks import check_number
from morn_losses._options import show_options, takes_options_of
from morn_losses._reduction import Reduction, reduce
from morn_losses.losses.boundary import boundary_loss, check_boundary_options
from morn_losses.losses.class_balanced import check_balance_options, class_balanced_cross_entropy


def _check_options(
    boundary_weight: float,
    small_area: float,
    small_pixels: int | None,
    small_weight: float,
    clear_ignored: bool,
    ignore_index: int,
    reduction: str,
) -> tuple[float, float, int | None, float, int]:
    """Check the options; return the numbers."""
    boundary_weight = check_number(boundary_weight, "boundary_weight", minimum=0)
    balance = check_balance_options(small_area, small_pixels, small_weight, ignore_index, reduction)
    check_boundary_options(clear_ignored, ignore_index, reduction)
    return boundary_weight, *balance


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    boundary_weight: float = 0.5,
    small_area: float = 1 / 64,
    small_pixels: int | None = None,
    small_weight: float = 7.0,
    clear_ignored: bool = True,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Segmentation loss of one branch of Eq. 10: class-balanced cross-entropy plus the weighted boundary loss.

    .. math:: \mathcal{L}_{seg} = \mathcal{L}_{ce} + \lambda_b \mathcal{L}_{b}

    of `morn_losses.functional.class_balanced_cross_entropy` and
    `morn_losses.functional.boundary_loss`. The paper uses the boundary term for the real daytime images only.

    Args:
        logits: ``(B, K, H, W)``.
        labels: class ids, any integer dtype, ``(B, H, W)``.
        boundary_weight: ``lambda_b``, at least 0; at 0 the boundary term is not computed.
        small_area: share of the image, in [0, 1], below which a class is small to the cross-entropy.
        small_pixels: the bound as a number of pixels instead (published code: 1024); None takes ``small_area``.
        small_weight: weight of a small class, larger than 0.
        clear_ignored: whether the boundary loss clears predictions at the ignored pixels; False is the published code.
        ignore_index: label of the pixels that take no part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. 0 where no pixel is labeled.

    Raises:
        ValueError: shapes that differ, an id outside [0, K) (eager CPU tensors only), options out of range.
        TypeError: logits that are not floating-point, labels that are not integers.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> segmentation_loss(torch.zeros(1, 2, 1, 4), labels).round(decimals=4)  # log(2) + 0.5 * 52 / 60
        tensor(1.1265)

    Source: Eq. 10, section 3.3.4.
    """
    boundary_weight, *_ = _check_options(
        boundary_weight, small_area, small_pixels, small_weight, clear_ignored, ignore_index, reduction
    )
    per_sample = class_balanced_cross_entropy(
        logits,
        labels,
        small_area=small_area,
        small_pixels=small_pixels,
        small_weight=small_weight,
        ignore_index=ignore_index,
        reduction="none",
    )
    if boundary_weight > 0:
        boundary = boundary_loss(
            logits, labels, clear_ignored=clear_ignored, ignore_index=ignore_index, reduction="none"
        )
        per_sample = per_sample + boundary_weight * boundary
    return reduce(per_sample, reduction)


@takes_options_of(segmentation_loss)
class SegmentationLoss(nn.Module):
    """Module of `morn_losses.functional.segmentation_loss`; ``forward(logits, labels)``."""

    def __init__(
        self,
        *,
        boundary_weight: float = 0.5,
        small_area: float = 1 / 64,
        small_pixels: int | None = None,
        small_weight: float = 7.0,
        clear_ignored: bool = True,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        numbers = _check_options(
            boundary_weight, small_area, small_pixels, small_weight, clear_ignored, ignore_index, reduction
        )
        self.boundary_weight, self.small_area, self.small_pixels, self.small_weight, self.ignore_index = numbers
        self.clear_ignored = clear_ignored
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; see `morn_losses.functional.segmentation_loss`."""
        return segmentation_loss(
            logits,
            labels,
            boundary_weight=self.boundary_weight,
            small_area=self.small_area,
            small_pixels=self.small_pixels,
            small_weight=self.small_weight,
            clear_ignored=self.clear_ignored,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
