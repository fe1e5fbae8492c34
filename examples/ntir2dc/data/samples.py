"""What an image file holds, whatever mode Pillow makes of it: bits, pages, polarity, and the side that is up.

Pillow keeps the high byte of 16-bit color, scales gray of 1, 2 and 4 bits, shows the first of several pages and, in a
deep TIFF, does not see which end is white. Here a file's own words are looked at.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "GIF", "WEBP")

_ORIENTATION = 0x0112
# tags of TIFF
_SUBFILE, _BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 254, 258, 262, 284, 339
_LOSSY = ("jpeg", "tiff_jpeg", "webp")
# 16-bit color that Pillow decodes in either byte order
_DEEP_COLOR = re.compile(r"(RGB|RGBA|RGBX);16([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}


class DataError(ValueError):
    """A file or folder that cannot be used; the message starts with its path."""


@dataclass(frozen=True)
class Source:
    """What a file says of its picture.

    Args:
        path: of the file.
        format: what it is, whatever its suffix.
        mode: what Pillow makes of it.
        bits: of a sample, as it is stored.
        lossy: whether the values may have suffered from compression.
        white_is_zero: whether the file stores 0 for white.
        orientation: the EXIF note, 1 where there is none.
        size: height and width, as it is shown.
    """

    path: Path
    format: str
    mode: str
    bits: int
    lossy: bool
    white_is_zero: bool
    orientation: int
    size: tuple[int, int]

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width before it is turned."""
        return self.size if self.orientation < 5 else self.size[::-1]


