"""Two cameras on one geometry: a color camera by day and a thermal one at night."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scenes.canvas import (
    ROAD,
    SKY,
    SUPERSAMPLE,
    Camera,
    FloatArray,
    Layers,
    Sun,
    noise,
    noise_tile,
)
from scenes.plan import Weather
from scenes.worlds import World

TONES = 4096


class View(NamedTuple):
    """What both cameras see at each pixel of the picture."""

    color: FloatArray
    """(H, W, 3), without the sky."""
    heat: FloatArray
    """(H, W), without the sky."""
    sky: FloatArray
    """Share of each pixel that is sky."""
    depth: FloatArray
    """Distance in metres."""
    ground: npt.NDArray[np.bool_]
    """True where the ground is seen."""
    across: FloatArray
    """Metres right of the road's center line, on the ground."""
    elevation: FloatArray
    """(H, 1): 0 at the horizon, 1 at half a picture's height above it."""
    mirror: npt.NDArray[np.intp]
    """(H,): the row that a wet road shows, mirrored at the horizon."""


def look(layers: Layers, camera: Camera) -> View:
    """Average the samples of each pixel and find where on the ground it lies."""
    height, width = layers.coarse.shape
    visible = (layers.labels != SKY).astype(np.float32)
    table = np.column_stack((layers.colors, layers.heats, np.ones_like(visible))) * visible[:, None]
    table[:, 4] = 1 - visible
    table = (table / SUPERSAMPLE**2).astype(np.float32)
    total = np.zeros((height, width, 5), np.float32)
    for i in range(SUPERSAMPLE):
        for j in range(SUPERSAMPLE):
            total += table.take(layers.fine[i::SUPERSAMPLE, j::SUPERSAMPLE], axis=0)
    rows = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * SUPERSAMPLE
    columns = (np.arange(width, dtype=np.float32) + 0.5) * SUPERSAMPLE
    distance = camera.focal * camera.height / np.maximum(rows - camera.horizon, 1.0)
    depth = layers.depths[layers.coarse]
    ground = depth == 0
    depth = np.where(ground, np.minimum(distance, 400.0), depth)
    across = camera.x + (columns - camera.center) / camera.focal * distance - camera.bend * distance**2
    return View(
        color=total[..., :3],
        heat=total[..., 3],
        sky=total[..., 4],
        depth=depth,
        ground=ground,
        across=across.astype(np.float32),
        elevation=((camera.horizon - rows) / height).astype(np.float32),
        mirror=np.clip(np.rint(2 * camera.horizon - rows[:, 0]) // SUPERSAMPLE, 0, height - 1).astype(np.intp),
    )


def _ground_noise(view: View, smoothness: float, scale: tuple[float, float], rng: np.random.Generator) -> FloatArray:
    """Noise that lies on the ground and shrinks with the distance; ``scale`` in tile cells a metre (across, along)."""
    shift = rng.random(2) * 256
    columns = (view.across * scale[0] + shift[0]).astype(np.intp) & 255
    # each row lies at one distance
    along = np.where(view.ground, view.depth, 0).max(1, keepdims=True)
    rows = (along * scale[1] + shift[1]).astype(np.intp) & 255
    return np.asarray(noise_tile(smoothness)[rows, columns] / (1 + along / 25))


def _wet(layers: Layers, view: View, wet: float, rng: np.random.Generator) -> FloatArray:
    """Return how much each pixel mirrors what stands behind it: puddles on the road, more where it is seen flatly."""
    puddles = np.clip(0.6 + 0.5 * _ground_noise(view, 4.0, (2.0, 1.0), rng), 0, 1)
    flat = 0.25 + 0.75 * np.minimum(view.depth / 40, 1)
    road = view.ground & (layers.labels[layers.coarse] == ROAD)
    return np.asarray(np.where(road, 0.8 * wet * puddles * flat, 0), np.float32)


def _octaves(shape: tuple[int, int], rng: np.random.Generator, scale: float) -> FloatArray:
    """Noise of several sizes, as leaves, plaster and stone have it."""
    fine, middle = noise(shape, 0.6, rng), noise(shape, 1.2, rng, (scale, scale))
    return np.asarray(0.55 * fine + 0.6 * middle + 0.6 * noise(shape, 3.0, rng, (scale, scale)), np.float32)


def photograph(
    layers: Layers, view: View, world: World, sun: Sun, weather: Weather, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the color picture by day, uint8 (H, W, 3)."""
    shape = layers.coarse.shape
    grain, leaf = layers.grains[layers.coarse], layers.leaves[layers.coarse]
    scale = max(1.0, shape[0] / 160)
    texture = 0.6 * grain * noise(shape, 0.0, rng) + np.clip(
        (1.3 * leaf + 0.4 * grain) * _octaves(shape, rng, scale), -0.6, 0.9
    )
    worn = _ground_noise(view, 2.0, (6.0, 1.6), rng) * 0.05 + _ground_noise(view, 1.0, (14.0, 14.0), rng) * 0.04
    texture += np.where(view.ground, worn, 0)
    color = view.color * (1 + texture)[..., None]

    # a shadow is lit by the sky alone, which is bluer
    depth_of_shadow = np.where(view.ground, layers.shadow, 0) * ((0.2 if weather.dusk else 0.72) * sun.strength)
    color *= 1 - depth_of_shadow[..., None] * np.array((1.0, 0.96, 0.86), np.float32)
    if weather.dusk:
        color *= np.array((0.62, 0.56, 0.58), np.float32) * float(rng.uniform(0.7, 1.2))

    sky_color = _sky_at_dusk(view, rng) if weather.dusk else _sky_by_day(view, world, sun, rng)
    horizon = np.array((0.72, 0.62, 0.58) if weather.dusk else (0.86, 0.88, 0.90), np.float32)
    veil = (1 - np.exp(-np.minimum(view.depth, 1500.0) / weather.reach))[..., None].astype(np.float32)
    solid = (1 - view.sky)[..., None]
    color = color * (1 - veil) + solid * veil * horizon
    color = color + view.sky[..., None] * sky_color
    if weather.wet:
        share = _wet(layers, view, weather.wet, rng)[..., None]
        color = color * (1 - 0.25 * weather.wet * (share > 0)) * (1 - share) + 0.9 * share * color[view.mirror]

    gray = color @ np.array((0.299, 0.587, 0.114), np.float32)
    color = gray[..., None] + (color - gray[..., None]) * float(rng.uniform(*world.saturation))
    blur = float(rng.uniform(0.2, 0.55) if rng.random() < 0.85 else rng.uniform(0.55, 0.9)) * scale
    color = ndimage.gaussian_filter(color.astype(np.float32), (blur, blur, 0), mode="nearest", truncate=3.0)
    # stray light in the lens lifts the darkest level, most where the sun shines into it
    exposure, balance = float(rng.normal(1.36, 0.14)), rng.normal(1.0, 0.012, 3).astype(np.float32)
    black, gamma = max(0.0, float(rng.normal(*world.black))), float(rng.uniform(0.95, 1.3))
    white = float(rng.uniform(0.95, 1.0))
    curve = (black + (white - black) * np.linspace(0, 1, TONES) ** gamma).astype(np.float32)
    picture = curve.take((np.clip(color * (exposure * balance), 0.0, 1.0) * (TONES - 1)).astype(np.int16))
    picture += rng.standard_normal((*shape, 3), np.float32) * float(rng.uniform(0.002, 0.008))
    return np.asarray(np.clip(picture * 255 + 0.5, 0, 255), np.uint8)


def _clouds(view: View, rng: np.random.Generator) -> FloatArray:
    """How thick clouds are; they are drawn out where they are far."""
    shape = view.depth.shape
    width = max(shape[1] / 160, 0.3)
    drift = noise(shape, 8.0, rng, (0.5 * width, 1.6 * width))
    drift = drift + 0.5 * noise(shape, 3.0, rng, (0.5 * width, 1.6 * width))
    return np.asarray(drift - float(rng.uniform(-1.2, 1.2)), np.float32)


def _sky_by_day(view: View, world: World, sun: Sun, rng: np.random.Generator) -> FloatArray:
    """Blue above, pale at the horizon, with clouds."""
    up = np.clip(view.elevation * 2, 0, 1)[..., None]
    zenith = np.array(world.zenith, np.float32) * float(rng.uniform(0.88, 1.15))
    pale = np.array((0.88, 0.94, 0.98), np.float32)
    gray = np.array((0.84, 0.86, 0.89), np.float32)
    clear = pale + (zenith - pale) * up ** float(rng.uniform(0.5, 1.3))
    overcast = gray + np.float32(0.08) * (1 - up)
    share = np.float32(np.clip(1.25 * sun.strength - 0.1, 0.0, 1.0))
    sky = overcast + (clear - overcast) * share
    drift = _clouds(view, rng)
    cloud = np.clip(0.6 * drift, 0, 1)[..., None] * np.float32(rng.uniform(0.3, 0.95))
    white = np.array((0.97, 0.97, 0.97), np.float32) - np.float32(0.12) * np.clip(drift - 1.2, 0, 1)[..., None]
    return np.asarray(sky + (white - sky) * cloud, np.float32)


def _sky_at_dusk(view: View, rng: np.random.Generator) -> FloatArray:
    """Orange at the horizon, pale or violet above, with clouds lit from below."""
    up = np.clip(view.elevation * 2, 0, 1)[..., None]
    glow = np.array((1.0, 0.80, 0.62), np.float32) * float(rng.uniform(0.85, 1.05))
    above = np.array((0.66, 0.70, 0.82), np.float32) * float(rng.uniform(0.75, 1.1))
    sky = glow + (above - glow) * up ** float(rng.uniform(0.3, 0.9))
    cloud = np.clip(0.7 * _clouds(view, rng), 0, 1)[..., None] * np.float32(rng.uniform(0.2, 0.9))
    lit = np.array((0.80, 0.66, 0.66), np.float32) + np.array((0.18, 0.08, -0.02), np.float32) * (1 - up)
    return np.asarray(sky + (lit - sky) * cloud, np.float32)


def film_heat(
    layers: Layers, view: View, world: World, weather: Weather, sky_heat: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the thermal picture at night, uint8 (H, W), white hot."""
    shape = layers.coarse.shape
    scale = (shape[0] / 96) ** 0.25
    heat = view.heat + (1 - view.sky) * _texture_at_night(layers, view, rng)
    # the air between takes its part
    air = -1.0
    kept = np.exp(-np.minimum(view.depth, 1000.0) / float(rng.uniform(250, 600)))
    solid = 1 - view.sky
    heat = heat * kept + air * solid * (1 - kept)
    heat = heat + view.sky * _sky_at_night(view, sky_heat, rng)
    if weather.wet:
        share = _wet(layers, view, weather.wet, rng)
        heat = heat * (1 - share) + share * (0.6 * heat[view.mirror] - 0.8)

    # most lenses are sharp, some are not
    blur = float(rng.uniform(0.3, 0.5) if rng.random() < 0.88 else rng.uniform(0.5, 0.75)) * scale
    heat = ndimage.gaussian_filter(heat.astype(np.float32), blur, mode="nearest", truncate=3.0)
    picture = _develop(heat, world, rng)
    noise_sd = float(rng.uniform(*world.noise))
    picture += rng.standard_normal(shape, np.float32) * noise_sd
    picture += rng.standard_normal((1, shape[1]), np.float32) * noise_sd * float(rng.uniform(0.1, 0.6))
    picture += rng.standard_normal((shape[0], 1), np.float32) * noise_sd * float(rng.uniform(0.1, 0.4))
    # the sensor's housing warms the corners
    rows, columns = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])
    picture += float(rng.normal(0.0, 4.0)) * (rows**2 + columns**2)
    # at both ends of its range the sensor bends rather than breaks
    knee = 92.0
    offset = picture - 127.5
    bent = knee + (125 - knee) * np.tanh((np.abs(offset) - knee) / (125 - knee))
    picture = np.where(np.abs(offset) > knee, 127.5 + np.sign(offset) * bent, picture)
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def _develop(heat: FloatArray, world: World, rng: np.random.Generator) -> FloatArray:
    """Turn warmth into gray levels: detail enhanced, the histogram evened out, gain and offset set by the camera."""
    reach = float(rng.uniform(0.02, 0.08)) * heat.shape[0]
    around = ndimage.uniform_filter(ndimage.uniform_filter(heat, round(reach) | 1), round(reach) | 1)
    halo = float(rng.uniform(*world.halo))
    heat = heat + halo * np.clip(heat - around, -2.5, 2.5)
    spread = float(heat.std()) + 0.5
    linear = (heat - heat.mean()) / spread
    # a plateau keeps large even areas from taking the whole range
    bins = np.clip((linear + 4) * 64, 0, 511).astype(np.intp)
    counts = np.bincount(bins.ravel(), minlength=512).astype(np.float64)
    counts = np.minimum(ndimage.gaussian_filter1d(counts, 4.0), float(rng.uniform(0.006, 0.02)) * heat.size)
    total = counts.cumsum()
    even = (np.interp(linear, np.arange(512) / 64 - 4, total / total[-1]) - 0.5) * 3.4
    share = float(rng.uniform(*world.equalized))
    level = share * even + (1 - share) * linear
    contrast = float(rng.uniform(*world.contrast))
    level = (level - level.mean()) / (float(level.std()) + 0.05)
    return np.asarray(float(rng.normal(*world.level)) + contrast * level, np.float32)


