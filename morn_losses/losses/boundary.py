"""Boundary loss (section 3.3.4): the edges of the prediction follow those of the labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morn_losses._checks import as_class_ids, check_bool, check_integer, may_look
from morn_losses._host import boundary as host
from morn_losses._masked import safe_divide
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce


def check_boundary_options(clear_ignored: bool, ignore_index: int, reduction: str) -> int:
    """Check the options of the boundary loss, for itself and for the sum that holds it; return the number."""
    check_bool(clear_ignored, "clear_ignored")
    check_reduction(reduction)
    return check_integer(ignore_index, "ignore_index")


def _edges(x: Tensor) -> Tensor:
    return (x - F.avg_pool2d(x, 3, stride=1, padding=1)).abs()


def _mismatch(logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """The equation, ``(B,)``; labels ``(B, H, W)`` are K where unlabeled, predictions are 0 where not counted."""
    counted = counted[:, None]
    # cleared before the softmax too, whose backward would turn a NaN into a NaN gradient
    p = torch.where(counted, torch.where(counted, logits, 0).softmax(1), 0)
    y = (labels[:, None] == torch.arange(p.shape[1], device=p.device)[:, None, None]).to(p.dtype)
    missed = (_edges(y) - _edges(p)).abs()
    return safe_divide(missed.flatten(1).sum(1), _edges(y).flatten(1).sum(1))


def boundary_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    clear_ignored: bool = True,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Boundary loss: the spatial gradients of the predicted probabilities follow those of the labels.

    .. math::
        \mathcal{L}_{b} = \frac{\sum |e(y) - e(p)|}{\sum e(y)}, \qquad e(x) = |x - \mathrm{avgpool}_{3 \times 3}(x)|

    over all classes and positions of a sample, where ``p`` is the softmax of the logits and ``y`` the one-hot
    labels, both 0 at the ignored pixels. The pooling pads with zeros and always divides by 9.

    Choice: the paper gives no normalisation; divided by the labels' own boundary, the loss is a share that depends on
    neither the size nor the number of classes.

    Args:
        logits: ``(B, K, H, W)``.
        labels: class ids, any integer dtype, ``(B, H, W)``.
        clear_ignored: whether predictions are cleared at the ignored pixels; False (published code) punishes what they
            predict there, where nothing is labeled.
        ignore_index: label of the pixels that take no part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. 0 where no pixel is labeled.

    Raises:
        ValueError: shapes that differ, an id outside [0, K) (eager CPU tensors only; elsewhere such a pixel is
            ignored), options out of range.
        TypeError: logits that are not floating-point, labels that are not integers.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> boundary_loss(torch.zeros(1, 2, 1, 4), labels).round(decimals=4)  # sums: 52/18, 60/18
        tensor(0.8667)

    Source: Eq. 10 (boundary), section 3.3.4; Zhen et al. (2020).
    """
    ignore_index = check_boundary_options(clear_ignored, ignore_index, reduction)
    ids, logits = as_class_ids(labels, logits, ignore_index), promote(logits)
    counted = ids < logits.shape[1]
    if not clear_ignored:  # but in a sample without any label, of which nothing counts
        counted = counted.flatten(1).any(1)[:, None, None].expand_as(counted)

    mismatch = host.mismatch if may_look(logits, ids) else _mismatch
    return reduce(mismatch(logits, ids, counted), reduction)


@takes_options_of(boundary_loss)
class BoundaryLoss(nn.Module):
    """Module of `morn_losses.functional.boundary_loss`; ``forward(logits, labels)``."""

    def __init__(self, *, clear_ignored: bool = True, ignore_index: int = 255, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.ignore_index = check_boundary_options(clear_ignored, ignore_index, reduction)
        self.clear_ignored = clear_ignored
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; see `morn_losses.functional.boundary_loss`."""
        return boundary_loss(
            logits,
            labels,
            clear_ignored=self.clear_ignored,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
