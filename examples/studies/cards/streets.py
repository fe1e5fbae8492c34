"""The data of the experiments: rendered streets as tensors, their truth, and label counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morn_losses import CITYSCAPES, LabelFusion, LabelSpace, SemanticDenoiser
from scenes import predict_labels, render_scene
from studies.cards.card import share

# each use draws from its own stretch of indices, so that no street serves two of them
TRANSLATE, SEGMENT, TEST, MEMORY_DAY, MEMORY_NIGHT = (k * 100_000 for k in range(5))


@dataclass(frozen=True)
class Options:
    """How much is measured; the defaults take minutes on one core.

    Args:
        sets: independent repetitions: scenes, initial weights and every draw change with the set.
        size: (height, width) of the scenes.
        n_train: scenes that the stand-in translators learn from, and as many others for the segmenters.
        n_test: scenes that are measured on.
        n_day: color images that ask the memory.
        n_night: thermal images in the memory.
        draws: of the memory for each color image.
        translator_steps: of training, batches of 2 crops.
        segmenter_steps: of training, batches of 8 crops.
        aca_steps: of the optimisation of features.
        cgr_steps: of the optimisation of pixels.
    """

    sets: int = 5
    size: tuple[int, int] = (96, 128)
    n_train: int = 80
    n_test: int = 24
    n_day: int = 60
    n_night: int = 120
    draws: int = 30
    translator_steps: int = 250
    segmenter_steps: int = 200
    aca_steps: int = 200
    cgr_steps: int = 150


@dataclass(frozen=True)
class Streets:
    """N scenes: ``day`` and ``night`` (N, 3, H, W) in [-1, 1]; the label maps int64 (N, H, W)."""

    day: Tensor
    night: Tensor
    labels: Tensor
    primary: Tensor
    secondary: Tensor


def render_streets(seed: int, first: int, number: int, size: tuple[int, int]) -> Streets:
    """Render the scenes ``first`` to ``first + number - 1`` of a world."""
    scenes = [render_scene(seed, first + i, size) for i in range(number)]
    predictions = [predict_labels(scene, seed, first + i) for i, scene in enumerate(scenes)]

    def labels(maps: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(maps)).long()

    day = torch.from_numpy(np.stack([s.color for s in scenes])).permute(0, 3, 1, 2).float() / 127.5 - 1
    night = torch.from_numpy(np.stack([s.thermal for s in scenes]))[:, None].float() / 127.5 - 1
    return Streets(
        day.contiguous(),
        night.repeat(1, 3, 1, 1),
        labels([s.labels for s in scenes]),
        labels([p for p, _ in predictions]),
        labels([s for _, s in predictions]),
    )


def pseudo_labels_of_day(streets: Streets, space: LabelSpace = CITYSCAPES) -> Tensor:
    """Return M_PL^A of section 3.3.2: the two predictions fused, then denoised by the day image."""
    fused = LabelFusion.visible(space)(streets.primary, streets.secondary)
    labels: Tensor = SemanticDenoiser.visible(space)(fused, streets.day)
    return labels


@dataclass(frozen=True)
class Counts:
    """Pixels of a label map by class, ``(K,)`` int64 each: labeled right, labeled so, truly so."""

    right: Tensor
    labeled: Tensor
    true: Tensor

    def precision(self, *classes: int) -> float:
        """Return the share of the pixels labeled as one of the classes (all if none is named) that are right."""
        ids = list(classes or range(len(self.true)))
        return share(float(self.right[ids].sum()), float(self.labeled[ids].sum()))

    def recall(self, *classes: int) -> float:
        """Return the share of the pixels of the classes that are labeled right."""
        ids = list(classes or range(len(self.true)))
        return share(float(self.right[ids].sum()), float(self.true[ids].sum()))

    def coverage(self) -> float:
        """Return the share of all pixels that are labeled."""
        return share(float(self.labeled.sum()), float(self.true.sum()))


def count(labels: Tensor, truth: Tensor, n_classes: int) -> Counts:
    """Count a label map against its truth; ids outside ``[0, n_classes)`` are unlabeled, truth has none."""
    known = (labels >= 0) & (labels < n_classes)

    def number(values: Tensor) -> Tensor:
        return torch.bincount(values.flatten(), minlength=n_classes)

    return Counts(number(labels[known & (labels == truth)]), number(labels[known]), number(truth))
