"""Imperfect label maps of a scene, as two pretrained networks would predict them (section 3.3.2 of the paper)."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scenes.canvas import (
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
from scenes.render import Scene

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
    (SIDEWALK, ROAD, 0.09), (TERRAIN, VEGETATION, 0.10), (WALL, BUILDING, 0.25), (FENCE, WALL, 0.2),
    (BUILDING, WALL, 0.05), (BUILDING, VEGETATION, 0.06), (ROAD, SIDEWALK, 0.012),
    (SKY, BUILDING, 0.02), (VEGETATION, BUILDING, 0.02),
)  # fmt: skip
SECONDARY_THINGS: tuple[Confusion, ...] = (
    (TRUCK, CAR, 0.65), (BUS, TRUCK, 0.5), (TRAIN, BUS, 0.7), (RIDER, PERSON, 0.7), (MOTORCYCLE, BICYCLE, 0.5),
    (CAR, TRUCK, 0.05), (BICYCLE, MOTORCYCLE, 0.25),
)  # fmt: skip
SECONDARY_AREAS: tuple[Confusion, ...] = (
    (SIDEWALK, ROAD, 0.18), (ROAD, SIDEWALK, 0.03), (TERRAIN, VEGETATION, 0.30), (VEGETATION, TERRAIN, 0.03),
    (WALL, BUILDING, 0.45), (WALL, FENCE, 0.2), (FENCE, WALL, 0.3), (FENCE, VEGETATION, 0.25), (BUILDING, WALL, 0.08),
    (BUILDING, VEGETATION, 0.12), (VEGETATION, BUILDING, 0.07), (BUILDING, TRAFFIC_SIGN, 0.012), (SKY, BUILDING, 0.08),
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
    """Confuse whole things, overlook small ones, and confuse patches of areas."""
    labels = scene.labels.copy()
    height = labels.shape[0]
    for box, chance in zip(scene.boxes, rng.random(len(scene.boxes)).tolist(), strict=True):
        part = labels[box.top : box.bottom, box.left : box.right]
        share = next((share for true, _, share in things if true == box.class_id), 0.0)
        if chance < share:
            part[part == box.class_id] = next(wrong for true, wrong, _ in things if true == box.class_id)
        elif chance > 0.75 and box.bottom - box.top < 0.07 * height:
            beside = labels[box.top : box.bottom, max(0, box.left - 1), None]
            np.copyto(part, beside, where=part == box.class_id)
    scale = max(height / 160, 0.3)
    # some scenes are harder than others
    severity = float(np.exp(rng.normal(-0.2, 0.6)))
    truth = labels.copy()
    for true, wrong, share in areas:
        field = noise(labels.shape, 8.0, rng, (scale, 1.5 * scale))
        patch = field < NormalDist().inv_cdf(min(0.6, share * severity))
        labels[(truth == true) & patch] = wrong
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
    height = labels.shape[0]
    upright = np.isin(labels, (POLE, VEGETATION, FENCE))
    for row, column, size in rng.random((int(rng.poisson(1.2)), 3)).tolist():
        candidates = np.flatnonzero(upright[height // 2])
        if candidates.size == 0:
            break
        tall, y = (0.06 + 0.12 * size) * height, (0.46 + 0.14 * row) * height
        x = int(candidates[int(column * candidates.size)])
        top, left = max(0, int(y - tall / 2)), max(0, int(x - tall / 4))
        window = np.s_[top : int(y + tall / 2) + 1, left : int(x + tall / 4) + 1]
        rows, columns = np.ogrid[window]
        inside = ((columns - x) / (0.22 * tall + 1)) ** 2 + ((rows - y) / (0.5 * tall)) ** 2 < 1
        part = labels[window]
        shown = inside[: part.shape[0], : part.shape[1]]
        part[shown & upright[window]] = PERSON
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
    reach = math.ceil(2.5 * sigma)
    best = np.zeros(labels.shape, np.float32)
    result = labels.copy()
    for class_id, place in enumerate(ndimage.find_objects(labels.astype(np.int32) + 1)):
        if place is None:
            continue
        window = tuple(slice(max(0, extent.start - reach), extent.stop + reach) for extent in place)
        inside = (labels[window] == class_id).astype(np.float32)
        score = ndimage.gaussian_filter(inside, sigma, mode="nearest", truncate=2.5) * INFLATION.get(class_id, 1.0)
        wins = score > best[window]
        best[window][wins] = score[wins]
        result[window][wins] = class_id
    return result
