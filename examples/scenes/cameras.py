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
    )


def _ground_noise(view: View, smoothness: float, scale: tuple[float, float], rng: np.random.Generator) -> FloatArray:
    """Noise that lies on the ground and shrinks with the distance; ``scale`` in tile cells a metre (across, along)."""
    shift = rng.random(2) * 256
    columns = (view.across * scale[0] + shift[0]).astype(np.intp) & 255
    # each row lies at one distance
    along = np.where(view.ground, view.depth, 0).max(1, keepdims=True)
    rows = (along * scale[1] + shift[1]).astype(np.intp) & 255
    return np.asarray(noise_tile(smoothness)[rows, columns] / (1 + along / 25))


def photograph(layers: Layers, view: View, sun: Sun, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the color picture by day, uint8 (H, W, 3)."""
    shape = layers.coarse.shape
    grain, leaf = layers.grains[layers.coarse], layers.leaves[layers.coarse]
    scale = max(1.0, shape[0] / 160)
    texture = grain * noise(shape, 0.0, rng)
    foliage = noise(shape, 1.2, rng, (scale, scale)) + 0.7 * noise(shape, 0.6, rng, (scale, scale))
    texture += leaf * np.maximum(0.55 * foliage, -1.6)
    worn = _ground_noise(view, 2.0, (6.0, 1.6), rng) * 0.06 + _ground_noise(view, 1.0, (14.0, 14.0), rng) * 0.05
    texture += np.where(view.ground, worn, 0)
    color = view.color * (1 + texture)[..., None]

    # a shadow is lit by the sky alone, which is bluer
    depth_of_shadow = np.where(view.ground, layers.shadow, 0) * (0.72 * sun.strength)
    color *= 1 - depth_of_shadow[..., None] * np.array((1.0, 0.96, 0.86), np.float32)

    sky_color = _sky_by_day(view, sun, rng)
    horizon = sky_color[-1, 0] if sky_color.shape[0] == 1 else np.array((0.80, 0.83, 0.86), np.float32)
    reach = float(rng.uniform(220, 700)) * (0.6 + 0.4 * sun.strength)
    veil = (1 - np.exp(-np.minimum(view.depth, 1500.0) / reach))[..., None].astype(np.float32)
    solid = (1 - view.sky)[..., None]
    color = color * (1 - veil) + solid * veil * horizon
    color = color + view.sky[..., None] * sky_color

    exposure = float(rng.normal(1.12, 0.10))
    balance = rng.normal(1.0, 0.025, 3).astype(np.float32)
    lift = float(rng.uniform(0.02, 0.12))
    gamma = float(rng.uniform(0.68, 0.85))
    curve = (lift + (1 - lift) * np.linspace(0, 1, 4096) ** gamma).astype(np.float32)
    picture = curve.take((np.clip(color * (exposure * balance), 0.0, 1.0) * 4095).astype(np.int16))
    picture += rng.standard_normal((*shape, 3), np.float32) * float(rng.uniform(0.006, 0.016))
    return np.asarray(np.clip(picture * 255 + 0.5, 0, 255), np.uint8)


def _sky_by_day(view: View, sun: Sun, rng: np.random.Generator) -> FloatArray:
    """Blue above, pale at the horizon, with clouds drawn out where they are far."""
    shape = view.depth.shape
    up = np.clip(view.elevation * 2, 0, 1)[..., None]
    zenith = np.array((0.28, 0.48, 0.80), np.float32) * float(rng.uniform(0.85, 1.15))
    pale = np.array((0.80, 0.86, 0.92), np.float32)
    gray = np.array((0.78, 0.80, 0.83), np.float32)
    clear = pale + (zenith - pale) * up**0.7
    overcast = gray + np.float32(0.08) * (1 - up)
    share = np.float32(np.clip(1.25 * sun.strength - 0.1, 0.0, 1.0))
    sky = overcast + (clear - overcast) * share
    width = max(shape[1] / 160, 0.3)
    drift = noise(shape, 8.0, rng, (0.5 * width, 1.6 * width)) + 0.5 * noise(
        shape, 3.0, rng, (0.5 * width, 1.6 * width)
    )
    cover = float(rng.uniform(-1.2, 1.2))
    cloud = np.clip(0.6 * (drift - cover), 0, 1)[..., None] * np.float32(rng.uniform(0.3, 0.95))
    white = np.array((0.95, 0.95, 0.95), np.float32) - np.float32(0.12) * np.clip(drift - cover - 1.2, 0, 1)[..., None]
    return np.asarray(sky + (white - sky) * cloud, np.float32)


def film_heat(layers: Layers, view: View, sky_heat: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the thermal picture at night, uint8 (H, W), white hot."""
    shape = layers.coarse.shape
    scale = shape[0] / 160
    labels = layers.labels[layers.coarse]
    heat = view.heat + (1 - view.sky) * _texture_at_night(layers, view, labels, rng)
    # the air between takes its part
    air = -1.0
    kept = np.exp(-np.minimum(view.depth, 1000.0) / float(rng.uniform(250, 600)))
    solid = 1 - view.sky
    heat = heat * kept + air * solid * (1 - kept)
    heat = heat + view.sky * _sky_at_night(view, sky_heat, rng)

    blur = float(rng.uniform(0.45, 0.85)) * scale
    heat = ndimage.gaussian_filter(heat.astype(np.float32), blur, mode="nearest")

    # the camera sets its own gain; it wanders from frame to frame, and some frames use a part of the range only
    contrast = float(rng.uniform(18, 34) if rng.random() < 0.2 else rng.uniform(38, 66))
    gain = contrast / float(heat.std() + 0.5)
    picture = float(rng.normal(126.0, 14.0)) + gain * (heat - heat.mean())
    picture += rng.standard_normal(shape, np.float32) * float(rng.uniform(1.5, 3.5))
    picture += rng.standard_normal((1, shape[1]), np.float32) * float(rng.uniform(0.5, 2.0))
    picture += rng.standard_normal((shape[0], 1), np.float32) * float(rng.uniform(0.2, 0.8))
    # the sensor's housing warms the corners
    rows, columns = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])
    picture += float(rng.normal(0.0, 4.0)) * (rows**2 + columns**2)
    # above its range the sensor bends rather than breaks
    knee = 215.0
    picture = np.where(picture > knee, knee + (255 - knee) * np.tanh((picture - knee) / (255 - knee)), picture)
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def _texture_at_night(
    layers: Layers, view: View, labels: npt.NDArray[np.uint8], rng: np.random.Generator
) -> FloatArray:
    """What is left of texture: leaves that differ a little, mottled ground, tracks where tyres roll."""
    shape = layers.coarse.shape
    scale = max(1.0, shape[0] / 160)
    leaf = layers.leaves[layers.coarse] * noise(shape, 1.2, rng, (scale, scale))
    mottle = _ground_noise(view, 4.0, (5.0, 0.8), rng) * float(rng.uniform(0.15, 0.5))
    mottle += _ground_noise(view, 1.0, (8.0, 8.0), rng) * 0.25
    lane = np.abs(np.mod(np.abs(view.across), 3.4) - 1.7)
    tracks = np.exp(-(((lane - 0.75) / 0.3) ** 2)) * float(rng.uniform(0.0, 0.9))
    plain = layers.grains[layers.coarse] * noise(shape, 3.0, rng, (scale, scale)) * 4.0
    on_ground = mottle + np.where(labels == ROAD, tracks, 0)
    return np.asarray(2.6 * leaf + np.where(view.ground, on_ground, plain), np.float32)


def _sky_at_night(view: View, heat: float, rng: np.random.Generator) -> FloatArray:
    """Coldest overhead, warmer towards the horizon, with bands of cloud."""
    shape = view.depth.shape
    rise = float(rng.uniform(1.0, 4.0))
    up = np.clip(view.elevation * 2, 0, 1)
    width = max(shape[1] / 160, 0.3)
    drift = noise(shape, 8.0, rng, (0.3 * width, 2.5 * width))
    clouds = np.clip(drift - float(rng.uniform(-0.5, 1.5)), 0, 2) * float(rng.uniform(0.2, 1.3))
    return np.asarray(heat + rise * (1 - up) ** 2 + clouds, np.float32)
