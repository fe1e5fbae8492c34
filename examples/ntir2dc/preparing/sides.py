"""Day or night, for a data set that does not say: lists of frames, or how bright the visible frame is.

What was decided by brightness is written to a table that can be corrected and is read back, and shown on a sheet.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ntir2dc.data.samples import FORMATS, DataError
from ntir2dc.files import write_text
from ntir2dc.run.contact_sheet import save_sheet

Side = Literal["day", "night", "undecided"]

TABLE, SHEET = "day_night.csv", "day_night.png"

LISTS = ("trainA", "trainB", "valB")
"""The lists that are looked for, as ``trainA.txt`` with an id a line."""

_PER_ROW, _ROWS = 6, 8


@dataclass(frozen=True)
class Judged:
    """A frame, how bright it is (0 to 255), and what that was taken for."""

    path: Path
    brightness: float
    side: Side


def read_lists(folder: Path) -> dict[str, list[int]]:
    """Return the ids of each list: the last number of each line, whatever is written around it.

    Raises:
        DataError: no folder, no list in it, or a line without a number.
    """
    found: dict[str, list[int]] = {}
    for name in LISTS:
        path = folder / f"{name}.txt"
        if not path.is_file():
            continue
        found[name] = []
        # only the digits count, whatever the encoding
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            numbers = re.findall(r"\d+", re.sub(r"\.\w+$", "", line.strip()))
            if not numbers and line.strip():
                raise DataError(f'{path}: expected an id such as FLIR_00012 in every line, got "{line[:60]}"')
            found[name] += [int(numbers[-1])] if numbers else []
    if not found:
        raise DataError(f"{folder}: expected {', '.join(f'{name}.txt' for name in LISTS)}, found none")
    return found


def brightness_of(path: Path) -> float:
    """Return the mean gray value of a visible frame, of its reduced copy where that is quicker.

    Raises:
        DataError: a file that cannot be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            # a JPEG decodes at an eighth in a fraction of the time
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
            return float(np.asarray(image.convert("RGB").convert("L"), dtype=np.float64).mean())
    # damaged files make decoders raise nearly anything
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def side_of(brightness: float, limits: tuple[float, float]) -> Side:
    """Return night up to the lower limit, day from the upper one on."""
    return "night" if brightness <= limits[0] else "day" if brightness >= limits[1] else "undecided"


def judge(
    paths: Sequence[Path],
    known: Mapping[str, Judged],
    limits: tuple[float, float],
    problems: list[str],
    watch: Callable[[Sequence[Path]], Iterable[Path]],
) -> list[Judged]:
    """Return day or night for each visible frame that can be read; ``known`` decides for the names in it."""
    judged = []
    for path in watch(paths):
        try:
            before = known.get(path.stem)
            value = brightness_of(path) if before is None else before.brightness
            judged.append(Judged(path, value, side_of(value, limits) if before is None else before.side))
        except DataError as error:
            problems.append(str(error))
    return judged


def read_table(path: Path) -> dict[str, Judged]:
    """Return what a table says, by the names of frames; empty where there is none.

    Raises:
        DataError: a table that was corrected into something else.
    """
    if not path.is_file():
        return {}
    found: dict[str, Judged] = {}
    try:
        for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
            side = row["side"].strip().lower()
            if side not in ("day", "night", "undecided"):
                raise ValueError(f'"{side}" for {row["frame"]}')
            found[row["frame"]] = Judged(Path(row["frame"]), float(row["brightness"]), side)  # type: ignore[arg-type]
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise DataError(
            f"{path}: expected the columns frame, brightness and side (day, night or undecided), got {error}"
        ) from None
    return found


def write_review(folder: Path, judged: Sequence[Judged], limits: tuple[float, float]) -> None:
    """Write the table of all frames, and a sheet of those nearest to the limits, from dark to bright."""
    rows = [f"{entry.path.stem},{entry.brightness:.2f},{entry.side}\n" for entry in judged]
    write_text(folder / TABLE, "frame,brightness,side\n" + "".join(rows))
    near = sorted(judged, key=lambda entry: min(abs(entry.brightness - limit) for limit in limits))
    shown = sorted(near[: _PER_ROW * _ROWS], key=lambda entry: entry.brightness)
    pictures = []
    for entry in shown:
        with Image.open(entry.path, formats=FORMATS) as image:
            picture = image.convert("RGB")
        picture.thumbnail((160, 128))
        captioned = Image.new("RGB", (160, 142), "white")
        captioned.paste(picture, (0, 14))
        _write(captioned, f"{entry.path.stem[-14:]} {entry.brightness:.0f} {entry.side}")
        pictures.append(captioned)
    blank = Image.new("RGB", (160, 142), "white")
    pictures += [blank] * (-len(pictures) % _PER_ROW)
    lines = [pictures[i : i + _PER_ROW] for i in range(0, len(pictures), _PER_ROW)]
    save_sheet(folder / SHEET, lines, [""] * _PER_ROW)


def _write(picture: Image.Image, text: str) -> None:
    from PIL import ImageDraw

    # the small built-in font knows Latin letters only
    ImageDraw.Draw(picture).text((1, 1), text.encode("ascii", "replace").decode(), fill="black")
