"""What becomes of which file of a tree, and what is left out and why."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ntir2dc.data.images import SUFFIXES
from ntir2dc.data.partners import name_of
from ntir2dc.data.samples import DataError
from ntir2dc.preparing.boxes import Coco, Truth
from ntir2dc.preparing.sides import Judged

Kind = Literal["color", "thermal", "labels"]

DEPTH = 4
"""How many folders below the one given a data set is looked for."""


@dataclass(frozen=True)
class Frame:
    """A file and what it becomes.

    Args:
        source: what is read.
        folder: of the result, such as ``trainA``.
        name: of the result, without suffix.
        kind: how it is read.
        truth: what is marked on it; None where nothing is known.
        owner: the image of a label map.
        page: of a stack; None where the file holds one frame.
    """

    source: Path
    folder: str
    name: str
    kind: Kind
    truth: Truth | None = None
    owner: Path | None = None
    page: int | None = None


@dataclass
class Plan:
    """All frames of a tree that are wanted, and all that is not.

    Args:
        root: of the tree.
        frames: in the order in which they are written.
        categories: of the boxes, by their ids.
        skipped: reasons, with the files and folders left out for each.
        problems: what the user has to see to.
        notes: how it was decided what goes where.
        judged: which visible frames were taken for day and night by their brightness.
    """

    root: Path
    frames: list[Frame] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)
    skipped: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    def skip(self, reason: str, *paths: Path) -> None:
        """Leave files or folders out."""
        if paths:
            self.skipped.setdefault(reason, []).extend(paths)

    def mark(self, coco: Coco, kind: Kind | None = None, within: Path | None = None) -> None:
        """Give frames, of one kind or below one folder, the boxes of a COCO file; those not listed are left without.

        How many are listed is noted; none is a problem.

        Raises:
            DataError: an image of the file that fits several frames, or a category that another file names otherwise.
        """
        for number, name in coco.categories.items():
            if self.categories.setdefault(number, name) != name:
                raise DataError(f"{coco.path}: calls category {number} {name}, another file {self.categories[number]}")
        self.problems += coco.problems
        taken: dict[str, Path] = {}
        fitting = 0
        for place, frame in enumerate(self.frames):
            if kind not in (None, frame.kind) or not (within is None or within in frame.source.parents):
                continue
            fitting += 1
            key = coco.key_of(Path(f"{frame.name}.png"))
            if key is None and frame.page is None:
                key = coco.key_of(frame.source)
            if key is None:
                continue
            if key in taken:
                raise DataError(f"{coco.path}: its {key} fits {taken[key]} and {frame.source}; write more of the path")
            taken[key] = frame.source
            self.frames[place] = replace(frame, truth=coco.truths[key])
        if fitting and not taken:
            self.problems.append(f"{coco.path}: lists none of the {fitting} frames, and no boxes are written for them")
        elif len(taken) < fitting:
            self.notes.append(f"boxes for {len(taken)} of {fitting} frames: the others are not listed in {coco.path}")

    def refuse_doubles(self) -> None:
        """Keep the first of several frames that would become one file; name the others as problems."""
        taken: dict[tuple[str, str], Path] = {}
        kept = []
        for frame in self.frames:
            key = frame.folder, name_of(Path(f"{frame.name}.png"))
            if key in taken:
                self.problems.append(f"{frame.source}: its result would replace that of {taken[key]}")
                continue
            taken[key] = frame.source
            kept.append(frame)
        self.frames = kept


def images_in(folder: Path, plan: Plan, *, recursive: bool = False, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Return the images of a folder, sorted by name; all else in it is noted as skipped."""
    images: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir():
            if path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
                plan.skip("link to a folder above", path)
            elif recursive and not path.name.startswith("."):
                images += images_in(path, plan, recursive=True, suffixes=suffixes)
            else:
                plan.skip("subfolder, not searched", path)
        elif path.name.startswith("."):
            plan.skip("hidden", path)
        elif path.suffix.lower() not in suffixes:
            plan.skip(f"not an image ({path.suffix or 'no suffix'})", path)
        else:
            images.append(path)
    return images


def find_root(start: Path, is_root: Callable[[Path], bool], expected: str) -> Path:
    """Return the folder that is the root of a tree, at or below the one given.

    Raises:
        DataError: none, or several.
    """
    if not start.is_dir():
        raise DataError(f"{start}: no such folder")
    roots: list[Path] = []
    level = [start]
    for _ in range(DEPTH + 1):
        deeper: list[Path] = []
        for folder in level:
            if is_root(folder):
                roots.append(folder)
            else:
                deeper += subfolders(folder)
        level = deeper
    if not roots:
        found = ", ".join(path.name for path in subfolders(start)[:6]) or "no folder"
        raise DataError(f"{start}: expected {expected} in it or at most {DEPTH} folders below, found {found}")
    if len(roots) > 1:
        raise DataError(f"{start}: holds several such trees ({', '.join(map(str, roots[:4]))}); name one of them")
    return roots[0]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def number_of(path: Path) -> int:
    """Return the last number in a file's name, or 0."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else 0


def thinned(paths: Sequence[Path], every: int, number: Callable[[Path], int] = number_of) -> list[Path]:
    """Return the first frame of a sequence and then the next at least ``every`` numbers on.

    By number and not by place, so that a tree of every 20th frame is not thinned once more.
    """
    kept: list[Path] = []
    due: int | None = None
    for path in sorted(paths, key=number):
        if due is None or number(path) >= due:
            kept.append(path)
            due = number(path) + every
    return kept


def unique_names(paths: Iterable[Path], root: Path) -> dict[Path, str]:
    """Return a name for each file: its place below the root, folders joined by "_"."""
    return {path: "_".join((*path.relative_to(root).parent.parts, path.stem)) for path in paths}
