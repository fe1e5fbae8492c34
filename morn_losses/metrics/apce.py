"""APCE: the share of a source image's Canny edges that its translation keeps, over many thresholds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morn_losses.edges.canny import high_thresholds
from morn_losses.metrics.statistics import Images, edge_statistics

__all__ = ["APCEResult", "EdgeScoresResult", "apce", "edge_scores"]


class APCEResult(NamedTuple):
    """What :func:`apce` returns.

    ``value`` is the mean of ``curve`` where it is defined; ``curve`` and ``thresholds`` are float64 ``(thresholds,)``.
    """

    value: float
    curve: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class EdgeScoresResult(NamedTuple):
    """What :func:`edge_scores` returns: three means, their curves, and the thresholds, float64 ``(thresholds,)``.

    APCE is a recall; ``recall`` and ``recall_curve`` are other names of ``apce`` and ``apce_curve``.
    """

    apce: float
    precision: float
    f1: float
    apce_curve: NDArray[np.float64]
    precision_curve: NDArray[np.float64]
    f1_curve: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    @property
    def recall(self) -> float:
        """APCE."""
        return self.apce

    @property
    def recall_curve(self) -> NDArray[np.float64]:
        """The curve of APCE."""
        return self.apce_curve


def apce(source: Images, translated: Images, thresholds: int = 99) -> APCEResult:
    r"""Average precision of Canny edges (section 4.1): how much of the source's edges the translation keeps.

    With :math:`E_j` the Canny edges at the high threshold :math:`t_j = j / (n + 1)` and the low one :math:`t_j / 2`,

    .. math::
        \mathrm{APCE} = \operatorname*{mean}_{j = 1 \dots n} \operatorname*{mean}_{(s, t)}
                        \frac{|E_j(s) \cap E_j(t)|}{|E_j(s)|}

    the inner mean over the images whose source has edges at :math:`t_j`, the outer one over the thresholds at which any
    image has. An edge counts as kept where the translation has one in the very same pixel.

    Choice: the paper names the metric only; thresholds and quotient are those of the authors' evaluation script.

    Args:
        source: one image, a batch or an iterable of images, numpy or torch: gray ``(H, W)`` or ``(1, H, W)``, RGB
            ``(3, H, W)`` or ``(H, W, 3)``, batches ``(B, C, H, W)`` or ``(B, H, W, C)``; where both readings fit, the
            channels come first. Any integer or floating dtype and any range: the magnitudes are normalised, so that
            scale and offset of an image do not matter, and the two sides may differ in them and in their channels.
            Tensors are taken where they are, a batch at once, and the host waits only for the hysteresis of
            :func:`~morn_losses.edges.canny_edges` and for the result.
        translated: as many images of the same heights and widths; moved to the device of ``source``.
        thresholds: n, at least 1; the default's :math:`t_j` are 0.01, 0.02, ..., 0.99.

    Returns:
        :class:`APCEResult`; the curve is NaN where no source has edges, and so is the value if that is everywhere: a
        number would read as a score, though nothing was there to keep or to lose.

    Raises:
        TypeError: something that is no real numpy array or torch tensor.
        ValueError: no image at all, more on one side than on the other, sizes that differ, an unknown layout, values
            that are not finite (on a device other than the CPU they make the result NaN), ``thresholds`` below 1.

    Example:
        >>> image = np.zeros((16, 16))
        >>> image[4:12, 4:12] = 1
        >>> apce(image, 1 - 0.5 * image).value
        1.0
        >>> apce(image, np.roll(image, 3, axis=0)).value < 0.6
        True

    Source: section 4.1.2.
    """
    scores = edge_scores(source, translated, thresholds)
    return APCEResult(scores.apce, scores.apce_curve, scores.thresholds)


def edge_scores(source: Images, translated: Images, thresholds: int = 99) -> EdgeScoresResult:
    r"""APCE, which is a recall, with the precision and F1 of the translation's Canny edges against its source's.

    With :math:`s = E_j(source)` and :math:`t = E_j(translated)` as in :func:`apce`, one value per image and threshold:

    .. math::
        \mathrm{APCE} = \frac{|s \cap t|}{|s|}, \qquad \mathrm{precision} = \frac{|s \cap t|}{|t|}, \qquad
        \mathrm{F1} = \frac{2 |s \cap t|}{|s| + |t|}

    Each is averaged over the images for which its denominator is not 0 at that threshold (the curves), then over the
    thresholds at which there is any such image. APCE alone is 1 for a translation with an edge in every pixel;
    precision tells how many of its edges the source does not have. F1 is a mean of quotients, not the harmonic mean of
    the other two means.

    Args:
        source: as for :func:`apce`.
        translated: as for :func:`apce`.
        thresholds: as for :func:`apce`.

    Returns:
        :class:`EdgeScoresResult`; NaN where undefined, as for :func:`apce`.

    Raises:
        TypeError: as for :func:`apce`.
        ValueError: as for :func:`apce`.

    Example:
        >>> image = np.zeros((16, 32))
        >>> image[4:12, 4:12] = 1
        >>> more = image + np.roll(image, 16, axis=1)
        >>> scores = edge_scores(image, more)
        >>> round(scores.apce, 2), round(scores.precision, 2), round(scores.f1, 2)
        (1.0, 0.5, 0.67)
    """
    sums, counts = (x.cpu().double() for x in edge_statistics(source, translated, thresholds))
    curves: NDArray[np.float64] = (sums / counts).numpy()  # NaN where no image takes part
    value, precision, f1 = (float(c[~np.isnan(c)].mean()) if not np.isnan(c).all() else math.nan for c in curves)
    t = high_thresholds(thresholds, sums).numpy()
    return EdgeScoresResult(value, precision, f1, curves[0], curves[1], curves[2], t)
