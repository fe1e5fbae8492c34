"""The geometry buffer: every shape is drawn once, and both cameras look up its color, temperature and label later."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from scenes.worlds import Color, World

Point = tuple[float, float]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

(
    ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN,
    SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE,
) = range(19)  # fmt: skip

SUPERSAMPLE = 2
NEAR = 1.0
"""Nothing is drawn closer to the camera than this, in metres."""
SKY_DEPTH = 1e4
SHADOWS_END = 80.0

# (usual warmth, its spread from night to night, its spread from thing to thing); one unit is about ten gray levels
WARMTH: dict[int, tuple[float, float, float]] = {
    ROAD: (0.0, 0.9, 0.0),
    SIDEWALK: (0.9, 1.0, 0.3),
    BUILDING: (1.8, 1.4, 1.5),
    WALL: (1.2, 1.0, 1.0),
    FENCE: (-0.4, 0.8, 0.8),
    POLE: (1.2, 0.9, 1.2),
    TRAFFIC_LIGHT: (3.0, 0.6, 1.0),
    TRAFFIC_SIGN: (-1.2, 0.8, 1.2),
    VEGETATION: (0.3, 1.3, 0.9),
    TERRAIN: (-1.0, 1.0, 0.4),
    SKY: (-5.6, 1.0, 0.0),
    PERSON: (8.5, 0.7, 1.0),
    RIDER: (8.0, 0.7, 1.0),
    CAR: (-0.6, 0.7, 1.1),
    TRUCK: (0.2, 0.7, 1.2),
    BUS: (1.2, 0.7, 1.0),
    TRAIN: (1.0, 0.7, 1.0),
    MOTORCYCLE: (2.2, 0.7, 1.0),
    BICYCLE: (-0.3, 0.7, 0.6),
}


def stream(seed: int, index: int, number: int) -> np.random.Generator:
    """Return the random numbers of one aspect of one scene; aspects do not disturb each other."""
    return np.random.default_rng(np.random.SeedSequence((seed, index, number)))


@functools.lru_cache(maxsize=8)
def noise_tile(smoothness: float) -> FloatArray:
    """Return a 256 x 256 tile of noise that repeats without a seam, with mean 0 and standard deviation 1."""
    white = np.random.default_rng(np.random.SeedSequence((2012, int(smoothness * 16)))).standard_normal((256, 256))
    tile = ndimage.gaussian_filter(white, smoothness, mode="wrap") if smoothness > 0 else white
    result: FloatArray = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    result.setflags(write=False)
    return result


def noise(shape: tuple[int, int], smoothness: float, rng: np.random.Generator, zoom: Point = (1.0, 1.0)) -> FloatArray:
    """Return a window of a noise tile at a random place; ``zoom`` stretches it down and across."""
    row, column = rng.random(2) * 256
    rows = (np.arange(shape[0]) / zoom[0] + row).astype(np.intp) & 255
    columns = (np.arange(shape[1]) / zoom[1] + column).astype(np.intp) & 255
    return np.asarray(noise_tile(smoothness)[rows][:, columns])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the road, looking along +z; x runs right of the road's center line, y up, in metres.

    The road bends with the square of the distance, and so does everything along it.
    """

    focal: float
    height: float
    horizon: float
    center: float
    x: float
    bend: float

    def project(self, x: float, y: float, z: float) -> Point:
        """Return the (column, row) of a point."""
        if z < NEAR:
            z = NEAR
        scale = self.focal / z
        return self.center + (x - self.x + self.bend * z * z) * scale, self.horizon + (self.height - y) * scale


@dataclass(frozen=True)
class Sun:
    """Light by day: a direction towards the sun, how strong it is against the sky's, and both tints."""

    direction: tuple[float, float, float]
    strength: float

    def light(self, color: Color, normal: tuple[float, float, float]) -> Color:
        """Return the color of a face that looks along ``normal``."""
        x, y, z = self.direction
        direct = self.strength * max(0.0, x * normal[0] + y * normal[1] + z * normal[2])
        ambient = (1.0 - 0.5 * self.strength) * (0.8 + 0.2 * normal[1])
        red, green, blue = color
        return (
            red * (0.94 * ambient + 1.06 * direct),
            green * (0.99 * ambient + 1.0 * direct),
            blue * (1.08 * ambient + 0.88 * direct),
        )

    @property
    def slant(self) -> Point:
        """How far (x, z) the shadow of a point one metre up falls."""
        x, y, z = self.direction
        return -x / y, -z / y


TOWARDS_CAMERA = (0.0, 0.0, -1.0)
UP = (0.0, 1.0, 0.0)


class Surface(NamedTuple):
    """What both cameras need to know of a shape."""

    label: int
    instance: int
    red: float
    green: float
    blue: float
    heat: float
    depth: float
    """Distance in metres; 0 for the ground, whose distance is that of each pixel."""
    grain: float
    leaf: float


