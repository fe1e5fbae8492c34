"""Bring frames to the geometry of the paper: resized to cover 500 x 400, cut to 500 x 400, cut to 360 x 288.

python examples/prepare_data.py --input FLIR/day --output data/trainA
python examples/prepare_data.py --input FLIR/night --output data/trainB --thermal true
python examples/prepare_data.py --input FLIR/day_labels --output data/labelsA --labels true
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("prepare_data.py needs: pip install 'morn-losses[train]'")

import numpy as np
from PIL import Image

from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.gray import read_gray, robust_extremes
from ntir2dc.data.images import (
    SUFFIXES,
    DataError,
    list_images,
    read_color,
    read_labels,
    save_image,
    to_image,
)
from ntir2dc.data.partners import name_of, partners_of
from ntir2dc.data.samples import read_picture
from ntir2dc.files import attempt, check_writable

Size = tuple[int, int]
"""Width and height."""


def load_thermal(path: Path, *, fourth: bool = True) -> tuple[Image.Image, bool]:
    """Return a thermal frame as ``L`` (``F`` where it is deeper than 8 bits), and whether it is a fourth channel.

    Counts stay as they are, but for those of dead pixels, which resizing would spread: they become the nearest other.

    Args:
        path: of the file.
        fourth: take a fourth channel that varies beside three of color for the frame.

    Raises:
        DataError: a file that cannot be used.
    """
    gray = read_gray(path, fourth=fourth)
    counts = gray.counts
    if gray.source.bits > 8:
        # the stretch to 8 bits is left to training, which reads counts as they are
        if gray.source.mode.startswith("F") or counts.min() < 0 or counts.max() > 65535:
            raise DataError(f"{path}: expected a thermal image of 8 or 16 bits")
        counts = counts.clip(*robust_extremes(counts)).astype(np.float32)
    return Image.fromarray(counts), gray.fourth


def load_labels(path: Path, image: Path | None) -> Image.Image:
    """Return labels as ``L``, turned as their image is."""
    source = None if image is None else read_picture(image).source
    return Image.fromarray(read_labels(path, source).numpy().astype(np.uint8))


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
    images: Path | None = None,
    fourth: bool = True,
) -> int:
    """Prepare every image of a folder; the results are PNG files of the same names.

    Args:
        input: folder of frames.
        output: another folder, made where there is none.
        thermal: single-channel frames; gray values are neither stretched nor inverted, 16 bits stay 16 bits.
        labels: label maps of class ids; resized to the nearest pixel.
        cover: width and height that a frame is resized to cover and cut to, as "[500, 400]".
        crop: width and height cut out of the middle of that.
        images: with labels, the folder of the images they belong to: sizes are compared, and a map of the size in which
            a turned photograph is stored is turned with it.
        fourth: with thermal, take a fourth channel that varies beside three of color, as MFNet stores its frames; false
            drops it as transparency.

    Returns:
        0, or 1 where a file could not be used or written; the others are written all the same.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    written: dict[str, Path] = {}
    fourths = 0
    try:
        if thermal and labels:
            raise DataError("options: choose one of thermal and labels")
        if images is not None and not labels:
            raise DataError("options: images goes with labels")
        if min(crop) < 1 or any(small > large for small, large in zip(crop, cover, strict=True)):
            raise DataError(f"options: expected a crop of at least 1 x 1 that fits into {cover}, got {crop}")
        if input.resolve() == output.resolve():
            raise DataError(f"{output}: is the input; choose another folder")
        check_writable(output)
        paths = list_images(input)
        if not paths:
            raise DataError(f"{input}: expected a folder with images ({', '.join(SUFFIXES)}), found none")
        owners = [None] * len(paths) if images is None else partners_of(paths, images, complete=True, kind="image")
        for path, owner in zip(paths, owners, strict=True):
            target = output / f"{path.stem}.png"
            if name_of(target) in written:
                problems.append(f"{path}: its result would replace that of {written[name_of(target)]}")
                continue
            try:
                if thermal:
                    frame, taken = load_thermal(path, fourth=fourth)
                    fourths += taken
                else:
                    frame = load_labels(path, owner) if labels else to_image(read_color(path))
            except DataError as error:
                problems.append(str(error))
                continue
            result = to_file_mode(fit(frame, cover, crop, nearest=labels))
            if attempt(partial(save_image, result, target), target, problems, one_of_many=True):
                written[name_of(target)] = path
    except (DataError, OSError) as error:
        problems.append(str(error))
    for problem in problems:
        print(f"prepare_data: {problem}", file=sys.stderr)
    if written:
        print(f"{len(written)} images written to {output}")
    if fourths:
        print(f"of {fourths} the fourth channel was taken for the thermal one (--fourth false drops it)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(call(main))
