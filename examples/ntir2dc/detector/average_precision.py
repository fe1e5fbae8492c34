"""Average precision: detections matched with the true boxes of their frame, as COCO does it, at one overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

IOU = 0.5
MOST = 100
"""Of each class and frame no more than so many detections count, the surest ones."""
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class FrameBoxes:
    """The objects of a frame: those that are there, or those that a detector found.

    Args:
        corners: left, top, right and bottom in pixels, float64 ``(N, 4)``.
        classes: indices, int64 ``(N,)``.
        scores: how sure the detector is, float64 ``(N,)``; 1 of what is there.
        passed: ``(N,)``, of what is there: it need not be found, and what lies on it is no mistake, as COCO's crowds.
    """

    corners: Floats
    classes: NDArray[np.int64]
    scores: Floats
    passed: NDArray[np.bool_]


def frame_boxes(
    corners: object = (), classes: object = (), scores: object | None = None, passed: object | None = None
) -> FrameBoxes:
    """Return boxes out of lists; without ``scores`` each is 1, without ``passed`` none is passed over."""
    places = np.asarray(corners, np.float64).reshape(-1, 4)
    n = len(places)
    return FrameBoxes(
        places,
        np.asarray(classes, np.int64).reshape(n),
        np.ones(n) if scores is None else np.asarray(scores, np.float64).reshape(n),
        np.zeros(n, np.bool_) if passed is None else np.asarray(passed, np.bool_).reshape(n),
    )


@dataclass(frozen=True)
class Matches:
    """What became of the detections of a frame and class, the surest first; those passed over are left out.

    Args:
        scores: float64 ``(D,)``.
        hits: which of them found an object, bool ``(D,)``.
        objects: how many there are to find.
    """

    scores: Floats
    hits: NDArray[np.bool_]
    objects: int


def overlaps(found: Floats, truth: Floats, passed: NDArray[np.bool_]) -> Floats:
    """Return the intersection over union of every pair, ``(D, N)``; over the detection for what is passed over."""
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    both = (high - low).clip(min=0).prod(-1)
    areas, true_areas = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (found, truth))
    either = areas[:, None] + np.where(passed, 0, true_areas - both)
    shares: Floats = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return shares


def match(truth: FrameBoxes, found: FrameBoxes, label: int, iou: float = IOU) -> Matches:
    """Match the detections of one class: each, the surest first, takes the free object that it overlaps most.

    One that overlaps no free object by ``iou`` but one that is passed over is passed over itself; the rest are wrong.
    """
    true = np.flatnonzero(truth.classes == label)
    mine = np.flatnonzero(found.classes == label)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")][:MOST]
    passed = truth.passed[true]
    overlap = overlaps(found.corners[mine], truth.corners[true], passed)
    free = ~passed
    hits, counted = np.zeros(len(mine), np.bool_), np.ones(len(mine), np.bool_)
    for index, row in enumerate(overlap):
        best = int(np.argmax(np.where(free, row, -1))) if free.any() else None
        if best is not None and row[best] >= iou:
            hits[index], free[best] = True, False
        elif bool((row[passed] >= iou).any()):
            counted[index] = False
    return Matches(found.scores[mine][counted], hits[counted], int((~passed).sum()))


def average_precision(hits: NDArray[np.bool_], objects: float, weights: Floats | None = None) -> float:
    r"""Return the mean over 101 recalls of the highest precision that is reached at that recall or a higher one.

    .. math:: \mathrm{AP} = \frac{1}{101} \sum_{r \in \{0, 0.01, \dots, 1\}} \max_{k:\, R_k \ge r} P_k

    with precision and recall of the k surest detections.

    Args:
        hits: of all detections of a class in all frames, the surest first.
        objects: how many there are to find; NaN comes back for none.
        weights: how often each detection is taken; None is once.
    """
    if objects <= 0:
        return float("nan")
    taken = np.ones(len(hits)) if weights is None else weights
    found, seen = np.cumsum(hits * taken), np.cumsum(taken)
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(highest[np.searchsorted(found / objects, RECALLS)].mean())
