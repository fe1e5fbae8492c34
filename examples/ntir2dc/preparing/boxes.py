"""Boxes of objects: read from COCO JSON or KAIST's text, moved with their frame, written as COCO JSON and YOLO."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ntir2dc.data.samples import DataError
from ntir2dc.files import write_text
from ntir2dc.preparing.geometry import Placement, Size, as_text

KAIST_CATEGORIES = {1: "person", 2: "people", 3: "cyclist", 4: "person?"}
"""The marks of KAIST: one person, a group, a cyclist, and where the annotator was in doubt."""

CLASSES = "classes.txt"
"""The names of the classes of YOLO's files, of all folders of boxes beside it."""

_MADE_BY = "prepare_data.py"
# what is written anew, and outlines, which are not moved
_OWN_FIELDS = ("id", "image_id", "category_id", "bbox", "area", "segmentation")


@dataclass(frozen=True)
class Box:
    """An object: its category, left, top, width and height in pixels, and what else the file says of it."""

    category: int
    left: float
    top: float
    width: float
    height: float
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """All boxes of a frame, and the size of the frame they were drawn on where the file says it."""

    boxes: tuple[Box, ...]
    size: Size | None = None


@dataclass
class Coco:
    """A COCO file: what it holds of each image, by its file name, the name of each id, and what is wrong with it."""

    path: Path
    truths: dict[str, Truth]
    categories: dict[int, str]
    problems: list[str]
    file_names: dict[Any, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # accents may be composed otherwise than in the name of the file
        places = {name: PurePosixPath(unicodedata.normalize("NFC", name)) for name in self.truths}
        # a JPEG that was marked is the same frame as its TIFF of 16 bits, in another folder
        stems = Counter(place.stem for place in places.values())
        self._names = {place.stem: name for name, place in places.items() if stems[place.stem] == 1}
        self._names |= {str(place.parent / place.stem): name for name, place in places.items()}

    def key_of(self, image: Path) -> str | None:
        """Return the name under which the file knows an image: the longest that its path ends in, but for suffixes."""
        parts = [unicodedata.normalize("NFC", part) for part in (*image.parent.parts, image.stem)]
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        return next((self._names[end] for end in ends if end in self._names), None)


@dataclass
class Tally:
    """What became of the boxes of a folder."""

    given: int = 0
    outside: int = 0
    slivers: int = 0
    cut: int = 0
    kept: int = 0

    def __str__(self) -> str:
        if not self.given:
            return "no boxes"
        shares = [f"{n} ({n / self.given:.1%}) {what}" for n, what in self._lost() if n]
        return f"{self.kept} of {self.given} boxes kept" + (f"; {', '.join(shares)}" if shares else "")

    def _lost(self) -> tuple[tuple[int, str], ...]:
        return (
            (self.outside, "outside the crop"),
            (self.slivers, "left out, too little of them inside"),
            (self.cut, "cut at its border"),
        )


def read_coco(path: Path) -> Coco:
    """Read a COCO file; boxes that cannot be used are named in ``problems``, the others kept.

    Raises:
        DataError: a file that is missing or is no COCO JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images = {entry["id"]: entry for entry in content["images"]}
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        marks = list(content.get("annotations", []))
        names = {key: PurePosixPath(str(entry["file_name"]).replace("\\", "/")) for key, entry in images.items()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: expected COCO JSON with images, annotations and categories ({error!r})") from None
    boxes: dict[Any, list[Box]] = {key: [] for key in images}
    wrong: dict[str, int] = {}
    for mark in marks:
        reason = _what_is_wrong(mark, images, categories)
        if reason is not None:
            wrong[reason] = wrong.get(reason, 0) + 1
            continue
        more = {key: value for key, value in mark.items() if key not in _OWN_FIELDS}
        left, top, width, height = map(float, mark["bbox"])
        boxes[mark["image_id"]].append(Box(mark["category_id"], left, top, width, height, more))
    truths: dict[str, Truth] = {}
    for key, entry in images.items():
        # an image may be listed twice
        before = truths.get(str(names[key]), Truth(()))
        truths[str(names[key])] = Truth((*before.boxes, *boxes[key]), _size(entry))
    problems = [f"{path}: {count} boxes left out, {reason}" for reason, count in wrong.items()]
    return Coco(path, truths, categories, problems, {key: str(name) for key, name in names.items()})


def _size(entry: Mapping[str, Any]) -> Size | None:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _what_is_wrong(mark: Any, images: Mapping[Any, dict[str, Any]], categories: Mapping[int, str]) -> str | None:
    if not isinstance(mark, dict) or not isinstance(mark.get("image_id"), (int, str)) or mark["image_id"] not in images:
        return "of an image that the file does not list"
    if not isinstance(mark.get("category_id"), int) or mark["category_id"] not in categories:
        return f"of category {mark.get('category_id')}, which the file does not name; add it to its categories"
    box = mark.get("bbox")
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(value, (int, float)) and math.isfinite(value) for value in box)
        or min(box[2:]) <= 0
    ):
        return "whose bbox is not left, top, and a width and height above 0"
    size = _size(images[mark["image_id"]])
    if size is not None and (min(box[0] + box[2], box[1] + box[3]) <= 0 or box[0] >= size[0] or box[1] >= size[1]):
        return "outside their frame"
    return None


def read_kaist(path: Path) -> Truth:
    """Read KAIST's text file of a frame: a line an object with its name, left, top, width, height and more.

    Raises:
        DataError: a line that is none of it, or an object of an unknown name.
    """
    ids = {name: key for key, name in KAIST_CATEGORIES.items()}
    boxes = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("%"):
            continue
        try:
            left, top, width, height, *more = map(float, words[1:])
            if words[0] not in ids or min(width, height) <= 0:
                raise ValueError
        except ValueError:
            raise DataError(f'{path}: expected lines of "person LEFT TOP WIDTH HEIGHT", got "{line[:60]}"') from None
        fields = {"occlusion": int(more[0])} if more else {}
        boxes.append(Box(ids[words[0]], left, top, width, height, fields))
    return Truth(tuple(boxes))


def move(truth: Truth, size: Size, placement: Placement, visible: float, tally: Tally) -> list[Box]:
    """Return the boxes as they lie on the prepared frame, cut at its border; counts what is lost.

    Args:
        truth: boxes on the frame of ``size``.
        size: of the frame before.
        placement: where it lands.
        visible: the share of a box's area that has to lie inside for it to stay.
        tally: is added to.

    Raises:
        DataError: boxes drawn on a frame of another size.
    """
    if truth.size is not None and truth.size != size:
        raise DataError(f"is {as_text(size)}, its boxes were drawn on {as_text(truth.size)}")
    across, down = placement.resized[0] / size[0], placement.resized[1] / size[1]
    width, height = placement.size
    moved = []
    for box in truth.boxes:
        tally.given += 1
        left, right = (x * across - placement.box[0] for x in (box.left, box.left + box.width))
        top, bottom = (y * down - placement.box[1] for y in (box.top, box.top + box.height))
        area = (right - left) * (bottom - top)
        inside = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        share = max(inside[2] - inside[0], 0) * max(inside[3] - inside[1], 0) / area
        if share == 0:
            tally.outside += 1
        elif share < visible:
            tally.slivers += 1
        else:
            tally.kept += 1
            # rounding alone is no cut
            tally.cut += share < 1 - 1e-9
            more = {**box.more, "visible": round(share, 4)}
            moved.append(Box(box.category, *inside[:2], inside[2] - inside[0], inside[3] - inside[1], more))
    return moved


def write_boxes(
    folder: Path, name: str, size_of: Mapping[str, Size], boxes: Mapping[str, Sequence[Box]], categories: dict[int, str]
) -> None:
    """Write ``NAME.json`` (COCO), ``NAME/*.txt`` (YOLO, a line an object) and ``classes.txt``.

    Images of an earlier call stay in the COCO file.

    Args:
        folder: where.
        name: of the folder of frames.
        size_of: of each frame, by its file name.
        boxes: of each frame, by its file name.
        categories: names by ids.

    Raises:
        DataError: a file of that name that was not made here, or that has other categories.
    """
    path = folder / f"{name}.json"
    listed = "".join(f"{categories[key]}\n" for key in sorted(categories))
    _check_classes(folder, path, listed)
    old_images, old_marks = _earlier(path, categories, set(boxes))
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    numbers: dict[Any, int] = {}
    for entry in old_images:
        numbers[entry["id"]] = len(images) + 1
        images.append({**entry, "id": len(images) + 1})
    marks += [{**mark, "id": i, "image_id": numbers[mark["image_id"]]} for i, mark in enumerate(old_marks, 1)]
    for file_name, objects in boxes.items():
        width, height = size_of[file_name]
        images.append({"id": len(images) + 1, "file_name": file_name, "width": width, "height": height})
        for box in objects:
            corner = [round(v, 3) for v in (box.left, box.top, box.width, box.height)]
            own = {"id": len(marks) + 1, "image_id": len(images), "category_id": box.category, "bbox": corner}
            marks.append({"iscrowd": 0, **box.more, **own, "area": round(box.width * box.height, 3)})
    content = {
        "info": {"description": f"boxes of {name}", "made_by": _MADE_BY},
        "images": images,
        "annotations": marks,
        "categories": [{"id": key, "name": categories[key]} for key in sorted(categories)],
    }
    index = {key: place for place, key in enumerate(sorted(categories))}
    for file_name, objects in boxes.items():
        lines = [_yolo(box, index, size_of[file_name]) for box in objects]
        write_text(folder / name / f"{Path(file_name).stem}.txt", "".join(lines))
    write_text(folder / CLASSES, listed)
    write_text(path, json.dumps(content, indent=1) + "\n")


def _check_classes(folder: Path, path: Path, listed: str) -> None:
    """Raise a :class:`DataError` where boxes of other frames hold by another list of classes."""
    classes = folder / CLASSES
    others = [other.name for other in sorted(folder.glob("*.json")) if other != path]
    if others and classes.is_file() and classes.read_text(encoding="utf-8", errors="replace") != listed:
        raise DataError(f"{classes}: lists other classes than these boxes, for {others[0]}; choose another output")


def _earlier(
    path: Path, categories: Mapping[int, str], names: set[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the images, and their marks, of a file made before that are not made anew."""
    if not path.exists():
        return [], []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        made_by = content["info"]["made_by"]
        known = {entry["id"]: entry["name"] for entry in content["categories"]}
        images = [entry for entry in content["images"] if entry["file_name"] not in names]
        ids = {entry["id"] for entry in images}
        marks = [mark for mark in content["annotations"] if mark["image_id"] in ids]
    except (OSError, ValueError, KeyError, TypeError):
        made_by = None
    if made_by != _MADE_BY:
        raise DataError(f"{path}: was not written by {_MADE_BY} and is left as it is; move it away")
    if images and known != dict(categories):
        raise DataError(f"{path}: has other categories than these boxes; choose another output")
    return images, marks


def _yolo(box: Box, index: Mapping[int, int], size: Size) -> str:
    center = (box.left + box.width / 2) / size[0], (box.top + box.height / 2) / size[1]
    values = (*center, box.width / size[0], box.height / size[1])
    return f"{index[box.category]} {' '.join(f'{value:.6f}' for value in values)}\n"
