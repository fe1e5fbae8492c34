"""Metrics as ``torchmetrics.Metric``; importing this module needs the extra ``metrics``."""

from __future__ import annotations

import torch
from torch import Tensor

from morn_losses._checks import check_integer
from morn_losses.metrics.apce import Images, recall_statistics

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    raise ImportError("morn_losses.metrics.APCE needs torchmetrics: pip install 'morn-losses[metrics]'") from error

__all__ = ["APCE"]


class APCE(Metric):
    """Streaming :func:`morn_losses.metrics.apce`: ``update(source, translated)`` any number of images at a time.

    The states are one sum and one count per threshold, added up over the processes. ``compute()`` gives the value as a
    float64 scalar, NaN where no source had an edge.

    Args:
        thresholds: as for :func:`morn_losses.metrics.apce`.

    Example:
        >>> metric = APCE()
        >>> image = torch.zeros(1, 1, 16, 16)
        >>> image[..., 4:12, 4:12] = 1
        >>> metric.update(image, 1 - image)
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    counts: Tensor

    def __init__(self, thresholds: int = 99) -> None:
        super().__init__()
        check_integer(thresholds, "thresholds", minimum=1)
        self.thresholds = thresholds
        self.add_state("sums", torch.zeros(thresholds, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(thresholds, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, source: Images, translated: Images) -> None:
        """Add images; see :func:`morn_losses.metrics.apce`."""
        sums, counts = recall_statistics(source, translated, self.thresholds)
        self.sums += torch.from_numpy(sums).to(self.sums.device)
        self.counts += torch.from_numpy(counts).to(self.counts)

    def compute(self) -> Tensor:
        """Return the value over all images so far."""
        return (self.sums / self.counts).nanmean()

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return f"thresholds={self.thresholds}"
