"""Label and edge maps, which belong to an image and lie on it as it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.data.gray import read_gray
from ntir2dc.data.samples import DataError, Source, read_picture, turned


def read_known_labels(path: Path | str, image: Source | None, space: LabelSpace) -> Tensor:
    """Read a label map as :func:`read_labels` does.

    Raises:
        DataError: also ids that the space does not know.
    """
    labels = read_labels(path, image)
    known = space.mask(labels, range(len(space))) | (labels == space.ignore_index)
    if not known.all():
        unknown = sorted(set(labels[~known].tolist()))[:5]
        raise DataError(f"{path}: holds ids {unknown}, which are neither in [0, {len(space)}) nor {space.ignore_index}")
    return labels


def read_labels(path: Path | str, image: Source | None = None) -> Tensor:
    """Read a label map: the 8-bit gray values, or palette indices, are the class ids.

    Args:
        path: of the file.
        image: the image it belongs to. A map of the size in which that is stored is turned with it.

    Returns:
        int64 ``(H, W)``.

    Raises:
        DataError: a file that is missing or damaged, that is not single-channel 8-bit (or a palette), whose compression
            may have invented ids along every border, or that does not have the size of its image.
    """
    picture = read_picture(path)
    source, mode = picture.source, picture.image.mode
    if source.lossy:
        raise DataError(f"{path}: expected a label map in a lossless format such as PNG, got lossy {source.format}")
    wanted = "expected a label map of a single 8-bit channel (mode L or P)"
    if mode not in ("L", "P"):
        raise DataError(f"{path}: {wanted}, got mode {mode}")
    if mode == "L" and source.bits < 8:  # some programs store 3 for the id 3, others for the gray 3 * 17 of 4 bits
        raise DataError(f"{path}: {wanted}, got gray of {source.bits} bits, whose ids are not certain")
    if mode == "L" and source.white_is_zero:
        raise DataError(f"{path}: {wanted}, got a TIFF that stores 0 for white, whose ids are not certain")
    ids = picture.upright(np.array(picture.image))
    return torch.from_numpy(_fitted(ids, Path(path), image)).long()


def read_edges(path: Path | str, image: Source | None = None) -> Tensor:
    """Read an edge map as float32 ``(H, W)`` in [0, 1]; white is an edge.

    Args:
        path: of the file.
        image: the image it belongs to. A map of the size in which that is stored is turned with it.

    Raises:
        DataError: a file that cannot be read, a map of 0 and 1 in place of black and white, floats outside [0, 1], or a
            map that does not have the size of its image.
    """
    gray = read_gray(path)
    span = gray.span if gray.source.bits <= 16 else (0, 1)
    largest = gray.counts.max()
    if gray.counts.min() < span[0] or largest > span[1]:
        raise DataError(f"{path}: holds values outside [0, 1], expected edges white on black")
    if 0 < largest <= span[1] / 255:  # a mask of 0 and 1, or of 8 bits in a file of 16
        raise DataError(f"{path}: holds values up to {largest:g}, expected edges white ({span[1]:g}) on black (0)")
    if gray.source.bits <= 8:
        edges = ((torch.from_numpy(_fitted(gray.counts, Path(path), image)).float() / 127.5 - 1) + 1) / 2
    else:
        edges = torch.from_numpy(_fitted(gray.between(*span), Path(path), image)).float()
    return edges


def _fitted(values: NDArray[Any], path: Path, image: Source | None) -> NDArray[Any]:
    """Return a map as it lies on its image."""
    if image is None or values.shape == image.size:
        return values
    if values.shape == image.stored_size:
        return turned(values, image.orientation)
    (H, W), (height, width) = values.shape, image.size
    raise DataError(f"{path}: is {W} x {H}, its image {image.path} is {width} x {height}")