@dataclass(frozen=True)
class Picture:
    """A picture as it is stored, and which way it is yet to be turned.

    Args:
        source: what the file says of it.
        image: Pillow's; the picture itself up to 8 bits.
        deep: the samples of more than 8 bits, ``(H, W, C)``: uint16, int32, uint32 or float32; else None.
        unturned: what is left of the EXIF note.
    """

    source: Source
    image: Image.Image
    deep: NDArray[Any] | None
    unturned: int

    def upright(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Turn an array made of the picture, ``(H, W, ...)``, as every viewer does."""
        return turned(pixels, self.unturned)

    def without_alpha(self) -> Image.Image:
        """Return a picture of up to 8 bits as ``L`` where it is gray and as ``RGB`` otherwise, not yet turned."""
        image = self.image
        try:
            if image.mode == "La":
                image = image.convert("LA")
            if image.mode in ("1", "L", "LA"):
                return image.convert("L")
            # a palette's transparency only survives, and is only dropped without a warning, by way of RGBA
            return image.convert("RGBA" if image.mode in ("P", "PA") else "RGB").convert("RGB")
        except ValueError:
            raise DataError(f"{self.source.path}: expected gray or RGB, got mode {image.mode}") from None


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn ``(H, W, ...)`` as an EXIF note asks; an unknown note changes nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def read_picture(path: Path | str, page: int | None = None) -> Picture:
    """Read the one picture that a file holds, or the one asked for by its index among those of a stack.

    Raises:
        DataError: a file that is missing, damaged, of another format, or that holds several pictures.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        # from memory: Pillow maps a TIFF by its name, and then wrongly where the picture is to be turned
        data = path.read_bytes() if page is None else _kept_bytes(path, path.stat().st_mtime_ns)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            page = _only_page(path, image) if page is None else _pages(image)[page]
            image.seek(page)
            raw_mode, tags = _raw_mode(image), getattr(image, "tag_v2", {})
            bits = _bits(image)
            lossy = image.format in ("JPEG", "MPO", "WEBP") or image.info.get("compression") in _LOSSY
            white_is_zero = image.format == "TIFF" and tags.get(_PHOTOMETRIC, 0) == 0
            unsigned = tags.get(_SAMPLE_FORMAT, (1,))[0] == 1
            planes = tags.get(_PLANAR, 1)
            noted = tags.get(_ORIENTATION, 1)
            image.load()
            # newer versions of Pillow turn a TIFF by themselves, and then forget the note
            unturned = _orientation(image)
            noted = unturned if unturned != 1 else noted if noted in range(1, 9) else 1
            deep = None
            if bits > 8:
                deep = _deep_samples(path, data, image, page, raw_mode, unsigned, planes)
            size = (image.height, image.width) if unturned < 5 else (image.width, image.height)
            source = Source(path, str(image.format), image.mode, bits, lossy, white_is_zero, noted, size)
            return Picture(source, image, deep, unturned)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image of a known format or layout of samples") from None
    # damaged files make decoders raise nearly anything
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def count_pages(path: Path | str) -> int:
    """Return how many pictures a file holds, smaller copies and masks left out.

    Raises:
        DataError: a file that cannot be opened as a picture.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return len(_pages(image))
    # damaged files make decoders raise nearly anything
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


@lru_cache(maxsize=1)
def _kept_bytes(path: Path, _: int) -> bytes:
    """Return what a file holds, kept for the next page of it."""
    return path.read_bytes()


def bits_of(path: Path | str) -> int:
    """Return the bits of a sample from a file's head alone.

    Raises:
        DataError: a file that cannot be opened as a picture.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return _bits(image)
    # damaged files make decoders raise nearly anything
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _bits(image: Any) -> int:
    raw_mode, tags = _raw_mode(image), getattr(image, "tag_v2", {})
    bits = 1 if image.mode == "1" else int((re.findall(r";(\d+)", raw_mode) or [8])[0])
    return max((bits, *map(int, tags.get(_BITS, ()))))


def _only_page(path: Path, image: Any) -> int:
    """Return the index of the one page that is a picture of its own, not a smaller copy or a mask of another."""
    numbers = _pages(image)
    if len(numbers) != 1:
        raise DataError(
            f"{path}: holds {len(numbers)} pictures, expected one; save each as a file of its own, as prepare_data.py "
            "--thermal true does"
        )
    return numbers[0]


def _pages(image: Any) -> list[int]:
    """Return the indices of the pages that are pictures of their own."""
    pages = getattr(image, "n_frames", 1)
    if pages == 1 or image.format == "MPO":  # a photograph with its preview
        return [0]
    numbers = list(range(pages))
    if image.format == "TIFF":
        numbers = [page for page in numbers if image.seek(page) or not image.tag_v2.get(_SUBFILE, 0) & 0b101]
    return numbers or list(range(pages))


def _raw_mode(image: Any) -> str:
    """Return Pillow's name for the samples as a PNG or TIFF stores them, empty for others."""
    if image.format not in ("PNG", "TIFF"):
        return ""
    arguments = image.tile[0][3]
    return str(arguments if isinstance(arguments, str) else arguments[0])


def _orientation(image: Image.Image) -> int:
    try:
        noted = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a note that is damaged changes nothing
        return 1
    return noted if 1 <= noted <= 8 else 1


def _deep_samples(
    path: Path, data: bytes, image: Image.Image, page: int, raw_mode: str, unsigned: bool, planes: int
) -> NDArray[Any]:
    """Return samples of more than 8 bits as ``(H, W, C)``."""
    if image.mode[0] in "IF":
        samples = np.asarray(image)[..., None]
        if samples.dtype == np.int32 and unsigned:
            samples = samples.view(np.uint32)
        return samples.astype(samples.dtype.newbyteorder("="))
    if raw_mode == "LA;16B":  # four bytes a pixel, as those of RGBA
        pairs = _decoded(data, page, "RGBA", "RGBA").astype(np.uint16)
        return pairs[..., 0::2] << 8 | pairs[..., 1::2]
    match = _DEEP_COLOR.fullmatch(raw_mode)
    if match is None or planes != 1:
        raise DataError(f"{path}: holds more than 8 bits a sample in a layout that cannot be read ({raw_mode})")
    low = _decoded(data, page, image.mode, f"{match[1]};16{_OTHER_ORDER[match[2]]}")
    return np.asarray(image).astype(np.uint16) << 8 | low


def _decoded(data: bytes, page: int, mode: str, raw_mode: str) -> NDArray[np.uint8]:
    """Decode a file once more, taking its samples for others: 16 bits in the other byte order show the low byte."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.seek(page)
        image._mode = mode
        tiles: list[Any] = list(image.tile)
        for i, tile in enumerate(tiles):
            arguments = raw_mode if isinstance(tile[3], str) else (raw_mode, *tile[3][1:])
            # plain tuples before Pillow 11
            tiles[i] = tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)
        image.tile = tiles
        image.load()
        return np.array(image)
