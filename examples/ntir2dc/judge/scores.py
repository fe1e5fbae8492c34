"""What the judge sees in an image, and how that agrees with the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from morn_losses import LabelSpace


@torch.inference_mode()
def predict(judge: nn.Module, image: Tensor) -> Tensor:
    """Return the most likely class of each pixel, int64 ``(H, W)`` on the CPU, of an image ``(3, H, W)``."""
    device = next(judge.parameters()).device
    labels: Tensor = judge(image[None].to(device))[0].argmax(0).cpu()
    return labels


def confusion_matrix(prediction: Tensor, truth: Tensor, space: LabelSpace) -> NDArray[np.int64]:
    """Count pixels by true (row) and predicted (column) class; unlabeled ones are left out.

    Returns:
        int64 ``(K, K)``.

    Raises:
        ValueError: shapes that differ, or ids outside the space.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction: expected {tuple(truth.shape)}, got {tuple(prediction.shape)}")
    known = truth != space.ignore_index
    true, predicted = truth[known].long(), prediction[known].long()
    K = len(space)
    for name, ids in (("prediction", predicted), ("truth", true)):
        if bool(((ids < 0) | (ids >= K)).any()):
            raise ValueError(f"{name}: expected ids in [0, {K})")
    counts: NDArray[np.int64] = torch.bincount(true * K + predicted, minlength=K * K).view(K, K).numpy()
    return counts


def class_iou(confusion: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, NaN for one that is in neither truth nor prediction.

    Args:
        confusion: ``(..., K, K)``, rows are true.

    Returns:
        float64 ``(..., K)``.
    """
    counts = confusion.astype(np.float64)
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(-1) + counts.sum(-2) - both
    return np.where(either > 0, both, np.nan) / np.where(either > 0, either, 1)


def mean_iou(confusion: NDArray[np.integer] | NDArray[np.floating], classes: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean over those of ``classes`` that occur, NaN if none does; float64 ``(...)``."""
    iou = class_iou(confusion)[..., list(classes)]
    occurs = ~np.isnan(iou)
    count = occurs.sum(-1)
    return np.where(count > 0, np.where(occurs, iou, 0).sum(-1), np.nan) / np.where(count > 0, count, 1)
