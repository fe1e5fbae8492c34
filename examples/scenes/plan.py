"""Plans: how a street is laid out, where the camera drives, and where the sun stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scenes.canvas import Camera, Sun
from scenes.worlds import World

Style = Literal["town", "suburb", "park", "walled"]

LANE = 3.3


@dataclass(frozen=True)
class Side:
    """One side of the road, outwards from its edge."""

    sign: float
    style: Style
    parked: bool
    """Cars stand along the edge of the road."""
    verge: float
    """Width of the strip of grass between the road and the sidewalk."""
    sidewalk: float
    setback: float
    """Distance from the sidewalk to the buildings."""


@dataclass(frozen=True)
class Street:
    """The plan of a scene."""

    half: float
    lanes: int
    """Lanes each way."""
    left: Side
    right: Side
    junction: float | None
    """Where a side street crosses, in metres."""
    closed: float | None
    """Where the street ends at a row of buildings or trees."""

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left and right."""
        return self.left, self.right

    def clear(self, near: float, far: float) -> bool:
        """Whether the junction leaves what lies between two distances alone."""
        return self.junction is None or far < self.junction - 2 or near > self.junction + 11


@dataclass(frozen=True)
class Weather:
    """What the air and the ground are like: sunset, water on the road, and how far one sees."""

    dusk: bool
    wet: float
    """How much the road mirrors, from 0 (dry) to 1."""
    reach: float
    """Distance in metres at which haze has taken 63% of the contrast."""


def plan_street(rng: np.random.Generator) -> Street:
    """Draw the plan of a street."""
    lanes = 1 if rng.random() < 0.72 else 2
    median = 1.0 if rng.random() < 0.2 else 0.0

    def side(sign: float) -> Side:
        style: Style = ("town", "suburb", "park", "walled")[int(rng.choice(4, p=(0.43, 0.24, 0.18, 0.15)))]
        town = style == "town"
        verge = float(rng.uniform(1.0, 2.6)) if rng.random() < (0.2 if town else 0.55) else 0.0
        sidewalk = float(rng.uniform(2.2, 4.2) if town else rng.uniform(1.3, 2.6))
        if style in ("park", "walled") and rng.random() < 0.35:
            sidewalk = 0.35
        setback = 0.0 if town else float(rng.uniform(1.5, 5.0))
        parked = bool(rng.random() < (0.62 if style in ("town", "suburb") else 0.25))
        return Side(sign, style, parked, verge, sidewalk, setback)

    left, right = side(-1.0), side(1.0)
    half = lanes * LANE + median + 1.8 * max(left.parked, right.parked)
    junction = float(rng.uniform(14.0, 48.0))
    closed = float(rng.uniform(45.0, 90.0))
    return Street(
        half=half,
        lanes=lanes,
        left=left,
        right=right,
        junction=junction if rng.random() < 0.4 else None,
        closed=closed if rng.random() < 0.35 else None,
    )


def plan_camera(street: Street, world: World, size: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Draw a camera that drives in a lane on the right; ``size`` is that of the canvas."""
    height, width = size
    lane = int(rng.integers(street.lanes))
    # a camera that is turned a little sees the vanishing point off the middle
    turn = 0.26 if rng.random() < 0.25 else 0.08
    return Camera(
        focal=float(rng.uniform(*world.focal)) * math.sqrt(width * height * 1.2),
        height=float(rng.normal(world.camera_height, 0.1)),
        horizon=float(rng.uniform(*world.horizon)) * height,
        center=float(rng.normal(0.5, turn)) * width,
        x=LANE * (lane + 0.5) + float(rng.normal(0.0, 0.5)),
        bend=float(rng.normal(0.0, 0.0014)) if rng.random() < 0.6 else 0.0,
    )


def plan_sun(world: World, rng: np.random.Generator) -> Sun:
    """Draw the place of the sun, and how much the sky is overcast."""
    azimuth, elevation = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.45, 1.15))
    strength = float(rng.uniform(0.15, 0.4)) if rng.random() < world.overcast else float(rng.uniform(0.6, 1.0))
    across = math.cos(elevation)
    return Sun((across * math.cos(azimuth), math.sin(elevation), across * math.sin(azimuth)), strength)


def plan_weather(world: World, rng: np.random.Generator) -> Weather:
    """Draw the weather; it changes no shape."""
    dusk, rain = rng.random(2).tolist()
    wet, reach = float(rng.uniform(0.3, 1.0)), float(rng.uniform(*world.haze))
    return Weather(dusk < world.dusk, wet if rain < world.wet else 0.0, reach)
