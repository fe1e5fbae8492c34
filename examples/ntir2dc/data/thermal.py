"""Which counts of thermal frames become black and white, for one frame or for all of a folder, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ntir2dc.data.gray import Gray, read_gray, robust_extremes
from ntir2dc.data.samples import DataError, bits_of, read_picture

Polarity = Literal["white", "black"]

PERCENTILES = 0.5, 99.5
"""What becomes black and white with ``percentiles``."""

_NAMES = ("sequence", "percentiles", "full", "frame")
_PIXELS = 1024
_LOOKED_AT, _ENOUGH = 24, 8


@dataclass(frozen=True)
class ThermalOptions:
    """How thermal frames are read, in training, evaluation and inference.

    Args:
        range: what becomes black and white: ``sequence``, the smallest and the largest count of all frames of the
            folder, files of 8 bits as they are; ``percentiles`` of the counts of the folder, 0.5 and 99.5; ``full``,
            all that a file can hold; two counts, as ``7000,7600``; or ``frame``, the extremes of each frame by itself,
            files of 8 bits as they are: that makes a sequence flicker. Dead pixels set no extreme.
        polarity: what is bright: ``white``, the warm; ``black``, the cold: such frames are inverted.
    """

    range: str = "sequence"
    polarity: Polarity = "white"

    def __post_init__(self) -> None:
        if self.polarity not in ("white", "black"):
            raise ValueError(f"thermal.polarity: expected white or black, got {self.polarity}")
        parse_range(self.range)


@dataclass(frozen=True)
class ThermalAsked:
    """How thermal frames are read, where it is not as in training.

    Args:
        range: what becomes black and white: sequence, percentiles, full, frame, or two counts, as "7000,7600".
        polarity: what is bright: white, the warm; black, the cold.
    """

    range: str | None = None
    polarity: Literal["white", "black"] | None = None


@dataclass(frozen=True)
class Tones:
    """Which values of a frame become black and white.

    Args:
        limits: two counts; ``full``, all that the file can hold; or ``frame``, the frame's own extremes.
        every_depth: whether two counts hold for files of 8 bits, too, which else stay as they are.
        inverted: whether dark is warm.
    """

    limits: tuple[float, float] | Literal["full", "frame"] = "frame"
    every_depth: bool = False
    inverted: bool = False

    def of(self, gray: Gray) -> NDArray[np.uint8]:
        """Return a frame in 8 bits, warm is bright."""
        pixels: NDArray[Any] = gray.counts
        if isinstance(self.limits, tuple) and (gray.source.bits > 8 or self.every_depth):
            pixels = np.rint(gray.between(*self.limits, white=255)).astype(np.uint8)
        elif gray.source.bits > 8:
            limits = gray.span if self.limits == "full" else robust_extremes(gray.counts)
            pixels = np.rint(gray.between(*limits, white=255)).astype(np.uint8)
        return 255 - pixels if self.inverted else pixels


def parse_range(text: str) -> tuple[float, float] | str:
    """Return the two counts of "7000,7600", or the name as it is.

    Raises:
        ValueError: neither.
    """
    if text in _NAMES:
        return text
    try:
        low, high = map(float, text.split(","))
        if not low < high or not np.isfinite(high - low):
            raise ValueError
    except ValueError:
        names = ", ".join(_NAMES)
        raise ValueError(f"thermal.range: expected {names}, or two counts such as 7000,7600, got {text}") from None
    return low, high


def tones_of(paths: Sequence[Path], options: ThermalOptions) -> Tones:
    """Return which counts become black and white in all frames of a folder; unreadable files are passed over."""
    return tones_of_frames(_readable(paths, shallow=options.range == "percentiles"), options)


def tones_of_frames(frames: Iterable[Gray], options: ThermalOptions) -> Tones:
    """Return which counts become black and white in all frames; they are looked at where the range asks for it."""
    inverted = options.polarity == "black"
    wanted = parse_range(options.range)
    if isinstance(wanted, tuple):
        return Tones(wanted, True, inverted)
    if wanted == "full":
        return Tones("full", inverted=inverted)
    seen: list[NDArray[np.float64]] = []
    for frame in frames if wanted != "frame" else ():
        if wanted == "percentiles" or frame.source.bits > 8:
            counts = frame.counts
            low, high = robust_extremes(counts)
            values = counts[(counts >= low) & (counts <= high)].ravel() if wanted == "percentiles" else (low, high)
            # evenly placed, as many of each frame
            places = np.linspace(0, len(values) - 1, min(len(values), _PIXELS)).astype(int)
            seen.append(np.asarray(values, np.float64)[places])
    if not seen:
        return Tones(inverted=inverted)
    counts = np.concatenate(seen)
    if wanted == "percentiles":
        low, high = (float(value) for value in np.percentile(counts, PERCENTILES))
    else:
        low, high = float(counts.min()), float(counts.max())
    return Tones((low, high), wanted == "percentiles", inverted)


def _readable(paths: Iterable[Path], *, shallow: bool) -> Iterator[Gray]:
    """Read frames one by one, those of 8 bits with ``shallow`` alone; a damaged one is named where it is translated."""
    for path in paths:
        try:
            if shallow or bits_of(path) > 8:
                yield read_gray(path)
        except DataError:
            continue


def tell_tones(tones: Tones, folder: Path | str) -> str | None:
    """Return a line about what was measured in a folder, or None."""
    if isinstance(tones.limits, str):
        return None
    return f"{folder}: {tones.limits[0]:g} becomes black and {tones.limits[1]:g} white in all thermal frames"


# ---- what looks wrong ------------------------------------------------------------------------------------------------


def look_at_thermal(paths: Sequence[Path], tones: Tones, folder: Path | str) -> list[str]:
    """Return warnings for frames that are colored, flicker, or, as read, have a sky brighter than the ground."""

    def looked_at() -> Iterator[tuple[Gray, float]]:
        for path in _sample(paths):
            try:
                yield read_gray(path), _spread(path)
            except DataError:
                continue

    return look_at_frames(looked_at(), tones, folder)


def look_at_frames(frames: Iterable[tuple[Gray, float]], tones: Tones, name: Path | str) -> list[str]:
    """Return the same of frames, each with the distance of its channels (:func:`distance_of_channels`)."""
    colored, spread, upside, deep, seen = 0, 0.0, 0, 0, 0
    for gray, distance in frames:
        seen += 1
        deep += gray.source.bits > 8
        colored += distance > 3
        spread += distance
        pixels = tones.of(gray)
        third = max(1, len(pixels) // 3)
        upside += float(pixels[:third].mean()) > float(pixels[-third:].mean())
    warnings = []
    if deep > 1 and tones.limits == "frame":
        warnings.append(f"{name}: each frame has a black and a white of its own, and a sequence flickers")
    if seen and colored > seen / 2:
        warnings.append(
            f"{name}: {colored} of {seen} frames looked at are colored (channels {spread / seen:.0f} of 255 apart); "
            "false color is not undone, and color images do not belong here"
        )
    elif seen >= _ENOUGH and upside > seen * 2 / 3:
        warnings.append(
            f"{name}: in {upside} of {seen} frames looked at the upper third is brighter than the lower one, as the "
            "sky is where the cold is bright; if so, --thermal.polarity black"
        )
    return warnings


def look_at_color(paths: Sequence[Path], folder: Path | str) -> list[str]:
    """Return warnings for color images that are gray."""
    distances = []
    for path in _sample(paths):
        try:
            distances.append(_spread(path))
        except DataError:
            continue
    gray = sum(distance < 1 for distance in distances)
    if not distances or gray <= len(distances) / 2:
        return []
    return [
        f"{folder}: {gray} of {len(distances)} images looked at are gray (channels less than 1 of 255 apart), expected "
        "color images of the day"
    ]


def _sample(paths: Sequence[Path]) -> list[Path]:
    """Return some of the files, evenly placed."""
    places = np.linspace(0, len(paths) - 1, min(len(paths), _LOOKED_AT)).astype(int)
    return [paths[place] for place in places]


def _spread(path: Path) -> float:
    """Return how far apart the channels of a picture are, the mean over its pixels, of 255."""
    picture = read_picture(path)
    if picture.deep is not None:
        pixels = picture.deep[..., :3].astype(np.float64) / 257
    else:
        image: Image.Image = picture.without_alpha()
        pixels = np.atleast_3d(np.array(image)).astype(np.float64)
    return distance_of_channels(pixels)


def distance_of_channels(pixels: NDArray[Any]) -> float:
    """Return how far apart the channels of ``(H, W, C)`` are, the mean over the pixels."""
    return float((pixels.max(2).astype(np.float64) - pixels.min(2)).mean())