class Layers(NamedTuple):
    """The finished buffer: surface ids at the drawn resolution and at the picture's, shadows, and the surfaces."""

    fine: IntArray
    coarse: IntArray
    shadow: FloatArray
    labels: npt.NDArray[np.uint8]
    instances: IntArray
    colors: FloatArray
    heats: FloatArray
    depths: FloatArray
    grains: FloatArray
    leaves: FloatArray


@dataclass
class Canvas:
    """Draws shapes back to front; each belongs to a surface, and the last one drawn is seen."""

    size: tuple[int, int]
    world: World
    camera: Camera
    sun: Sun
    paint: np.random.Generator
    warmth: np.random.Generator
    shapes: np.random.Generator
    surfaces: list[Surface] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        height, width = (SUPERSAMPLE * side for side in self.size)
        self._ids = Image.new("I", (width, height))
        self._draw = ImageDraw.Draw(self._ids)
        self._shadow = Image.new("L", (width, height))
        self._shade = ImageDraw.Draw(self._shadow)
        self._tonight = {c: mean + night * self.warmth.standard_normal() for c, (mean, night, _) in WARMTH.items()}

    def instance(self, label: int) -> int:
        """Open a new instance of a class and return its number, from 1 on."""
        self.instances.append(label)
        return len(self.instances)

    def heat(self, label: int) -> float:
        """Draw the warmth of one thing of a class on this night."""
        return self._tonight[label] + WARMTH[label][2] * float(self.warmth.standard_normal())

    def vary(self, color: Color, spread: float = 0.08) -> Color:
        """Vary a color: mostly its brightness, a little its hue."""
        a, b, c, d = self.paint.standard_normal(4).tolist()
        red, green, blue = color
        common = 1.0 + spread * a
        return (
            max(0.01, red * common * (1 + 0.3 * spread * b)),
            max(0.01, green * common * (1 + 0.3 * spread * c)),
            max(0.01, blue * common * (1 + 0.3 * spread * d)),
        )

    def surface(
        self,
        label: int,
        color: Color,
        heat: float,
        *,
        depth: float,
        instance: int = 0,
        normal: tuple[float, float, float] | None = TOWARDS_CAMERA,
        grain: float = 0.03,
        leaf: float = 0.0,
    ) -> int:
        """Register a surface and return its id; ``normal=None`` keeps the color as it is (lamps)."""
        if normal is not None:
            color = self.sun.light(color, normal)
        self.surfaces.append(Surface(label, instance, *color, heat, depth, grain, leaf))
        return len(self.surfaces) - 1

    def polygon(self, points: Iterable[Point], surface: int) -> None:
        """Fill a polygon given in (column, row)."""
        self._draw.polygon(list(points), fill=surface)

    def face(self, corners: Iterable[tuple[float, float, float]], surface: int) -> None:
        """Fill a polygon given in (x, y, z)."""
        project = self.camera.project
        self._draw.polygon([project(*corner) for corner in corners], fill=surface)

    def along(self, x: float, span: Point, heights: Point, surface: int) -> None:
        """Fill an upright rectangle along the road, whose ends stand at the distances of ``span``."""
        (near, far), (low, high) = span, heights
        self.face([(x, low, near), (x, high, near), (x, high, far), (x, low, far)], surface)

    def across(self, z: float, span: Point, heights: Point, surface: int) -> None:
        """Fill an upright rectangle across the road, at distance z."""
        (left, right), (low, high) = span, heights
        self.face([(left, low, z), (left, high, z), (right, high, z), (right, low, z)], surface)

    def limb(self, start: Point, end: Point, widths: tuple[float, float], surface: int) -> None:
        """Fill a bar from one point to another, in pixels, wide as given at its ends."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length / 2, dx / length / 2
        a, b = widths
        self._draw.polygon(
            [
                (start[0] + nx * a, start[1] + ny * a),
                (end[0] + nx * b, end[1] + ny * b),
                (end[0] - nx * b, end[1] - ny * b),
                (start[0] - nx * a, start[1] - ny * a),
            ],
            fill=surface,
        )

    def disc(self, center: Point, radii: Point, surface: int) -> None:
        """Fill an ellipse given in pixels."""
        (x, y), (a, b) = center, radii
        self._draw.ellipse([x - a, y - b, x + a, y + b], fill=surface)

    def ring(self, center: Point, radii: Point, width: float, surface: int) -> None:
        """Draw an ellipse's outline, given in pixels."""
        (x, y), (a, b) = center, radii
        self._draw.ellipse([x - a, y - b, x + a, y + b], outline=surface, width=max(1, round(width)))

    def blob(self, center: Point, radii: Point, surface: int, n: int = 22, roughness: float = 0.16) -> None:
        """Fill a closed curve of n points whose radius wanders."""
        radius = (1 + roughness * self.shapes.standard_normal(n)).tolist()
        (x, y), (a, b) = center, radii
        self._draw.polygon(
            [(x + a * r * c, y + b * r * s) for r, (c, s) in zip(radius, circle(n), strict=True)], fill=surface
        )

    def strip(
        self, edges: tuple[float, float], span: tuple[float, float], surface: int, heights: Point = (0.0, 0.0)
    ) -> None:
        """Fill what lies between two lines along the road, from near to far; ``heights`` are those of the lines."""
        (left, right), (near, far) = edges, span
        steps = 12 if self.camera.bend else 2
        ratio = (max(far, NEAR + 0.01) / max(near, NEAR)) ** (1 / (steps - 1))
        depths = [max(near, NEAR) * ratio**i for i in range(steps)]
        points = [(left, heights[0], z) for z in depths] + [(right, heights[1], z) for z in reversed(depths)]
        self.face(points, surface)

    def shadow(self, base: Sequence[tuple[float, float]], top: float, *, bottom: float = 0.0) -> None:
        """Cast the ground shadow of an upright prism over a base given in (x, z)."""
        if base[0][1] > SHADOWS_END:
            return
        sx, sz = self.sun.slant
        outline = _hull([(x + sx * up, z + sz * up) for up in (bottom, top) for x, z in base])
        project = self.camera.project
        self._shade.polygon([project(x, 0.0, z) for x, z in outline], fill=255)

    def finish(self, rng: np.random.Generator) -> Layers:
        """Return the buffer, with leafy outlines, at the drawn resolution and at the picture's."""
        fine = np.asarray(self._ids, dtype=np.int32)
        table = np.array(self.surfaces, dtype=np.float32)
        labels = table[:, 0].astype(np.uint8)
        fine = self._ragged(fine, labels, table[:, 6], table[:, 8], rng)
        shadow = np.asarray(self._shadow, dtype=np.float32)
        shadow = shadow.reshape(self.size[0], SUPERSAMPLE, self.size[1], SUPERSAMPLE).mean((1, 3)) / 255
        return Layers(
            fine=fine,
            coarse=_majority(fine, labels),
            shadow=shadow,
            labels=labels,
            instances=table[:, 1].astype(np.int32),
            colors=np.ascontiguousarray(table[:, 2:5]),
            heats=np.ascontiguousarray(table[:, 5]),
            depths=np.ascontiguousarray(table[:, 6]),
            grains=np.ascontiguousarray(table[:, 7]),
            leaves=np.ascontiguousarray(table[:, 8]),
        )

    def _ragged(
        self,
        ids: IntArray,
        labels: npt.NDArray[np.uint8],
        depths: FloatArray,
        leaves: FloatArray,
        rng: np.random.Generator,
    ) -> IntArray:
        """Move the outlines of foliage to and fro, against what stands behind it."""
        height, width = ids.shape
        reach = 0.006 * height
        most = math.ceil(4 * reach)
        across, down = (np.clip(np.rint(noise(ids.shape, 1.0, rng) * reach), -most, most) for _ in range(2))
        framed = np.pad(ids, most, mode="edge")
        stride = width + 2 * most
        here = (np.arange(height, dtype=np.int32)[:, None] + most) * stride + np.arange(width, dtype=np.int32) + most
        source = framed.ravel().take(here + (down * stride + across).astype(np.int32))
        moved = np.flatnonzero(source != ids)
        old, new = ids.ravel()[moved], source.ravel()[moved]
        leafy = leaves > 0
        behind = np.isin(labels, (SKY, BUILDING, WALL, VEGETATION)) & (depths > 0)
        order = np.where(leafy | behind, depths, np.float32(0))
        swap = (leafy[new] & (order[new] <= order[old])) | (leafy[old] & (order[old] <= order[new]))
        result = ids.ravel().copy()
        result[moved[swap]] = new[swap]
        return result.reshape(ids.shape)


@functools.cache
def circle(n: int) -> tuple[Point, ...]:
    """Return n points of the unit circle."""
    return tuple((math.cos(2 * math.pi * i / n), math.sin(2 * math.pi * i / n)) for i in range(n))


def _hull(points: list[Point]) -> list[Point]:
    """Return the convex hull, in order (Andrew's monotone chain)."""
    points = sorted(points)
    chains: list[list[Point]] = []
    for sequence in (points, points[::-1]):
        chain: list[Point] = []
        for x, y in sequence:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2], chain[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        chains.append(chain[:-1])
    return chains[0] + chains[1]


def _majority(ids: IntArray, labels: npt.NDArray[np.uint8]) -> IntArray:
    """Return the surface of each picture pixel: one of its samples, of the label that most of them have."""
    samples = [ids[i::SUPERSAMPLE, j::SUPERSAMPLE] for i in range(SUPERSAMPLE) for j in range(SUPERSAMPLE)]
    b, c, d = (labels[sample] for sample in samples[1:])
    # where no two of the last three agree, the first is in every pair that does
    pair = (b == c) | (b == d)
    return np.where(pair, samples[1], np.where(c == d, samples[2], samples[0]))
