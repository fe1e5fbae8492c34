"""Segmentation losses (section 3.3.4): class-balanced cross-entropy and the boundary loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from morn_losses._checks import check_class_ids, check_image, check_integer, check_labels, check_number
from morn_losses._masked import safe_divide
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce

CACHED = 2**17
"""Numbers that are worked on at once on the host, where float32 has a cache of half a MiB."""


def _check_boundary_options(ignore_index: int, reduction: str) -> None:
    check_integer(ignore_index, "ignore_index", minimum=-(2**63))
    check_reduction(reduction)


def _check_balance_options(small_area: float, small_weight: float, ignore_index: int, reduction: str) -> None:
    check_number(small_area, "small_area", minimum=0, maximum=1)
    # the weights are made in the dtype of the sums, at least float32
    check_number(small_weight, "small_weight", minimum=0, maximum=torch.finfo(torch.float32).max, exclusive=True)
    _check_boundary_options(ignore_index, reduction)


def _check_options(
    boundary_weight: float, small_area: float, small_weight: float, ignore_index: int, reduction: str
) -> None:
    check_number(boundary_weight, "boundary_weight", minimum=0)
    _check_balance_options(small_area, small_weight, ignore_index, reduction)


def _prepare(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Check the tensors; return promoted logits, labels that are 0 where unlabeled, and ``(B, H, W)`` where labeled."""
    check_image(logits, "logits", channels=None)
    B, K, H, W = logits.shape
    check_labels(labels, "labels", (B, H, W))
    check_class_ids(labels, "labels", K, ignore_index)
    labeled = (labels != ignore_index) & (labels >= 0) & (labels < K)
    return promote(logits), torch.where(labeled, labels, 0), labeled


def _of_labeled(loss: Callable[[Tensor], Tensor], logits: Tensor, labeled: Tensor) -> Tensor:
    """Return ``loss(logits)``, ``(B,)``, whatever unlabeled pixels hold; the loss has to weigh them with 0.

    Their logits are cleared before the softmax, whose backward would turn a NaN into a NaN gradient. On the host, where
    looking is free, only if a value says that something was not finite.
    """
    if logits.device.type == "cpu" and not torch.compiler.is_compiling():
        values = loss(logits)
        if bool(values.isfinite().all()):
            return values
    return loss(torch.where(labeled[:, None], logits, 0))


def _from_largest(logits: Tensor) -> Tensor:
    """Return the logits minus the pixel's largest."""
    return logits - logits.amax(1, keepdim=True)


