"""Regions of a class that a night segmenter finds in thermal frames, drawn at random, on a sheet to be looked at.

python examples/studies/regions.py --frames DIR/trainB --out runs/regions
python examples/studies/regions.py --frames DIR/trainB --label car --threshold 0.4
python examples/studies/regions.py --frames DIR/trainB --weights runs/translator/segmenters.safetensors
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("regions.py needs: pip install 'morn-losses[train]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from morn_losses import CITYSCAPES
from ntir2dc.console import call
from ntir2dc.data.images import DataError, list_images, read_thermal, to_image
from ntir2dc.run.shipped import SEGMENTERS, load_night_segmenter
from ntir2dc.run.weights import WeightsError

SMALLEST, SIDE, COLUMNS = 64, 150, 10
"""Pixels of the smallest region, of the side of its picture, and pictures in a row."""


@torch.no_grad()
def regions(network: nn.Module, frame: Path, label: int, threshold: float) -> Iterator[Image.Image]:
    """Give a picture of each region of a class in a frame, its border in red."""
    thermal = read_thermal(frame)
    sure, found = network(thermal[None]).softmax(1)[0].max(0)
    numbered, _ = ndimage.label(((found == label) & (sure >= threshold)).numpy())
    for number, place in enumerate(ndimage.find_objects(numbered), 1):
        region = numbered == number
        if region.sum() >= SMALLEST:
            yield cut_out(np.asarray(to_image(thermal)).copy(), region, place)


def cut_out(pixels: npt.NDArray[np.uint8], region: npt.NDArray[np.bool_], place: tuple[slice, ...]) -> Image.Image:
    """Return the surroundings of a region."""
    pixels[region & ~ndimage.binary_erosion(region)] = (255, 40, 40)
    row, column = ((side.start + side.stop) // 2 for side in place)
    reach = max(24, *((side.stop - side.start) // 2 + 10 for side in place))
    box = column - reach, row - reach, column + reach, row + reach
    return Image.fromarray(pixels).crop(box).resize((SIDE - 4, SIDE - 4))


def main(
    frames: Path,
    out: Path = Path("runs/regions"),
    label: str = "person",
    threshold: float = 0.6,
    weights: Path = SEGMENTERS,
    count: int = 50,
    seed: int = 0,
) -> int:
    """Write regions.png and say how many regions there are.

    Args:
        frames: folder of thermal frames, warm is bright.
        out: where to write.
        label: the class, by name.
        threshold: from which probability on a pixel counts.
        weights: segmenters.safetensors; by default those that are shipped, which have seen procedural scenes alone.
        count: regions that are drawn.
        seed: of the draw.

    Returns:
        0, or 1 where frames, weights or options cannot be used, or no region is found.
    """
    try:
        if label not in CITYSCAPES.names:
            raise DataError(f"label: expected one of {', '.join(CITYSCAPES.names)}, got {label!r}")
        network, files = load_night_segmenter(weights, len(CITYSCAPES)), list_images(frames)
        found = [x for file in files for x in regions(network, file, CITYSCAPES.index(label), threshold)]
        print(f"{len(found)} regions of {label} in {len(files)} frames")
        drawn = np.random.default_rng(seed).permutation(len(found))[:count]
        if not len(drawn):
            raise DataError(f"{frames}: no region of {label} above {threshold:g}")
        sheet = Image.new("RGB", (SIDE * min(COLUMNS, len(drawn)), SIDE * -(-len(drawn) // COLUMNS)))
        for place, index in enumerate(drawn):
            sheet.paste(found[index], (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
        out.mkdir(parents=True, exist_ok=True)
        sheet.save(out / "regions.png")
    except (DataError, WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written: {out / 'regions.png'}, {len(drawn)} of them, drawn at random")
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
