"""Image files to tensors in [-1, 1] and back; the one place that knows how thermal images are stored.

Thermal images are white-hot (warm is bright), 8-bit gray, repeated to three channels, for training and inference alike.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ntir2dc.files import write_atomically

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class DataError(ValueError):
    """A file or folder that cannot be used; the message starts with its path."""


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name; an empty list where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _open(path: Path | str) -> Image.Image:
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            image.load()
            # as every viewer shows it; a note that is damaged changes nothing
            with contextlib.suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
            return image
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image of a known format") from None
    # damaged files make decoders raise nearly anything
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _without_alpha(image: Image.Image) -> Image.Image:
    """Return ``L`` where the image is gray and ``RGB`` otherwise."""
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L")
    # a palette's transparency only survives, and is only dropped without a warning, by way of RGBA
    return image.convert("RGBA" if image.mode in ("P", "PA") else "RGB").convert("RGB")


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).float() / 127.5 - 1


def read_color(path: Path | str) -> Tensor:
    """Read a color image; gray is repeated, an alpha channel dropped.

    Returns:
        float32 ``(3, H, W)`` in [-1, 1].

    Raises:
        DataError: a file that is missing, damaged, or deeper than 8 bits a channel.
    """
    image = _open(path)
    if image.mode in _DEEP_MODES:
        raise DataError(f"{path}: expected an 8-bit color image, got mode {image.mode}")
    return _to_tensor(np.array(_without_alpha(image).convert("RGB"))).permute(2, 0, 1).contiguous()


def read_thermal(path: Path | str) -> Tensor:
    """Read a white-hot thermal image as gray values, repeated to three channels.

    Color is converted to gray (ITU-R BT.601), an alpha channel is dropped. A false-color palette is not undone.

    Choice: an image of 16 bits or of floats is stretched from its own minimum and maximum to 8 bits (all black if they
    are equal), since raw counts differ by camera. Frames of a sequence whose brightness must stay comparable should
    be converted to 8 bits together, beforehand.

    Returns:
        float32 ``(3, H, W)`` in [-1, 1], the three channels equal.

    Raises:
        DataError: a file that is missing or damaged, or that holds NaN or infinity.
    """
    image = _open(path)
    if image.mode in _DEEP_MODES:
        counts = np.asarray(image, dtype=np.float64)
        low, high = counts.min(), counts.max()
        if not np.isfinite(high - low):
            raise DataError(f"{path}: holds values that are not finite")
        pixels = np.rint((counts - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    else:
        pixels = np.array(_without_alpha(image).convert("L"))
    return _to_tensor(pixels).repeat(3, 1, 1)


def read_labels(path: Path | str) -> Tensor:
    """Read a label map: the 8-bit gray values, or palette indices, are the class ids.

    Returns:
        int64 ``(H, W)``.

    Raises:
        DataError: a file that is missing or damaged, that is not single-channel 8-bit, or that is a JPEG, whose
            compression invents ids along every border.
    """
    image = _open(path)
    if image.mode not in ("L", "P"):
        raise DataError(f"{path}: expected a label map of a single 8-bit channel (mode L or P), got mode {image.mode}")
    if image.format in ("JPEG", "MPO"):
        raise DataError(f"{path}: expected a label map in a lossless format such as PNG, got {image.format}")
    return torch.from_numpy(np.array(image)).long()


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
