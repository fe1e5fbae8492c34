"""What lines a street: buildings with windows in perspective, walls, fences and hedges."""

from __future__ import annotations

from typing import Literal

from scenes.canvas import BUILDING, FENCE, UP, VEGETATION, WALL, Canvas
from scenes.worlds import Color

ROOFS: tuple[Color, ...] = ((0.42, 0.24, 0.18), (0.30, 0.29, 0.29), (0.36, 0.30, 0.26), (0.50, 0.30, 0.20))
AWNINGS: tuple[Color, ...] = ((0.55, 0.12, 0.12), (0.14, 0.34, 0.24), (0.16, 0.24, 0.45), (0.72, 0.62, 0.42))


def draw_building(
    canvas: Canvas,
    sign: float,
    edge: float,
    span: tuple[float, float],
    depth: float,
    floors: int,
    roof: Literal["flat", "pitched"],
) -> None:
    """Draw a building whose long side faces the road: ``edge`` metres from the middle, on the side of ``sign``."""
    near, far = span
    if far - near < 2.0:
        return
    storey = float(canvas.shapes.uniform(2.8, 3.5))
    height = floors * storey + float(canvas.shapes.uniform(0.3, 1.0))
    heat = canvas.heat(BUILDING)
    plaster = canvas.world.plaster
    color = canvas.vary(plaster[int(canvas.paint.integers(len(plaster)))], 0.1)
    distance = max(near, 2.0)
    x0, x1 = sign * edge, sign * (edge + depth)
    flank_normal = (-sign, 0.0, 0.0)

    def surface(tint: Color, offset: float, normal: tuple[float, float, float], grain: float = 0.05) -> int:
        return canvas.surface(BUILDING, tint, heat + offset, depth=distance, normal=normal, grain=grain)

    front_normal = (0.0, 0.0, -1.0)
    flank, front = surface(color, 0.0, flank_normal), surface(color, 0.3, front_normal)
    rise = float(canvas.shapes.uniform(1.2, 2.2)) if roof == "pitched" else 0.0
    canvas.shadow([(x0, near), (x0, far), (x1, far), (x1, near)], height + 0.5 * rise)
    eave_x = x0 - 0.4 * sign
    if roof == "pitched":
        tiles = canvas.vary(ROOFS[int(canvas.paint.integers(len(ROOFS)))], 0.08)
        slope = surface(tiles, -1.6, (-0.6 * sign, 0.8, 0.0), 0.1)
        ridge = (x0 + x1) / 2
        high, low = height + rise, height - 0.1
        canvas.face([(ridge, high, near), (ridge, high, far), (eave_x, low, far), (eave_x, low, near)], slope)
    canvas.along(x0, span, (0.0, height), flank)
    if roof == "pitched":
        canvas.face([(x0, height, near), (ridge, height + rise, near), (x1, height, near)], front)
        eave = surface((0.7 * tiles[0], 0.7 * tiles[1], 0.7 * tiles[2]), -0.8, flank_normal)
        canvas.along(eave_x, span, (height - 0.25, height), eave)
    canvas.across(near, (x0, x1), (0.0, height), front)

    trim_color = (min(0.9, color[0] * 1.25), min(0.9, color[1] * 1.25), min(0.9, color[2] * 1.25))
    trim, trim_front = surface(trim_color, -0.3, flank_normal), surface(trim_color, 0.0, front_normal)
    bands = [height - 0.35] if roof == "flat" else []
    bands += [storey + 0.1] if floors > 1 and canvas.shapes.random() < 0.6 else []
    for low in bands:
        canvas.along(x0, span, (low, low + 0.3), trim)
        canvas.across(near, (x0, x1), (low, low + 0.3), trim_front)

    _windows(canvas, sign, edge, span, depth, floors, storey, heat, distance)


