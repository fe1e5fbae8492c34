"""Vehicles: profiles of real proportions, extruded and placed along or across the road."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from morngan.data.scenes.canvas import BUS, CAR, TRAIN, TRUCK, UP, Canvas, Color

Place = Callable[[float, float, float], tuple[float, float, float]]

PAINTS: tuple[Color, ...] = (
    (0.82, 0.82, 0.80), (0.62, 0.64, 0.66), (0.12, 0.12, 0.13), (0.36, 0.37, 0.39), (0.58, 0.08, 0.07),
    (0.10, 0.18, 0.42), (0.76, 0.74, 0.68), (0.16, 0.30, 0.24), (0.55, 0.45, 0.30), (0.22, 0.42, 0.62),
)  # fmt: skip
LIVERIES: tuple[Color, ...] = (
    (0.85, 0.85, 0.83), (0.75, 0.60, 0.15), (0.60, 0.12, 0.10), (0.16, 0.30, 0.55), (0.30, 0.45, 0.35),
)  # fmt: skip
GLASS: Color = (0.10, 0.13, 0.16)
TYRE: Color = (0.05, 0.05, 0.055)
HUB: Color = (0.45, 0.45, 0.46)
RED_LAMP: Color = (0.75, 0.06, 0.05)
HEADLAMP: Color = (0.95, 0.94, 0.86)


@dataclass(frozen=True)
class Section:
    """A profile from the tail's bottom over the roof to the nose's bottom, in (metres along, metres up).

    ``faces`` names what each edge of the profile is: b(ody), g(lass), or n(ose) for the edge in front of the engine.
    """

    profile: tuple[tuple[float, float], ...]
    faces: str
    windows: tuple[tuple[tuple[float, float], ...], ...] = ()


@dataclass(frozen=True)
class Model:
    """A kind of vehicle."""

    label: int
    length: float
    width: float
    height: float
    sections: tuple[Section, ...]
    wheels: tuple[float, ...]
    radius: float = 0.33

    def shoulder(self, y: float) -> float:
        """How far a car's sides lean inwards at a height, in metres: cabins narrow towards the roof."""
        if self.label != CAR:
            return 0.0
        belt = 0.6 * self.height
        return 0.09 * self.width * max(0.0, y - belt) / (self.height - belt) + 0.1 * max(0.0, 0.5 - y)


def _rectangle(left: float, right: float, low: float, high: float) -> tuple[tuple[float, float], ...]:
    return ((left, low), (left, high), (right, high), (right, low))


def _row(start: float, stop: float, count: int, low: float, high: float) -> tuple[tuple[tuple[float, float], ...], ...]:
    pitch = (stop - start) / count
    return tuple(_rectangle(start + i * pitch, start + (i + 0.85) * pitch, low, high) for i in range(count))


