"""What everything stands on and in front of: the sky, what is far away, the ground and what is painted on it."""

from __future__ import annotations

import numpy as np

from scenes.canvas import (
    BUILDING,
    ROAD,
    SIDEWALK,
    SKY,
    SKY_DEPTH,
    SUPERSAMPLE,
    TERRAIN,
    UP,
    VEGETATION,
    Canvas,
    circle,
)
from scenes.plan import LANE, Street
from scenes.worlds import Color

ASPHALT: Color = (0.33, 0.33, 0.335)
CONCRETE: Color = (0.62, 0.60, 0.56)
END = 155.0


def draw_backdrop(canvas: Canvas) -> None:
    """Draw the sky, hills, and rows of trees and roofs at the end of sight."""
    height, width = (SUPERSAMPLE * side for side in canvas.size)
    rng = canvas.shapes
    sky = canvas.surface(SKY, (0.5, 0.6, 0.7), canvas.heat(SKY), depth=SKY_DEPTH, normal=None, grain=0.0)
    canvas.polygon([(0, 0), (width, 0), (width, height), (0, height)], sky)
    hilly, hills_high, wooded = rng.random() < 0.45, float(rng.uniform(35.0, 90.0)), rng.random() < 0.75
    if hilly:
        label = VEGETATION if wooded else TERRAIN
        color = canvas.vary((0.27, 0.31, 0.19) if wooded else (0.45, 0.41, 0.28))
        hills = canvas.surface(label, color, canvas.heat(label) - 1.0, depth=450.0, grain=0.02, leaf=0.05)
        _ridge(canvas, 450.0, (15.0, hills_high), 4, hills)
    trees = canvas.vary((0.21, 0.27, 0.13), 0.12)
    for distance, share in ((190.0, 0.8), (160.0, 1.0)):
        color = (trees[0] * share, trees[1] * share, trees[2] * share)
        surface = canvas.surface(VEGETATION, color, canvas.heat(VEGETATION), depth=distance, grain=0.06, leaf=0.25)
        _ridge(canvas, distance, (2.0, float(rng.uniform(9.0, 18.0))), 8, surface)
    for x, wide, tall in rng.uniform((-70, 8, 5), (70, 24, 18), (int(rng.integers(0, 7)), 3)).tolist():
        color = canvas.vary((0.62, 0.58, 0.53), 0.15)
        house = canvas.surface(BUILDING, color, canvas.heat(BUILDING), depth=END, grain=0.05)
        canvas.across(END, (x, x + wide), (0.0, tall), house)


def _ridge(canvas: Canvas, distance: float, heights: tuple[float, float], bumps: int, surface: int) -> None:
    """Fill below a line that rises and falls across the picture, in metres at a distance."""
    height, width = (SUPERSAMPLE * side for side in canvas.size)
    camera = canvas.camera
    n = 48
    line = np.zeros(n)
    for octave in range(3):
        count = bumps * 2**octave
        knots = canvas.shapes.standard_normal(count)
        line += np.interp(np.arange(n), np.linspace(0, n, count), knots) / 1.7**octave
    low, high = heights
    line = low + (high - low) * (0.5 + 0.5 * np.tanh(0.7 * line))
    rows = (camera.horizon - (line - camera.height) * camera.focal / distance).tolist()
    columns = np.linspace(-1, width + 1, n).tolist()
    canvas.polygon([(-1, height), *zip(columns, rows, strict=True), (width + 1, height)], surface)


def draw_ground(canvas: Canvas, street: Street) -> None:
    """Draw everything flat: lawns, sidewalks, the road, what lies on it and what is painted on it."""
    road_heat, walk_heat, soil_heat = canvas.heat(ROAD), canvas.heat(SIDEWALK), canvas.heat(TERRAIN)

    def flat(label: int, color: Color, heat: float, grain: float, spread: float = 0.06) -> int:
        return canvas.surface(label, canvas.vary(color, spread), heat, depth=0.0, normal=UP, grain=grain)

    lawn = canvas.world.lawns[int(canvas.paint.choice(3, p=(0.6, 0.28, 0.12)))]
    walk = flat(SIDEWALK, CONCRETE, walk_heat, 0.05)
    curb = flat(SIDEWALK, (0.68, 0.67, 0.64), walk_heat + 1.2, 0.03)
    road = flat(ROAD, ASPHALT, road_heat, 0.07, 0.14)
    half = street.half
    for side in street.sides:
        edge = half + side.verge + side.sidewalk
        grass = flat(TERRAIN, lawn, soil_heat, 0.16)
        bands = [(half, 250.0, walk if side.style == "town" else grass), (half, edge, walk)]
        bands += [(half, half + side.verge, grass)] if side.verge else []
        for inner, outer, surface in (*bands, (half, half + 0.28, curb)):
            left, right = sorted((side.sign * inner, side.sign * outer))
            canvas.strip((left, right), (1.0, END), surface)
    canvas.strip((-half, half), (1.0, END), road)
    if street.junction is not None:
        near, far = street.junction, street.junction + 9
        canvas.face([(-80, 0, near), (80, 0, near), (80, 0, far), (-80, 0, far)], road)
    _wear(canvas, half, road_heat)
    _markings(canvas, street, road_heat)


