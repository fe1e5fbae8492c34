"""Segmentation losses (section 3.3.4): class-balanced cross-entropy and the boundary loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from morn_losses._checks import check_class_ids, check_image, check_integer, check_labels, check_number
from morn_losses._masked import safe_divide
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, reduce


def _prepare(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Check the inputs; return promoted logits, labels that are 0 where unlabeled, and ``(B, H, W)`` where labeled."""
    check_image(logits, "logits", channels=None)
    B, K, H, W = logits.shape
    check_labels(labels, "labels", (B, H, W))
    check_integer(ignore_index, "ignore_index", minimum=-(2**63))
    check_class_ids(labels, "labels", K, ignore_index)
    labeled = (labels != ignore_index) & (labels >= 0) & (labels < K)
    return promote(logits), torch.where(labeled, labels, 0), labeled


def _cleared(logits: Tensor, labeled: Tensor) -> Tensor:
    """Return logits that are 0 where unlabeled.

    Before the softmax, whose backward would turn a NaN of an ignored pixel into a NaN gradient.
    """
    return torch.where(labeled[:, None], logits, 0)


class _NegativeLogLikelihood(torch.autograd.Function):
    """``sum -weights * log softmax(logits)[labels]`` per sample, ``(B,)``; labels and weights are ``(B, 1, H, W)``.

    The exponentials, which take most of the time, are taken once and kept for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        largest = logits.amax(1, keepdim=True)
        shifted = logits - largest
        of_label = shifted.gather(1, labels)
        # the total alone says that a logit was not finite: what ignored pixels keep can be multiplied by 0
        exponentials = shifted.exp_().nan_to_num_(nan=0)
        total = exponentials.sum(1, keepdim=True) + (largest - largest)
        ctx.save_for_backward(logits, exponentials, total, labels, weights)
        return torch.where(weights > 0, weights * (total.log() - of_label), 0).flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, exponentials, total, labels, weights = ctx.saved_tensors
        scale = grad[:, None, None, None] * weights
        if torch.is_grad_enabled():  # a gradient to be differentiated again is one of the logits themselves
            probabilities = _cleared(logits, weights[:, 0] > 0).softmax(1)
            return (probabilities * scale).scatter_add(1, labels, -scale), None, None
        of_exponentials = torch.where(weights > 0, scale / total, 0)
        return (exponentials * of_exponentials).scatter_add_(1, labels, -scale), None, None


def class_balanced_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    small_area: float = 1 / 64,
    small_weight: float = 7.0,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Class-balanced cross-entropy: the classes of small area weigh more.

    .. math::
        \mathcal{L}_{ce} = \frac{\sum_i w_{y_i} \left( -\log p_{y_i, i} \right)}{\sum_i w_{y_i}}, \qquad
        w_k = \begin{cases} w_{small} & n_k < a H W \\ 1 & \text{else} \end{cases}

    over the labeled pixels :math:`i` of a sample, where :math:`p` is the softmax of the logits, :math:`n_k` counts the
    sample's pixels of class k, :math:`w_{small}` is ``small_weight`` and :math:`a` is ``small_area``.

    Choice: the paper cites the loss without its weights; the published code's 7 for a class under 32 * 32 pixels of
    256 * 256, stated as a share so that it holds for any size.

    Args:
        logits: ``(B, K, H, W)``.
        labels: class ids, int64 ``(B, H, W)``.
        small_area: share of the image, in [0, 1], below which a class is small.
        small_weight: weight of a small class, larger than 0.
        ignore_index: label of the pixels that take no part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. 0 where no pixel is labeled.

    Raises:
        ValueError: shapes that differ, an id outside [0, K) (eager CPU tensors only; elsewhere such a pixel is
            ignored), options out of range.
        TypeError: logits that are not floating-point, labels that are not int64.

    Example:
        >>> logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]])
        >>> class_balanced_cross_entropy(logits, torch.tensor([[[0, 1]]])).round(decimals=4)  # (0.0181 + 0.6931) / 2
        tensor(0.3556)
        >>> class_balanced_cross_entropy(logits, torch.tensor([[[0, 255]]])).round(decimals=4)
        tensor(0.0181)

    Source: Eq. 10 (cross-entropy), section 3.3.4; Zheng and Yang (2020).
    """
    check_number(small_area, "small_area", minimum=0, maximum=1)
    # the weights are made in the dtype of the sums, at least float32
    check_number(small_weight, "small_weight", minimum=0, maximum=torch.finfo(torch.float32).max, exclusive=True)
    logits, labels, labeled = _prepare(logits, labels, ignore_index)
    K, H, W = logits.shape[1:]
    # unlabeled pixels are counted in a class of their own
    ids = torch.where(labeled, labels, K).flatten(1)
    areas = ids.new_zeros(len(ids), K + 1).scatter_add(1, ids, torch.ones_like(ids))[:, :K]
    # an integer below a bound is one below its ceiling; integers compare exactly
    small = areas < math.ceil(small_area * H * W)
    weights = torch.where(small, small_weight, logits.new_ones(())).gather(1, labels.flatten(1))
    weights = torch.where(labeled.flatten(1), weights, 0)
    if torch.compiler.is_compiling():  # what is kept for the backward pass is then the compiler's choice
        log_likelihood = _cleared(logits, labeled).log_softmax(1).gather(1, labels[:, None]).flatten(1)
        total = (-log_likelihood * weights).sum(1)
    else:
        weights_of_pixels = weights.view(len(weights), 1, H, W)
        total = _NegativeLogLikelihood.apply(logits, labels[:, None], weights_of_pixels)  # type: ignore[no-untyped-call]
    return reduce(safe_divide(total, weights.sum(1)), reduction)