SEDAN = Model(CAR, 4.5, 1.8, 1.45, (
    Section(
        (
            (0.0, 0.28), (0.05, 0.9), (0.55, 0.97), (1.2, 1.4), (1.6, 1.45), (2.5, 1.43), (3.25, 0.98), (4.35, 0.8),
            (4.5, 0.28),
        ),
        "bbgbbgbn",
        (
            ((0.85, 0.98), (1.3, 1.34), (1.95, 1.38), (1.95, 0.97)),
            ((2.05, 0.97), (2.05, 1.38), (2.45, 1.36), (3.05, 0.98)),
        ),
    ),
), (0.9, 3.6))  # fmt: skip
HATCHBACK = Model(CAR, 4.1, 1.76, 1.55, (
    Section(
        ((0.0, 0.28), (0.02, 1.0), (0.4, 1.5), (0.8, 1.55), (2.2, 1.52), (3.0, 1.02), (3.95, 0.85), (4.1, 0.28)),
        "bgbbgbn",
        (
            ((0.5, 1.03), (0.65, 1.42), (1.55, 1.46), (1.55, 1.0)),
            ((1.65, 1.0), (1.65, 1.46), (2.15, 1.44), (2.8, 1.02)),
        ),
    ),
), (0.75, 3.3))  # fmt: skip
SUV = Model(CAR, 4.7, 1.9, 1.8, (
    Section(
        ((0.0, 0.38), (0.0, 1.1), (0.25, 1.72), (0.7, 1.8), (2.6, 1.78), (3.35, 1.16), (4.5, 1.02), (4.7, 0.36)),
        "bgbbgbn",
        (((0.3, 1.15), (0.4, 1.64), (1.3, 1.68), (1.3, 1.13)), ((1.4, 1.13), (1.4, 1.68), (2.5, 1.68), (3.1, 1.14))),
    ),
), (0.9, 3.75), 0.38)  # fmt: skip
VAN = Model(CAR, 4.9, 1.95, 2.0, (
    Section(
        ((0.0, 0.34), (0.0, 1.1), (0.12, 1.9), (0.5, 2.0), (3.0, 1.97), (4.0, 1.15), (4.7, 1.0), (4.9, 0.34)),
        "bgbbgbn",
        (((0.3, 1.2), (0.3, 1.75), (1.7, 1.8), (1.7, 1.2)), ((1.8, 1.2), (1.8, 1.8), (2.95, 1.78), (3.7, 1.18))),
    ),
), (0.95, 3.95), 0.35)  # fmt: skip
PICKUP = Model(CAR, 5.4, 1.95, 1.82, (
    Section(((0.0, 0.45), (0.0, 1.05), (1.9, 1.08), (1.9, 0.45)), "bbb"),
    Section(
        ((1.8, 0.4), (1.8, 1.1), (1.95, 1.76), (2.2, 1.82), (3.2, 1.8), (3.9, 1.16), (5.2, 1.02), (5.4, 0.4)),
        "bgbbgbn",
        (((2.05, 1.14), (2.12, 1.68), (3.15, 1.68), (3.65, 1.15)),),
    ),
), (1.0, 4.4), 0.4)  # fmt: skip
BOX_TRUCK = Model(TRUCK, 7.6, 2.4, 3.3, (
    Section(((0.0, 0.75), (0.0, 3.3), (5.4, 3.3), (5.4, 0.75)), "bbb"),
    Section(
        ((5.55, 0.5), (5.55, 2.4), (5.7, 2.5), (6.5, 2.45), (7.0, 1.5), (7.5, 1.3), (7.6, 0.5)),
        "bbbgbn",
        (((5.85, 1.5), (5.85, 2.25), (6.45, 2.25), (6.8, 1.5)),),
    ),
), (1.3, 2.2, 6.6), 0.48)  # fmt: skip
FLATBED_TRUCK = Model(TRUCK, 7.2, 2.4, 2.7, (
    Section(((0.0, 0.7), (0.0, 1.55), (4.9, 1.55), (4.9, 0.7)), "bbb"),
    Section(
        ((5.0, 0.5), (5.0, 2.6), (5.2, 2.7), (6.6, 2.65), (7.1, 1.5), (7.2, 0.5)),
        "bbbgn",
        (((5.5, 1.55), (5.5, 2.4), (6.5, 2.4), (6.9, 1.55)),),
    ),
), (1.2, 5.9), 0.48)  # fmt: skip
CITY_BUS = Model(BUS, 11.5, 2.5, 3.1, (
    Section(
        ((0.0, 0.35), (0.0, 1.5), (0.05, 2.7), (0.3, 3.1), (11.2, 3.1), (11.4, 2.7), (11.5, 1.1), (11.5, 0.35)),
        "bgbbbgn",
        _row(0.6, 11.0, 7, 1.4, 2.6),
    ),
), (2.4, 8.8), 0.48)  # fmt: skip
TRAM = Model(TRAIN, 22.0, 2.6, 3.5, (
    Section(
        ((0.0, 0.3), (0.0, 1.5), (0.4, 3.1), (0.8, 3.5), (21.2, 3.5), (21.6, 3.1), (22.0, 1.5), (22.0, 0.3)),
        "bgbbbgb",
        _row(1.0, 21.4, 11, 1.5, 2.8),
    ),
), ())  # fmt: skip
CARS = (SEDAN, SEDAN, HATCHBACK, SUV, SUV, VAN, PICKUP)


