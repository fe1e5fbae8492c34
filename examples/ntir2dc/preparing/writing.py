"""Frames read, brought to their geometry and written as PNG files that say what they were made from.

What a file says lets a run that was stopped go on, and keeps a frame from replacing one of another source.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ntir2dc.data.arrays import SUFFIX, read_array
from ntir2dc.data.gray import read_gray, robust_extremes
from ntir2dc.data.images import DataError, read_color, read_labels, to_image
from ntir2dc.data.samples import read_picture
from ntir2dc.files import attempt, write_atomically
from ntir2dc.preparing.boxes import Box, Tally, move
from ntir2dc.preparing.geometry import Geometry, Size, fit, parse_size, place
from ntir2dc.preparing.plan import Frame

_DIGEST, _RECIPE, _SOURCE, _SIZE = "made from", "made by", "source", "size before"
_PARTS = 4


@dataclass(frozen=True)
class Options:
    """How frames are read, cut and written.

    Args:
        geometry: of the results.
        fourth: take a fourth channel that varies beside three of color for a thermal frame.
        visible: the share of a box that has to lie inside.
        overwrite: replace frames of other sources.
    """

    geometry: Geometry
    fourth: bool = True
    visible: float = 0.25
    overwrite: bool = False


@dataclass
class Outcome:
    """What was done.

    Args:
        written: frames by folder.
        kept: frames that were there already, by folder.
        fourths: thermal frames that were a fourth channel.
        same: frames whose file holds the same bytes as an earlier one of their folder.
        sizes: of the results with boxes, by folder and file name.
        boxes: the boxes of results, by folder and file name.
        tallies: what became of the boxes, by folder.
    """

    written: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    fourths: int = 0
    same: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, dict[str, Size]] = field(default_factory=dict)
    boxes: dict[str, dict[str, list[Box]]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)


def write_frames(
    frames: Sequence[Frame],
    output: Path,
    options: Options,
    outcome: Outcome,
    problems: list[str],
    watch: Callable[[Sequence[Frame]], Iterable[Frame]],
) -> None:
    """Write every frame that can be read and whose place is free, and add up what was done.

    Raises:
        OSError: a full or read-only disk.
    """
    seen: set[tuple[str, str, int | None]] = set()
    for frame in watch(frames):
        target = output / frame.folder / f"{frame.name}.png"
        try:
            digest = _digest(frame.source, frame.source.stat().st_mtime_ns)
            note = _note(target)
            recipe = _recipe(frame, options)
            if note is not None and note.get(_DIGEST) != digest and not options.overwrite:
                made = f"was made from {note[_SOURCE]}" if _SOURCE in note else "was not written by this command"
                raise DataError(
                    f"{target}: {made} and is left as it is; {frame.source} needs another output (or --overwrite true)"
                )
            same = note is not None and (note.get(_DIGEST), note.get(_RECIPE)) == (digest, recipe)
            size = parse_size(note[_SIZE]) if same and note is not None else None
            if size is None:
                image, fourth = _load(frame, options)
                size = image.size
                data = _png(image, frame, digest, recipe, options)
                if not attempt(partial(write_atomically, target, data), target, problems, one_of_many=True):
                    continue
                outcome.written[frame.folder] += 1
                outcome.fourths += fourth
            else:
                outcome.kept[frame.folder] += 1
            outcome.same[frame.folder] += (frame.folder, digest, frame.page) in seen
            seen.add((frame.folder, digest, frame.page))
            _move_boxes(frame, target.name, size, options, outcome)
        except DataError as error:
            problems.append(str(error))
        except OSError as error:
            if error.filename != str(frame.source):
                raise
            problems.append(f"{frame.source}: cannot be read ({error.strerror})")


def _move_boxes(frame: Frame, name: str, size: Size, options: Options, outcome: Outcome) -> None:
    if frame.truth is None:
        return
    tally = outcome.tallies.setdefault(frame.folder, Tally())
    placement = place(size, options.geometry)
    try:
        moved = move(frame.truth, size, placement, options.visible, tally)
    except DataError as error:
        raise DataError(f"{frame.source}: {error}") from None
    outcome.boxes.setdefault(frame.folder, {})[name] = moved
    outcome.sizes.setdefault(frame.folder, {})[name] = placement.size


def _note(path: Path) -> Mapping[str, str] | None:
    """Return what a file says it was made from; empty where it says nothing or is damaged, None where there is none."""
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return {str(key): value for key, value in image.info.items() if isinstance(value, str)}
    # damaged files make decoders raise nearly anything
    except Exception:
        return {}


@lru_cache(maxsize=1)
def _digest(path: Path, _: int) -> str:
    """Return the hash of a file, kept for the next page of it."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _recipe(frame: Frame, options: Options) -> str:
    kind = f"{frame.kind} without fourth channel" if frame.kind == "thermal" and not options.fourth else frame.kind
    page = "" if frame.page is None else f", page {frame.page}"
    return f"{kind}{page}, {options.geometry}"


