"""Which objects are known in the test images, and who looks for them in translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ntir2dc.data.images import DataError
from ntir2dc.data.partners import name_of
from ntir2dc.detector import CLASSES, IOU, FrameBoxes, detect, load_detector
from ntir2dc.evaluation.boxes import SCENE_BOXES, KnownObjects, read_detections, read_objects, scene_boxes
from ntir2dc.evaluation.faithfulness import SCORE, describe_objects
from ntir2dc.evaluation.watching import Finder
from ntir2dc.judge import are_known_scenes


@dataclass(frozen=True)
class ObjectsAsked:
    """What is known of objects, and who looks for them.

    Args:
        boxes: COCO file of the test images' objects.
        detections: a detector's COCO results, by the name of the row that they belong to.
        score: from which on a detection counts as an object.
        iou: the least overlap of a detection with what it found.
        detector: weights of a detector of scenes, which looks at every row.
    """

    boxes: Path | None = None
    detections: Mapping[str, Path] = field(default_factory=dict)
    score: float = SCORE
    iou: float = IOU
    detector: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise DataError(f"detection_iou: expected more than 0 and at most 1, got {self.iou:g}")


@dataclass(frozen=True)
class ObjectSearch:
    """Objects that are known, and what is found in translations.

    Args:
        known: what is there.
        found: what files say was found, by the name of a row and of a frame.
        finder: a detector that looks at every translation, or None.
    """

    known: KnownObjects
    found: Mapping[str, Mapping[str, FrameBoxes]]
    finder: Finder | None = None

    def describe(self, asked: ObjectsAsked) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of objects."""
        found = self.finder.found if self.finder else self.found
        by = f"the detector {asked.detector}" if self.finder else "the detector whose results were given"
        return describe_objects(self.known, found, detector=by, score=asked.score, iou=asked.iou)


def find_objects(
    asked: ObjectsAsked,
    folder: Path,
    nights: Sequence[Path],
    ways: Sequence[str],
    device: torch.device | str,
    problems: list[str],
) -> ObjectSearch | None:
    """Return the objects of the test images and what was found of them, or None where nothing is asked for.

    Args:
        asked: what is known, and who looked for it.
        folder: the data.
        nights: the test images.
        ways: names of the rows.
        device: where a detector runs.
        problems: is told what is left out of the files.

    Raises:
        DataError: files that cannot be used, one without the other, or detections of a row that there is not.
    """
    if asked.detector is not None:
        if asked.boxes or asked.detections:
            raise DataError("detector: scenes know their objects; leave out --boxes and --detections")
        return search_scenes(asked.detector, folder, nights, ways, device)
    if asked.boxes is None:
        if asked.detections:
            raise DataError("detections: expected --boxes as well, the COCO file of the objects that are there")
        return None
    if not asked.detections:
        raise DataError("boxes: expected --detections as well, a detector's COCO results on translations")
    known = read_objects(asked.boxes, nights)
    problems += known.problems
    found = {}
    for way, path in asked.detections.items():
        if way not in ways:
            raise DataError(f"detections: {way} is no row; expected one of {', '.join(ways)}")
        found[way] = read_detections(path, known, problems)
    return ObjectSearch(known, found)


def search_scenes(
    detector: Path, folder: Path, nights: Sequence[Path], ways: Sequence[str], device: torch.device | str
) -> ObjectSearch:
    """Return the search of a detector of scenes in a folder of them.

    Raises:
        DataError: weights that cannot be used, or a folder that holds no such scenes, or none of their objects.
    """
    if not are_known_scenes(folder):
        raise DataError(f"detector: knows procedural scenes of world a as they look now, and {folder} holds none")
    boxes = scene_boxes(folder)
    frames = {name_of(night): boxes[night.name] for night in nights if night.name in boxes}
    known = KnownObjects(folder / SCENE_BOXES, CLASSES, frames)
    if not any((~of_frame.passed).any() for of_frame in frames.values()):
        raise DataError(f"{known.source}: holds no person and no car that is large enough in the test images")
    return ObjectSearch(known, {}, Finder(partial(detect, load_detector(detector, device)), list(frames), ways))
