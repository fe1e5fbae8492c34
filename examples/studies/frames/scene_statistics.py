"""How like real frames procedural scenes are: the same statistics of both, at the same size.

Real frames are larger than scenes. They are measured as they are, and reduced by area so that the short side is that of
the scenes; scenes are compared with the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from morn_losses import LabelSpace
from ntir2dc.data.images import DataError, list_images, read_color, read_thermal, to_image
from ntir2dc.data.maps import read_known_labels
from ntir2dc.data.partners import by_name
from ntir2dc.data.samples import read_picture
from studies.cards.card import Table, share, spread
from studies.cards.plots import Line, beside, line_plot, stack
from studies.frames.image_statistics import (
    BLOB_AREA,
    LOWEST_CYCLES,
    Floats,
    blob_statistics,
    find_blobs,
    gradient,
    gradient_statistics,
    level_statistics,
    noise_statistics,
    power_spectrum,
    radial,
)

Measure = Callable[[Image.Image], dict[str, float]]
SIZE = (520, 320)


@dataclass(frozen=True)
class Group:
    """Images of one kind and size: how the tables call them, and their pictures (``L`` thermal, ``RGB`` color)."""

    title: str
    pictures: tuple[Image.Image, ...]


def read_pictures(folder: Path, *, thermal: bool) -> list[Image.Image]:
    """Read all images of a folder, thermal ones as gray.

    Raises:
        DataError: no images, or one that cannot be used.
    """
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: expected a folder with images, found none")
    if thermal:
        return [to_image(read_thermal(path)).getchannel(0) for path in paths]
    return [to_image(read_color(path)) for path in paths]


def reduce_to(picture: Image.Image, short: int) -> Image.Image:
    """Return a picture with a short side of ``short`` pixels, each the mean of the area it covers, in 8 bits.

    Raises:
        DataError: the picture is smaller.
    """
    if min(picture.size) < short:
        raise DataError(
            f"real: expected frames of at least {short} pixels a side, the scenes' size, got {picture.size}"
        )
    width, height = (round(side * short / min(picture.size)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def make_groups(real: Sequence[Image.Image], scenes: Sequence[Image.Image]) -> tuple[Group, Group, Group]:
    """Return real frames as they are, real frames at the size of the scenes, and scenes.

    Raises:
        DataError: scenes of several sizes, or frames that are smaller.
    """
    if len({picture.size for picture in scenes}) > 1:
        raise DataError("scenes: expected scenes of one size")
    small = [reduce_to(picture, min(scenes[0].size)) for picture in real]

    def group(name: str, pictures: Sequence[Image.Image]) -> Group:
        sizes = {picture.size for picture in pictures}
        size = "{} x {}".format(*sizes.pop()) if len(sizes) == 1 else "several sizes"
        return Group(f"{name}, {size}", tuple(pictures))

    return group("frames", real), group("frames reduced", small), group("scenes", scenes)


def gray_levels(picture: Image.Image) -> Floats:
    """Return gray levels from 0 to 255, float64 ``(H, W)``."""
    return np.asarray(picture.convert("L"), np.float64)


def of_gray(measure: Callable[[Floats], dict[str, float]]) -> Measure:
    """Return a statistic of gray levels as one of pictures."""
    return lambda picture: measure(gray_levels(picture))


def color_statistics(picture: Image.Image) -> dict[str, float]:
    """Return saturation (HSV, in percent), brightness (gray levels) and gradients of a color image."""
    pixels = np.asarray(picture, np.float64)
    high, low = pixels.max(-1), pixels.min(-1)
    saturation = 100 * (high - low) / np.where(high > 0, high, 1)
    gray = gray_levels(picture)
    return {
        "saturation, %": float(saturation.mean()),
        "90th percentile of the saturation, %": float(np.percentile(saturation, 90)),
        "brightness": float(gray.mean()),
        "sd of brightness": float(gray.std()),
        **gradient_statistics(gray),
    }


THERMAL: Mapping[str, Measure] = {
    "gray levels": of_gray(level_statistics),
    "gradients, gray levels a pixel": of_gray(gradient_statistics),
    "noise and spectrum": of_gray(noise_statistics),
    "warm blobs": of_gray(lambda gray: blob_statistics(find_blobs(gray))),
}
"""What is measured on thermal images, by the title of its table."""


def distance(scenes: Sequence[float], real: Sequence[float]) -> float:
    """Return the difference of the means in standard deviations over the images (root of the mean variance)."""
    (a, sd_a), (b, sd_b) = spread(scenes), spread(real)
    return share(a - b, math.sqrt((sd_a**2 + sd_b**2) / 2)) if not math.isnan(sd_a + sd_b) else math.nan


def compare(title: str, measure: Measure, groups: Sequence[Group]) -> Table:
    """Return a table of statistics: mean and sd over the images of each group, and how far scenes are from frames.

    Args:
        title: of the table.
        measure: from a picture to its statistics.
        groups: the last holds scenes, the one before it the frames they are compared with.
    """
    measured = [[measure(picture) for picture in group.pictures] for group in groups]
    rows = []
    for name in measured[0][0]:
        values = tuple(tuple(statistics[name] for statistics in one) for one in measured)
        rows.append((name, (*values, (distance(values[-1], values[-2]),))))
    return Table(title, (*(group.title for group in groups), "apart, sd"), tuple(rows), digits=2)


def class_shares(folder: Path, space: LabelSpace) -> list[dict[str, float]]:
    """Return each color image's share of pixels by class in percent; an empty list where the folder has no labels.

    Of ``labelsA``, or of what the two predictions agree on; other pixels and unlabeled ones are "none".

    Raises:
        DataError: two predictions that do not belong together, or with unknown ids.
    """
    kinds = ("labelsA",) if (folder / "labelsA").is_dir() else ("labels_pred1", "labels_pred2")
    images, *maps = (by_name(list_images(folder / kind)) for kind in ("trainA", *kinds))
    if any(paths.keys() != maps[0].keys() for paths in maps):
        raise DataError(f"{folder}: expected maps of the same names in {' and '.join(kinds)}")
    of_maps = []
    for name in maps[0]:
        paths = [of_kind[name] for of_kind in maps]
        image = read_picture(images[name]).source if name in images else None
        # one and the same if given
        first, last = (read_known_labels(path, image, space).numpy() for path in (paths[0], paths[-1]))
        if first.shape != last.shape:
            raise DataError(f"{paths[-1]}: is not of the size of {paths[0]}")
        counts = np.bincount(np.where(first == last, first, space.ignore_index).ravel(), minlength=256)
        shares = {name: 100 * float(counts[i]) / first.size for i, name in enumerate(space.names)}
        of_maps.append({**shares, "none": 100 - sum(shares.values())})
    return of_maps


def class_table(real: Sequence[Mapping[str, float]], scenes: Sequence[Mapping[str, float]]) -> Table:
    """Return the shares of the classes as a table."""
    rows = []
    for name in real[0]:
        values = tuple(tuple(shares[name] for shares in one) for one in (real, scenes))
        rows.append((name, (*values, (distance(values[1], values[0]),))))
    return Table("classes of the color images, %", ("frames", "scenes", "apart, sd"), tuple(rows), digits=2)


def draw_curves(groups: Sequence[Group]) -> Image.Image:
    """Draw, for thermal images, gray levels, gradients, spectra and sizes of blobs; means over the images."""
    bins, steps, areas = np.arange(0, 257, 8), np.geomspace(0.5, 64, 22), np.geomspace(BLOB_AREA, 0.1, 20)
    levels: dict[str, Line] = {}
    gradients: dict[str, Line] = {}
    spectra: dict[str, Line] = {}
    sizes: dict[str, Line] = {}
    for group in groups:
        images = [gray_levels(picture) for picture in group.pictures]
        held = np.mean([np.histogram(gray, bins)[0] / gray.size for gray in images], axis=0)
        levels[group.title] = ((bins[:-1] + 3.5).tolist(), (100 * held).tolist())
        strengths = [gradient(gray) for gray in images]
        above = [np.mean([(strength > step).mean() for strength in strengths]) for step in steps]
        gradients[group.title] = (steps.tolist(), [100 * float(part) for part in above])
        lowest = LOWEST_CYCLES / min(min(gray.shape) for gray in images)
        rings = [radial(*power_spectrum(gray), lowest) for gray in images]
        power = np.mean([np.log10(np.maximum(power, 1e-12)) for _, power in rings], axis=0)
        spectra[group.title] = (rings[0][0].tolist(), power.tolist())
        blobs = np.concatenate([find_blobs(gray).areas for gray in images])
        sizes[group.title] = ((100 * areas).tolist(), [float((blobs >= area).sum()) / len(images) for area in areas])
    plots = [
        line_plot(levels, "gray level", "pixels in bins of 8 levels, %", size=SIZE),
        line_plot(gradients, "gradient, gray levels a pixel", "pixels with more than that, %", size=SIZE, log_x=True),
        line_plot(spectra, "cycles a pixel", "power, log10", size=SIZE, log_x=True),
        line_plot(sizes, "area, % of the image", "warm blobs an image, of that area or more", size=SIZE, log_x=True),
    ]
    return stack([beside(plots[:2]), beside(plots[2:])])


def furthest(tables: Sequence[Table], number: int = 10) -> list[tuple[str, float]]:
    """Return the statistics in which scenes are furthest from frames, with the distance, the furthest first."""
    distances = [(f"{table.title}: {name}", row[-1][0]) for table in tables for name, row in table.rows]
    return sorted((one for one in distances if math.isfinite(one[1])), key=lambda one: -abs(one[1]))[:number]