def _load(frame: Frame, options: Options) -> tuple[Image.Image, bool]:
    """Return a frame as Pillow's image, and whether it is a fourth channel."""
    if frame.kind == "thermal":
        return load_thermal(frame.source, fourth=options.fourth, page=frame.page)
    if frame.kind == "labels":
        return load_labels(frame.source, frame.owner), False
    return to_image(read_color(frame.source)), False


def load_thermal(path: Path, *, fourth: bool = True, page: int | None = None) -> tuple[Image.Image, bool]:
    """Return a thermal frame as ``L`` (``F`` where it is deeper than 8 bits), and whether it is a fourth channel.

    Counts stay as they are, but for those of dead pixels, which resizing would spread: they become the nearest other.

    Args:
        path: of the file.
        fourth: take a fourth channel that varies beside three of color for the frame.
        page: of a stack.

    Raises:
        DataError: a file that cannot be used.
    """
    gray = read_array(path, page or 0) if path.suffix.lower() == SUFFIX else read_gray(path, fourth=fourth, page=page)
    counts = gray.counts
    if gray.source.bits > 8:
        # the stretch to 8 bits is left to training, which reads counts as they are
        if gray.source.mode.startswith("F") or counts.min() < 0 or counts.max() > 65535:
            raise DataError(
                f"{path}: expected a thermal image of 8 or 16 bits; save temperatures as counts, such as 100 a kelvin"
            )
        counts = counts.clip(*robust_extremes(counts)).astype(np.float32)
    return Image.fromarray(counts), gray.fourth


def load_labels(path: Path, image: Path | None) -> Image.Image:
    """Return labels as ``L``, turned as their image is."""
    source = None if image is None else read_picture(image).source
    return Image.fromarray(read_labels(path, source).numpy().astype(np.uint8))


def to_file_mode(image: Image.Image) -> Image.Image:
    """Return what a PNG can hold: counts are rounded to 16 bits."""
    if image.mode != "F":
        return image
    return Image.fromarray(np.asarray(image).round().clip(0, 65535).astype(np.uint16))


def _png(image: Image.Image, frame: Frame, digest: str, recipe: str, options: Options) -> bytes:
    """Return the bytes of a result."""
    try:
        fitted = fit(image, options.geometry.cover, options.geometry.crop, nearest=frame.kind == "labels")
    except DataError as error:
        raise DataError(f"{frame.source}: {error}") from None
    note = PngInfo()
    # the last folders tell sources apart; the whole path would tell of the machine
    source = "/".join(frame.source.parts[-_PARTS:]).encode("ascii", "backslashreplace").decode()
    size = f"{image.width}x{image.height}"
    for key, text in ((_DIGEST, digest), (_RECIPE, recipe), (_SOURCE, source), (_SIZE, size)):
        note.add_text(key, text)
    buffer = io.BytesIO()
    to_file_mode(fitted).save(buffer, format="PNG", pnginfo=note)
    return buffer.getvalue()
