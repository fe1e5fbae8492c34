"""Vehicles: profiles of real proportions, extruded and placed along or across the road."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scenes.canvas import BUS, CAR, TOWARDS_CAMERA, TRAIN, TRUCK, UP, Canvas, circle
from scenes.worlds import Color

Place = Callable[[float, float, float], tuple[float, float, float]]

PAINTS: tuple[Color, ...] = (
    (0.82, 0.82, 0.80), (0.62, 0.64, 0.66), (0.12, 0.12, 0.13), (0.36, 0.37, 0.39), (0.58, 0.08, 0.07),
    (0.10, 0.18, 0.42), (0.76, 0.74, 0.68), (0.16, 0.30, 0.24), (0.55, 0.45, 0.30), (0.22, 0.42, 0.62),
)  # fmt: skip
LIVERIES: dict[int, tuple[Color, ...]] = {
    BUS: ((0.92, 0.66, 0.04), (0.92, 0.66, 0.04), (0.80, 0.14, 0.08), (0.08, 0.30, 0.62), (0.10, 0.46, 0.34)),
    TRUCK: ((0.86, 0.86, 0.84), (0.75, 0.74, 0.70), (0.90, 0.40, 0.08), (0.22, 0.32, 0.50), (0.40, 0.30, 0.22)),
    TRAIN: ((0.70, 0.72, 0.74), (0.60, 0.12, 0.10), (0.30, 0.45, 0.35)),
}
BOXES: tuple[Color, ...] = ((0.92, 0.92, 0.90), (0.88, 0.87, 0.82), (0.66, 0.68, 0.70))
AMBER: Color = (1.0, 0.62, 0.12)
GLASS: Color = (0.10, 0.13, 0.16)
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
        belt = 0.6 * self.height
        if self.label != CAR or y <= belt:
            return 0.0
        return 0.09 * self.width * (y - belt) / (self.height - belt)


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
    liveries = LIVERIES[label]
    return liveries[int(rng.integers(len(liveries)))]


def draw_vehicle(canvas: Canvas, model: Model, pose: Pose, running: bool) -> None:
    """Draw a vehicle and its shadow; one that is running has a warm engine, warm tyres and lamps lit."""
    place = pose.place(model)
    corners = [place(u, v, 0.0) for u, v in ((0, 0), (0, model.width), (model.length, model.width), (model.length, 0))]
    canvas.shadow([(x, z) for x, _, z in corners], model.height * 0.85)
    drawing = _Drawing(canvas, model, pose, running)
    drawing.underside()
    near_last = sorted(model.sections, key=lambda section: section.profile[0][0], reverse=not drawing.nose_near)
    for section in near_last:
        drawing.section(section)
    if drawing.flank_shown and pose.z < 60:
        drawing.wheels()
    drawing.lamps(near_last[-1])


class _Drawing:
    """One vehicle as it is being drawn: which of its faces are seen, and their surfaces."""

    def __init__(self, canvas: Canvas, model: Model, pose: Pose, running: bool) -> None:
        self.canvas, self.model, self.pose, self.running = canvas, model, pose, running
        self.place = pose.place(model)
        camera = canvas.camera
        apparent = pose.x - camera.x + camera.bend * pose.z**2
        sideways = (1.0 if apparent < 0 else -1.0, 0.0, 0.0)
        self.nose_near = not pose.forward if pose.along else pose.forward == (apparent < 0)
        self.flank_shown = not pose.along or abs(apparent) > model.width / 2
        self.flank_v = model.width if pose.along and apparent < 0 else 0.0
        self.flank_normal = sideways if pose.along else TOWARDS_CAMERA
        self.end_normal = TOWARDS_CAMERA if pose.along else sideways
        self.instance = canvas.instance(model.label)

        spread, engine, tyre = canvas.warmth.random(3).tolist()
        self.heat = canvas.heat(model.label) + (0.8 if running else 0.0)
        self.engine_heat = self.heat + (2.5 + 3.0 * engine if running else 0.2)
        self.tyre_heat = self.heat + (3.5 + 2.0 * tyre if running else 0.5)
        glass_heat = self.heat + (0.8 if running else -0.8) + 2.0 * (spread - 0.5)
        exhaust = 1.0 if running and not self.nose_near else 0.0
        color = canvas.vary(_random_paint(canvas.paint, model.label), 0.06)
        box = canvas.vary(BOXES[int(canvas.paint.integers(len(BOXES)))], 0.04)
        # windows mirror the sky, more or less
        shine = float(canvas.paint.uniform(0.0, 0.35))
        pane = (GLASS[0] + 0.75 * shine, GLASS[1] + 0.8 * shine, GLASS[2] + 0.85 * shine)
        dim = (0.7 * color[0], 0.7 * color[1], 0.7 * color[2])
        self.dark = self.surface((0.03, 0.03, 0.035), self.heat + (2.0 if running else 0.6), self.end_normal)
        self.tyre = self.surface((0.05, 0.05, 0.055), self.tyre_heat, self.flank_normal)
        self.flank = self.surface(color, self.heat, self.flank_normal)
        self.end = self.surface(color, self.heat + exhaust, self.end_normal)
        self.box_flank = self.surface(box, self.heat - 0.6, self.flank_normal)
        self.box_end = self.surface(box, self.heat - 0.4, self.end_normal)
        self.top = self.surface(color, self.heat - 0.8, UP)
        self.hood = self.surface(color, (self.heat + self.engine_heat) / 2, UP)
        self.nose = self.surface(dim, self.engine_heat, self.end_normal)
        self.glass = self.surface(pane, glass_heat, (self.flank_normal[0], 0.5, self.flank_normal[2]))

    def surface(self, color: Color, heat: float, normal: tuple[float, float, float] | None) -> int:
        return self.canvas.surface(
            self.model.label, color, heat, depth=self.pose.z, instance=self.instance, normal=normal, grain=0.02
        )

    def on_flank(self, points: Sequence[tuple[float, float]], surface: int) -> None:
        """Fill a polygon given in (along, up) on the flank that is seen."""
        place, v = self.place, self.flank_v
        self.canvas.face([place(u, v, y) for u, y in points], surface)

    def underside(self) -> None:
        """What is seen below the body: darkness, and two tyres from the end."""
        model, pose = self.model, self.pose
        clearance = model.sections[0].profile[0][1]
        if self.flank_shown:
            self.on_flank(_rectangle(0.1, model.length - 0.1, 0.1, clearance), self.dark)
        if pose.along:
            half = 0.46 * model.width
            self.canvas.across(pose.z, (pose.x - half, pose.x + half), (0.08, clearance), self.dark)
            for edge in (pose.x - half, pose.x + half - 0.24):
                self.canvas.across(pose.z, (edge, edge + 0.24), (0.0, clearance), self.tyre)

    def section(self, section: Section) -> None:
        """The flank, then the faces across the vehicle from the roof down to the near end."""
        points, model, place = section.profile, self.model, self.place
        boxed = model.label == TRUCK and section is model.sections[0]
        flank, end = (self.box_flank, self.box_end) if boxed else (self.flank, self.end)
        if self.flank_shown:
            self.on_flank(points, flank)
            if model.label == BUS:
                self.on_flank(_rectangle(0.1, model.length - 0.1, 0.75, 1.1), self.stripe())
            elif boxed:
                self.on_flank(_rectangle(0.1, points[-1][0], points[0][1], points[0][1] + 0.25), self.marks())
        middle = (points[0][0] + points[-1][0]) / 2
        edges = list(zip(points, points[1:], section.faces, strict=False))
        near = [edge for edge in edges if ((edge[0][0] + edge[1][0]) / 2 > middle) == self.nose_near]
        for (u0, y0), (u1, y1), kind in near if self.nose_near else reversed(near):
            quad = [(u0, 0.0, y0), (u1, 0.0, y1), (u1, model.width, y1), (u0, model.width, y0)]
            surface = self.nose if kind == "n" else end
            if kind == "b" and abs(y1 - y0) < 0.8 * abs(u1 - u0):
                surface = self.hood if self.nose_near and y0 < 0.75 * model.height else self.top
            self.canvas.face([place(*corner) for corner in quad], surface)
            if kind == "n":
                self.canvas.face([place(*corner) for corner in _inset(quad, 0.02, 0.45)], self.end)
            elif kind == "g":
                self.canvas.face([place(*corner) for corner in _inset(quad, 0.12, 0.1)], self.glass)
        if self.flank_shown:
            for window in section.windows:
                self.on_flank(window, self.glass)
        if model.label == BUS:
            self.on_end(section, (0.2, 0.8), (0.88, 0.96), self.surface(AMBER, self.heat + 2.0, None))
            if not self.nose_near:
                # the engine is in the tail
                self.on_end(section, (0.15, 0.85), (0.16, 0.38), self.surface((0.1, 0.1, 0.1), self.engine_heat, None))
        elif boxed and not self.nose_near:
            self.on_end(section, (0.485, 0.515), (0.05, 0.97), self.dark)
            self.on_end(section, (0.0, 1.0), (0.0, 0.1), self.marks())
            for side in (0.03, 0.9):
                self.on_end(section, (side, side + 0.07), (0.12, 0.95), self.end)

    def stripe(self) -> int:
        """A pale band along a bus."""
        return self.surface((0.9, 0.9, 0.88), self.heat + 0.3, self.flank_normal)

    def marks(self) -> int:
        """The red and white marks of a truck, from afar."""
        return self.surface((0.85, 0.28, 0.22), self.heat - 0.2, self.end_normal)

    def on_end(
        self, section: Section, across: tuple[float, float], up: tuple[float, float], surface: int
    ) -> None:  # fmt: skip
        """Fill a rectangle on the near end of a section, given in shares of its width and height."""
        u, low = section.profile[-1 if self.nose_near else 0]
        high = max(y for _, y in section.profile)
        width = self.model.width
        left, right = across[0] * width, across[1] * width
        bottom, top = (low + share * (high - low) for share in up)
        self.canvas.face([self.place(u, v, y) for v, y in _rectangle(left, right, bottom, top)], surface)

    def wheels(self) -> None:
        """Wheels on the flank, as round as their distance is worth."""
        hub = self.surface((0.45, 0.45, 0.46), self.tyre_heat - 0.8, self.flank_normal)
        rim = circle(12 if self.pose.z < 20 else 8)
        for u in self.model.wheels:
            for radius, surface in ((self.model.radius, self.tyre), (0.55 * self.model.radius, hub)):
                self.on_flank([(u + radius * c, self.model.radius + radius * s) for c, s in rim], surface)

    def lamps(self, section: Section) -> None:
        """Lamps and the plate on the near end."""
        model = self.model
        u, low = section.profile[-1 if self.nose_near else 0]
        up = low + 0.42 * (min(model.height, 1.7) - low)
        color = HEADLAMP if self.nose_near else RED_LAMP
        warm = (self.engine_heat if self.nose_near else self.heat) + (2.5 if self.running else 0.0)
        lamp = self.surface(color, warm, None if self.running else self.end_normal)
        plate = self.surface((0.75, 0.75, 0.72), self.heat, self.end_normal)
        upright = model.label == CAR and not self.nose_near
        heights = (up - 0.08, up + 0.2) if upright else (up - 0.12, up + 0.1)
        center = model.width / 2
        for left, right, (bottom, top), surface in (
            (0.04, 0.36, heights, lamp),
            (model.width - 0.36, model.width - 0.04, heights, lamp),
            (center - 0.22, center + 0.22, (up - 0.2, up - 0.04), plate),
        ):
            self.canvas.face([self.place(u, v, y) for v, y in _rectangle(left, right, bottom, top)], surface)


def _inset(
    quad: list[tuple[float, float, float]], side: float, rim: float
) -> list[tuple[float, float, float]]:  # fmt: skip
    """Shrink a quad (u, v, y) that spans the width: by ``side`` metres at its sides, by a share of it at its rims."""
    (u0, _, y0), (u1, width, y1) = quad[0], quad[2]
    a = (u0 + (u1 - u0) * rim, y0 + (y1 - y0) * rim)
    b = (u1 - (u1 - u0) * rim * 0.3, y1 - (y1 - y0) * rim * 0.3)
    return [(a[0], side, a[1]), (b[0], side, b[1]), (b[0], width - side, b[1]), (a[0], width - side, a[1])]
