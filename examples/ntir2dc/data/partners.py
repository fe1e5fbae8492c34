"""Which file of one folder belongs to which of another: those of one name, whatever their suffixes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from ntir2dc.data.images import list_images
from ntir2dc.data.samples import DataError


def name_of(path: Path) -> str:
    """Return what files are joined by: the name without its suffix, an accent in one character with its letter.

    Some systems store "é" as one character and some as two.
    """
    return unicodedata.normalize("NFC", path.stem)


def by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by their names.

    Raises:
        DataError: two files of one name.
    """
    files: dict[str, Path] = {}
    for path in paths:
        name = name_of(path)
        if name in files:
            raise DataError(f"{path}: has the name of {files[name].name}, and files are joined by their names")
        files[name] = path
    return files


def partners_of(
    images: Sequence[Path], folder: Path, *, complete: bool, strict: bool = False, kind: str = "map"
) -> list[Path | None]:
    """Return for each image the file of its name in a folder.

    Args:
        images: files of another folder.
        folder: where to look.
        complete: an image without a partner is an error, not None.
        strict: a file without an image is one, too.
        kind: what a partner is called.

    Raises:
        DataError: names the first file that has no partner, or that shares its name with another.
    """
    mine, theirs = by_name(images), by_name(list_images(folder))
    for name, path in theirs.items():
        if strict and name not in mine:
            raise DataError(f"{path}: has no image of its name in {images[0].parent}")
    for name, image in mine.items():
        if complete and name not in theirs:
            raise DataError(f"{image}: has no {kind} of its name in {folder}")
    return [theirs.get(name) for name in mine]
