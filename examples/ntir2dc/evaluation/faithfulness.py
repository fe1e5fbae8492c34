"""How faithful translations are to the objects of a scene: average precision, objects kept, and objects invented."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntir2dc.detector.average_precision import IOU, Floats, FrameBoxes, average_precision, match
from ntir2dc.evaluation.boxes import KnownObjects
from ntir2dc.evaluation.figures import RESAMPLES, Column, Figure, with_draws

SCORE = 0.5
ALL = "all"


@dataclass(frozen=True)
class ClassMatches:
    """The detections of a class in all frames, the surest first, and what there is to find.

    Args:
        scores: float64 ``(D,)``.
        hits: which found an object, ``(D,)``.
        frames: index of the frame of each, ``(D,)``.
        objects: number in each frame, float64 ``(N,)``.
    """

    scores: Floats
    hits: NDArray[np.bool_]
    frames: NDArray[np.int64]
    objects: Floats

    def average_precision(self, counts: Floats) -> float:
        """Return the figure with each frame taken ``counts`` times."""
        return average_precision(self.hits, float(counts @ self.objects), counts[self.frames])

    def by_frame(self, score: float) -> Floats:
        """Return how many objects each frame holds, keeps and has invented, at a score: ``(N, 3)``."""
        sure = self.scores >= score
        n = len(self.objects)
        kept, wrong = (np.bincount(self.frames[sure & those], minlength=n) for those in (self.hits, ~self.hits))
        return np.stack((self.objects, kept, wrong), 1).astype(np.float64)


def match_class(
    truths: Sequence[FrameBoxes], found: Sequence[FrameBoxes], label: int, iou: float = IOU
) -> ClassMatches:
    """Match the detections of one class in every frame."""
    matches = [match(truth, boxes, label, iou) for truth, boxes in zip(truths, found, strict=True)]
    scores = np.concatenate([m.scores for m in matches])
    order = np.argsort(-scores, kind="stable")
    frames = np.repeat(np.arange(len(matches)), [len(m.scores) for m in matches])
    hits = np.concatenate([m.hits for m in matches])
    return ClassMatches(
        scores[order], hits[order], frames[order], np.array([m.objects for m in matches], dtype=np.float64)
    )


def match_classes(known: KnownObjects, found: Mapping[str, FrameBoxes], iou: float = IOU) -> dict[str, ClassMatches]:
    """Match what was found in the frames, by their names, with what is there; by the name of a class."""
    truths, boxes = list(known.frames.values()), [found[frame] for frame in known.frames]
    return {title: match_class(truths, boxes, label, iou) for label, title in enumerate(known.names)}


def object_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """Return the figures of objects: average precision, all classes first, and what is kept and invented."""
    precision = [Column(f"ap {name}", f"AP {name} %", 100, 1) for name in (ALL, *names)]
    return (
        *precision,
        Column("kept", "objects kept %", 100, 1),
        Column("missed", "missed a frame", 1, 2),
        Column("invented", "invented a frame", 1, 2),
    )


def object_figures(classes: Mapping[str, ClassMatches], counts: Floats, score: float) -> dict[str, Floats]:
    """Return every figure of :func:`object_columns` with each frame taken ``counts[r, frame]`` times, ``(R,)``."""
    figures = {
        f"ap {name}": np.array([of_class.average_precision(row) for row in counts])
        for name, of_class in classes.items()
    }
    precision = np.stack(list(figures.values()))
    defined = ~np.isnan(precision)
    number = defined.sum(0)
    mean = np.where(number > 0, np.where(defined, precision, 0).sum(0), np.nan) / np.maximum(number, 1)
    there, kept, invented = (counts @ sum(c.by_frame(score) for c in classes.values())).T
    frames = counts.sum(1)
    return {
        f"ap {ALL}": mean,
        **figures,
        "kept": np.where(there > 0, kept, np.nan) / np.maximum(there, 1),
        "missed": (there - kept) / frames,
        "invented": invented / frames,
    }


def describe_objects(
    known: KnownObjects,
    found: Mapping[str, Mapping[str, FrameBoxes]],
    *,
    detector: str,
    score: float = SCORE,
    iou: float = IOU,
) -> dict[str, Any]:
    """Return what ``metrics.json`` holds of objects.

    Args:
        known: what is there.
        found: what was found in each frame, by the name of a row.
        detector: who found it, in words.
        score: a detection counts as an object, kept or invented, from this score on.
        iou: the least overlap of a detection with what it found.
    """
    frames = len(known.frames)
    rows = []
    for name, of_frames in found.items():
        classes = match_classes(known, of_frames, iou)
        figures = with_draws(partial(object_figures, classes, score=score), frames, RESAMPLES)
        totals = {title: of_class.by_frame(score).sum(0).astype(int).tolist() for title, of_class in classes.items()}
        rows.append(
            {
                "name": name,
                "figures": {key: _plain(figure) for key, figure in figures.items()},
                "classes": {t: dict(zip(("objects", "kept", "invented"), n, strict=True)) for t, n in totals.items()},
            }
        )
    return {
        "truth": str(known.source),
        "detector": detector,
        "score": score,
        "iou": iou,
        "frames": frames,
        "objects": _number(known),
        "columns": [{"key": c.key, "title": c.title, "scale": c.scale, "digits": c.digits}
                    for c in object_columns(known.names)],
        "rows": rows,
        "notes": notes_on_objects(known, detector, score=score, iou=iou),
    }  # fmt: skip


def notes_on_objects(known: KnownObjects, detector: str, *, score: float = SCORE, iou: float = IOU) -> list[str]:
    """Return what to know of the figures of objects, in sentences; ``detector`` is who found them, in words."""
    passed = sum(int(truth.passed.sum()) for truth in known.frames.values())
    return [
        f"Objects: {_number(known)} in {len(known.frames)} test images, by {known.source.name}, found by {detector}. "
        f"AP is COCO's average precision (101 recalls, at most 100 detections a class and image) at IoU {iou:g}.",
        f"An object is kept where a detection of its class with a score of at least {score:g} overlaps it by an "
        f"IoU of at least {iou:g}, else missed; such a detection that finds no object is invented. Less is better "
        "in these two.",
        *([f"{passed} more need not be found, and a detection on one of them is no mistake."] if passed else []),
        *known.notes,
    ]


def _number(known: KnownObjects) -> int:
    return sum(int((~truth.passed).sum()) for truth in known.frames.values())


def _plain(figure: Figure) -> dict[str, float | None]:
    return {
        "value": figure.value if math.isfinite(figure.value) else None,
        "error": figure.error if math.isfinite(figure.error) else None,
    }
