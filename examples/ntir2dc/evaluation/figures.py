"""What is measured on translations: figures over a set of images, each with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pytorch_msssim import ssim
from torch import Tensor, nn

from morn_losses import LabelSpace
from morn_losses.metrics import edge_scores
from ntir2dc.data.images import OWN_TONES
from ntir2dc.data.thermal import Tones
from ntir2dc.evaluation.cases import Case, Translate, read_case
from ntir2dc.judge import class_iou, confusion_matrix, mean_iou, predict

CLASSES_A = ("road", "building", "sky", "car", "traffic sign", "person", "motorcycle", "truck", "bus")
CLASSES_S = CLASSES_A[4:]
"""The classes of mIoU.A and of mIoU.S (section 4.2)."""

RESAMPLES = 500


@dataclass(frozen=True)
class Column:
    """A figure of the table: how it is called, multiplied and rounded. More is better in every one of them."""

    key: str
    title: str
    scale: float = 1.0
    digits: int = 3


COLUMNS = (
    Column("miou_a", "mIoU.A %", 100, 1),
    Column("miou_s", "mIoU.S %", 100, 1),
    Column("miou_all", "mIoU.all %", 100, 1),
    Column("apce", "APCE"),
    Column("edge_precision", "edge precision"),
    Column("edge_f1", "edge F1"),
    Column("psnr", "PSNR dB", 1, 2),
    Column("ssim", "SSIM"),
    Column("miou_a_second", "mIoU.A %, judge b", 100, 1),
    Column("miou_s_second", "mIoU.S %, judge b", 100, 1),
)


SECOND = ("miou_a_second", "miou_s_second")
"""Columns of the second judge, which a claim has to hold by as well; left out where there is none."""


@dataclass(frozen=True)
class Figure:
    """A value and its standard error over the images; NaN where undefined."""

    value: float
    error: float


@dataclass(frozen=True)
class Row:
    """What was measured for one way of translating.

    Args:
        name: of the row.
        figures: by the key of their column.
        iou: of each class.
        edges: APCE, precision and F1 at each threshold, ``(3, thresholds)``; NaN where undefined.
    """

    name: str
    figures: dict[str, Figure]
    iou: dict[str, float]
    edges: NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What was measured on one image: three edge curves, distances to the true day image, the judges' confusions."""

    edges: NDArray[np.float64]
    psnr: float
    ssim: float
    confusion: NDArray[np.int64]
    second: NDArray[np.int64] | None = None


def measure(
    case: Case, translated: Tensor, judge: nn.Module | None, space: LabelSpace, second: nn.Module | None = None
) -> Scores:
    """Measure one translation; what cannot be measured is NaN, a confusion of zeros, or None without second judge."""
    if translated.shape != case.night.shape:
        raise ValueError(f"{case.name}: expected a translation of {tuple(case.night.shape)}, got {translated.shape}")
    translated = translated.clamp(-1, 1)
    edges = edge_scores(case.night, translated)
    psnr = structure = math.nan
    if case.day is not None:
        x, y = (translated[None] + 1) / 2, (case.day[None] + 1) / 2
        error = float((x - y).double().square().mean())
        psnr = -10 * math.log10(error) if error else math.inf
        if min(x.shape[-2:]) >= 11:  # the window of SSIM
            structure = float(ssim(x, y, data_range=1.0))
    confusion = np.zeros((len(space), len(space)), np.int64)
    if judge is not None and case.labels is not None:
        confusion = confusion_matrix(predict(judge, translated), case.labels, space)
    again = None
    if second is not None and case.labels is not None:
        again = confusion_matrix(predict(second, translated), case.labels, space)
    curves = np.stack((edges.recall_curve, edges.precision_curve, edges.f1_curve))
    return Scores(curves, psnr, structure, confusion, again)


def score(
    cases: Sequence[Mapping[str, Path]],
    translate: Translate,
    judge: nn.Module | None,
    space: LabelSpace,
    second: nn.Module | None = None,
    tones: Tones = OWN_TONES,
) -> list[Scores]:
    """Translate and measure every test image."""
    scores = []
    for files in cases:
        case = read_case(files, tones=tones)
        scores.append(measure(case, translate(case), judge, space, second))
    return scores


