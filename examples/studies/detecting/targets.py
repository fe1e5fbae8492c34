"""What the detector is to say of a picture whose objects are known, and how wrong it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ntir2dc.detector.average_precision import FrameBoxes
from ntir2dc.detector.network import CLASSES, corners_of


class Targets(NamedTuple):
    """Of a picture, or of a batch with one more axis in front.

    Args:
        middles: 1 where an object's middle lies, less around it, ``(K, H, W)``.
        counted: 0 on objects that are passed over, else 1, ``(K, H, W)``.
        corners: of the object whose middle is nearest, ``(4, H, W)``.
        near: how near, from 1 to 0, ``(H, W)``.
    """

    middles: Tensor
    counted: Tensor
    corners: Tensor
    near: Tensor


def targets_of(truth: FrameBoxes, size: tuple[int, int]) -> Targets:
    """Return the targets of a picture; around a middle they fall as a Gaussian, an eighth of the box wide and high."""
    H, W = size
    middles, counted = torch.zeros(len(CLASSES), H, W), torch.ones(len(CLASSES), H, W)
    corners, near = torch.zeros(4, H, W), torch.zeros(H, W)
    rows, columns = torch.arange(H)[:, None], torch.arange(W)[None]
    for box, label, passed in zip(truth.corners.tolist(), truth.classes.tolist(), truth.passed.tolist(), strict=True):
        left, top, right, bottom = box
        if passed:
            counted[label, int(top) : int(bottom) + 1, int(left) : int(right) + 1] = 0
            continue
        row, column = min(int((top + bottom) / 2), H - 1), min(int((left + right) / 2), W - 1)
        high, wide = max((bottom - top) / 8, 0.6), max((right - left) / 8, 0.6)
        bell = torch.exp(-((rows - row) ** 2) / (2 * high**2) - (columns - column) ** 2 / (2 * wide**2))
        middles[label] = middles[label].maximum(bell)
        nearest = bell > near
        near = torch.where(nearest, bell, near)
        corners = torch.where(nearest, torch.tensor(box)[:, None, None], corners)
    return Targets(middles, counted, corners, near)


def middle_loss(logits: Tensor, middles: Tensor, counted: Tensor) -> Tensor:
    r"""Return CenterNet's focal loss over the number of objects.

    With p the sigmoid of the logits and y the target, summed over the pixels,

    .. math:: -(1 - p)^2 \log p \ \text{ where } y = 1, \qquad -(1 - y)^4 p^2 \log(1 - p) \ \text{ elsewhere}
    """
    p, there = logits.sigmoid(), middles == 1
    hit = (1 - p) ** 2 * F.softplus(-logits)
    wrong = (1 - middles) ** 4 * p**2 * F.softplus(logits) * counted
    return torch.where(there, hit, wrong).sum() / there.sum().clamp_min(1)


def side_loss(sides: Tensor, corners: Tensor, near: Tensor) -> Tensor:
    """Return minus the logarithm of the overlap with the true box, the mean over pixels close to a middle."""
    close = near > 0.3
    found, true = (x.movedim(1, -1)[close] for x in (corners_of(sides), corners))
    low, high = torch.maximum(found[:, :2], true[:, :2]), torch.minimum(found[:, 2:], true[:, 2:])
    both = (high - low).clamp_min(0).prod(1)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (found, true)]
    overlap = both / (areas[0] + areas[1] - both)
    weights = near[close]
    return (weights * -overlap.clamp_min(1e-3).log()).sum() / weights.sum().clamp_min(1)