@dataclass(frozen=True)
class Pose:
    """Where a vehicle stands: the middle of its nearest side, and which way its nose points.

    ``along`` the road (its tail or nose is seen) or across it (its flank is seen). ``forward`` means that the nose
    points away from the camera, or to the right.
    """

    x: float
    z: float
    along: bool = True
    forward: bool = True

    def place(self, model: Model) -> Place:
        """Return the map from (along, from the near flank's side, up) to the world."""
        half = model.width / 2

        def lean(v: float, y: float) -> float:
            inwards = model.shoulder(y)
            return v + inwards if v < half else v - inwards

        def along(u: float, v: float, y: float) -> tuple[float, float, float]:
            return self.x + lean(v, y) - half, y, self.z + (u if self.forward else model.length - u)

        def across(u: float, v: float, y: float) -> tuple[float, float, float]:
            return self.x + (u if self.forward else model.length - u) - model.length / 2, y, self.z + lean(v, y)

        return along if self.along else across


def _random_paint(rng: np.random.Generator, label: int) -> Color:
    if label == CAR:
        return PAINTS[min(int(rng.exponential(3.0)), len(PAINTS) - 1)]
    return LIVERIES[int(rng.integers(len(LIVERIES)))]


def draw_vehicle(canvas: Canvas, model: Model, pose: Pose, running: bool) -> None:
    """Draw a vehicle and its shadow; one that is running has a warm engine, warm tyres and lamps lit."""
    place = pose.place(model)
    camera = canvas.camera
    distance = pose.z
    instance = canvas.instance(model.label)
    body_heat = canvas.heat(model.label)
    if running:
        body_heat += 0.8
    engine = body_heat + (2.5 + float(canvas.warmth.random()) * 3.0 if running else 0.2)
    tyre_heat = body_heat + (3.5 + float(canvas.warmth.random()) * 2.0 if running else 0.5)
    glass_heat = body_heat + float(canvas.warmth.normal(0.8 if running else -0.8, 0.7))
    color = canvas.vary(_random_paint(canvas.paint, model.label), 0.06)

    def surface(
        tint: Color, heat: float, normal: tuple[float, float, float] | None = (0.0, 0.0, -1.0), grain: float = 0.02
    ) -> int:
        return canvas.surface(
            model.label, tint, heat, depth=distance, instance=instance, normal=normal, grain=grain
        )  # fmt: skip

    corners = [place(u, v, 0.0) for u, v in ((0, 0), (0, model.width), (model.length, model.width), (model.length, 0))]
    canvas.shadow([(x, z) for x, _, z in corners], model.height * 0.85)
    # the flank towards the camera, and whether the end towards it is the nose
    middle_x = corners[0][0] + corners[2][0]
    apparent = middle_x / 2 - camera.x + camera.bend * distance**2
    if pose.along:
        near_v = model.width if apparent < 0 else 0.0
        nose_near = not pose.forward
        flank_normal = (1.0 if apparent < 0 else -1.0, 0.0, 0.0)
        end_normal = (0.0, 0.0, -1.0)
        side_shown = abs(apparent) > model.width / 2
    else:
        near_v = 0.0
        nose_near = pose.forward == (apparent < 0)
        flank_normal = (0.0, 0.0, -1.0)
        end_normal = (1.0 if apparent < 0 else -1.0, 0.0, 0.0)
        side_shown = True

    dark = surface((0.03, 0.03, 0.035), body_heat + (2.0 if running else 0.6))
    tyre = surface(TYRE, tyre_heat, flank_normal)
    flank = surface(color, body_heat, flank_normal)
    end = surface(color, body_heat + (1.0 if running and not nose_near else 0.0), end_normal)
    top = surface(color, body_heat - 0.8, UP)
    glass = surface(GLASS, glass_heat, (flank_normal[0], 0.5, flank_normal[2]), 0.01)
    nose = surface(tuple(0.7 * c for c in color), engine, end_normal)  # type: ignore[arg-type]
    hood = surface(color, (body_heat + engine) / 2, UP)

    # what is seen between the wheels
    clearance = model.sections[0].profile[0][1]
    base = min(place(0, near_v, 0)[2], place(model.length, near_v, 0)[2])
    if pose.along:
        left, right = pose.x - 0.46 * model.width, pose.x + 0.46 * model.width
        canvas.across(base, (left, right), (0.08, clearance), dark)
        for edge, inner in ((left, left + 0.24), (right - 0.24, right)):
            canvas.face(
                [(edge, 0.0, base), (edge, clearance, base), (inner, clearance, base), (inner, 0.0, base)], tyre
            )
    if side_shown:
        canvas.face([place(u, near_v, y) for u, y in _rectangle(0.1, model.length - 0.1, 0.1, clearance)], dark)

    near_first = list(model.sections) if not nose_near else list(reversed(model.sections))
    for section in reversed(near_first):
        points = section.profile
        if side_shown:
            canvas.face([place(u, near_v, y) for u, y in points], flank)
        edges = list(zip(points, points[1:], section.faces, strict=False))
        # from the roof down to the near end
        middle = (points[0][0] + points[-1][0]) / 2
        near_edges = [e for e in edges if ((e[0][0] + e[1][0]) / 2 > middle) == nose_near]
        for (u0, y0), (u1, y1), kind in near_edges if nose_near else reversed(near_edges):
            quad = [(u0, 0.0, y0), (u1, 0.0, y1), (u1, model.width, y1), (u0, model.width, y0)]
            steep = abs(y1 - y0) > 0.8 * abs(u1 - u0)
            if kind == "n":
                chosen = nose
            elif kind == "b" and not steep:
                chosen = hood if nose_near and u0 > middle and y0 < 0.75 * model.height else top
            else:
                chosen = end
            canvas.face([place(*corner) for corner in quad], chosen)
            if kind == "n":
                canvas.face([place(u, v, y) for u, v, y in _inset(quad, 0.02, 0.45)], end)
            if kind == "g":
                canvas.face([place(*corner) for corner in _inset(quad, 0.12, 0.1)], glass)
        if side_shown:
            for window in section.windows:
                canvas.face([place(u, near_v, y) for u, y in window], glass)

    if side_shown and distance < 60:
        hub = surface(HUB, tyre_heat - 0.8, flank_normal)
        for u in model.wheels:
            for radius, what in ((model.radius, tyre), (0.55 * model.radius, hub)):
                wheel = [
                    place(u + radius * math.cos(a), near_v, max(0.0, model.radius + radius * math.sin(a)))
                    for a in (i * math.pi / 6 for i in range(12))
                ]
                canvas.face(wheel, what)

    # lamps and the plate on the near end
    near_section = near_first[0]
    u_end = near_section.profile[-1 if nose_near else 0][0]
    lamp_y = clearance + 0.42 * (min(model.height, 1.7) - clearance)
    lit = running
    if nose_near:
        lamp_heat = engine + (2.5 if running else 0.0)
        lamp = surface(HEADLAMP if lit else (0.7, 0.7, 0.68), lamp_heat, None if lit else end_normal)
    else:
        lamp_heat = body_heat + (2.5 if running else 0.0)
        lamp = surface(RED_LAMP, lamp_heat, None if lit else end_normal)
    low, high = (lamp_y - 0.12, lamp_y + 0.1) if model.label != CAR or nose_near else (lamp_y - 0.08, lamp_y + 0.2)
    for v0, v1 in ((0.04, 0.36), (model.width - 0.36, model.width - 0.04)):
        canvas.face([place(u_end, v, y) for v, y in _rectangle(v0, v1, low, high)], lamp)
    plate = surface((0.75, 0.75, 0.72), body_heat, end_normal)
    center = model.width / 2
    canvas.face(
        [place(u_end, v, y) for v, y in _rectangle(center - 0.22, center + 0.22, lamp_y - 0.2, lamp_y - 0.04)], plate
    )


def _inset(
    quad: list[tuple[float, float, float]], side: float, rim: float
) -> list[tuple[float, float, float]]:  # fmt: skip
    """Shrink a quad (u, v, y) that spans the width: by ``side`` metres at its sides, by a share of it at its rims."""
    (u0, _, y0), (u1, width, y1) = quad[0], quad[2]
    a = (u0 + (u1 - u0) * rim, y0 + (y1 - y0) * rim)
    b = (u1 - (u1 - u0) * rim * 0.3, y1 - (y1 - y0) * rim * 0.3)
    return [(a[0], side, a[1]), (b[0], side, b[1]), (b[0], width - side, b[1]), (a[0], width - side, a[1])]
