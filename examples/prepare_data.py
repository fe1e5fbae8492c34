"""Bring frames to the geometry of the paper: resized to cover 500 x 400, cut to 500 x 400, cut to 360 x 288.

python examples/prepare_data.py --input FLIR/day --output data/trainA
python examples/prepare_data.py --input FLIR/night --output data/trainB --thermal true
python examples/prepare_data.py --input FLIR/day_labels --output data/labelsA --labels true
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("prepare_data.py needs: pip install 'morn-losses[train]'")

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

from ntir2dc.data.images import (
    SUFFIXES,
    DataError,
    list_images,
    read_color,
    read_labels,
    read_thermal,
    save_image,
    to_image,
)

Size = tuple[int, int]
"""Width and height."""


def load(path: Path, *, thermal: bool = False, labels: bool = False) -> Image.Image:
    """Return a frame as RGB, a thermal frame as ``L`` (``F`` where it is deeper than 8 bits), or labels as ``L``.

    Raises:
        DataError: a file that cannot be used.
    """
    if labels:
        return Image.fromarray(read_labels(path).numpy().astype(np.uint8))
    if not thermal:
        return to_image(read_color(path))
    gray = to_image(read_thermal(path)).getchannel(0)
    with Image.open(path) as image:
        if not image.mode.startswith(("I", "F")):
            return gray
        # the stretch to 8 bits is left to training, which reads counts as they are
        counts = np.asarray(image)
    if counts.dtype.kind == "f" or counts.min() < 0 or counts.max() > 65535:
        raise DataError(f"{path}: expected a thermal image of 8 or 16 bits")
    return Image.fromarray(counts.astype(np.float32))


def fit(image: Image.Image, cover: Size, crop: Size, *, nearest: bool = False) -> Image.Image:
    """Resize to cover a size, keeping the aspect ratio, and cut its middle to that size and then to the smaller one.

    Bicubic with antialiasing, or the nearest pixel.
    """
    scale = max(cover[0] / image.width, cover[1] / image.height)
    size = (max(cover[0], round(scale * image.width)), max(cover[1], round(scale * image.height)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC)
    for width, height in (cover, crop):
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    return image


def to_file_mode(image: Image.Image) -> Image.Image:
    """Return what a PNG can hold: counts are rounded to 16 bits."""
    if image.mode != "F":
        return image
    return Image.fromarray(np.asarray(image).round().clip(0, 65535).astype(np.uint16))


def main(
    input: Path,
    output: Path,
    thermal: bool = False,
    labels: bool = False,
    cover: Size = (500, 400),
    crop: Size = (360, 288),
) -> int:
    """Prepare every image of a folder; the results are PNG files of the same names.

    Args:
        input: folder of frames.
        output: another folder, made where there is none.
        thermal: single-channel frames; gray values are neither stretched nor inverted, 16 bits stay 16 bits.
        labels: label maps of class ids; resized to the nearest pixel.
        cover: width and height that a frame is resized to cover and cut to, as "[500, 400]".
        crop: width and height cut out of the middle of that.

    Returns:
        0, or 1 where a file could not be used; the others are written all the same.
    """
    problems: list[str] = []
    written: dict[Path, Path] = {}
    try:
        if thermal and labels:
            raise DataError("options: choose one of thermal and labels")
        if min(crop) < 1 or any(small > large for small, large in zip(crop, cover, strict=True)):
            raise DataError(f"options: expected a crop of at least 1 x 1 that fits into {cover}, got {crop}")
        if input.resolve() == output.resolve():
            raise DataError(f"{output}: is the input; choose another folder")
        paths = list_images(input)
        if not paths:
            raise DataError(f"{input}: expected a folder with images ({', '.join(SUFFIXES)}), found none")
        for path in paths:
            target = output / f"{path.stem}.png"
            if target in written:
                problems.append(f"{path}: its result would replace that of {written[target]}")
                continue
            try:
                frame = load(path, thermal=thermal, labels=labels)
            except DataError as error:
                problems.append(str(error))
                continue
            save_image(to_file_mode(fit(frame, cover, crop, nearest=labels)), target)
            written[target] = path
    except (DataError, OSError) as error:
        problems.append(str(error))
    for problem in problems:
        print(f"prepare_data: {problem}", file=sys.stderr)
    print(f"{len(written)} images written to {output}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(auto_cli(main, as_positional=False))
