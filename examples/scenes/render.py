"""One scene: a street, its color picture by day, its thermal picture at night, its labels and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scenes.cameras import film_heat, look, photograph
from scenes.canvas import (
    BICYCLE,
    BUS,
    CAR,
    MOTORCYCLE,
    PERSON,
    RIDER,
    SKY,
    SUPERSAMPLE,
    TRAIN,
    TRUCK,
    Canvas,
    Layers,
    stream,
)
from scenes.plan import plan_camera, plan_street, plan_sun, plan_weather
from scenes.street import draw_street
from scenes.worlds import WORLDS, WorldName

BOXED = (PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE)
SMALLEST = 48
PLAN, THINGS, SHAPES, PAINT, WARMTH, OUTLINES, DAY, NIGHT, WEATHER = range(9)


@dataclass(frozen=True)
class Box:
    """The visible part of one thing, in pixels; ``right`` and ``bottom`` are exclusive."""

    class_id: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Scene:
    """One street by day and at night.

    Args:
        color: uint8 ``(H, W, 3)``, by day.
        thermal: uint8 ``(H, W)``, at night, white hot.
        labels: uint8 ``(H, W)``, Cityscapes train ids.
        boxes: visible parts of persons, riders and vehicles.
    """

    color: npt.NDArray[np.uint8]
    thermal: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    boxes: tuple[Box, ...]


def render_scene(seed: int, index: int, size: tuple[int, int], world: WorldName = "a") -> Scene:
    """Draw a street and look at it by day and at night.

    Args:
        seed: scenes of one seed share nothing with those of another.
        index: which scene of that seed.
        size: (height, width) of the pictures, each at least 48.
        world: ``a``, or ``b``, another city with other cameras.

    Returns:
        The same scene for the same arguments, whatever was drawn before. Another size shows the same street.

    Raises:
        ValueError: a size below 48, a negative seed or index, or an unknown world.
    """
    if len(size) != 2 or min(size) < SMALLEST:
        raise ValueError(f"size: expected (height, width), each at least {SMALLEST}, got {size}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed, index: expected numbers from 0 on, got {seed}, {index}")
    if world not in WORLDS:
        raise ValueError(f"world: expected one of {', '.join(WORLDS)}, got {world!r}")
    place = WORLDS[world]
    plan = stream(seed, index, PLAN)
    street = plan_street(plan)
    camera = plan_camera(street, place, (SUPERSAMPLE * size[0], SUPERSAMPLE * size[1]), plan)
    sun = plan_sun(place, plan)
    weather = plan_weather(place, stream(seed, index, WEATHER))
    paint, warmth, shapes = (stream(seed, index, number) for number in (PAINT, WARMTH, SHAPES))
    canvas = Canvas(size, place, camera, sun, paint, warmth, shapes)
    draw_street(canvas, street, stream(seed, index, THINGS))
    layers = canvas.finish(stream(seed, index, OUTLINES))
    view = look(layers, camera)
    sky_heat = float(layers.heats[layers.labels == SKY][0])
    return Scene(
        color=photograph(layers, view, place, sun, weather, stream(seed, index, DAY)),
        thermal=film_heat(layers, view, place, weather, sky_heat, stream(seed, index, NIGHT)),
        labels=layers.labels[layers.coarse],
        boxes=_boxes(layers),
    )


def _boxes(layers: Layers) -> tuple[Box, ...]:
    """Return the extent of what is seen of each instance."""
    instances = layers.instances[layers.coarse]
    owner = np.zeros(int(layers.instances.max()) + 1, np.uint8)
    owner[layers.instances] = layers.labels
    slices = ndimage.find_objects(instances)
    return tuple(
        Box(int(owner[number]), place[1].start, place[0].start, place[1].stop, place[0].stop)
        for number, place in enumerate(slices, start=1)
        if place is not None and owner[number] in BOXED
    )
