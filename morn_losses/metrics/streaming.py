"""Metrics as ``torchmetrics.Metric``; importing this module needs the extra ``metrics``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from morn_losses._checks import check_integer
from morn_losses.metrics.statistics import Images, edge_statistics

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    raise ImportError("morn_losses.metrics.APCE needs torchmetrics: pip install 'morn-losses[metrics]'") from error

__all__ = ["APCE", "EdgeScores"]


class _EdgeMetric(Metric):
    """What both have in common: the first ``rows`` of the edge statistics as states, and how they are updated."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    rows: int
    sums: Tensor
    counts: Tensor

    def __init__(self, thresholds: int = 99, **kwargs: Any) -> None:
        check_integer(thresholds, "thresholds", minimum=1)
        super().__init__(**kwargs)
        self.thresholds = thresholds
        self.add_state("sums", torch.zeros(self.rows, thresholds, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(self.rows, thresholds, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, source: Images, translated: Images, **_: object) -> None:
        """Add images; see :func:`morn_losses.metrics.edge_scores`. Arguments of other metrics are passed over."""
        sums, counts = edge_statistics(source, translated, self.thresholds)
        self.sums += sums[: self.rows].to(self.sums)
        self.counts += counts[: self.rows].to(self.counts)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot what ``compute`` or ``forward`` gave, or a list of it; by default the current value. Needs matplotlib.

        Returns:
            The figure and the axes.
        """
        return self._plot(val, ax)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return f"thresholds={self.thresholds}"

    def _values(self) -> Tensor:
        return (self.sums / self.counts).nanmean(1)

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        # a collection asks this of each metric before it hands over what all are given; no other call passes here
        if not {"source", "translated"} <= set(kwargs):
            raise TypeError(
                f"{type(self).__name__} in a collection: expected source and translated by keyword, such as "
                "collection.update(source=night, translated=fake, preds=fake, target=day), got the keywords "
                f"{sorted(kwargs)}"
            )
        return kwargs


class APCE(_EdgeMetric):
    """Streaming :func:`morn_losses.metrics.apce`: ``update(source, translated)``, any number of images at a time.

    ``compute()`` gives the value as a float64 scalar, NaN where no source had an edge. In a ``MetricCollection`` it is
    called by keyword, as :class:`EdgeScores` is.

    Args:
        thresholds: as for :func:`morn_losses.metrics.apce`.
        kwargs: of ``torchmetrics.Metric``, such as ``dist_sync_on_step``.

    Example:
        >>> metric = APCE()
        >>> image = torch.zeros(1, 1, 16, 16)
        >>> image[..., 4:12, 4:12] = 1
        >>> metric.update(image, 1 - image)
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    rows = 1

    def compute(self) -> Tensor:
        """Return the value over all images so far."""
        return self._values()[0]


class EdgeScores(_EdgeMetric):
    """Streaming :func:`morn_losses.metrics.edge_scores`: ``update(source, translated)``, any number of images each.

    ``compute()`` gives ``{"apce": ..., "edge_precision": ..., "edge_f1": ...}``, float64 scalars, NaN where undefined.
    One of them is :class:`APCE`. The states are sums and counts for each threshold, added up over the processes.

    A ``MetricCollection`` gives every metric the same arguments, and image metrics take ``(preds, target)``: call it by
    keyword, ``collection.update(source=night, translated=fake, preds=fake, target=day)``. Called by position, or with
    one of the two left out, it raises a ``TypeError``, where it would have compared the wrong images.

    Args:
        thresholds: as for :func:`morn_losses.metrics.edge_scores`.
        kwargs: of ``torchmetrics.Metric``, such as ``dist_sync_on_step``.

    Example:
        >>> metric = EdgeScores()
        >>> image = torch.zeros(1, 1, 16, 32)
        >>> image[..., 4:12, 4:12] = 1
        >>> metric.update(source=image, translated=image + image.roll(16, 3))
        >>> {name: round(value.item(), 2) for name, value in metric.compute().items()}
        {'apce': 1.0, 'edge_precision': 0.5, 'edge_f1': 0.67}
    """

    rows = 3

    def compute(self) -> dict[str, Tensor]:
        """Return the values over all images so far."""
        return dict(zip(("apce", "edge_precision", "edge_f1"), self._values(), strict=True))