def _windows(
    canvas: Canvas,
    sign: float,
    edge: float,
    span: tuple[float, float],
    depth: float,
    floors: int,
    storey: float,
    heat: float,
    distance: float,
) -> None:
    near, far = span
    wide, tall, pitch = (
        float(canvas.shapes.uniform(0.35, 0.6)),
        float(canvas.shapes.uniform(0.4, 0.62)),
        float(canvas.shapes.uniform(2.4, 4.0)),
    )
    shop, awning = canvas.shapes.random() < 0.45 and floors > 1, canvas.shapes.random() < 0.5
    glass_color = canvas.vary((0.16, 0.20, 0.25), 0.3)
    # panes mirror the cold sky, or let out what is warm behind them
    offsets = canvas.warmth.normal((-0.7, 0.7), 0.5).tolist()
    x0 = sign * edge
    focal = canvas.camera.focal

    def pane(normal: tuple[float, float, float], offset: float) -> int:
        return canvas.surface(
            BUILDING, glass_color, heat + offset, depth=distance, normal=(normal[0], 0.4, normal[2]), grain=0.03
        )

    flank = [pane((-sign, 0.0, 0.0), offset) for offset in offsets]
    front = [pane((0.0, 0.0, -1.0), offset) for offset in offsets]
    warm = canvas.shapes.random((16, 8)).tolist()

    bays = max(1, int((far - near) / pitch))
    step = (far - near) / bays
    for i in range(bays):
        a = near + (i + 0.5 - wide / 2) * step
        b = a + wide * step
        # a pane narrower than a sample would only be noise
        if a < 1.0 or focal * edge * (1 / a - 1 / b) < 1.0:
            continue
        for j in range(floors):
            low = j * storey + 0.28 * storey
            high = low + tall * storey
            if j == 0 and shop:
                low, high = 0.5, 0.82 * storey
            surface = flank[warm[i % 16][j] < 0.25]
            canvas.along(x0, (a, b), (low, high), surface)
    bays = max(1, int(depth / pitch))
    step = depth / bays
    if focal * wide * step / max(near, 1.0) > 1.5 and near > 1.0:
        for i in range(bays):
            a = sign * (edge + (i + 0.5 - wide / 2) * step)
            b = sign * (edge + (i + 0.5 + wide / 2) * step)
            for j in range(floors):
                low = j * storey + 0.28 * storey
                high = low + tall * storey
                surface = front[warm[15 - i % 16][j] < 0.25]
                canvas.across(near, (a, b), (low, high), surface)
    if shop and canvas.shapes.random() < 0.6:
        _shop_sign(canvas, sign, edge, span, 0.88 * storey, heat, distance)
    if awning and (shop or floors == 1):
        tint = canvas.vary(AWNINGS[int(canvas.paint.integers(len(AWNINGS)))], 0.1)
        cloth = canvas.surface(BUILDING, tint, heat - 0.5, depth=distance, normal=(-0.6 * sign, 0.8, 0.0), grain=0.03)
        out = sign * (edge - 1.1)
        canvas.face([(x0, 2.9, near), (x0, 2.9, far), (out, 2.4, far), (out, 2.4, near)], cloth)


def _shop_sign(
    canvas: Canvas, sign: float, edge: float, span: tuple[float, float], low: float, heat: float, distance: float
) -> None:
    """A board above the shop, with letters as wide as tall; some are lit and so warm."""
    near, far = span
    length = min(far - near - 1.0, float(canvas.shapes.uniform(3.0, 7.0)))
    start, lit = float(canvas.shapes.uniform(near + 0.5, far - 0.5 - length)), canvas.warmth.random() < 0.4
    normal = (-sign, 0.0, 0.0)
    board = canvas.vary(AWNINGS[int(canvas.paint.integers(len(AWNINGS)))], 0.1)
    back = canvas.surface(BUILDING, board, heat - 0.4, depth=distance, normal=normal, grain=0.01)
    ink = canvas.surface(BUILDING, (0.9, 0.9, 0.86), heat + (3.0 if lit else 0.2), depth=distance, normal=normal)
    x = sign * edge
    canvas.along(x, (start, start + length), (low, low + 0.7), back)
    for k in range(int(length / 0.9)):
        a = max(start + 0.3 + 0.9 * k, 1.0)
        canvas.along(x, (a, a + 0.5), (low + 0.15, low + 0.55), ink)


