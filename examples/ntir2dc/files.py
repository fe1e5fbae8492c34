"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that an interruption leaves the old one or the new one; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # a name may be as long as a name can be
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that an interruption leaves the old file or the new one; makes the folder."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all; what UTF-8 cannot hold of a file's name becomes an escape."""
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def check_writable(folder: Path) -> None:
    """Raise an ``OSError`` where nothing can be written into a folder, there or yet to be made; makes nothing."""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"{place}: is a file, expected a folder")
    if not os.access(place, os.W_OK):
        raise PermissionError(f"{place}: nothing can be written there")


def attempt(write: Callable[[], object], path: Path, problems: list[str], *, one_of_many: bool = False) -> bool:
    """Call what writes ``path`` and return whether it did; what went wrong is added to ``problems``.

    Raises:
        OSError: with ``one_of_many``, where the others cannot be written either, on a full or read-only disk.
    """
    try:
        write()
    except (OSError, ValueError) as error:
        if one_of_many and isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        problems.append(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})")
        return False
    return True


@contextmanager
def named_in_text(path: Path) -> Iterator[Path]:
    """Give the path of a file, or that of a copy where its name is no text: safetensors opens no other."""
    try:
        os.fsencode(path).decode()
        is_text = True
    except UnicodeDecodeError:
        is_text = False
    if is_text:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder) / "copy"))
