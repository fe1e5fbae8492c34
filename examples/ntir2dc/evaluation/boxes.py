"""The objects of the test images and those that a detector found in translations, out of COCO files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from morn_losses import CITYSCAPES
from ntir2dc.data.images import DataError, load_thermal
from ntir2dc.data.partners import name_of
from ntir2dc.detector import CLASSES, FrameBoxes, frame_boxes
from ntir2dc.preparing.boxes import Box, Coco, read_coco

SCENE_BOXES = "valB_boxes.json"

SMALLEST = 4, 10
"""Width and height in pixels of the smallest object of a scene that has to be found."""

Size = tuple[int, int]


@dataclass(frozen=True)
class KnownObjects:
    """What is there in the test images.

    Args:
        source: the file that says so.
        names: of the classes, by index.
        frames: objects by the name of the frame.
        sizes: (height, width) of these frames.
        images: names of frames by the ids that detections go by; None is one that is no test image.
        categories: classes by the ids that detections go by; None is one that occurs in no frame.
        notes: what to know of it, in sentences.
        problems: what could not be used, in sentences.
    """

    source: Path
    names: tuple[str, ...]
    frames: dict[str, FrameBoxes]
    sizes: dict[str, Size] = field(default_factory=dict)
    images: Mapping[Any, str | None] = field(default_factory=dict)
    categories: Mapping[int, int | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


# ---- what is there ---------------------------------------------------------------------------------------------------


def read_objects(path: Path, nights: Sequence[Path]) -> KnownObjects:
    """Read the objects of the test images out of a COCO file; boxes that cannot be used are named and left out.

    A frame that the file does not list takes no part; one that it lists without boxes holds no object.

    Args:
        path: COCO JSON with images, annotations and categories.
        nights: the test images, joined with the file's by their names.

    Raises:
        DataError: no COCO file, one that lists none of the images or no box in any, or of images of another size.
    """
    coco = read_coco(path)
    of_frames, sizes, unlisted, outside = _of_frames(coco, nights)
    if not of_frames:
        raise DataError(f"{path}: lists none of the test images, such as {nights[0].name}")
    counts = Counter(box.category for boxes in of_frames.values() for box in boxes)
    if not counts:
        raise DataError(
            f"{path}: holds no box that can be used in any of the {len(of_frames)} test images that it lists"
        )
    occurring = [key for key in sorted(coco.categories) if counts[key]]
    classes = {key: index for index, key in enumerate(occurring)}
    keys: dict[str | None, str] = {coco.key_of(night): name_of(night) for night in nights}
    empty = sum(not boxes for boxes in of_frames.values())
    notes = [f"{path}: {empty} of {len(of_frames)} test images hold no object."] if empty else []
    if unlisted:
        notes.append(
            f"{path}: does not list {len(unlisted)} of {len(nights)} test images, such as {unlisted[0]}; they take no "
            "part in the figures of objects."
        )
    problems = [*coco.problems, *([f"{path}: {outside} boxes left out, outside their frame"] if outside else [])]
    return KnownObjects(
        path,
        tuple(coco.categories[key] for key in occurring),
        {name: _known(boxes, classes) for name, boxes in of_frames.items()},
        sizes,
        {key: keys.get(name) for key, name in coco.file_names.items()},
        {key: classes.get(key) for key in coco.categories},
        notes,
        problems,
    )


def _of_frames(coco: Coco, nights: Sequence[Path]) -> tuple[dict[str, list[Box]], dict[str, Size], list[str], int]:
    """Return the boxes and the size of each image that is listed, the names of the others, and how many lie outside."""
    boxes: dict[str, list[Box]] = {}
    sizes: dict[str, Size] = {}
    unlisted, outside = [], 0
    for night in nights:
        key = coco.key_of(night)
        if key is None:
            unlisted.append(night.name)
            continue
        truth, (height, width) = coco.truths[key], load_thermal(night)[1].size
        if truth.size not in (None, (width, height)):
            drawn = f"{truth.size[0]} x {truth.size[1]}" if truth.size else ""
            raise DataError(
                f"{night}: is {width} x {height}, its boxes in {coco.path} were drawn on {drawn}; prepare_data.py "
                "--boxes moves them with their frames"
            )
        inside = [box for box in truth.boxes if _is_inside(box, (height, width))]
        outside += len(truth.boxes) - len(inside)
        boxes[name_of(night)], sizes[name_of(night)] = inside, (height, width)
    return boxes, sizes, unlisted, outside


def _is_inside(box: Box, size: Size) -> bool:
    return min(box.left + box.width, box.top + box.height) > 0 and box.left < size[1] and box.top < size[0]


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.left + box.width, box.top + box.height


def _known(boxes: Sequence[Box], classes: Mapping[int, int]) -> FrameBoxes:
    passed = [bool(box.more.get("iscrowd") or box.more.get("ignore")) for box in boxes]
    return frame_boxes([_corners(box) for box in boxes], [classes[box.category] for box in boxes], None, passed)


def scene_boxes(folder: Path) -> dict[str, FrameBoxes]:
    """Return the persons (0) and cars (1) of the test images of a folder of scenes, by file name.

    A box is the extent of what is seen of an object. Those smaller than ``SMALLEST``, far away or nearly hidden, are
    passed over: they are a few pixels without a shape.

    Raises:
        DataError: a file that is missing or of another form.
    """
    path = folder / SCENE_BOXES
    classes = {CITYSCAPES.index(name): index for index, name in enumerate(CLASSES)}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        frames = {}
        for name, boxes in held.items():
            mine = [box for box in boxes if box["class_id"] in classes]
            corners = np.array([[box[side] for side in ("left", "top", "right", "bottom")] for box in mine]).reshape(
                -1, 4
            )
            small = ((corners[:, 2:] - corners[:, :2]) < SMALLEST).any(1)
            frames[name] = frame_boxes(corners, [classes[box["class_id"]] for box in mine], None, small)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected the boxes of procedural scenes ({error!r})") from error
    return frames


# ---- what was found --------------------------------------------------------------------------------------------------


def read_detections(path: Path, known: KnownObjects, problems: list[str]) -> dict[str, FrameBoxes]:
    """Read a detector's COCO results: a list of image_id, category_id, bbox and score, with the ids of the truth.

    Args:
        path: of the file.
        known: the objects that are there, whose ids the file goes by.
        problems: is told what is left out, and why.

    Returns:
        What was found in each frame of ``known``.

    Raises:
        DataError: no such file, or nothing in it that can be used.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, list):
            raise ValueError("no list")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: expected COCO results, a list of image_id, category_id, bbox and score ({error})"
        ) from None
    found: dict[str, list[tuple[Any, int, float]]] = {name: [] for name in known.frames}
    wrong: Counter[str] = Counter()
    for entry in entries:
        reason = _what_is_wrong(entry, known)
        if reason is not None:
            wrong[reason] += 1
            continue
        name, label = known.images[entry["image_id"]], known.categories[entry["category_id"]]
        if name is not None and label is not None:
            found[name].append((_corners(_found(entry["bbox"])), label, float(entry["score"])))
    lost = [f"{count} of {len(entries)} detections left out, {reason}" for reason, count in wrong.items()]
    if entries and sum(wrong.values()) == len(entries):
        raise DataError(f"{path}: holds no detection that can be used" + "".join(f"; {text}" for text in lost))
    problems += [f"{path}: {text}" for text in lost]
    return {name: frame_boxes(*zip(*boxes, strict=True)) if boxes else frame_boxes() for name, boxes in found.items()}


def _found(box: Any) -> Box:
    left, top, width, height = map(float, box)
    return Box(0, left, top, width, height)


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
        return False
    return all(map(math.isfinite, box)) and min(box[2:]) > 0


def _what_is_wrong(entry: Any, known: KnownObjects) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), (int, str)):
        return "without an image_id"
    if entry["image_id"] not in known.images:
        return f"of images that {known.source.name} does not list"
    if not isinstance(entry.get("category_id"), int) or entry["category_id"] not in known.categories:
        return f"of category {entry.get('category_id')}, which {known.source.name} does not name"
    box, score = entry.get("bbox"), entry.get("score")
    if not isinstance(score, (int, float)) or not math.isfinite(score):
        return "without a score"
    if not _is_box(box):
        return "whose bbox is not left, top, and a width and height above 0"
    name = known.images[entry["image_id"]]
    if name is not None and not _is_inside(_found(box), known.sizes[name]):
        return "outside their frame"
    return None
