"""Image files to tensors in [-1, 1] and back; the one place that knows how thermal images are stored.

Thermal images are white-hot (warm is bright), gray of 8 bits, repeated to three channels, for training and inference
alike. What a file holds is read in ``samples``, gray of any depth in ``gray``, label and edge maps in ``maps``; what
becomes black and white is chosen in ``thermal``.
"""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ntir2dc.data.gray import read_gray
from ntir2dc.data.maps import read_edges, read_labels
from ntir2dc.data.samples import DataError, Source, read_picture
from ntir2dc.data.thermal import Tones
from ntir2dc.files import write_atomically

__all__ = [
    "SMALLEST",
    "SUFFIXES",
    "DataError",
    "check_size",
    "list_images",
    "list_thermal",
    "load_color",
    "load_thermal",
    "read_color",
    "read_edges",
    "read_labels",
    "read_thermal",
    "save_image",
    "to_image",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

OWN_TONES = Tones()
"""Each frame by itself, white-hot."""

SMALLEST = 8
"""The least height and width that the networks take."""


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name; an empty list where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def list_thermal(folder: Path) -> list[Path]:
    """Return the image files of a folder of thermal frames, one frame a file.

    Raises:
        DataError: arrays of numpy among them, which would be passed over.
    """
    arrays = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".npy") if folder.is_dir() else []
    if arrays:
        raise DataError(
            f"{arrays[0]}: is an array, and here a file is an image of one frame; move it into another folder, and "
            f"python examples/prepare_data.py --input FOLDER --output {shlex.quote(str(folder))} --thermal makes an "
            "image of each frame"
        )
    return list_images(folder)


def check_size(source: Source, least: int = SMALLEST, what: str = "the 8 x 8 that the networks take") -> None:
    """Raise a :class:`DataError` for an image that is smaller than ``least`` in height or width."""
    if min(source.size) < least:
        raise DataError(f"{source.path}: is {source.size[1]} x {source.size[0]}, smaller than {what}")


# ---- color -----------------------------------------------------------------------------------------------------------


def read_color(path: Path | str) -> Tensor:
    """Read a color image; gray is repeated, an alpha channel dropped.

    Returns:
        float32 ``(3, H, W)`` in [-1, 1].

    Raises:
        DataError: a file that is missing or damaged, that holds several pictures, or gray deeper than 8 bits.
    """
    return load_color(path)[0]


def load_color(path: Path | str) -> tuple[Tensor, Source]:
    """Read a color image as :func:`read_color` does; return with it what the file says of it."""
    picture = read_picture(path)
    if picture.deep is None:
        pixels = _to_tensor(picture.upright(np.array(picture.without_alpha().convert("RGB"))))
    elif picture.deep.shape[2] >= 3:
        pixels = torch.from_numpy(picture.upright(picture.deep[..., :3]).astype(np.float32)) / 32767.5 - 1
    else:
        raise DataError(f"{path}: expected an 8-bit color image, got mode {picture.source.mode}")
    return pixels.permute(2, 0, 1).contiguous(), picture.source


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).float() / 127.5 - 1


# ---- thermal ---------------------------------------------------------------------------------------------------------


def read_thermal(path: Path | str, tones: Tones = OWN_TONES) -> Tensor:
    """Read a thermal image as gray values (:func:`read_gray`) in which warm is bright, repeated to three channels.

    Choice: alone, an image of more than 8 bits is stretched from its own minimum and maximum (dead pixels left out,
    :func:`robust_extremes`) to 8 bits, all black if they are equal, since raw counts differ by camera. Frames of a
    sequence stay comparable with the tones of their folder (:func:`ntir2dc.data.thermal.tones_of`).

    Args:
        path: of the file.
        tones: what becomes black and white.

    Returns:
        float32 ``(3, H, W)`` in [-1, 1], the three channels equal.

    Raises:
        DataError: a file that is missing or damaged, that holds several pictures, NaN or infinity.
    """
    return load_thermal(path, tones)[0]


def load_thermal(path: Path | str, tones: Tones = OWN_TONES) -> tuple[Tensor, Source]:
    """Read a thermal image as :func:`read_thermal` does; return with it what the file says of it."""
    gray = read_gray(path)
    return _to_tensor(tones.of(gray)).repeat(3, 1, 1), gray.source


# ---- pictures --------------------------------------------------------------------------------------------------------


def to_image(x: Tensor) -> Image.Image:
    """Return a ``(3, H, W)`` tensor in [-1, 1] as an 8-bit RGB image; values beyond are clipped."""
    if x.ndim != 3 or x.shape[0] != 3:
        raise ValueError(f"x: expected (3, H, W), got {tuple(x.shape)}")
    pixels = ((x.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image whole or not at all, in the format of the suffix; JPEG in high quality."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: expected one of the suffixes {', '.join(SUFFIXES)}")
    buffer = io.BytesIO()
    if suffix in (".jpg", ".jpeg"):
        image.save(buffer, format="JPEG", quality=95, subsampling=0)
    else:
        image.save(buffer, format={".png": "PNG", ".bmp": "BMP"}.get(suffix, "TIFF"))
    write_atomically(path, buffer.getvalue())
