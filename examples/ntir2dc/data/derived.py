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

_KEY = "made from"


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


def is_derived(path: Path) -> bool:
    """Whether a file says that it was derived, from whatever it was."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return _KEY in image.info
    # absent, or damaged in any way
    except Exception:
        return False


def keep(path: Path, pixels: NDArray[np.uint8], key: str) -> None:
    """Write gray pixels ``(H, W)`` as a PNG that holds its key."""
    note = PngInfo()
    note.add_text(_KEY, key)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=note)
    write_atomically(path, buffer.getvalue())
