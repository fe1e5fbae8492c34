"""APCE: the share of a source image's Canny edges that its translation keeps, over many thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from morn_losses._checks import check_integer
from morn_losses.edges import edge_levels, thinned_gradient

__all__ = ["APCEResult", "EdgeScores", "apce", "edge_scores"]

Images: TypeAlias = "NDArray[Any] | Tensor | Iterable[NDArray[Any] | Tensor]"


class APCEResult(NamedTuple):
    """What :func:`apce` returns.

    ``value`` is the mean of ``curve`` where it is defined; ``curve`` and ``thresholds`` are float64 ``(thresholds,)``.
    """

    value: float
    curve: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class EdgeScores(NamedTuple):
    """What :func:`edge_scores` returns: three means, their curves, and the thresholds, float64 ``(thresholds,)``."""

    recall: float
    precision: float
    f1: float
    recall_curve: NDArray[np.float64]
    precision_curve: NDArray[np.float64]
    f1_curve: NDArray[np.float64]
    thresholds: NDArray[np.float64]


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
        translated: as many images of the same heights and widths.
        thresholds: n, at least 1; the default's :math:`t_j` are 0.01, 0.02, ..., 0.99.

    Returns:
        :class:`APCEResult`; the curve is NaN where no source has edges, and so is the value if that is everywhere: a
        number would read as a score, though nothing was there to keep or to lose.

    Raises:
        TypeError: something that is no real numpy array or torch tensor.
        ValueError: no image at all, more on one side than on the other, sizes that differ, an unknown layout, values
            that are not finite, ``thresholds`` below 1.

    Example:
        >>> image = np.zeros((16, 16))
        >>> image[4:12, 4:12] = 1
        >>> apce(image, 1 - 0.5 * image).value
        1.0
        >>> apce(image, np.roll(image, 3, axis=0)).value < 0.6
        True

    Source: section 4.1.2.
    """
    sums, counts = recall_statistics(source, translated, thresholds)
    curve = _means(sums, counts)
    return APCEResult(_defined_mean(curve), curve, _thresholds(thresholds))


def edge_scores(source: Images, translated: Images, thresholds: int = 99) -> EdgeScores:
    r"""Recall (APCE), precision and F1 of the translation's Canny edges against its source's.

    With :math:`s = E_j(source)` and :math:`t = E_j(translated)` as in :func:`apce`, one value per image and threshold:

    .. math::
        \mathrm{recall} = \frac{|s \cap t|}{|s|}, \qquad \mathrm{precision} = \frac{|s \cap t|}{|t|}, \qquad
        \mathrm{F1} = \frac{2 |s \cap t|}{|s| + |t|}

    Each is averaged over the images for which its denominator is not 0 at that threshold (the curves), then over the
    thresholds at which there is any such image. Recall alone is 1 for a translation with an edge in every pixel;
    precision tells how many of its edges the source does not have. F1 is a mean of quotients, not the harmonic mean of
    the other two means.

    Args:
        source: as for :func:`apce`.
        translated: as for :func:`apce`.
        thresholds: as for :func:`apce`.

    Returns:
        :class:`EdgeScores`; NaN where undefined, as for :func:`apce`.

    Raises:
        TypeError: as for :func:`apce`.
        ValueError: as for :func:`apce`.

    Example:
        >>> image = np.zeros((16, 32))
        >>> image[4:12, 4:12] = 1
        >>> more = image + np.roll(image, 16, axis=1)
        >>> scores = edge_scores(image, more)
        >>> round(scores.recall, 2), round(scores.precision, 2), round(scores.f1, 2)
        (1.0, 0.5, 0.67)
    """
    levels = np.zeros((2, 3, _count(thresholds)))
    for both, in_source, in_translated in _edge_counts(source, translated, thresholds):
        parts = np.stack((both, both, 2 * both))
        wholes = np.stack((in_source, in_translated, in_source + in_translated))
        levels += _quotients(parts, wholes)
    recall, precision, f1 = _means(*levels)
    return EdgeScores(
        _defined_mean(recall), _defined_mean(precision), _defined_mean(f1), recall, precision, f1,
        _thresholds(thresholds),
    )  # fmt: skip