def _mean(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(count > 0, total, np.nan) / np.where(count > 0, count, 1)


def edge_curves(edges: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean curves ``(R, 3, T)`` of N images' ``(N, 3, T)``, each image taken ``counts[r, image]`` times."""
    defined = ~np.isnan(edges)
    return _mean(
        np.einsum("rn,nct->rct", counts, np.where(defined, edges, 0)), np.einsum("rn,nct->rct", counts, defined * 1.0)
    )


def weighted_figures(
    scores: Sequence[Scores], counts: NDArray[np.float64], space: LabelSpace
) -> dict[str, NDArray[np.float64]]:
    """Return every figure over the images, each image taken ``counts[r, image]`` times: what a bootstrap needs.

    Args:
        scores: of N images.
        counts: float64 ``(R, N)``; a row of ones gives the figures of the set as it is.
        space: the label space of the confusions.

    Returns:
        For the key of each of ``COLUMNS`` float64 ``(R,)``.
    """
    # first over the images at each threshold, then over the thresholds, as APCE is defined
    curves = edge_curves(np.stack([s.edges for s in scores]), counts)
    usable = ~np.isnan(curves)
    apce, precision, f1 = _mean(np.where(usable, curves, 0).sum(-1), usable.sum(-1) * 1.0).T
    figures = {"apce": apce, "edge_precision": precision, "edge_f1": f1}
    confusions = np.stack([s.confusion for s in scores])
    # of two judges or of one
    others = [np.zeros_like(s.confusion) if s.second is None else s.second for s in scores]
    for suffix, of_images in (("", confusions), ("_second", np.stack(others))):
        confusion = np.einsum("rn,nij->rij", counts, of_images.astype(np.float64))
        for key, classes in (("a", CLASSES_A), ("s", CLASSES_S), ("all", space.names)):
            figures[f"miou_{key}{suffix}"] = mean_iou(confusion, [space.index(name) for name in classes])
    for key in ("psnr", "ssim"):
        values = np.array([getattr(s, key) for s in scores])
        finite = np.isfinite(values)
        # a perfect image has no finite PSNR, and a mean without it would be wrong
        figures[key] = (
            counts @ values / counts.sum(1) if bool(finite.all()) else np.full(len(counts), values[~finite][0])
        )
    return figures


def with_draws(
    figures: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]], n: int, resamples: int
) -> dict[str, Figure]:
    """Return figures over n images with their standard errors by bootstrap over the images.

    Args:
        figures: gives each figure, ``(R,)``, with the images taken ``counts[r, image]`` times.
        n: the number of images.
        resamples: how often they are drawn anew.
    """
    values = figures(np.ones((1, n)))
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)
    resampled = figures(draws)
    found = {}
    for key, of_set in values.items():
        value, known = float(of_set[0]), resampled[key][np.isfinite(resampled[key])]
        error = float(known.std(ddof=1)) if n > 1 and known.size > 1 and math.isfinite(value) else math.nan
        found[key] = Figure(value, error)
    return found


def summarize(name: str, scores: Sequence[Scores], space: LabelSpace) -> Row:
    """Turn the scores of all images into a row: figures over the whole set, standard errors by bootstrap over images.

    mIoU is that of the confusion summed over the set; a class in neither truth nor prediction is skipped.
    """
    figures = with_draws(lambda counts: weighted_figures(scores, counts, space), len(scores), RESAMPLES)
    iou = class_iou(np.sum([s.confusion for s in scores], axis=0))
    curves = edge_curves(np.stack([s.edges for s in scores]), np.ones((1, len(scores))))[0]
    return Row(name, figures, {c: float(v) for c, v in zip(space.names, iou, strict=True)}, curves)


def evaluate(
    cases: Iterable[Case],
    translators: Mapping[str, Translate],
    judge: nn.Module | None,
    space: LabelSpace,
    look: Callable[[int, Case, dict[str, Tensor]], None] = lambda *_: None,
    second: nn.Module | None = None,
) -> list[Row]:
    """Translate every case in every way and measure the results.

    Args:
        cases: read one at a time.
        translators: the rows of the table.
        judge: the segmentation network; None leaves mIoU out.
        space: its label space.
        look: is shown each case with its translations, for pictures.
        second: another judge, whose figures are columns of their own.
    """
    scores: dict[str, list[Scores]] = {name: [] for name in translators}
    for index, case in enumerate(cases):
        images = {name: translate(case) for name, translate in translators.items()}
        for name, image in images.items():
            scores[name].append(measure(case, image, judge, space, second))
        look(index, case, images)
    return [summarize(name, of_images, space) for name, of_images in scores.items()]
