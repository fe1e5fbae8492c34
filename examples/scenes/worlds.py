"""Worlds: what differs between one city with its cars' cameras and another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Color = tuple[float, float, float]
Range = tuple[float, float]
WorldName = Literal["a", "b"]


@dataclass(frozen=True)
class World:
    """A region, its weather, and the two cameras that drive there; each scene draws from its ranges.

    Args:
        camera_height: of both cameras, in metres.
        focal: in units of the size of the picture.
        horizon: row of it, as a share of the height.
        overcast: share of scenes under a gray sky.
        dusk: share of scenes at sunset.
        wet: share of scenes with a wet road.
        haze: distance at which the air hides 63% of the contrast, in metres.
        black: darkest level of the day camera, mean and standard deviation, from 0 to 1.
        saturation: of the day camera.
        zenith: color of the clear sky overhead.
        equalized: how far the thermal camera equalizes its histogram, from 0 (linear gain) to 1.
        contrast: standard deviation of its gray levels.
        level: their mean, and its standard deviation from scene to scene.
        halo: strength of its detail enhancement, which leaves halos around what is warm.
        noise: of its pixels, in gray levels.
        plaster, lawns, leaves: colors of houses, of unpaved ground and of foliage.
    """

    camera_height: float
    focal: Range
    horizon: Range
    overcast: float
    dusk: float
    wet: float
    haze: Range
    black: Range
    saturation: Range
    zenith: Color
    equalized: Range
    contrast: Range
    level: Range
    halo: Range
    noise: Range
    plaster: tuple[Color, ...]
    lawns: tuple[Color, ...]
    leaves: tuple[Color, ...]


WORLDS: dict[WorldName, World] = {
    "a": World(
        camera_height=1.42,
        focal=(1.0, 2.0),
        horizon=(0.42, 0.60),
        overcast=0.25,
        dusk=0.14,
        wet=0.12,
        haze=(180.0, 600.0),
        black=(0.385, 0.05),
        saturation=(0.45, 1.0),
        zenith=(0.52, 0.70, 0.94),
        equalized=(0.2, 0.9),
        contrast=(30.0, 62.0),
        level=(135.0, 10.0),
        halo=(0.05, 0.7),
        noise=(0.6, 2.0),
        plaster=(
            (0.76, 0.72, 0.64), (0.70, 0.60, 0.48), (0.58, 0.38, 0.30), (0.74, 0.74, 0.73), (0.50, 0.34, 0.27),
            (0.64, 0.66, 0.68), (0.82, 0.80, 0.75), (0.56, 0.54, 0.48), (0.66, 0.55, 0.42),
        ),
        lawns=((0.34, 0.37, 0.20), (0.52, 0.47, 0.33), (0.42, 0.36, 0.28)),
        leaves=((0.21, 0.25, 0.12), (0.26, 0.30, 0.15), (0.17, 0.21, 0.12), (0.33, 0.34, 0.20)),
    ),
    "b": World(
        camera_height=2.1,
        focal=(0.8, 1.1),
        horizon=(0.34, 0.48),
        overcast=0.75,
        dusk=0.0,
        wet=0.35,
        haze=(300.0, 900.0),
        black=(0.06, 0.025),
        saturation=(0.7, 1.2),
        zenith=(0.30, 0.50, 0.82),
        equalized=(0.0, 0.2),
        contrast=(22.0, 44.0),
        level=(105.0, 14.0),
        halo=(0.0, 0.15),
        noise=(2.0, 4.0),
        plaster=(
            (0.52, 0.27, 0.20), (0.44, 0.24, 0.19), (0.60, 0.36, 0.27), (0.48, 0.44, 0.42), (0.36, 0.33, 0.32),
            (0.62, 0.58, 0.52),
        ),
        lawns=((0.20, 0.36, 0.10), (0.24, 0.40, 0.13), (0.30, 0.30, 0.16)),
        leaves=((0.12, 0.28, 0.08), (0.16, 0.34, 0.10), (0.10, 0.22, 0.09), (0.36, 0.30, 0.10)),
    ),
}  # fmt: skip
"""``a`` is the usual one, with the statistics of pale day frames and of an equalizing thermal camera; ``b`` is a city
of brick under gray skies, seen from higher up through wider lenses, by a contrasty day camera and a noisy linear one.
"""