def recall_statistics(
    source: Images, translated: Images, thresholds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each threshold, the sum of the quotients of :func:`apce` and the number of images it runs over."""
    totals = np.zeros((2, _count(thresholds)))
    for both, in_source, _ in _edge_counts(source, translated, thresholds):
        totals += _quotients(both, in_source)
    return totals[0], totals[1]


def _quotients(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Stack ``part / whole`` (0 where undefined) on 1 where it is defined, else 0."""
    defined = whole > 0
    return np.stack((np.where(defined, part, 0) / np.where(defined, whole, 1), defined.astype(np.float64)))


def _means(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(counts > 0, sums, np.nan) / np.where(counts > 0, counts, 1)


def _defined_mean(curve: NDArray[np.float64]) -> float:
    defined = curve[~np.isnan(curve)]
    return float(defined.mean()) if defined.size else float("nan")


def _count(thresholds: int) -> int:
    check_integer(thresholds, "thresholds", minimum=1)
    return thresholds


def _thresholds(count: int) -> NDArray[np.float64]:
    return np.arange(1, count + 1) / (count + 1)


def _edge_counts(
    source: Images, translated: Images, thresholds: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield, for each pair of images, the edge pixels at each threshold: in both, in the source, in the translation."""
    values = _thresholds(thresholds)
    pairs = zip_longest(_gray_images(source, "source"), _gray_images(translated, "translated"))
    index = -1
    for index, (left, right) in enumerate(pairs):
        if left is None or right is None:
            fewer, more = ("source", "translated") if left is None else ("translated", "source")
            raise ValueError(f"{fewer}: expected as many images as {more}, got only {index}")
        if left.shape != right.shape:
            raise ValueError(f"translated: expected image {index} of (H, W) = {left.shape}, got {right.shape}")
        in_source = edge_levels(thinned_gradient(left), values)
        in_translated = edge_levels(thinned_gradient(right), values)
        both = np.minimum(in_source, in_translated)
        yield tuple(_pixels_above(levels, thresholds) for levels in (both, in_source, in_translated))  # type: ignore[misc]
    if index < 0:
        raise ValueError("source: expected at least one image, got none")


def _pixels_above(levels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return, for j = 0 .. count - 1, how many pixels have a level over j."""
    histogram = np.bincount(levels.ravel(), minlength=count + 1)
    return histogram[:0:-1].cumsum()[::-1]


def _gray_images(images: Images, name: str) -> Iterator[NDArray[np.float64]]:
    if isinstance(images, Tensor | np.ndarray):
        array = _as_array(images, name)
        if array.ndim == 4:
            for image in array:
                yield _gray(image, name)
        else:
            yield _gray(array, name)
    elif isinstance(images, Iterable) and not isinstance(images, str | bytes):
        for image in images:
            if not isinstance(image, Tensor | np.ndarray):
                raise TypeError(f"{name}: expected numpy arrays or torch tensors, got {type(image).__name__}")
            yield from _gray_images(image, name)
    else:
        raise TypeError(f"{name}: expected a numpy array, a torch tensor or several, got {type(images).__name__}")


def _as_array(image: NDArray[Any] | Tensor, name: str) -> NDArray[Any]:
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        # numpy has no bfloat16
        image = (image.double() if image.dtype.is_floating_point else image).numpy()
    if image.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected a real dtype, got {image.dtype}")
    return image


def _gray(image: NDArray[Any], name: str) -> NDArray[np.float64]:
    values = image.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if values.ndim == 3 and values.shape[0] not in (1, 3):
        values = np.moveaxis(values, -1, 0)
    if values.ndim == 3 and values.shape[0] == 3:
        values = np.tensordot((0.299, 0.587, 0.114), values, 1)
    elif values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or min(values.shape) < 1:
        raise ValueError(f"{name}: expected (H, W), (C, H, W) or (H, W, C) with C = 1 or 3, got {image.shape}")
    return values