def _wear(canvas: Canvas, half: float, heat: float) -> None:
    """Draw gutters, patches of newer and older asphalt, tar, and iron lids, which hold the heat of the day."""
    rng = canvas.shapes

    def flat(color: Color, offset: float, grain: float) -> int:
        return canvas.surface(ROAD, color, heat + offset, depth=0.0, normal=UP, grain=grain)

    gutter = flat((0.25, 0.25, 0.25), 0.6, 0.05)
    for sign in (-1.0, 1.0):
        canvas.strip((sign * half - 0.16, sign * half + 0.02), (1.0, 90.0), gutter)
    for x, z, wide, long in rng.uniform((-1, 4, 0.8, 2), (0.6, 40, 3, 14), (4, 4)).tolist():
        shade = 0.33 * float(canvas.paint.normal(1.0, 0.10))
        patch = flat((shade, shade, shade), float(canvas.warmth.normal(0, 0.35)), 0.07)
        canvas.strip((max(-half, x * half), min(half, x * half + wide)), (z, z + long), patch)
    for x, z, drift in rng.uniform((-1, 3, -1.5), (1, 30, 1.5), (3, 3)).tolist():
        tar = flat((0.22, 0.22, 0.22), 0.7, 0.02)
        points = [(x * half + drift * k / 4 + 0.15 * ((k * 7) % 3 - 1), 0.0, z * (1 + 0.25 * k)) for k in range(5)]
        canvas.face(points + [(p + 0.06, y, q) for p, y, q in reversed(points)], tar)
    for x, z in rng.uniform((-0.8, 5), (0.8, 30), (int(rng.integers(0, 4)), 2)).tolist():
        lid = flat((0.22, 0.21, 0.2), float(canvas.warmth.uniform(1.5, 5.0)), 0.05)
        canvas.face([(x * half + 0.33 * c, 0.0, z + 0.33 * s) for c, s in circle(12)], lid)


def _markings(canvas: Canvas, street: Street, heat: float) -> None:
    """Draw paint; at night there is next to no difference between it and the asphalt."""
    rng, half = canvas.shapes, street.half

    def paint(color: Color) -> int:
        return canvas.surface(ROAD, canvas.vary(color), heat + 0.3, depth=0.0, normal=UP, grain=0.06)

    white, yellow = paint((0.80, 0.80, 0.78)), paint((0.78, 0.58, 0.16))
    stop = street.junction - 3.0 if street.junction is not None else 110.0
    middle, edges, arrow, zebra = rng.random(), rng.random() < 0.5, rng.random() < 0.3, rng.random() < 0.6
    arrow_x, arrow_z = rng.uniform((-0.4, 7.0), (0.4, 18.0)).tolist()

    def line(x: float, near: float, far: float, surface: int) -> None:
        if far > near:
            canvas.strip((x - 0.07, x + 0.07), (near, far), surface)

    stretches = [(1.0, stop)]
    if street.junction is not None:
        stretches.append((street.junction + 12.0, 110.0))
    for start, end in stretches:
        if middle < 0.5:
            line(-0.13, start, end, yellow)
            line(0.13, start, end, yellow)
        elif middle < 0.85:
            for k in range(11):
                line(0.0, max(start, 2 + 9.0 * k), min(end, 5.5 + 9.0 * k), yellow if middle < 0.6 else white)
        for sign in (-1.0, 1.0):
            for k in range(11 if street.lanes > 1 else 0):
                line(sign * LANE, max(start, 1 + 9.0 * k), min(end, 4 + 9.0 * k), white)
            if edges:
                line(sign * min(half - 0.35, street.lanes * LANE + 0.1), start, end, white)
    if street.junction is not None:
        if zebra:
            for k in range(int(2 * half / 1.1)):
                x = -half + 0.6 + 1.1 * k
                canvas.strip((x, x + 0.5), (stop + 0.2, stop + 2.6), white)
        else:
            for z in (stop + 0.2, stop + 2.3):
                canvas.strip((-half, half), (z, z + 0.25), white)
        canvas.strip((0.2, half), (stop - 1.2, stop - 0.7), white)
    if arrow:
        x, z = canvas.camera.x + arrow_x, arrow_z
        canvas.strip((x - 0.1, x + 0.1), (z, z + 2.2), white)
        canvas.face([(x - 0.4, 0, z + 2.2), (x, 0, z + 3.6), (x + 0.4, 0, z + 2.2)], white)