def _texture_at_night(layers: Layers, view: View, rng: np.random.Generator) -> FloatArray:
    """What is left of texture: leaves that differ, rough walls, mottled ground, tracks where tyres roll."""
    shape = layers.coarse.shape
    scale = max(1.0, shape[0] / 160)
    detail = _octaves(shape, rng, scale)
    mottle = _ground_noise(view, 4.0, (5.0, 0.8), rng) * float(rng.uniform(0.02, 0.25))
    mottle += _ground_noise(view, 1.0, (8.0, 8.0), rng) * 0.15
    lane = np.abs(np.mod(np.abs(view.across), 3.4) - 1.7)
    tracks = np.exp(-(((lane - 0.75) / 0.3) ** 2)) * float(rng.uniform(0.0, 0.9))
    road = layers.labels[layers.coarse] == ROAD
    on_ground = mottle + np.where(road, tracks, 0)
    rough = (2.6 * layers.leaves[layers.coarse] + 3.0 * layers.grains[layers.coarse]) * detail
    return np.asarray(np.where(view.ground, on_ground, rough), np.float32)


def _sky_at_night(view: View, heat: float, rng: np.random.Generator) -> FloatArray:
    """Coldest overhead, warmer towards the horizon, with bands of cloud; clear skies are cold, cloudy ones warm."""
    shape = view.depth.shape
    rise, bow = float(rng.uniform(1.0, 5.0)), float(rng.uniform(1.5, 5.0))
    up = np.clip(view.elevation * 2, 0, 1)
    width = max(shape[1] / 160, 0.3)
    drift = noise(shape, 8.0, rng, (0.3 * width, 2.5 * width))
    clouds = np.clip(drift - float(rng.uniform(-0.5, 1.5)), 0, 2) * float(rng.uniform(0.2, 1.3))
    warm = float(rng.uniform(0.0, 2.0)) if rng.random() < 0.35 else 0.0
    return np.asarray(heat + warm + rise * (1 - up) ** bow + clouds, np.float32)
