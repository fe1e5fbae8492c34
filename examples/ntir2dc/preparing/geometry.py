"""Where a frame lands: resized to cover a size, cut to its middle, and cut again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image

from ntir2dc.data.samples import DataError

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class Geometry:
    """What is done to every frame.

    Args:
        cover: a frame is resized to cover this and cut to it; None leaves its size.
        crop: the middle that is then cut out; None leaves all.
    """

    cover: Size | None = (500, 400)
    crop: Size | None = (360, 288)

    def __post_init__(self) -> None:
        if min(*(self.cover or (1, 1)), *(self.crop or (1, 1))) < 1:
            raise DataError(f"options: expected a crop and a cover of at least 1 x 1, got {self.crop} and {self.cover}")
        if self.cover and self.crop and any(small > large for small, large in zip(self.crop, self.cover, strict=True)):
            raise DataError(f"options: expected a crop that fits into {self.cover}, got {self.crop}")

    def __str__(self) -> str:
        return f"cover {as_text(self.cover)}, crop {as_text(self.crop)}"


@dataclass(frozen=True)
class Placement:
    """A frame's size after resizing, and the box that is cut out of it."""

    resized: Size
    box: tuple[int, int, int, int]

    @property
    def size(self) -> Size:
        """Of the result."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


def parse_size(text: str) -> Size:
    """Return the width and height of "640x512".

    Raises:
        DataError: another text.
    """
    match = re.fullmatch(r"\s*(\d+)\s*[x, ]\s*(\d+)\s*", text)
    if match is None:
        raise DataError(f'options: expected a size such as 640x512, got "{text}"')
    return int(match[1]), int(match[2])


def as_text(size: Size | None) -> str:
    """Return a size as "640x512"."""
    return "none" if size is None else f"{size[0]}x{size[1]}"


def place(size: Size, geometry: Geometry) -> Placement:
    """Return where a frame of a size lands; the aspect ratio is kept but for rounding.

    Raises:
        DataError: a frame, not resized, that is smaller than the crop.
    """
    resized = size
    if geometry.cover is not None:
        width, height = geometry.cover
        scale = max(width / size[0], height / size[1])
        resized = max(width, round(scale * size[0])), max(height, round(scale * size[1]))
    left = top = 0
    width, height = resized
    for cut in (geometry.cover, geometry.crop):
        if cut is not None:
            if cut[0] > width or cut[1] > height:
                raise DataError(f"is {as_text(size)}, smaller than the crop of {as_text(cut)}")
            left, top = left + (width - cut[0]) // 2, top + (height - cut[1]) // 2
            width, height = cut
    return Placement(resized, (left, top, left + width, top + height))


def fit(image: Image.Image, cover: Size | None, crop: Size | None, *, nearest: bool = False) -> Image.Image:
    """Resize to cover a size, keeping the aspect ratio, and cut its middle to that size and then to the smaller one.

    Bicubic with antialiasing, or the nearest pixel.
    """
    placement = place(image.size, Geometry(cover, crop))
    if placement.resized != image.size:
        image = image.resize(placement.resized, Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC)
    return image.crop(placement.box)
