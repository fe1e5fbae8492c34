"""Label mining (section 3.3.3): labels of thermal images that both segmenters are sure of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from morn_losses._checks import (
    check_bool,
    check_class_ids,
    check_floating,
    check_image,
    check_integer,
    check_labels,
    check_logits,
    check_number,
    check_same_shape,
    check_shape,
    check_unit_interval,
    may_look,
)
from morn_losses._host import mining as host
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses.label_spaces import LabelSpace

Thresholds = float | Sequence[float] | Tensor


def _check_thresholds(thresholds: Thresholds) -> float | tuple[float, ...] | Tensor:
    if isinstance(thresholds, Tensor):
        check_floating(thresholds, "thresholds")
        check_unit_interval(thresholds, "thresholds")
        return thresholds
    if isinstance(thresholds, Sequence) and not isinstance(thresholds, str):
        if not thresholds:
            raise ValueError(f"thresholds: expected one number or one for each class, got {thresholds!r}")
        return tuple(check_number(threshold, "thresholds", minimum=0, maximum=1) for threshold in thresholds)
    return check_number(thresholds, "thresholds", minimum=0, maximum=1)


def _per_class(thresholds: Thresholds, like: Tensor) -> float | Tensor:
    """Return what ``like`` ``(B, K, H, W)`` can be compared with, in its dtype and on its device."""
    if isinstance(thresholds, (float, int)):
        return thresholds
    K = like.shape[1]
    if isinstance(thresholds, Tensor):
        check_shape(thresholds, "thresholds", "(K,)", (K,))
        levels = thresholds.to(like)
    else:
        if len(thresholds) != K:
            raise ValueError(f"thresholds: expected one number or K = {K} of them, got {len(thresholds)}")
        # filled one by one: a tensor made from the list would be copied to the device and wait for it
        levels = torch.cat([like.new_full((1,), threshold) for threshold in thresholds])
    return levels[:, None, None]


def _check_ignore_index(ignore_index: int, K: int) -> int:
    ignore_index = check_integer(ignore_index, "ignore_index")
    if 0 <= ignore_index < K:
        raise ValueError(f"ignore_index: expected an id that none of the K = {K} classes has, got {ignore_index}")
    return ignore_index


def _check_options(
    thresholds: Thresholds, from_logits: bool, ignore_index: int
) -> tuple[float | tuple[float, ...] | Tensor, int]:
    """Check the options; return the numbers."""
    thresholds = _check_thresholds(thresholds)
    check_bool(from_logits, "from_logits")
    # without a threshold for each class the logits tell their number
    return thresholds, _check_ignore_index(ignore_index, len(thresholds) if isinstance(thresholds, tuple) else 0)


def _probabilities(logits: Tensor, from_logits: bool) -> Tensor:
    return promote(logits).softmax(1) if from_logits else promote(logits)


def _surest(real: Tensor, translated: Tensor, levels: float | Tensor, ignore_index: int) -> Tensor:
    """The equation: the surest class that reaches its level in both, which a NaN does not."""
    smaller = torch.minimum(real, translated)  # it reaches a level where both do
    best, label = torch.where(smaller >= levels, smaller, -1).max(1)
    return torch.where(best >= 0, label, ignore_index)


@torch.no_grad()
def mine_labels(
    logits_real: Tensor,
    logits_translated: Tensor,
    thresholds: Thresholds,
    *,
    from_logits: bool = True,
    ignore_index: int = 255,
) -> Tensor:
    r"""Label mining, Eq. 8-9: a pixel gets the class that both segmenters give at least the class's threshold.

    .. math::
        (M_{LM}^B)_u = \begin{cases}
            c', & \text{if } V^{rb}_{c',u} \ge \eta(c'),\ V^{fa}_{c',u} \ge \eta(c'), \\
            unlabeled, & \text{otherwise}
        \end{cases}

    Choice: where thresholds of at most 0.5 let several classes qualify, the one with the largest smaller probability.

    Args:
        logits_real: of the thermal segmenter on the thermal image, ``(B, K, H, W)``.
        logits_translated: of the daytime segmenter on its translation, same shape.
        thresholds: ``eta``, in [0, 1]: one number for every class, or ``(K,)`` of them, a tensor or a sequence.
        from_logits: whether to take the softmax over the classes; False for probabilities.
        ignore_index: id of unlabeled pixels, none of the K.

    Returns:
        int64 ``(B, H, W)``; a pixel whose logits are NaN is unlabeled. The softmax of half precision is in float32.

    Raises:
        ValueError: shapes that differ, an empty axis, thresholds of another length or range, ``ignore_index < K``,
            probabilities where logits are expected (eager CPU tensors only).
        TypeError: logits that are not floating-point.

    Example:
        >>> real = torch.tensor([0.95, 0.97, 0.60]).view(1, 1, 1, 3)
        >>> translated = torch.tensor([0.96, 0.90, 0.70]).view(1, 1, 1, 3)
        >>> real, translated = torch.cat((real, 1 - real), 1), torch.cat((translated, 1 - translated), 1)
        >>> mine_labels(real, translated, 0.95, from_logits=False)
        tensor([[[  0, 255, 255]]])
        >>> mine_labels(real, translated, (0.65, 0.25), from_logits=False)
        tensor([[[0, 0, 1]]])

    Source: Eq. 8-9, section 3.3.3.
    """
    check_image(logits_real, "logits_real", channels=None)
    check_image(logits_translated, "logits_translated", channels=None)
    check_same_shape(logits_translated, "logits_translated", logits_real, "logits_real")
    thresholds, ignore_index = _check_options(thresholds, from_logits, ignore_index)
    _check_ignore_index(ignore_index, logits_real.shape[1])
    if from_logits:
        check_logits(logits_real, "logits_real")
        check_logits(logits_translated, "logits_translated")

    real, translated = (_probabilities(logits, from_logits) for logits in (logits_real, logits_translated))
    dtype = torch.promote_types(real.dtype, translated.dtype)
    real, translated = real.to(dtype), translated.to(dtype)
    levels = _per_class(thresholds, real)

    surest = partial(host.surest, softmaxed=from_logits) if may_look(real, translated) else _surest
    return surest(real, translated, levels, ignore_index)


@torch.no_grad()
def fill_unlabeled(
    labels: Tensor,
    logits: Tensor,
    threshold: float = 0.95,
    *,
    from_logits: bool = True,
    ignore_index: int = 255,
) -> Tensor:
    r"""Filling of labels: unlabeled pixels take the most probable class where its probability exceeds the threshold.

    .. math::
        \hat M_u = \begin{cases}
            \arg\max_c V_{c,u}, & \text{if } M_u \text{ is unlabeled and } \max_c V_{c,u} > \theta, \\
            M_u, & \text{otherwise}
        \end{cases}

    Args:
        labels: integers ``(B, H, W)``; labeled pixels are kept.
        logits: ``(B, K, H, W)``.
        threshold: ``theta``, in [0, 1].
        from_logits: whether to take the softmax over the classes; False for probabilities.
        ignore_index: id of unlabeled pixels, none of the K.

    Returns:
        int64 ``(B, H, W)``; a pixel whose logits are NaN is not filled.

    Raises:
        ValueError: shapes that differ, an empty axis, a threshold out of range, ``ignore_index < K``, on eager CPU
            tensors a label that is neither one of the K ids nor ``ignore_index`` (elsewhere it counts as unlabeled)
            and probabilities where logits are expected.
        TypeError: labels that are not integers, logits that are not floating-point.

    Example:
        >>> logits = torch.tensor([[[[9.0, 9.0, 0.0]], [[0.0, 0.0, 1.0]]]])
        >>> fill_unlabeled(torch.tensor([[[1, 255, 255]]]), logits)
        tensor([[[  1,   0, 255]]])

    Source: section 3.3.4 trains on such labels; the rule and its threshold are the published code's.
    """
    check_image(logits, "logits", channels=None)
    B, K, H, W = logits.shape
    labels = check_labels(labels, "labels", (B, H, W))
    threshold = check_number(threshold, "threshold", minimum=0, maximum=1)
    check_bool(from_logits, "from_logits")
    ignore_index = _check_ignore_index(ignore_index, K)
    check_class_ids(labels, "labels", K, ignore_index)
    if from_logits:
        check_logits(logits, "logits")

    largest, best = _probabilities(logits, from_logits).max(1)
    labeled = (labels >= 0) & (labels < K)
    return torch.where(labeled, labels, torch.where(largest > threshold, best, ignore_index))


@takes_options_of(mine_labels)
class LabelMiner(nn.Module):
    """Module of `morn_losses.functional.mine_labels`; ``forward(logits_real, logits_translated)``.

    Thresholds are kept as Python numbers, so that a cast of the model to half precision does not round them.

    Example:
        >>> from morn_losses.label_spaces import CITYSCAPES
        >>> miner = LabelMiner.from_label_space(CITYSCAPES)
        >>> miner.thresholds[CITYSCAPES.index("road")], miner.thresholds[CITYSCAPES.index("person")]
        (0.99, 0.95)
    """

    def __init__(self, thresholds: Thresholds, *, from_logits: bool = True, ignore_index: int = 255) -> None:
        super().__init__()
        if isinstance(thresholds, Tensor):
            check_floating(thresholds, "thresholds")
            thresholds = thresholds.tolist()
        self.thresholds, self.ignore_index = _check_options(thresholds, from_logits, ignore_index)
        self.from_logits = from_logits

    @classmethod
    def from_label_space(cls, space: LabelSpace, foreground: float = 0.95, background: float = 0.99) -> LabelMiner:
        r"""Return a miner with a threshold for the space's foreground classes and one for the others, Eq. 9."""
        thresholds = tuple(foreground if c in space.foreground else background for c in range(len(space)))
        return cls(thresholds, ignore_index=space.ignore_index)

    def forward(self, logits_real: Tensor, logits_translated: Tensor) -> Tensor:
        """Return the mined labels; see `morn_losses.functional.mine_labels`."""
        return mine_labels(
            logits_real,
            logits_translated,
            self.thresholds,
            from_logits=self.from_logits,
            ignore_index=self.ignore_index,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
