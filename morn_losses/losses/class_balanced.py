"""Class-balanced cross-entropy (section 3.3.4): the classes of small area weigh more."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from morn_losses._checks import as_class_ids, check_integer, check_number, may_look
from morn_losses._host import cross_entropy as host
from morn_losses._masked import safe_divide
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce


def check_balance_options(
    small_area: float, small_pixels: int | None, small_weight: float, ignore_index: int, reduction: str
) -> tuple[float, int | None, float, int]:
    """Check the options of the cross-entropy, for itself and for the sum that holds it; return the numbers."""
    small_area = check_number(small_area, "small_area", minimum=0, maximum=1)
    if small_pixels is not None:
        small_pixels = check_integer(small_pixels, "small_pixels", minimum=0)
    # the weights are made in the dtype of the sums, at least float32
    largest = torch.finfo(torch.float32).max
    small_weight = check_number(small_weight, "small_weight", minimum=0, maximum=largest, exclusive=True)
    ignore_index = check_integer(ignore_index, "ignore_index")
    check_reduction(reduction)
    return small_area, small_pixels, small_weight, ignore_index


def _mean_log_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The equation, ``(B,)``; labels ``(B, H, W)`` are K, and weights 0, where unlabeled."""
    K = logits.shape[1]
    # cleared before the softmax, whose backward would turn a NaN into a NaN gradient
    log_p = torch.where(labels[:, None] < K, logits, 0).log_softmax(1)
    log_loss = -log_p.gather(1, labels.clamp(max=K - 1)[:, None])[:, 0]
    return safe_divide((weights * log_loss).flatten(1).sum(1), weights.flatten(1).sum(1))


def class_balanced_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    small_area: float = 1 / 64,
    small_pixels: int | None = None,
    small_weight: float = 7.0,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Class-balanced cross-entropy: the classes of small area weigh more.

    .. math::
        \mathcal{L}_{ce} = \frac{\sum_i w_{y_i} \left( -\log p_{y_i, i} \right)}{\sum_i w_{y_i}}, \qquad
        w_k = \begin{cases} w_{small} & n_k < a H W \\ 1 & \text{else} \end{cases}

    over the labeled pixels ``i`` of a sample, where ``p`` is the softmax of the logits, ``n_k`` counts the
    sample's pixels of class k, ``w_small`` is ``small_weight`` and ``a`` is ``small_area``.

    Choice: the paper cites the loss without its weights; the published code's 7 for a class under 32 * 32 pixels of
    256 * 256, stated as a share so that it holds for any size.

    Args:
        logits: ``(B, K, H, W)``.
        labels: class ids, any integer dtype, ``(B, H, W)``.
        small_area: share of the image, in [0, 1], below which a class is small.
        small_pixels: the bound as a number of pixels instead, whatever the size of the image (published code: 1024);
            None takes ``small_area``.
        small_weight: weight of a small class, larger than 0.
        ignore_index: label of the pixels that take no part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. 0 where no pixel is labeled.

    Raises:
        ValueError: shapes that differ, an id outside [0, K) (eager CPU tensors only; elsewhere such a pixel is
            ignored), options out of range.
        TypeError: logits that are not floating-point, labels that are not integers.

    Example:
        >>> logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]])
        >>> class_balanced_cross_entropy(logits, torch.tensor([[[0, 1]]])).round(decimals=4)  # (0.0181 + 0.6931) / 2
        tensor(0.3556)
        >>> class_balanced_cross_entropy(logits, torch.tensor([[[0, 255]]])).round(decimals=4)
        tensor(0.0181)

    Source: Eq. 10 (cross-entropy), section 3.3.4; Zheng and Yang (2020).
    """
    small_area, small_pixels, small_weight, ignore_index = check_balance_options(
        small_area, small_pixels, small_weight, ignore_index, reduction
    )
    ids, logits = as_class_ids(labels, logits, ignore_index), promote(logits)
    B, K, H, W = logits.shape
    flat = ids.flatten(1)
    areas = flat.new_zeros(B, K + 1).scatter_add(1, flat, torch.ones_like(flat))
    # an integer below a bound is one below its ceiling; integers compare exactly
    bound = math.ceil(small_area * H * W) if small_pixels is None else small_pixels
    weights = torch.where(areas < bound, small_weight, logits.new_ones(()))
    weights = torch.where(ids < K, weights.gather(1, flat).view(B, H, W), 0)

    mean_log_loss = host.mean_log_loss if may_look(logits, ids) else _mean_log_loss
    return reduce(mean_log_loss(logits, ids, weights), reduction)


@takes_options_of(class_balanced_cross_entropy)
class ClassBalancedCrossEntropy(nn.Module):
    """Module of `morn_losses.functional.class_balanced_cross_entropy`; ``forward(logits, labels)``."""

    def __init__(
        self,
        *,
        small_area: float = 1 / 64,
        small_pixels: int | None = None,
        small_weight: float = 7.0,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        numbers = check_balance_options(small_area, small_pixels, small_weight, ignore_index, reduction)
        self.small_area, self.small_pixels, self.small_weight, self.ignore_index = numbers
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; see `morn_losses.functional.class_balanced_cross_entropy`."""
        return class_balanced_cross_entropy(
            logits,
            labels,
            small_area=self.small_area,
            small_pixels=self.small_pixels,
            small_weight=self.small_weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
