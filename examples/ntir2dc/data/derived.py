"""Pictures made from others, kept in files that say what they were made from: contents and options, not dates."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import morn_losses
from ntir2dc.files import write_atomically

RECIPE = 1
"""Counts the changes to how pictures are derived: what was made before is made anew."""

_KEY, _KEEPER = "made from", "kept by"


def key_of(sources: Iterable[Path], options: object) -> str:
    """Return what tells a derived picture from one of other files or options: a hash of all contents."""
    digest = hashlib.sha256(repr((RECIPE, morn_losses.__version__, options)).encode())
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def is_kept(path: Path, key: str) -> bool:
    """Whether a file is whole and was made from what the key stands for."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return image.info.get(_KEY) == key
    # absent, or damaged in any way
    except Exception:
        return False


def keeper_of(path: Path) -> str | None:
    """Return which command wrote a file by :func:`keep`, or None."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return image.info.get(_KEEPER)
    # absent, or damaged in any way
    except Exception:
        return None


def keep(path: Path, pixels: NDArray[np.uint8], key: str, keeper: str | None = None) -> None:
    """Write gray pixels ``(H, W)`` as a PNG that holds its key, and the command that keeps it if there is one."""
    note = PngInfo()
    note.add_text(_KEY, key)
    if keeper is not None:
        note.add_text(_KEEPER, keeper)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=note)
    write_atomically(path, buffer.getvalue())
