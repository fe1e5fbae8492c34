"""Total variation (section 3.2.1): the translation stays free of pixel noise."""

from __future__ import annotations

from torch import Tensor, nn

from morn_losses._checks import check_image
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce


def _mean_square(differences: Tensor) -> Tensor:
    # a sum over a count: the mean of no difference at all is 0, not NaN
    return differences.square().flatten(1).sum(1) / max(differences[0].numel(), 1)


def total_variation_loss(x: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Total variation: the mean squared difference between neighbouring pixels.

    .. math::
        \mathcal{L}_{tv} = 2 \left( \overline{(I_{c,i+1,j} - I_{c,i,j})^2}
                                  + \overline{(I_{c,i,j+1} - I_{c,i,j})^2} \right)

    where the bars are means over all channels and all pairs of neighbours in that direction.

    Choice: the paper names the loss without an equation; squared differences are smooth where the image is flat.

    Args:
        x: images ``(B, C, H, W)``, C = 1 or 3, in any range: the values are taken as given.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. A direction with a single row or column
        contributes 0.

    Raises:
        ValueError: a shape other than ``(B, C, H, W)``, an empty axis, another reduction.
        TypeError: an image that is not floating-point.

    Example:
        >>> import torch
        >>> total_variation_loss(torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]]))  # 2 * ((0 + 4) / 2 + (1 + 9) / 2)
        tensor(14.)

    Source: section 3.2.1; Rudin, Osher and Fatemi (1992).
    """
    check_image(x, "x")
    check_reduction(reduction)
    x = promote(x)
    per_sample = 2 * (_mean_square(x.diff(dim=-2)) + _mean_square(x.diff(dim=-1)))
    return reduce(per_sample, reduction)


@takes_options_of(total_variation_loss)
class TotalVariationLoss(nn.Module):
    """Module of `morn_losses.functional.total_variation_loss`; ``forward(x)``."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss; see `morn_losses.functional.total_variation_loss`."""
        return total_variation_loss(x, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
