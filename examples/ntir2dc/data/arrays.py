"""Frames in numpy's own files: one ``(H, W)``, or a sequence ``(N, H, W)``, of which only what is asked for is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntir2dc.data.gray import Gray
from ntir2dc.data.samples import DataError, Source

SUFFIX = ".npy"


def open_array(path: Path | str) -> NDArray[Any]:
    """Return the frames of a file as ``(N, H, W)``, yet to be read from disk.

    Raises:
        DataError: a file that is missing or damaged, or that holds anything but frames of 8 or 16 bits.
    """
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array of numpy ({error})") from None
    if frames.ndim == 2:
        frames = frames[None]
    if frames.ndim != 3 or 0 in frames.shape or frames.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{path}: expected (H, W) or (N, H, W) of uint8 or uint16, got {frames.shape} of {frames.dtype}; save "
            "temperatures as counts, such as 100 a kelvin"
        )
    found: NDArray[Any] = frames
    return found


def read_array(path: Path, page: int) -> Gray:
    """Return a frame of a file as gray values.

    Raises:
        DataError: as :func:`open_array`.
    """
    frames = open_array(path)
    counts = np.array(frames[page])
    bits = 8 * counts.itemsize
    source = Source(
        path, "NPY", "L" if bits == 8 else "I;16", bits, False, False, 1, (counts.shape[0], counts.shape[1])
    )
    return Gray(counts if bits == 8 else counts.astype(np.float64), (0.0, float(2**bits - 1)), source)
