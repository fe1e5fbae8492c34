"""Inputs and the contract that the segmentation losses share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from helpers.loss_contract import LossContract


def random_inputs(
    batch: int, K: int = 4, dtype: torch.dtype = torch.float64, ignore: int = 255
) -> tuple[Tensor, Tensor]:
    logits = torch.randn(batch, K, 5, 6, dtype=dtype)
    labels = torch.randint(0, K, (batch, 5, 6))
    labels[labels == K - 1] = torch.where(torch.rand(labels.shape) < 0.3, K - 1, 0)[labels == K - 1]  # a small class
    labels[torch.rand(labels.shape) < 0.2] = ignore
    return logits, labels


class SegmentationContract(LossContract):
    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return random_inputs(batch, dtype=dtype)


def softmax(z: np.ndarray) -> np.ndarray:
    exponentials = np.exp(z - z.max())
    return np.asarray(exponentials / exponentials.sum())
