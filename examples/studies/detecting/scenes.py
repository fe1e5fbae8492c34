"""The scenes that train the detector and those that mark it: of seeds that nothing else uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntir2dc.data.images import read_color
from ntir2dc.detector.average_precision import FrameBoxes, frame_boxes
from ntir2dc.detector.network import Detector
from ntir2dc.evaluation.boxes import scene_boxes
from scenes import write_scenes
from studies.detecting.targets import Targets, middle_loss, side_loss, targets_of
from studies.judging.scenes import Batch

TRAINING = (Batch((96, 128), 5, 250), Batch((144, 192), 1, 250))
MARKS = (Batch((96, 128), 1, 150), Batch((144, 192), 1, 150))
TRAINING_SEED, MARKS_SEED = 9300, 9400

Known = tuple[Tensor, FrameBoxes]
"""A day picture, uint8 ``(3, H, W)``, and its objects."""


def training_scenes(folder: Path, batches: tuple[Batch, ...] = TRAINING) -> list[Known]:
    """Return the day pictures that train the detector, rendered where they are not there yet."""
    known: list[Known] = []
    seed = TRAINING_SEED
    for batch in batches:
        for _ in range(batch.folders):
            known += _rendered(folder / "train_detector", seed, batch)
            seed += 1
    return known


def marks_scenes(folder: Path, batches: tuple[Batch, ...] = MARKS) -> dict[tuple[int, int], list[Known]]:
    """Return, by size, the day pictures that mark the detector."""
    return {batch.size: _rendered(folder / "marks_detector", MARKS_SEED, batch) for batch in batches}


def _rendered(folder: Path, seed: int, batch: Batch) -> list[Known]:
    place = folder / f"{batch.size[0]}x{batch.size[1]}_seed_{seed}"
    write_scenes(place, seed=seed, n_train_a=0, n_train_b=0, n_val=batch.per_folder, n_judge=0, size=batch.size)
    boxes = scene_boxes(place)
    paths = sorted((place / "valB_day").glob("*.png"))
    return [(((read_color(path) + 1) * 127.5).round().to(torch.uint8), boxes[path.name]) for path in paths]


class Draws:
    """Batches of crops, mirrored, with other brightness, contrast and balance of the channels, as the judges had them.

    Args:
        known: the pictures.
        size: (height, width) of the crops, no larger than the smallest picture.
        seed: of all draws.
    """

    def __init__(self, known: list[Known], size: tuple[int, int], seed: int) -> None:
        self.known, self.size = known, size
        self.rng = np.random.default_rng(seed)

    def batch(self, number: int) -> tuple[Tensor, Tensor, Targets]:
        """Return images, where they were cut out, and their targets."""
        images, windows, targets = zip(*(self._cut() for _ in range(number)), strict=True)
        return (
            torch.stack(images),
            torch.stack(windows),
            Targets(*(torch.stack(part) for part in zip(*targets, strict=True))),
        )

    def _cut(self) -> tuple[Tensor, Tensor, Targets]:
        image, truth = self.known[int(self.rng.integers(len(self.known)))]
        corners, (H, W), (height, width) = truth.corners, image.shape[-2:], self.size
        if self.rng.random() < 0.5:
            image = image.flip(-1)
            corners = np.stack((W - corners[:, 2], corners[:, 1], W - corners[:, 0], corners[:, 3]), 1)
        top, left = (int(self.rng.integers(room + 1)) for room in (H - height, W - width))
        cut = image[:, top : top + height, left : left + width] / 127.5 - 1
        contrast = 1 + 0.2 * self.rng.uniform(-1, 1)
        offset = torch.from_numpy(0.2 * self.rng.uniform(-1, 1) + 0.1 * self.rng.uniform(-1, 1, (3, 1, 1))).float()
        inside = (corners - (left, top, left, top)).clip(0, (width, height, width, height))
        spans = inside[:, 2:] - inside[:, :2]
        seen = spans.min(1) > 0
        # what the border leaves less than half of is neither asked for nor denied
        little = spans.prod(1) < 0.5 * (corners[:, 2:] - corners[:, :2]).prod(1)
        boxes = frame_boxes(inside[seen], truth.classes[seen], None, (truth.passed | little)[seen])
        window = torch.tensor([top, left, H, W])
        return (cut * contrast + offset).clamp(-1, 1), window, targets_of(boxes, self.size)


def loss_on(detector: Detector, draws: Draws, number: int) -> Tensor:
    """Return the loss of the detector on a batch."""
    images, windows, targets = draws.batch(number)
    with torch.autocast("cpu", torch.bfloat16):
        middles, sides = detector(images, windows)
    return middle_loss(middles, targets.middles, targets.counted) + side_loss(sides, targets.corners, targets.near)
