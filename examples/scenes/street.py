"""Streets: what stands along them and what moves on them, drawn back to front."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scenes import figures
from scenes.buildings import draw_building, draw_fence, draw_hedge, draw_wall
from scenes.canvas import CAR, Canvas
from scenes.ground import draw_backdrop, draw_ground
from scenes.plan import LANE, Side, Street
from scenes.vehicles import BOX_TRUCK, CARS, CITY_BUS, FLATBED_TRUCK, TRAM, Model, Pose, draw_vehicle

FAR = 140.0


class _Queue:
    """What is to be drawn, each with the distance of its far end."""

    def __init__(self) -> None:
        self._items: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []

    def add(self, distance: float, draw: Callable[..., None], *arguments: object) -> None:
        self._items.append((distance, draw, arguments))

    def draw(self, canvas: Canvas) -> None:
        for _, draw, arguments in sorted(self._items, key=lambda item: -item[0]):
            draw(canvas, *arguments)


def draw_street(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Draw a street; ``rng`` decides what there is, the canvas' own numbers how it looks."""
    draw_backdrop(canvas)
    draw_ground(canvas, street)
    queue = _Queue()
    for side in street.sides:
        _plots(queue, street, side, rng)
        _furniture(queue, street, side, rng)
        _parked(queue, street, side, rng)
        _people(queue, street, side, rng)
    if street.closed is not None:
        _end(queue, street.closed, rng)
    _traffic(queue, street, canvas.camera.x, rng)
    _cycles(queue, street, rng)
    _pedestrians(queue, street, rng)
    queue.draw(canvas)


def _somewhere(rng: np.random.Generator, near: float, far: float) -> float:
    """Draw a distance: as many things in each octave."""
    return float(math.exp(rng.uniform(math.log(near), math.log(far))))


def _plots(queue: _Queue, street: Street, side: Side, rng: np.random.Generator) -> None:
    """Line one side of the street with plots, interrupted by the side street."""
    edge = street.half + side.verge + side.sidewalk + 0.2
    fill = {"town": _town, "suburb": _suburb, "park": _park, "walled": _walled}[side.style]
    z = float(rng.uniform(-4.0, 4.0))
    end = min(FAR, street.closed or FAR)
    while z < end:
        length = float(rng.uniform(8, 20))
        top = min(z + length, end)
        after = top + (float(rng.uniform(1, 5)) if rng.random() < 0.25 else 0.0)
        if street.junction is not None and not street.clear(z, top):
            # the first part ends at the corner, the next plot begins behind it
            top, after = min(top, street.junction - 2), max(after, street.junction + 11.5)
        if top - z > 3.0:
            fill(queue, side, edge, z, top, rng)
        z = after


def _town(queue: _Queue, side: Side, edge: float, near: float, far: float, rng: np.random.Generator) -> None:
    if rng.random() < 0.88:
        floors = int(rng.choice(5, p=(0.10, 0.27, 0.27, 0.21, 0.15))) + 1
        roof = "flat" if rng.random() < 0.7 else "pitched"
        queue.add(far, draw_building, side.sign, edge, (near, far), 11.0, floors, roof)
        if rng.random() < 0.3:
            for z, size in rng.uniform((near, 0.4), (far, 0.8), (2, 2)).tolist():
                queue.add(z, figures.draw_shrub, side.sign * (edge - 0.5), z, size)
    else:
        _garden(queue, side, (edge + 1, edge + 4), near, far, (2, 2), (0.9, 1.4), rng)
        queue.add(far, draw_wall, side.sign * edge, (near, far), float(rng.uniform(1.0, 2.2)))


def _suburb(queue: _Queue, side: Side, edge: float, near: float, far: float, rng: np.random.Generator) -> None:
    house = (near + 1.0, far - 1.0)
    floors = int(rng.integers(1, 3))
    queue.add(far + 0.3, draw_building, side.sign, edge + side.setback, house, 10.0, floors, "pitched")
    _garden(queue, side, (edge + 0.8, edge + side.setback), near, far, (0, 2), (0.6, 1.3), rng)
    border, height = rng.random(), float(rng.uniform(0.7, 1.7))
    if border < 0.74:
        draw = draw_hedge if border < 0.2 else draw_fence if border < 0.5 else draw_wall
        queue.add(far, draw, side.sign * (edge + 0.25), (near, far), height)


def _park(queue: _Queue, side: Side, edge: float, near: float, far: float, rng: np.random.Generator) -> None:
    x, height = rng.uniform((1.5, 1.0), (7.0, 4.0)).tolist()
    if rng.random() < 0.6:
        queue.add(far + 0.3, draw_hedge, side.sign * (edge + x), (near, far), height)
    _garden(queue, side, (edge + 0.5, edge + 8.0), near, far, (1, 3), (0.9, 1.9), rng)
    if rng.random() < 0.2:
        queue.add(far, draw_fence, side.sign * (edge + 0.2), (near, far), 1.0)


