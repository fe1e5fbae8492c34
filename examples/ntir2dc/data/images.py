"""Image files to tensors in [-1, 1] and back; the one place that knows how thermal images are stored.

Thermal images are white-hot (warm is bright), gray of 8 bits, repeated to three channels, for training and inference
alike. What a file holds is read in :mod:`ntir2dc.data.samples`; here it becomes gray, color, labels or edges.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ntir2dc.data.samples import DataError, Picture, Source, read_picture, turned
from ntir2dc.files import write_atomically

__all__ = [
    "SUFFIXES",
    "DataError",
    "Gray",
    "Source",
    "list_images",
    "load_color",
    "load_thermal",
    "read_color",
    "read_edges",
    "read_gray",
    "read_labels",
    "read_thermal",
    "robust_extremes",
    "save_image",
    "to_image",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

# Pillow's, for ITU-R BT.601
_GRAY_WEIGHTS = np.array((19595, 38470, 7471)) / 65536


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name; an empty list where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


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
        pixels = _to_tensor(picture.upright(np.array(_without_alpha(picture).convert("RGB"))))
    elif picture.deep.shape[2] >= 3:
        pixels = torch.from_numpy(picture.upright(picture.deep[..., :3]).astype(np.float32)) / 32767.5 - 1
    else:
        raise DataError(f"{path}: expected an 8-bit color image, got mode {picture.source.mode}")
    return pixels.permute(2, 0, 1).contiguous(), picture.source


def _without_alpha(picture: Picture) -> Image.Image:
    """Return ``L`` where the image is gray and ``RGB`` otherwise."""
    image = picture.image
    try:
        if image.mode == "La":
            image = image.convert("LA")
        if image.mode in ("1", "L", "LA"):
            return image.convert("L")
        # a palette's transparency only survives, and is only dropped without a warning, by way of RGBA
        return image.convert("RGBA" if image.mode in ("P", "PA") else "RGB").convert("RGB")
    except ValueError:
        raise DataError(f"{picture.source.path}: expected gray or RGB, got mode {image.mode}") from None


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).float() / 127.5 - 1


# ---- gray ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gray:
    """A gray picture, the largest value the brightest, and what is known about it.

    Args:
        counts: ``(H, W)``: uint8 up to 8 bits, else float64.
        span: what the file could hold, from black to white; of floats, and of 32 bits, what it does hold.
        source: what the file says.
        fourth: whether these are the values of a fourth channel beside three of color.
    """

    counts: NDArray[Any]
    span: tuple[float, float]
    source: Source
    fourth: bool = False

    @property
    def unit(self) -> NDArray[np.float64]:
        """The values in [0, 1], of all that the file could hold."""
        return self.between(*self.span)

    def between(self, low: float, high: float, white: float = 1) -> NDArray[np.float64]:
        """Return the values in [0, white]: ``low`` and less becomes 0, ``high`` and more ``white``; all 0 if equal."""
        scale = white / (high - low) if high > low else 0
        values: NDArray[np.float64] = ((self.counts - low) * scale).clip(0, white)
        return values


def read_gray(path: Path | str, *, fourth: bool = False) -> Gray:
    """Read a picture as gray values as they are stored, white as the largest.

    Color is converted to gray (ITU-R BT.601), an alpha channel is dropped. A false-color palette is not undone. Which
    values become black and white is left to the caller (:meth:`Gray.between`).

    Args:
        path: of the file.
        fourth: take a fourth channel that varies beside three that hold color: MFNet stores its thermal images so.

    Raises:
        DataError: a file that is missing or damaged, that holds several pictures, NaN or infinity.
    """
    picture = read_picture(path)
    source, deep = picture.source, picture.deep
    if fourth and (channel := _fourth_channel(picture)) is not None:
        span = (0.0, 255.0 if deep is None else 65535.0)
        return Gray(picture.upright(channel if deep is None else channel.astype(np.float64)), span, source, True)
    if deep is None:  # Pillow has seen to the polarity
        return Gray(picture.upright(np.array(_without_alpha(picture).convert("L"))), (0.0, 255.0), source)
    counts = deep[..., :3] @ _GRAY_WEIGHTS if deep.shape[2] >= 3 else deep[..., 0].astype(np.float64)
    low, high = float(counts.min()), float(counts.max())
    if not np.isfinite(high - low):
        raise DataError(f"{path}: holds values that are not finite")
    if source.bits <= 16 and low >= 0:
        low, high = 0.0, float(2**source.bits - 1)
    if source.white_is_zero:
        counts = low + high - counts
    return Gray(picture.upright(counts), (low, high), source)


def _fourth_channel(picture: Picture) -> NDArray[Any] | None:
    """Return the fourth channel where three others hold color and it is not the same everywhere."""
    if picture.deep is None:
        channels: NDArray[Any] = np.array(picture.image) if picture.image.mode == "RGBA" else np.empty((0, 0, 0))
    else:
        channels = picture.deep
    if channels.shape[2] != 4 or bool((channels[..., 3] == channels[0, 0, 3]).all()):
        return None
    colored = bool((channels[..., :3] != channels[..., :1]).any())
    return channels[..., 3] if colored else None


def robust_extremes(counts: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value of a frame ``(H, W)``, dead pixels left out.

    A dead pixel, row or column is alone: no block of 2 x 2 pixels holds its value. Values that lie outside the range of
    the blocks by more than twice its width are left out; without such the extremes are exact.
    """
    low, high = float(counts.min()), float(counts.max())
    if min(counts.shape) < 3:
        return low, high
    corners = [counts[i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1)]
    held_low, held_high = float(np.max(corners, 0).min()), float(np.min(corners, 0).max())
    reach = 2 * (held_high - held_low)
    if reach <= 0:  # a small or a flat frame
        return low, high
    alive = counts[(counts >= held_low - reach) & (counts <= held_high + reach)]
    return float(alive.min()), float(alive.max())


def read_thermal(path: Path | str) -> Tensor:
    """Read a white-hot thermal image as gray values (:func:`read_gray`), repeated to three channels.

    Choice: an image of more than 8 bits is stretched from its own minimum and maximum (dead pixels left out,
    :func:`robust_extremes`) to 8 bits, all black if they are equal, since raw counts differ by camera. Frames of a
    sequence whose brightness must stay comparable should be converted to 8 bits together, beforehand.

    Returns:
        float32 ``(3, H, W)`` in [-1, 1], the three channels equal.

    Raises:
        DataError: a file that is missing or damaged, that holds several pictures, NaN or infinity.
    """
    return load_thermal(path)[0]


def load_thermal(path: Path | str) -> tuple[Tensor, Source]:
    """Read a thermal image as :func:`read_thermal` does; return with it what the file says of it."""
    gray = read_gray(path)
    pixels = gray.counts
    if gray.source.bits > 8:
        pixels = np.rint(gray.between(*robust_extremes(gray.counts), white=255)).astype(np.uint8)
    return _to_tensor(pixels).repeat(3, 1, 1), gray.source


# ---- labels and edges, which belong to an image ----------------------------------------------------------------------


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
    if gray.source.bits <= 8:
        if gray.counts.max(initial=0) == 1:
            raise DataError(f"{path}: holds 0 and 1, expected edges white (255) on black (0)")
        edges = (_to_tensor(_fitted(gray.counts, Path(path), image)) + 1) / 2
    else:
        span = gray.span if gray.source.bits <= 16 else (0, 1)
        if gray.counts.min() < span[0] or gray.counts.max() > span[1]:
            raise DataError(f"{path}: holds values outside [0, 1], expected edges white on black")
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
