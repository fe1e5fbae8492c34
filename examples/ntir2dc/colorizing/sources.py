"""Which files are translated, and where each result goes."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from ntir2dc.data.images import SUFFIXES, DataError
from ntir2dc.data.partners import name_of

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")
"""The suffixes of what is read as a video."""

WRITTEN_VIDEOS = (".mp4", ".m4v", ".mov", ".mkv")
"""Those of videos that are written; others become the first."""

Pair = tuple[Path, Path]
"""What is read, and what is written."""


def is_video(path: Path) -> bool:
    """Whether a file is a video by its suffix."""
    return path.suffix.lower() in VIDEOS


def plan(source: Path, output: Path, *, recursive: bool = False) -> list[Pair]:
    """Return pairs of a file to read and the one to write.

    JPEG stays JPEG and other images become PNG, an MP4, MOV or MKV stays what it is and other videos become MP4, unless
    ``output`` names a file. Results lie below the output as what they are made from lies below the folder, that of a
    pattern being the one before its first wildcard.

    Args:
        source: an image, a video, a folder of them, or a pattern such as ``night/*_ir.png``.
        output: a folder, or a file for a single file.
        recursive: take what lies in subfolders too, but not in the output.

    Raises:
        DataError: nothing to translate, or an output that would replace an input.
    """
    root, sources = _find(source, output, recursive)
    if source.is_file() and not output.is_dir() and output.suffix:
        suffixes = WRITTEN_VIDEOS if is_video(source) else SUFFIXES
        if output.suffix.lower() not in suffixes:
            raise DataError(f"{output}: expected a folder, or a file with one of the suffixes {', '.join(suffixes)}")
        pairs = [(source, output)]
    elif output.exists() and not output.is_dir():
        raise DataError(f"{output}: is a file, expected a folder")
    else:
        pairs = [(path, output / _result_of(path.relative_to(root))) for path in sources]
    inputs = {path.resolve() for path in sources}
    for _, target in pairs:
        if target.resolve() in inputs:
            raise DataError(f"{target}: would replace an input; choose another output")
    return pairs


def without_doubles(pairs: Iterable[Pair], problems: list[str]) -> list[Pair]:
    """Keep the first of several files whose results would be one; the others are added to ``problems``."""
    taken: dict[tuple[Path, str], Path] = {}
    kept = []
    for source, target in pairs:
        # JPEG beside PNG are two files, accents composed in two ways are one on some systems
        key = target.parent, f"{name_of(target)}{target.suffix}"
        if key in taken:
            problems.append(f"{source}: its result would replace that of {taken[key]}")
            continue
        taken[key] = source
        kept.append((source, target))
    return kept


def _find(source: Path, output: Path, recursive: bool) -> tuple[Path, list[Path]]:
    """Return the folder that names are relative to, and the files."""
    if source.is_file():
        return source.parent, [source]
    known = (*SUFFIXES, *VIDEOS)
    result = output.resolve()
    if source.is_dir():
        # results of an earlier call are no inputs
        files = list(_files_in(source, recursive, result))
        if not files:
            more = "" if recursive else "; those of its subfolders are taken with --recursive"
            raise DataError(f"{source}: holds no image ({', '.join(SUFFIXES)}) and no video{more}")
        return source, files
    if not glob.has_magic(str(source)):
        raise DataError(f"{source}: no such file or folder")
    found = (Path(name) for name in glob.glob(str(source), recursive=True))
    root = Path(*source.parts[: next(i for i, part in enumerate(source.parts) if glob.has_magic(part))])
    inside = result != root.resolve() and root.resolve() in result.parents
    files = sorted(
        path
        for path in found
        if path.is_file() and path.suffix.lower() in known and not (inside and result in path.resolve().parents)
    )
    if not files:
        raise DataError(f"{source}: fits no image and no video")
    return root, files


def _files_in(folder: Path, recursive: bool, output: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in (*SUFFIXES, *VIDEOS) and not path.is_dir():
            yield path
        elif recursive and path.is_dir() and path.resolve() != output:
            yield from _files_in(path, recursive, output)


def _result_of(path: Path) -> Path:
    suffix = path.suffix.lower()
    if is_video(path):
        return path if suffix in WRITTEN_VIDEOS else path.with_suffix(WRITTEN_VIDEOS[0])
    return path if suffix in (".jpg", ".jpeg") else path.with_suffix(".png")