class _NegativeLogLikelihood(torch.autograd.Function):
    """``sum -weights * log softmax(logits)[labels]`` per sample, ``(B,)``; labels and weights are ``(B, 1, H, W)``.

    The exponentials, which take most of the time, are taken once: the backward pass makes them the gradient in place.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        shifted = _from_largest(logits)
        of_label = shifted.gather(1, labels)
        ctx.exponentials = shifted.exp_()
        total = ctx.exponentials.sum(1, keepdim=True)
        ctx.save_for_backward(logits, total, labels, weights)
        losses: Tensor = total.log().sub_(of_label).mul_(weights)
        return losses.flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, total, labels, weights = ctx.saved_tensors
        scale = grad[:, None, None, None] * weights
        if torch.is_grad_enabled():  # a gradient to be differentiated again is one of the logits themselves
            return (logits.softmax(1) * scale).scatter_add(1, labels, -scale), None, None
        exponentials, ctx.exponentials = ctx.exponentials, None
        if exponentials is None:  # another pass over the same graph
            exponentials = _from_largest(logits).exp_()
        return exponentials.mul_(scale / total).scatter_add_(1, labels, -scale), None, None


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
    _check_balance_options(small_area, small_weight, ignore_index, reduction)
    logits, labels, labeled = _prepare(logits, labels, ignore_index)
    K, H, W = logits.shape[1:]
    # unlabeled pixels are counted in a class of their own
    ids = torch.where(labeled, labels, K).flatten(1)
    areas = ids.new_zeros(len(ids), K + 1).scatter_add(1, ids, torch.ones_like(ids))[:, :K]
    # an integer below a bound is one below its ceiling; integers compare exactly
    small = areas < math.ceil(small_area * H * W)
    weights = torch.where(small, small_weight, logits.new_ones(())).gather(1, labels.flatten(1))
    weights = torch.where(labeled.flatten(1), weights, 0)

    def total(logits: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # what is kept for the backward pass is then the compiler's choice
            log_likelihood = logits.log_softmax(1).gather(1, labels[:, None]).flatten(1)
            return (-log_likelihood * weights).sum(1)
        of_pixels = weights.view(len(weights), 1, H, W)
        found: Tensor = _NegativeLogLikelihood.apply(logits, labels[:, None], of_pixels)  # type: ignore[no-untyped-call]
        return found

    return reduce(safe_divide(_of_labeled(total, logits, labeled), weights.sum(1)), reduction)


def _edges(x: Tensor) -> Tensor:
    """Return the sum over each 3 x 3 window, zeros outside, minus ``9 x``; a symmetric map, and so its own adjoint."""
    rows = x.clone()
    rows[..., 1:, :] += x[..., :-1, :]
    rows[..., :-1, :] += x[..., 1:, :]
    windows = rows.clone()
    windows[..., 1:] += rows[..., :-1]
    windows[..., :-1] += rows[..., 1:]
    return windows.sub_(x, alpha=9)


def _label_edges(labels: Tensor, labeled: Tensor, ids: Tensor) -> Tensor:
    """Return nine times the edges of some classes of the labels, small whole numbers, ``(B, len(ids), H, W)``."""
    return _edges(((labels[:, None] == ids[:, None, None]) & labeled[:, None]).to(torch.int8)).abs_()


class _Mismatch(torch.autograd.Function):
    """``sum |target - |edges(labeled p)||`` per sample, ``(B,)``, and the sum of the target, the edges of the labels.

    Few classes at a time, so that on the host they stay in cache. Only signs are kept for the backward pass, a byte for
    each value.
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor, labels: Tensor, labeled: Tensor) -> tuple[Tensor, Tensor]:
        B, K, H, W = p.shape
        step = max(1, CACHED // (B * H * W)) if p.device.type == "cpu" else K
        ctx.pieces = [slice(k, k + step) for k in range(0, K, step)]
        ids, signs = torch.arange(K, device=p.device), torch.empty_like(p, dtype=torch.int8)
        missed, total = p.new_zeros(B), p.new_zeros(B)
        for piece in ctx.pieces:
            target, edges = _label_edges(labels, labeled, ids[piece]), _edges(p[:, piece] * labeled[:, None])
            sign = edges.sign()
            difference = target - edges.abs_()
            missed += difference.abs().flatten(1).sum(1)
            total += target.flatten(1).sum(1)
            signs[:, piece] = sign.mul_(difference.sign_())
        ctx.save_for_backward(signs, labeled)
        ctx.mark_non_differentiable(total)
        return missed, total

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        signs, labeled = ctx.saved_tensors
        scale = -grad[:, None, None, None]
        found = torch.empty_like(signs, dtype=grad.dtype)
        for piece in ctx.pieces:
            found[:, piece] = _edges(scale * signs[:, piece]) * labeled[:, None]
        return found, None, None


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
            ignored), options out of range.
        TypeError: logits that are not floating-point, labels that are not int64.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> boundary_loss(torch.zeros(1, 2, 1, 4), labels).round(decimals=4)  # sums: 52/18, 60/18
        tensor(0.8667)

    Source: Eq. 10 (boundary), section 3.3.4; Zhen et al. (2020).
    """
    _check_boundary_options(ignore_index, reduction)
    logits, labels, labeled = _prepare(logits, labels, ignore_index)

    def share(logits: Tensor) -> Tensor:
        p = logits.softmax(1)
        if torch.compiler.is_compiling():  # what is kept for the backward pass is then the compiler's choice
            target = _label_edges(labels, labeled, torch.arange(p.shape[1], device=p.device))
            missed = (target - _edges(p * labeled[:, None]).abs()).abs().flatten(1).sum(1)
            total = target.flatten(1).sum(1).to(p.dtype)
        else:
            missed, total = _Mismatch.apply(p, labels, labeled)  # type: ignore[no-untyped-call]
        # without labels nothing is missed, but a NaN has to show; the edges of any label sum up to more than 1
        return missed / total.clamp(min=1)

    return reduce(_of_labeled(share, logits, labeled), reduction)


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
    _check_options(boundary_weight, small_area, small_weight, ignore_index, reduction)
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
        _check_balance_options(small_area, small_weight, ignore_index, reduction)
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
        _check_boundary_options(ignore_index, reduction)
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
        _check_options(boundary_weight, small_area, small_weight, ignore_index, reduction)
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
