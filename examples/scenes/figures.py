"""Upright things: persons, riders and their cycles, poles with lights and signs, trees and shrubs."""

from __future__ import annotations

import math

import numpy as np

from scenes.canvas import (
    BICYCLE,
    MOTORCYCLE,
    PERSON,
    POLE,
    RIDER,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    Canvas,
    Point,
    circle,
)
from scenes.worlds import Color

SKIN: tuple[Color, ...] = ((0.78, 0.58, 0.47), (0.62, 0.44, 0.33), (0.36, 0.24, 0.17))
CLOTHES: tuple[Color, ...] = (
    (0.10, 0.11, 0.15), (0.75, 0.73, 0.70), (0.55, 0.10, 0.10), (0.14, 0.22, 0.45), (0.30, 0.32, 0.33),
    (0.70, 0.55, 0.20), (0.15, 0.35, 0.22), (0.45, 0.28, 0.45),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = ((0.10, 0.12, 0.20), (0.14, 0.14, 0.15), (0.40, 0.35, 0.27), (0.22, 0.28, 0.40))
HAIR: tuple[Color, ...] = ((0.06, 0.05, 0.04), (0.20, 0.12, 0.07), (0.45, 0.36, 0.22))
HELMETS: tuple[Color, ...] = ((0.75, 0.75, 0.72), (0.1, 0.1, 0.1), (0.6, 0.12, 0.1))
BARK: Color = (0.30, 0.25, 0.20)
STEEL: Color = (0.42, 0.43, 0.43)
UPWARD = (0.0, 0.8, -0.6)


def _pick(colors: tuple[Color, ...], rng: np.random.Generator) -> Color:
    return colors[int(rng.integers(len(colors)))]


def _cast(canvas: Canvas, x: float, z: float, half: float, top: float, *, bottom: float = 0.0) -> None:
    """Cast the shadow of something upright that is ``half`` metres to either side of x, and as thin as a board."""
    canvas.shadow([(x - half, z), (x + half, z), (x + half, z + 0.2), (x - half, z + 0.2)], top, bottom=bottom)


class _Board:
    """An upright plane at one distance: metres across and up from a foot point become pixels."""

    def __init__(self, canvas: Canvas, x: float, z: float, mirror: float = 1.0) -> None:
        self.scale = canvas.camera.focal / max(z, 1.0)
        self.column, self.row = canvas.camera.project(x, 0.0, z)
        self.mirror = mirror

    def __call__(self, across: float, up: float) -> Point:
        return self.column + self.mirror * across * self.scale, self.row - up * self.scale


def draw_person(canvas: Canvas, x: float, z: float) -> None:
    """Draw somebody who walks or stands."""
    height = float(canvas.shapes.normal(1.72, 0.09))
    stride = float(canvas.shapes.uniform(0.0, 0.32))
    swing = float(canvas.shapes.uniform(0.0, 0.2))
    build = float(canvas.shapes.normal(1.0, 0.09))
    at = _Board(canvas, x, z, 1.0 if canvas.shapes.random() < 0.5 else -1.0)
    instance, heat = canvas.instance(PERSON), canvas.heat(PERSON)

    def surface(color: Color, offset: float) -> int:
        return canvas.surface(PERSON, color, heat + offset, depth=z, instance=instance)

    shirt_color = canvas.vary(_pick(CLOTHES, canvas.paint), 0.1)
    # a jacket keeps in what a shirt lets out
    outer, inner = canvas.warmth.uniform((-4.2, -3.6), (-0.6, -0.6)).tolist()
    shirt, trousers = surface(shirt_color, outer), surface(canvas.vary(_pick(TROUSERS, canvas.paint)), inner)
    sleeve = surface(tuple(0.85 * c for c in shirt_color), outer + 0.6)  # type: ignore[arg-type]
    skin, hair = surface(canvas.vary(_pick(SKIN, canvas.paint)), 2.0), surface(_pick(HAIR, canvas.paint), -0.8)
    shoes = surface((0.08, 0.07, 0.07), -3.5)
    s, px = height / 1.75, at.scale
    _cast(canvas, x, z, 0.2, height)

    hip, shoulder = 0.86 * s, 1.45 * s
    for side, foot in ((-1, -stride), (1, stride)):
        knee = (0.06 * side + 0.45 * foot + 0.04, 0.47 * s)
        ankle = (0.05 * side + foot, 0.09 * s)
        canvas.limb(at(0.07 * side * build, hip), at(*knee), (0.18 * build * px, 0.14 * px), trousers)
        canvas.limb(at(*knee), at(*ankle), (0.14 * px, 0.10 * px), trousers)
        canvas.polygon(
            [
                at(ankle[0] - 0.06, 0),
                at(ankle[0] - 0.06, 0.1 * s),
                at(ankle[0] + 0.08, 0.1 * s),
                at(ankle[0] + 0.16, 0),
            ],
            shoes,
        )
    hand = (-0.25 * build - swing, 0.82 * s)
    canvas.limb(at(-0.2 * build, shoulder - 0.06), at(*hand), (0.11 * px, 0.08 * px), sleeve)
    half = ((0.16, hip - 0.06), (0.22, shoulder - 0.04), (0.1, shoulder + 0.04))
    torso = [(-a, u) for a, u in half] + [(a, u) for a, u in reversed(half)]
    canvas.polygon([at(a * build, u) for a, u in torso], shirt)
    canvas.limb(at(0.2 * build, shoulder - 0.06), at(0.25 * build + swing, 0.82 * s), (0.11 * px, 0.08 * px), sleeve)
    canvas.disc(at(0.25 * build + swing, 0.79 * s), (0.05 * px, 0.06 * px), skin)
    canvas.limb(at(0, shoulder), at(0.01, shoulder + 0.12), (0.12 * px, 0.11 * px), skin)
    canvas.disc(at(0.01, shoulder + 0.195 * s), (0.1 * px, 0.135 * px), hair)
    canvas.disc(at(0.025, shoulder + 0.165 * s), (0.085 * px, 0.11 * px), skin)


def draw_cycle(
    canvas: Canvas, x: float, z: float, motor: bool, ridden: bool
) -> None:  # fmt: skip
    """Draw a bicycle or motorcycle from the side or at a slant, with somebody on it if ``ridden``."""
    label = MOTORCYCLE if motor else BICYCLE
    narrow = float(canvas.shapes.uniform(0.3, 1.0))
    at = _Board(canvas, x, z, narrow if canvas.shapes.random() < 0.5 else -narrow)
    px = at.scale
    instance, heat = canvas.instance(label), canvas.heat(label)
    color = canvas.vary(
        ((0.10, 0.12, 0.2), (0.75, 0.1, 0.06), (0.08, 0.08, 0.08), (0.1, 0.3, 0.65))[int(canvas.shapes.integers(4))]
    )

    def surface(tint: Color, offset: float) -> int:
        return canvas.surface(label, tint, heat + offset, depth=z, instance=instance)

    _cast(canvas, x, z, 0.7 * narrow, 0.9)
    tyre = surface((0.06, 0.06, 0.06), 1.5 if motor and ridden else 0.4)
    frame = surface(color, 0.0)
    radius = 0.31 if motor else 0.34
    span = 0.68 if motor else 0.53
    for across in (-span, span):
        width = (0.13 if motor else 0.06) * px
        canvas.ring(at(across, radius), (max(radius * px * narrow, width), radius * px), width, tyre)
    if motor:
        engine = surface((0.16, 0.16, 0.17), 4.0 if ridden else 0.8)
        body = (
            (-0.75, 0.62),
            (-0.55, 0.82),
            (0.0, 0.78),
            (0.2, 0.95),
            (0.5, 0.85),
            (0.55, 0.5),
            (0.2, 0.3),
            (-0.3, 0.32),
        )
        canvas.polygon([at(a, u) for a, u in body], frame)
        canvas.polygon([at(a, u) for a, u in ((-0.25, 0.25), (-0.2, 0.55), (0.25, 0.55), (0.3, 0.25))], engine)
        canvas.limb(at(0.45, 0.95), at(span, radius), (0.1 * px, 0.07 * px), engine)
        canvas.limb(at(0.3, 1.02), at(0.55, 0.98), (0.06 * px, 0.08 * px), frame)
        # windscreen, saddle and the exhaust, which is the hottest
        screen, saddle = surface((0.55, 0.6, 0.62), -0.5), surface((0.05, 0.05, 0.05), 1.0)
        canvas.polygon([at(a, u) for a, u in ((0.42, 0.9), (0.36, 1.25), (0.46, 1.25), (0.62, 0.9))], screen)
        canvas.limb(at(-0.72, 0.86), at(-0.05, 0.8), (0.12 * px, 0.14 * px), saddle)
        pipe = surface((0.6, 0.6, 0.6), 7.0 if ridden else 1.0)
        canvas.limb(at(-0.8, 0.36), at(0.1, 0.28), (0.12 * px, 0.08 * px), pipe)
        tail = canvas.surface(label, (0.95, 0.15, 0.08), heat + 2.0, depth=z, instance=instance, normal=None)
        canvas.disc(at(-0.78, 0.7), (0.07 * px, 0.07 * px), tail)
        lamp = surface((0.95, 0.92, 0.8), 3.0 if ridden else 0.0)
        canvas.disc(at(0.6, 0.85), (0.07 * px, 0.09 * px), lamp)
    else:
        rear, pedals, front = (-span, radius), (-0.1, 0.32), (span, radius)
        seat, head = (-0.18, 0.82), (0.4, 0.87)
        bars = ((rear, pedals), (pedals, seat), (pedals, head), (seat, head), (head, front), (rear, seat))
        for a, b in bars:
            canvas.limb(at(*a), at(*b), (0.05 * px, 0.05 * px), frame)
        canvas.limb(at(-0.3, 0.9), at(-0.08, 0.9), (0.06 * px, 0.06 * px), tyre)
        canvas.limb(at(0.34, 0.97), at(0.5, 1.0), (0.05 * px, 0.05 * px), tyre)
    if ridden:
        _draw_rider(canvas, at, x, z, motor)


def _draw_rider(canvas: Canvas, at: _Board, x: float, z: float, motor: bool) -> None:
    instance, heat = canvas.instance(RIDER), canvas.heat(RIDER)
    px = at.scale

    def surface(color: Color, offset: float) -> int:
        return canvas.surface(RIDER, color, heat + offset, depth=z, instance=instance)

    outer, inner = canvas.warmth.uniform((-3.2, -2.6), (-0.4, -0.4)).tolist()
    shirt = surface(canvas.vary(_pick(CLOTHES, canvas.paint), 0.1), outer)
    trousers = surface(canvas.vary(_pick(TROUSERS, canvas.paint)), inner)
    skin = surface(canvas.vary(_pick(SKIN, canvas.paint)), 1.4)
    helmet = surface(canvas.vary(_pick(HELMETS, canvas.paint)), -0.3)
    seat = 0.85 if motor else 0.92
    hip, shoulder = (-0.18, seat), (0.12 if motor else 0.08, seat + 0.55)
    _cast(canvas, x, z, 0.25, 1.7, bottom=0.8)
    knee, foot = (0.22, seat - 0.28), (0.02, 0.3)
    canvas.limb(at(*hip), at(*knee), (0.2 * px, 0.15 * px), trousers)
    canvas.limb(at(*knee), at(*foot), (0.15 * px, 0.1 * px), trousers)
    canvas.limb(at(*hip), at(*shoulder), (0.34 * px, 0.38 * px), shirt)
    canvas.limb(at(*shoulder), at(0.4, seat + 0.15), (0.12 * px, 0.08 * px), shirt)
    head = (shoulder[0] + 0.06, shoulder[1] + 0.2)
    canvas.disc(at(*head), (0.11 * px, 0.14 * px), skin)
    canvas.disc(at(head[0] - 0.01, head[1] + 0.05), (0.125 * px, 0.11 * px), helmet)


def draw_pole(canvas: Canvas, x: float, z: float, height: float, width: float, color: Color = STEEL) -> int:
    """Draw a bare pole and return its surface, for what is fixed to it."""
    at = _Board(canvas, x, z)
    pole = canvas.surface(POLE, canvas.vary(color), canvas.heat(POLE), depth=z, instance=0, grain=0.04)
    canvas.shadow([(x - width / 2, z), (x + width / 2, z)], height)
    canvas.limb(at(0, 0), at(0, height), (1.25 * width * at.scale, width * at.scale), pole)
    return pole


def draw_lamp_post(canvas: Canvas, x: float, z: float, towards: float) -> None:
    """Draw a street lamp whose arm reaches over the road, or a low one with a lantern."""
    if canvas.shapes.random() < 0.4:
        pole = draw_pole(canvas, x, z, 3.6, 0.13, (0.2, 0.21, 0.2))
        at = _Board(canvas, x, z)
        globe = canvas.surface(POLE, (0.9, 0.88, 0.8), canvas.heat(POLE) + 4.0, depth=z)
        canvas.disc(at(0, 3.75), (0.2 * at.scale, 0.26 * at.scale), globe)
        canvas.limb(at(0, 0), at(0, 0.5), (0.34 * at.scale, 0.22 * at.scale), pole)
        return
    height = float(canvas.shapes.uniform(7.0, 9.5))
    pole = draw_pole(canvas, x, z, height, 0.17)
    at = _Board(canvas, x, z, towards)
    canvas.limb(at(0, height - 0.1), at(1.7, height + 0.35), (0.1 * at.scale, 0.08 * at.scale), pole)
    canvas.limb(at(1.5, height + 0.3), at(2.3, height + 0.3), (0.22 * at.scale, 0.12 * at.scale), pole)


def draw_utility_pole(canvas: Canvas, x: float, z: float) -> None:
    """Draw a wooden pole with cross arms."""
    height = float(canvas.shapes.uniform(9.0, 12.0))
    pole = draw_pole(canvas, x, z, height, 0.28, (0.27, 0.22, 0.18))
    at = _Board(canvas, x, z)
    for up in (height - 0.5, height - 1.4)[: int(canvas.shapes.integers(1, 3))]:
        canvas.limb(at(-1.2, up), at(1.2, up), (0.14 * at.scale, 0.14 * at.scale), pole)
        for across in (-1.0, -0.5, 0.5, 1.0):
            canvas.limb(at(across, up), at(across, up + 0.22), (0.09 * at.scale, 0.07 * at.scale), pole)


def _light_head(canvas: Canvas, at: _Board, across: float, up: float, z: float, state: int) -> None:
    """A housing half a metre by 1.3 m, with its backboard, and three lamps, one of them lit."""
    instance, heat = canvas.instance(TRAFFIC_LIGHT), canvas.heat(TRAFFIC_LIGHT)
    box = canvas.surface(TRAFFIC_LIGHT, (0.06, 0.06, 0.05), heat, depth=z, instance=instance)
    canvas.polygon([at(across + a, up + b) for a, b in ((-0.26, 0), (-0.26, 1.3), (0.26, 1.3), (0.26, 0))], box)
    lamps: tuple[Color, Color, Color] = ((1.0, 0.12, 0.08), (1.0, 0.7, 0.1), (0.1, 0.9, 0.55))
    for i, color in enumerate(lamps):
        if i == state:
            lamp = canvas.surface(TRAFFIC_LIGHT, color, heat + 2.0, depth=z, instance=instance, normal=None)
        else:
            dim = (0.12 * color[0], 0.12 * color[1], 0.12 * color[2])
            lamp = canvas.surface(TRAFFIC_LIGHT, dim, heat + 0.5, depth=z, instance=instance)
        canvas.disc(at(across, up + 1.06 - 0.4 * i), (0.17 * at.scale, 0.17 * at.scale), lamp)


def draw_traffic_light(canvas: Canvas, x: float, z: float, towards: float, state: int) -> None:
    """Draw a post with one light, with or without an arm over the road that carries more."""
    at = _Board(canvas, x, z, towards)
    if canvas.shapes.random() < 0.5:
        draw_pole(canvas, x, z, 3.4, 0.14, (0.35, 0.36, 0.34))
        _light_head(canvas, at, 0.0, 2.5, z, state)
        return
    pole = draw_pole(canvas, x, z, 6.3, 0.22)
    reach = float(canvas.shapes.uniform(4.0, 7.0))
    canvas.limb(at(0, 5.8), at(reach, 6.2), (0.2 * at.scale, 0.12 * at.scale), pole)
    for share in (0.55, 1.0):
        _light_head(canvas, at, share * reach, 5.35 + 0.4 * share, z, state)
    _light_head(canvas, at, 0.0, 2.9, z, state)


def draw_sign(canvas: Canvas, x: float, z: float) -> None:
    """Draw a traffic sign on its pole: stop, warning, speed limit, direction or parking."""
    kind = int(canvas.shapes.integers(5))
    up, size = canvas.shapes.uniform((2.1, 1.0), (2.7, 1.5)).tolist()
    draw_pole(canvas, x, z, up + 0.3, 0.08)
    at = _Board(canvas, x, z)
    instance, heat = canvas.instance(TRAFFIC_SIGN), canvas.heat(TRAFFIC_SIGN)

    def surface(color: Color, offset: float = 0.0) -> int:
        return canvas.surface(
            TRAFFIC_SIGN, canvas.vary(color, 0.04), heat + offset, depth=z, instance=instance, grain=0.01
        )

    def plate(corners: int, radius: float, turn: float, what: int) -> None:
        angles = [(i + turn) * 2 * math.pi / corners for i in range(corners)]
        canvas.polygon([at(size * radius * math.cos(a), up + size * radius * math.sin(a)) for a in angles], what)

    def panel(a: float, b: float, what: int, lift: float = 0.0) -> None:
        left, low, high = -size * a, up + size * (lift - b), up + size * (lift + b)
        canvas.polygon([at(left, low), at(left, high), at(-left, high), at(-left, low)], what)

    white, dark = surface((0.88, 0.88, 0.86)), surface((0.08, 0.08, 0.08), 0.1)
    if kind == 0:
        plate(8, 0.46, 0.5, white)
        plate(8, 0.42, 0.5, surface((0.80, 0.04, 0.05)))
        panel(0.26, 0.07, white)
    elif kind == 1:
        plate(4, 0.55, 0.0, surface((0.95, 0.70, 0.02)))
        panel(0.05, 0.2, dark)
    elif kind == 2:
        panel(0.32, 0.42, white)
        panel(0.16, 0.14, dark, -0.08)
    elif kind == 3:
        panel(0.95, 0.32, surface((0.02, 0.36, 0.2)))
        panel(0.75, 0.05, white, 0.1)
        panel(0.5, 0.05, white, -0.12)
    else:
        panel(0.32, 0.32, surface((0.04, 0.2, 0.7)))
        panel(0.1, 0.2, white)


def draw_tree(canvas: Canvas, x: float, z: float, size: float) -> None:
    """Draw a broad-leaved tree: a trunk, a rough crown, and clumps of leaves lit from the sun's side."""
    at = _Board(canvas, x, z)
    px = at.scale
    height = 8.2 * size
    trunk_top, crown_low = 0.5 * height, float(canvas.shapes.uniform(0.26, 0.42)) * height
    heat = canvas.heat(VEGETATION)
    bark = canvas.surface(VEGETATION, canvas.vary(BARK), heat + 1.0, depth=z, grain=0.08)
    lean = float(canvas.shapes.normal(0, 0.2))
    canvas.limb(at(0, 0), at(lean, trunk_top), (0.42 * size * px, 0.26 * size * px), bark)
    color = canvas.vary(_pick(canvas.world.leaves, canvas.paint), 0.14)
    middle = (crown_low + height) / 2
    radii = (0.5 * (height - crown_low) * float(canvas.shapes.uniform(0.85, 1.3)), 0.5 * (height - crown_low))
    canvas.shadow([(x + radii[0] * c, z + 0.6 * radii[0] * s) for c, s in circle(6)], height * 0.92, bottom=crown_low)
    _crown(canvas, at, (lean, middle), radii, color, heat, z)


def _crown(
    canvas: Canvas,
    at: _Board,
    center: Point,
    radii: Point,
    color: Color,
    heat: float,
    z: float,
    clumps: int = 9,
) -> None:
    def surface(brightness: float, offset: float) -> int:
        tint = (color[0] * brightness, color[1] * brightness, color[2] * brightness)
        return canvas.surface(
            VEGETATION, tint, heat + offset, depth=z, normal=(0.0, 0.75, -0.66), grain=0.07, leaf=0.32
        )

    px = at.scale
    a, b = radii
    canvas.blob(at(*center), (a * px, b * px), surface(0.72, 0.0))
    toward = canvas.sun.direction
    # far away, fewer clumps do
    clumps = clumps if z < 45 else 4
    places = canvas.shapes.uniform(-0.72, 0.72, (clumps, 2)).tolist()
    sizes = canvas.shapes.uniform(0.26, 0.48, clumps).tolist()
    shades = [surface(0.62, 0.25), surface(0.9, 0.1), surface(1.12, -0.1), surface(1.3, -0.2)]
    for (u, v), size in zip(places, sizes, strict=True):
        # clumps towards the sun and the sky are bright, those below are dark
        facing = 0.55 * v + 0.6 * u * toward[0] + 0.2
        shade = shades[min(3, max(0, int(2 + 2.6 * facing)))]
        canvas.blob(at(center[0] + u * a, center[1] + v * b), (size * a * px, size * b * 0.8 * px), shade, 14, 0.22)


def draw_palm(canvas: Canvas, x: float, z: float, size: float) -> None:
    """Draw a palm: a long bare trunk and a head of fronds."""
    at = _Board(canvas, x, z)
    px = at.scale
    height = 9.0 * size
    heat = canvas.heat(VEGETATION)
    bark = canvas.surface(VEGETATION, canvas.vary((0.36, 0.31, 0.26)), heat + 2.0, depth=z, grain=0.08)
    lean = float(canvas.shapes.normal(0, 0.25))
    canvas.limb(at(0, 0), at(lean, height), (0.45 * px, 0.3 * px), bark)
    _cast(canvas, x, z, 0.2, height)
    color = canvas.vary((0.22, 0.30, 0.13), 0.14)
    lit = canvas.surface(VEGETATION, color, heat, depth=z, normal=UPWARD, grain=0.08, leaf=0.3)
    dim = canvas.surface(
        VEGETATION, (0.6 * color[0], 0.6 * color[1], 0.6 * color[2]), heat + 0.5, depth=z, normal=UPWARD, leaf=0.3
    )
    fronds = 13
    turns = (np.linspace(-0.9, math.pi + 0.9, fronds) + canvas.shapes.normal(0, 0.12, fronds)).tolist()
    lengths = canvas.shapes.uniform(1.3, 2.1, fronds).tolist()
    for i, (turn, length) in enumerate(zip(turns, lengths, strict=True)):
        bow = (lean + 0.6 * length * math.cos(turn), height + 0.6 * length * math.sin(turn))
        tip = (lean + length * 1.05 * math.cos(turn), height + length * math.sin(turn) - 0.45 * length)
        surface = lit if i % 3 else dim
        canvas.limb(at(lean, height), at(*bow), (0.12 * px, 0.34 * px), surface)
        canvas.limb(at(*bow), at(*tip), (0.34 * px, 0.04 * px), surface)
    canvas.disc(at(lean, height - 0.15), (0.4 * px, 0.5 * px), dim)


def draw_conifer(canvas: Canvas, x: float, z: float, size: float) -> None:
    """Draw a conifer: tiers that narrow towards the top."""
    at = _Board(canvas, x, z)
    height = 9.0 * size
    heat = canvas.heat(VEGETATION)
    bark = canvas.surface(VEGETATION, canvas.vary(BARK), heat + 0.8, depth=z)
    canvas.limb(at(0, 0), at(0, 0.3 * height), (0.3 * at.scale, 0.25 * at.scale), bark)
    color = canvas.vary((0.13, 0.21, 0.12), 0.12)
    base = float(canvas.shapes.uniform(1.1, 1.9)) * size
    canvas.shadow([(x - base, z), (x + base, z)], height * 0.6, bottom=0.8)
    for i in range(5):
        low, high = height * (0.1 + 0.16 * i), height * min(1.0, 0.42 + 0.15 * i)
        half = base * (1 - 0.17 * i)
        shade = 0.75 + 0.13 * i
        tint = (color[0] * shade, color[1] * shade, color[2] * shade)
        surface = canvas.surface(VEGETATION, tint, heat, depth=z, normal=UPWARD, grain=0.1, leaf=0.34)
        jag = canvas.shapes.uniform(-0.06, 0.06, 4).tolist()
        points = (
            (-half, low + jag[0] * height * 0.3),
            (jag[1], high),
            (half, low + jag[2] * height * 0.3),
            (0.0, low - 0.2),
        )
        canvas.polygon([at(a, u) for a, u in points], surface)


def draw_shrub(canvas: Canvas, x: float, z: float, size: float) -> None:
    """Draw a shrub that stands on the ground."""
    at = _Board(canvas, x, z)
    color = canvas.vary(_pick(canvas.world.leaves, canvas.paint), 0.15)
    half, height = 0.75 * size * float(canvas.shapes.uniform(0.8, 1.5)), 1.1 * size
    canvas.shadow([(x - half, z), (x + half, z), (x + half, z + half), (x - half, z + half)], height * 0.8)
    _crown(canvas, at, (0.0, 0.45 * height), (half, 0.5 * height), color, canvas.heat(VEGETATION), z, clumps=5)


def draw_bollard(canvas: Canvas, x: float, z: float) -> None:
    """Draw a post as high as a knee; it is warm, as stone and iron are."""
    draw_pole(canvas, x, z, 0.9, 0.16, (0.5, 0.47, 0.42))
