"""Gray pictures of any depth: their values as they are stored, and which of them are black and white."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntir2dc.data.samples import DataError, Picture, Source, read_picture

# Pillow's, for ITU-R BT.601
_WEIGHTS = np.array((19595, 38470, 7471)) / 65536


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


def read_gray(path: Path | str, *, fourth: bool = False, page: int | None = None) -> Gray:
    """Read a picture as gray values as they are stored, white as the largest.

    Color is converted to gray (ITU-R BT.601), an alpha channel is dropped. A false-color palette is not undone. Which
    values become black and white is left to the caller (:meth:`Gray.between`).

    Args:
        path: of the file.
        fourth: take a fourth channel that varies beside three that hold color: MFNet stores its thermal images so.
        page: of a stack.

    Raises:
        DataError: a file that is missing or damaged, that holds several pictures, NaN or infinity.
    """
    picture = read_picture(path, page)
    source, deep = picture.source, picture.deep
    if fourth and (channel := _fourth_channel(picture)) is not None:
        span = (0.0, 255.0 if deep is None else 65535.0)
        return Gray(picture.upright(channel if deep is None else channel.astype(np.float64)), span, source, True)
    if deep is None:  # Pillow has seen to the polarity
        return Gray(picture.upright(np.array(picture.without_alpha().convert("L"))), (0.0, 255.0), source)
    counts = deep[..., :3] @ _WEIGHTS if deep.shape[2] >= 3 else deep[..., 0].astype(np.float64)
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