def _edges(x: Tensor) -> Tensor:
    """Return ``9 x`` minus the sum over each 3 x 3 window, zeros outside; a symmetric map, and so its own adjoint."""
    rows = x.clone()
    rows[..., 1:, :] += x[..., :-1, :]
    rows[..., :-1, :] += x[..., 1:, :]
    windows = rows.clone()
    windows[..., 1:] += rows[..., :-1]
    windows[..., :-1] += rows[..., 1:]
    return 9 * x - windows


class _Mismatch(torch.autograd.Function):
    """``sum |target - |edges(x)||`` per sample; only signs are kept for the backward pass, a byte for each value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        edges = _edges(x)
        missed = target - edges.abs()
        ctx.save_for_backward(edges.sign().to(torch.int8) * missed.sign().to(torch.int8))
        return missed.abs().flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (signs,) = ctx.saved_tensors
        return _edges(-grad[:, None, None, None] * signs), None


def boundary_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Boundary loss: the spatial gradients of the predicted probabilities follow those of the labels.

    .. math::
        \mathcal{L}_{b} = \frac{\sum |e(y) - e(p)|}{\sum e(y)}, \qquad e(x) = |x - \mathrm{avgpool}_{3 \times 3}(x)|

    over all classes and positions of a sample, where :math:`p` is the softmax of the logits and :math:`y` the one-hot
    labels, both 0 at the ignored pixels. The pooling pads with zeros and always divides by 9.

    Choice: the paper gives no normalisation; divided by the labels' own boundary, the loss is a share that depends on
    neither the size nor the number of classes.

    Args:
        logits: ``(B, K, H, W)``.
        labels: class ids, int64 ``(B, H, W)``.
        ignore_index: label of the pixels that take no part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. 0 where no pixel is labeled.

    Raises:
        ValueError: shapes that differ, an id outside [0, K) (eager CPU tensors only; elsewhere such a pixel is
            ignored).
        TypeError: logits that are not floating-point, labels that are not int64.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> boundary_loss(torch.zeros(1, 2, 1, 4), labels).round(decimals=4)  # sums: 52/18, 60/18
        tensor(0.8667)

    Source: Eq. 10 (boundary), section 3.3.4; Zhen et al. (2020).
    """
    logits, labels, labeled = _prepare(logits, labels, ignore_index)
    ids = torch.arange(logits.shape[1], device=labels.device)[:, None, None]
    # nine times the edges, small whole numbers
    target = _edges(((labels[:, None] == ids) & labeled[:, None]).to(torch.int8)).abs()
    # finite, since the logits are 0 where unlabeled
    predicted = _cleared(logits, labeled).softmax(1) * labeled[:, None]
    if torch.compiler.is_compiling():  # what is kept for the backward pass is then the compiler's choice
        missed = (target - _edges(predicted).abs()).abs().flatten(1).sum(1)
    else:
        missed = _Mismatch.apply(predicted, target)  # type: ignore[no-untyped-call]
    return reduce(safe_divide(missed, target.flatten(1).sum(1).to(missed.dtype)), reduction)


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    boundary_weight: float = 0.5,
    small_area: float = 1 / 64,
    small_weight: float = 7.0,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Segmentation loss of one branch of Eq. 10: class-balanced cross-entropy plus the weighted boundary loss.

    .. math:: \mathcal{L}_{seg} = \mathcal{L}_{ce} + \lambda_b \mathcal{L}_{b}

    of :func:`~morn_losses.functional.class_balanced_cross_entropy` and
    :func:`~morn_losses.functional.boundary_loss`. The paper uses the boundary term for the real daytime images only.

    Args:
        logits: ``(B, K, H, W)``.
        labels: class ids, int64 ``(B, H, W)``.
        boundary_weight: :math:`\lambda_b`, at least 0; at 0 the boundary term is not computed.
        small_area: of the cross-entropy.
        small_weight: of the cross-entropy.
        ignore_index: label of the pixels that take no part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``. 0 where no pixel is labeled.

    Raises:
        ValueError: shapes that differ, an id outside [0, K) (eager CPU tensors only), options out of range.
        TypeError: logits that are not floating-point, labels that are not int64.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> segmentation_loss(torch.zeros(1, 2, 1, 4), labels).round(decimals=4)  # log(2) + 0.5 * 52 / 60
        tensor(1.1265)

    Source: Eq. 10, section 3.3.4.
    """
    check_number(boundary_weight, "boundary_weight", minimum=0)
    per_sample = class_balanced_cross_entropy(
        logits,
        labels,
        small_area=small_area,
        small_weight=small_weight,
        ignore_index=ignore_index,
        reduction="none",
    )
    if boundary_weight > 0:
        boundary = boundary_loss(logits, labels, ignore_index=ignore_index, reduction="none")
        per_sample = per_sample + boundary_weight * boundary
    return reduce(per_sample, reduction)


class ClassBalancedCrossEntropy(nn.Module):
    """Module of :func:`morn_losses.functional.class_balanced_cross_entropy`; ``forward(logits, labels)``."""

    def __init__(
        self,
        *,
        small_area: float = 1 / 64,
        small_weight: float = 7.0,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.small_area = small_area
        self.small_weight = small_weight
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; see :func:`morn_losses.functional.class_balanced_cross_entropy`."""
        return class_balanced_cross_entropy(
            logits,
            labels,
            small_area=self.small_area,
            small_weight=self.small_weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return (
            f"small_area={self.small_area}, small_weight={self.small_weight}, ignore_index={self.ignore_index}, "
            f"reduction={self.reduction!r}"
        )


class BoundaryLoss(nn.Module):
    """Module of :func:`morn_losses.functional.boundary_loss`; ``forward(logits, labels)``."""

    def __init__(self, *, ignore_index: int = 255, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; see :func:`morn_losses.functional.boundary_loss`."""
        return boundary_loss(logits, labels, ignore_index=self.ignore_index, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}"


class SegmentationLoss(nn.Module):
    """Module of :func:`morn_losses.functional.segmentation_loss`; ``forward(logits, labels)``."""

    def __init__(
        self,
        *,
        boundary_weight: float = 0.5,
        small_area: float = 1 / 64,
        small_weight: float = 7.0,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.boundary_weight = boundary_weight
        self.small_area = small_area
        self.small_weight = small_weight
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; see :func:`morn_losses.functional.segmentation_loss`."""
        return segmentation_loss(
            logits,
            labels,
            boundary_weight=self.boundary_weight,
            small_area=self.small_area,
            small_weight=self.small_weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return (
            f"boundary_weight={self.boundary_weight}, small_area={self.small_area}, "
            f"small_weight={self.small_weight}, ignore_index={self.ignore_index}, reduction={self.reduction!r}"
        )