def draw_wall(canvas: Canvas, x: float, span: tuple[float, float], height: float) -> None:
    """Draw a wall along the road, with a cap."""
    near, far = span
    sign = 1.0 if x > 0 else -1.0
    heat = canvas.heat(WALL)
    color = canvas.vary(
        ((0.60, 0.57, 0.52), (0.50, 0.40, 0.33), (0.68, 0.66, 0.62))[int(canvas.paint.integers(3))], 0.1
    )
    side = canvas.surface(WALL, color, heat, depth=max(near, 2.0), normal=(-sign, 0.0, 0.0), grain=0.07)
    end = canvas.surface(WALL, color, heat, depth=max(near, 2.0), normal=(0.0, 0.0, -1.0), grain=0.07)
    cap = canvas.surface(
        WALL, (color[0] * 1.1, color[1] * 1.1, color[2] * 1.1), heat - 0.4, depth=max(near, 2.0), normal=UP, grain=0.04
    )
    canvas.shadow([(x, near), (x, far), (x + 0.2 * sign, far), (x + 0.2 * sign, near)], height)
    canvas.across(near, (x, x + 0.25 * sign), (0.0, height), end)
    canvas.strip((x, x), (near, far), side, (0.0, height))
    canvas.strip((x - 0.05 * sign, x), (near, far), cap, (height - 0.14, height))


def draw_fence(canvas: Canvas, x: float, span: tuple[float, float], height: float) -> None:
    """Draw a fence along the road: boards, or rails on posts."""
    near, far = span
    sign = 1.0 if x > 0 else -1.0
    heat = canvas.heat(FENCE)
    rails = canvas.shapes.random() < 0.4
    color = canvas.vary(
        ((0.45, 0.35, 0.26), (0.72, 0.71, 0.68), (0.36, 0.37, 0.38))[int(canvas.paint.integers(3))], 0.1
    )
    normal = (-sign, 0.0, 0.0)

    def surface(share: float, offset: float) -> int:
        tint = (color[0] * share, color[1] * share, color[2] * share)
        return canvas.surface(FENCE, tint, heat + offset, depth=max(near, 2.0), normal=normal, grain=0.06)

    board, gap = surface(1.0, 0.0), surface(0.45, -0.4)
    canvas.shadow([(x, near), (x, far)], height)
    # what shows between the rails counts as fence, as annotators have it
    canvas.strip((x, x), (near, far), gap if rails else board, (0.0, height))
    pitch = 1.6 if rails else 0.5
    focal = canvas.camera.focal
    z = max(near, 2.0)
    while z < far and focal * abs(x) * 0.3 * pitch / (z * z) > 0.8:
        wide = 0.1 if rails else 0.06
        canvas.along(x, (z, z + wide), (0.0, height), board if rails else gap)
        z += pitch
    if rails:
        for share in (0.25, 0.6, 0.95):
            canvas.strip((x, x), (near, far), board, (share * height - 0.09, share * height))


def draw_hedge(canvas: Canvas, x: float, span: tuple[float, float], height: float) -> None:
    """Draw a hedge along the road."""
    near, far = span
    sign = 1.0 if x > 0 else -1.0
    heat = canvas.heat(VEGETATION)
    color = canvas.vary((0.22, 0.31, 0.13), 0.15)

    def surface(normal: tuple[float, float, float], offset: float) -> int:
        return canvas.surface(
            VEGETATION, color, heat + offset, depth=max(near, 2.0), normal=normal, grain=0.1, leaf=0.34
        )

    side, end, top = surface((-sign, 0.2, 0.0), 0.0), surface((0.0, 0.2, -1.0), 0.0), surface(UP, -0.5)
    deep = 1.4 * sign
    canvas.shadow([(x, near), (x, far), (x + deep, far), (x + deep, near)], height)
    canvas.strip((x, x + deep), (near, far), top, (height, height))
    canvas.across(near, (x, x + deep), (0.0, height), end)
    canvas.strip((x, x), (near, far), side, (0.0, height))