def _walled(queue: _Queue, side: Side, edge: float, near: float, far: float, rng: np.random.Generator) -> None:
    if rng.random() < 0.45:
        queue.add(far + 0.3, draw_building, side.sign, edge + 6, (near + 1, far - 1), 10.0, 2, "pitched")
    _garden(queue, side, (edge + 1.5, edge + 6.0), near, far, (2, 3), (0.8, 1.6), rng)
    draw = draw_wall if rng.random() < 0.5 else draw_fence
    queue.add(far, draw, side.sign * (edge + 0.3), (near, far), float(rng.uniform(1.2, 3.0)))


def _garden(
    queue: _Queue,
    side: Side,
    across: tuple[float, float],
    near: float,
    far: float,
    trees: tuple[int, int],
    sizes: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Plant trees and shrubs in front of the house of a plot, and behind its fence."""

    def order(z: float) -> float:
        return far + 0.1 + 0.1 * (z - near) / (far - near)

    count = int(rng.integers(trees[0], trees[1] + 1))
    for x, z, size in rng.uniform((across[0], near, sizes[0]), (across[1], far, sizes[1]), (count, 3)).tolist():
        kind = rng.random()
        draw = figures.draw_tree if kind < 0.72 else figures.draw_palm if kind < 0.86 else figures.draw_conifer
        queue.add(order(z), draw, side.sign * x, z, size)
    for x, z, size in rng.uniform((0.3, near, 0.6), (1.6, far, 1.4), (int(rng.integers(0, 4)), 3)).tolist():
        queue.add(order(z), figures.draw_shrub, side.sign * (across[0] + x), z, size)


def _end(queue: _Queue, distance: float, rng: np.random.Generator) -> None:
    """Close the street with fronts side by side, or with trees."""
    town = rng.random() < 0.6
    x = -60.0
    while x < 60.0:
        wide, built, floors, size = (
            float(rng.uniform(9, 18)),
            rng.random(),
            int(rng.integers(2, 6)),
            rng.uniform(1, 1.8),
        )
        if town and built < 0.85:
            # seen from the front: its flank is as short as the building is deep
            queue.add(distance + 8, draw_building, 1.0, x, (distance, distance + 8), wide, floors, "flat")
        else:
            queue.add(distance, figures.draw_tree, x + wide / 2, distance, float(size))
        x += wide


def _furniture(queue: _Queue, street: Street, side: Side, rng: np.random.Generator) -> None:
    """Set poles, lamps, signs, lights and trees along the sidewalk."""
    half, sign = street.half, side.sign
    kerb = half + 0.6
    spacing = float(rng.uniform(22, 40))
    lamps, wires, start = rng.random() < 0.55, rng.random() < 0.28, float(rng.uniform(3, spacing))
    for k in range(6):
        z = start + spacing * k
        if lamps:
            queue.add(z, figures.draw_lamp_post, sign * kerb, z, -sign)
        if wires:
            queue.add(z + 5, figures.draw_utility_pole, sign * (kerb + 0.6), z + 5)
    planted, palms = rng.random() < 0.55, rng.random() < 0.25
    start, pitch = rng.uniform((5, 7), (14, 13)).tolist()
    for k in range(9 if planted else 0):
        z, size = start + pitch * k, float(rng.normal(0.85, 0.14))
        queue.add(z, figures.draw_palm if palms else figures.draw_tree, sign * (half + 1.1), z, size)
    for _ in range(int(rng.poisson(1.2))):
        z, x = _somewhere(rng, 6, 60), half + float(rng.uniform(0.4, 1.2))
        queue.add(z, figures.draw_sign, sign * x, z)
    start, bollards = float(rng.uniform(6, 20)), int(rng.integers(3, 9)) if rng.random() < 0.12 else 0
    for k in range(bollards):
        z = start + 1.6 * k
        queue.add(z, figures.draw_bollard, sign * (half + 0.5), z)
    state, lights = int(rng.integers(3)), rng.random() < 0.36
    if street.junction is not None and lights:
        for z in (street.junction - 1.5, street.junction + 10.0):
            queue.add(z, figures.draw_traffic_light, sign * (half + 0.7), z, -sign, state)


def _add_vehicle(queue: _Queue, model: Model, pose: Pose, running: bool) -> None:
    # a long one still hides what stands beside it, farther from the middle of the road
    queue.add(pose.z + (min(model.length, 5.0) if pose.along else model.width), draw_vehicle, model, pose, running)


def _car(rng: np.random.Generator) -> Model:
    return CARS[int(rng.integers(len(CARS)))]


def _parked(queue: _Queue, street: Street, side: Side, rng: np.random.Generator) -> None:
    z, fill = rng.uniform((3.0, 0.4), (10.0, 0.97)).tolist()
    while z < 75.0:
        model = _car(rng)
        taken, warm, turned, truck, gap = rng.random(5).tolist()
        if truck < 0.03:
            model = BOX_TRUCK if truck < 0.014 else FLATBED_TRUCK if truck < 0.02 else CITY_BUS
        if side.parked and taken < fill and street.clear(z - 6, z + model.length):
            pose = Pose(side.sign * (street.half - 1.15), z, forward=(side.sign > 0) == (turned < 0.95))
            _add_vehicle(queue, model, pose, warm < 0.15)
        z += model.length + 0.8 + 1.6 * gap


def _traffic(queue: _Queue, street: Street, camera_x: float, rng: np.random.Generator) -> None:
    """Set vehicles in their lanes and on the side street."""
    for lane in range(street.lanes):
        for sign in (-1.0, 1.0):
            x = sign * LANE * (lane + 0.5)
            nearest = 6.5 if abs(x - camera_x) < LANE / 2 else 5.0
            spans: list[tuple[float, float]] = []
            for _ in range(int(rng.poisson(1.6))):
                z, kind, model = _somewhere(rng, nearest, 70), rng.random(), _car(rng)
                if kind < 0.055:
                    model = BOX_TRUCK if kind < 0.035 else FLATBED_TRUCK
                elif kind < 0.1:
                    model = CITY_BUS
                elif kind < 0.103:
                    model = TRAM
                if model.label != CAR:
                    z = max(z, 11.0)
                if all(z > end or z + model.length < start for start, end in spans):
                    spans.append((z - 2.5, z + model.length + 2.5))
                    _add_vehicle(queue, model, Pose(x, z, forward=sign > 0), True)
    if street.junction is not None:
        kind, forward, x = rng.random(), bool(rng.random() < 0.5), float(rng.uniform(-9, 9))
        z = street.junction + (1.5 if forward else 5.5)
        for bound, model in ((0.36, _car(rng)), (0.41, BOX_TRUCK), (0.46, CITY_BUS), (0.475, TRAM)):
            if kind < bound:
                _add_vehicle(queue, model, Pose(x, z, along=False, forward=forward), True)
                break


def _cycles(queue: _Queue, street: Street, rng: np.random.Generator) -> None:
    """Set motorcycles and bicycles, ridden on the road or left on the sidewalk."""
    for motor, mean in ((True, 0.75), (False, 0.5)):
        for _ in range(int(rng.poisson(mean))):
            z = _somewhere(rng, 5.5 if motor else 7.0, 25 if motor else 40)
            sign, ridden, place = (-1.0 if rng.random() < 0.5 else 1.0), bool(rng.random() < 0.62), float(rng.random())
            x = street.half * (0.25 + 0.6 * place) if motor else street.half - 1.0
            # one that nobody rides leans at the edge of the sidewalk
            x = x if ridden else street.half + 0.9
            queue.add(z, figures.draw_cycle, sign * x, z, motor, ridden)


def _people(queue: _Queue, street: Street, side: Side, rng: np.random.Generator) -> None:
    """Set persons on the sidewalks, alone and in groups."""
    mean = {"town": 2.8, "suburb": 1.6, "park": 1.6, "walled": 1.2}[side.style]
    crowd, length = rng.random() < 0.1, float(rng.uniform(2.0, 12.0))
    if crowd:
        start, count = _somewhere(rng, 6.0, 25.0), int(rng.integers(5, 14))
        for z, place in rng.uniform((start, -0.4), (start + length, 1.0), (count, 2)).tolist():
            x = street.half + 0.4 + place * (side.verge + side.sidewalk)
            queue.add(z, figures.draw_person, side.sign * x, z)
    for _ in range(int(rng.poisson(mean))):
        z = _somewhere(rng, 4.0, 40)
        x = street.half + side.verge + 0.4 + float(rng.random()) * max(0.6, side.sidewalk - 0.8)
        for k in range(1 + int(rng.poisson(0.6))):
            distance = z + 0.4 * (k % 2)
            queue.add(distance, figures.draw_person, side.sign * (x + 0.65 * k), distance)


def _pedestrians(queue: _Queue, street: Street, rng: np.random.Generator) -> None:
    """Set persons on the zebra crossing, and now and then elsewhere on the road."""
    count = int(rng.poisson(1.8 if street.junction is not None else 0.6))
    where = street.junction if street.junction is not None else _somewhere(rng, 8, 40)
    for x, back in rng.uniform((-1.0, 0.8), (1.0, 2.6), (count, 2)).tolist():
        queue.add(where - back, figures.draw_person, x * street.half, where - back)
