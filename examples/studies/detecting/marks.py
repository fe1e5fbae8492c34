"""The marks of the detector: how right it is on true day pictures that it never saw, by size and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ntir2dc.detector.average_precision import average_precision, match
from ntir2dc.detector.network import CLASSES, Detector, detect
from ntir2dc.evaluation.formats import to_markdown
from studies.detecting.scenes import Known

Size = tuple[int, int]


def marks_of(detector: Detector, known: Sequence[Known]) -> dict[str, float]:
    """Return AP at IoU 0.5 of each class, in percent."""
    found = [detect(detector, image / 127.5 - 1) for image, _ in known]
    marks = {}
    for label, name in enumerate(CLASSES):
        matches = [match(truth, boxes, label) for (_, truth), boxes in zip(known, found, strict=True)]
        scores, hits = (np.concatenate([getattr(m, part) for m in matches]) for part in ("scores", "hits"))
        hits = hits[np.argsort(-scores, kind="stable")]
        marks[name] = 100 * average_precision(hits, sum(m.objects for m in matches))
    return marks


def format_marks(by_size: Mapping[Size, Mapping[str, float]]) -> str:
    """Return a table in Markdown: AP of each class by size."""
    head = ["AP at IoU 0.5, %", *(f"{height} x {width}" for height, width in by_size)]
    rows = [[name, *(f"{marks[name]:.1f}" for marks in by_size.values())] for name in CLASSES]
    return to_markdown([head, *rows]) + "\n"
