"""Imperfect label maps of a scene, as two pretrained networks would predict them (section 3.3.2 of the paper)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from morngan.data.scenes.canvas import (
    BICYCLE,
    BUILDING,
    BUS,
    CAR,
    FENCE,
    MOTORCYCLE,
    PERSON,
    POLE,
    RIDER,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    TRAIN,
    TRUCK,
    VEGETATION,
    WALL,
    noise,
    stream,
)
from morngan.data.scenes.render import Scene

Labels = npt.NDArray[np.uint8]
Confusion = tuple[int, int, float]

PRIMARY, SECONDARY = 16, 17

# how a class fares where it meets another: trees, poles and things in front grow, the sky gives way
INFLATION: dict[int, float] = {
    SKY: 0.62, ROAD: 0.85, POLE: 2.4, TRAFFIC_LIGHT: 2.0, TRAFFIC_SIGN: 1.5, PERSON: 1.7, RIDER: 1.5,
    BICYCLE: 1.4, MOTORCYCLE: 1.4, VEGETATION: 1.2, CAR: 1.2, FENCE: 1.2, WALL: 1.1,
}  # fmt: skip
# (true class, predicted class, share of the things or of the area)
PRIMARY_THINGS: tuple[Confusion, ...] = (
    (TRUCK, CAR, 0.25), (BUS, TRUCK, 0.25), (TRAIN, BUS, 0.4), (RIDER, PERSON, 0.2), (MOTORCYCLE, BICYCLE, 0.2),
    (PERSON, RIDER, 0.04), (CAR, TRUCK, 0.015),
)  # fmt: skip
PRIMARY_AREAS: tuple[Confusion, ...] = (
    (SIDEWALK, ROAD, 0.12), (TERRAIN, VEGETATION, 0.10), (WALL, BUILDING, 0.25), (FENCE, WALL, 0.2),
    (BUILDING, WALL, 0.05), (BUILDING, VEGETATION, 0.06), (ROAD, SIDEWALK, 0.015),
)  # fmt: skip
SECONDARY_THINGS: tuple[Confusion, ...] = (
    (TRUCK, CAR, 0.65), (BUS, TRUCK, 0.5), (TRAIN, BUS, 0.7), (RIDER, PERSON, 0.7), (MOTORCYCLE, BICYCLE, 0.5),
    (CAR, TRUCK, 0.05), (BICYCLE, MOTORCYCLE, 0.25),
)  # fmt: skip
SECONDARY_AREAS: tuple[Confusion, ...] = (
    (SIDEWALK, ROAD, 0.22), (ROAD, SIDEWALK, 0.06), (TERRAIN, VEGETATION, 0.30), (VEGETATION, TERRAIN, 0.03),
    (WALL, BUILDING, 0.45), (WALL, FENCE, 0.2), (FENCE, WALL, 0.3), (FENCE, VEGETATION, 0.25), (BUILDING, WALL, 0.08),
    (BUILDING, VEGETATION, 0.12), (VEGETATION, BUILDING, 0.07), (BUILDING, TRAFFIC_SIGN, 0.012), (SKY, BUILDING, 0.03),
)  # fmt: skip


def predict_labels(scene: Scene, seed: int, index: int) -> tuple[Labels, Labels]:
    """Predict a scene's labels twice, wrongly in two ways.

    The primary prediction is that of a model of traffic scenes: its classes are mostly right, its edges are smooth,
    shifted, and inflated, trees and poles into the sky above all. The secondary one is that of a model of everything:
    its contours are good, but it mixes up the classes of traffic and sees persons in poles and trees.

    Args:
        scene: a scene; its ``labels`` and ``boxes`` are spoiled.
        seed: as in :func:`render_scene`.
        index: as in :func:`render_scene`.

    Returns:
        Two uint8 ``(H, W)`` of train ids: primary, secondary.
    """
    rng = stream(seed, index, PRIMARY)
    primary = _mistake(scene, PRIMARY_THINGS, PRIMARY_AREAS, rng)
    primary = _lose(primary, scene, TRAFFIC_LIGHT, 0.15, 0.1, rng)
    primary = _inflate(_shift(primary, 1.0, 0.8, rng), rng)

    rng = stream(seed, index, SECONDARY)
    secondary = _mistake(scene, SECONDARY_THINGS, SECONDARY_AREAS, rng)
    secondary = _lose(secondary, scene, TRAFFIC_LIGHT, 0.2, 0.35, rng)
    secondary = _lose(secondary, scene, TRAFFIC_SIGN, 0.35, 0.0, rng)
    secondary = _imagine_persons(secondary, rng)
    return primary, _shift(secondary, 0.3, 0.35, rng)


def _mistake(
    scene: Scene, things: tuple[Confusion, ...], areas: tuple[Confusion, ...], rng: np.random.Generator
) -> Labels:
    """Confuse whole things, and patches of areas."""
    labels = scene.labels.copy()
    chances = rng.random(max(1, len(scene.boxes))).tolist()
    for box, chance in zip(scene.boxes, chances, strict=False):
        for true, wrong, share in things:
            if box.class_id == true:
                if chance < share:
                    part = labels[box.top : box.bottom, box.left : box.right]
                    part[part == true] = wrong
                break
    scale = max(labels.shape[0] / 160, 0.3)
    # one field for all pairs: a network that fails somewhere fails there in every way
    field = noise(labels.shape, 8.0, rng, (scale, 1.5 * scale))
    order = np.argsort(np.argsort(field.ravel()[::7])).astype(np.float32)
    levels = np.interp(field.ravel(), np.sort(field.ravel()[::7]), np.arange(order.size) / order.size).reshape(
        labels.shape
    )
    truth = labels.copy()
    begun: dict[int, float] = {}
    for true, wrong, share in areas:
        start = begun.get(true, 0.0)
        begun[true] = start + share
        labels[(truth == true) & (levels >= start) & (levels < start + share)] = wrong
    return labels


def _lose(
    labels: Labels, scene: Scene, class_id: int, missed: float, confused: float, rng: np.random.Generator
) -> Labels:
    """Give some of a class's parts the label above them, and call some lights signs."""
    parts, count = ndimage.label(scene.labels == class_id)
    chances = rng.random(max(1, count)).tolist()
    for place, number, chance in zip(ndimage.find_objects(parts), range(1, count + 1), chances, strict=False):
        window, inside = labels[place], parts[place] == number
        if chance < missed:
            window[inside] = labels[max(0, place[0].start - 1), (place[1].start + place[1].stop) // 2]
        elif chance < missed + confused:
            window[inside] = TRAFFIC_SIGN
    return labels


def _imagine_persons(labels: Labels, rng: np.random.Generator) -> Labels:
    """See persons in lower parts of poles and trees."""
    height, width = labels.shape
    for _ in range(int(rng.poisson(1.2))):
        row, column = rng.random(2)
        tall = (0.06 + 0.12 * rng.random()) * height
        candidates = np.flatnonzero(np.isin(labels[height // 2], (POLE, VEGETATION)))
        if candidates.size == 0:
            continue
        x, y = candidates[int(column * candidates.size)], (0.46 + 0.14 * row) * height
        rows, columns = np.ogrid[:height, :width]
        inside = ((columns - x) / (0.22 * tall + 1)) ** 2 + ((rows - y) / (0.5 * tall)) ** 2 < 1
        labels[inside & np.isin(labels, (POLE, VEGETATION, FENCE))] = PERSON
    return labels


def _shift(labels: Labels, wander: float, offset: float, rng: np.random.Generator) -> Labels:
    """Move the edges to and fro, by pixels of a picture 160 high."""
    height, width = labels.shape
    scale = height / 160
    zoom = (max(scale, 0.3), max(scale, 0.3))
    dy, dx = (rng.standard_normal(2) * offset * scale).tolist()
    rows = np.arange(height)[:, None] + noise(labels.shape, 4.0, rng, zoom) * wander * scale + dy
    columns = np.arange(width) + noise(labels.shape, 4.0, rng, zoom) * wander * scale + dx
    rows = np.clip(np.rint(rows), 0, height - 1).astype(np.intp)
    columns = np.clip(np.rint(columns), 0, width - 1).astype(np.intp)
    return np.asarray(labels[rows, columns])


def _inflate(labels: Labels, rng: np.random.Generator) -> Labels:
    """Return the label that is strongest after blurring each class, as upsampled logits have it."""
    sigma = float(rng.uniform(1.2, 2.2)) * labels.shape[0] / 160
    best = np.full(labels.shape, -1.0, np.float32)
    result = np.zeros_like(labels)
    for class_id in np.flatnonzero(np.bincount(labels.ravel())).tolist():
        score = ndimage.gaussian_filter((labels == class_id).astype(np.float32), sigma, mode="nearest", truncate=2.5)
        score *= INFLATION.get(class_id, 1.0)
        wins = score > best
        best[wins] = score[wins]
        result[wins] = class_id
    return result
