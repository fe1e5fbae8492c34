"""Which objects are known in the test images, and who looks for them in translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntir2dc.data.images import DataError, to_image
from ntir2dc.data.partners import name_of
from ntir2dc.detector import CLASSES, IOU, FrameBoxes, detect, frame_boxes, load_detector
from ntir2dc.evaluation.boxes import SCENE_BOXES, KnownObjects, read_detections, read_objects, scene_boxes
from ntir2dc.evaluation.faithfulness import SCORE, describe_objects
from ntir2dc.evaluation.watching import Finder
from ntir2dc.judge import are_known_scenes
from ntir2dc.pretrained.detector import Found, load_pretrained_detector, match_categories


@dataclass(frozen=True)
class ObjectsAsked:
    """What is known of objects, and who looks for them.

    Args:
        boxes: COCO file of the test images' objects.
        detections: a detector's COCO results, by the name of the row that they belong to.
        score: from which on a detection counts as an object.
        iou: the least overlap of a detection with what it found.
        detector: looks at every row: weights of a detector of scenes, or a network of ``transformers``, a local folder
            or a name on the hub.
        offline: take such a network from local folders and the hub's cache alone.
    """

    boxes: Path | None = None
    detections: Mapping[str, Path] = field(default_factory=dict)
    score: float = SCORE
    iou: float = IOU
    detector: str | None = None
    offline: bool = False

    @property
    def of_scenes(self) -> bool:
        """Whether the detector is one of scenes, a file."""
        # a name that ends so and leads nowhere is a mistyped file
        return self.detector is not None and (
            Path(self.detector).is_file() or Path(self.detector).suffix == ".safetensors"
        )

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
    if asked.of_scenes:
        if asked.boxes or asked.detections:
            raise DataError("detector: scenes know their objects; leave out --boxes and --detections")
        return search_scenes(asked, folder, nights, ways, device)
    if asked.detector is not None:
        if asked.detections:
            raise DataError("detector: takes the place of --detections; leave one of them out")
        return search_with_pretrained(asked, folder, nights, ways, device, problems)
    if asked.boxes is None:
        if asked.detections:
            raise DataError("detections: expected --boxes as well, the COCO file of the objects that are there")
        return None
    if not asked.detections:
        raise DataError("boxes: expected --detections, a detector's COCO results on translations, or --detector")
    known = read_objects(asked.boxes, nights)
    problems += known.problems
    found = {}
    for way, path in asked.detections.items():
        if way not in ways:
            raise DataError(f"detections: {way} is no row; expected one of {', '.join(ways)}")
        found[way] = read_detections(path, known, problems)
    return ObjectSearch(known, found)


def search_scenes(
    asked: ObjectsAsked, folder: Path, nights: Sequence[Path], ways: Sequence[str], device: torch.device | str
) -> ObjectSearch:
    """Return the search of a detector of scenes in a folder of them.

    Raises:
        DataError: weights that cannot be used, or a folder that holds no such scenes, or none of their objects.
    """
    if not are_known_scenes(folder):
        raise DataError(f"detector: knows procedural scenes of world a as they look now, and {folder} holds none")
    known = objects_of_scenes(folder, nights)
    detector = load_detector(Path(str(asked.detector)), device)
    finder = Finder(lambda images: [detect(detector, image) for image in images], list(known.frames), ways)
    return ObjectSearch(known, {}, finder)


def objects_of_scenes(folder: Path, nights: Sequence[Path]) -> KnownObjects:
    """Return the persons and cars of the test images of a folder of scenes.

    Raises:
        DataError: a file that is missing or of another form, or no object in it.
    """
    boxes = scene_boxes(folder)
    frames = {name_of(night): boxes[night.name] for night in nights if night.name in boxes}
    known = KnownObjects(folder / SCENE_BOXES, CLASSES, frames)
    if not any((~of_frame.passed).any() for of_frame in frames.values()):
        raise DataError(f"{known.source}: holds no person and no car that is large enough in the test images")
    return known


def search_with_pretrained(
    asked: ObjectsAsked,
    folder: Path,
    nights: Sequence[Path],
    ways: Sequence[str],
    device: torch.device | str,
    problems: list[str],
) -> ObjectSearch:
    """Return the search of a detector that others have trained, which sees all rows of a test image at once.

    Raises:
        DataError: it cannot be used, or there are no boxes, or none of a class that it knows.
    """
    if asked.boxes is not None:
        known = read_objects(asked.boxes, nights)
        problems += known.problems
    elif (folder / SCENE_BOXES).is_file():
        known = objects_of_scenes(folder, nights)
    else:
        raise DataError("detector: expected --boxes as well, the COCO file of the objects that are there")
    detector = load_pretrained_detector(str(asked.detector), device, offline=asked.offline)
    classes = match_categories(known.names, detector)
    unknown = [name for index, name in enumerate(known.names) if index not in classes.values()]
    if unknown:
        known.notes.append(f"{detector.name} does not know {', '.join(unknown)}; these objects count as missed.")

    def find(images: Sequence[Tensor]) -> list[FrameBoxes]:
        return [_of_classes(found, classes) for found in detector.find([to_image(image) for image in images])]

    return ObjectSearch(known, {}, Finder(find, list(known.frames), ways))


def _of_classes(found: Found, classes: Mapping[int, int]) -> FrameBoxes:
    """Return what was found of classes that are asked for."""
    wanted = np.isin(found.classes, list(classes))
    labels = [classes[int(i)] for i in found.classes[wanted]]
    return frame_boxes(found.corners[wanted], labels, found.scores[wanted])
