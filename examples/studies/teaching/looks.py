"""How well a segmenter reads thermal images that has seen color images alone: gray, or in a random thermal look.

Nothing is translated and no thermal image is trained on. On scenes, whose thermal images have true labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morn_losses import CITYSCAPES, LabelSpace
from morn_losses.functional import to_gray
from morn_losses.pseudo_labels.look import RandomThermalLook
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import list_cases, read_case
from ntir2dc.judge import class_iou
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.seeds import Stream, seeded
from studies.cards.card import Table, Values, share
from studies.teaching.segmenters import Options, change, is_scored, method_for, teach

COLUMNS = (
    "pixel accuracy",
    "mIoU",
    "small-sample pixels",
    "persons, precision",
    "persons, recall",
    "buildings, recall",
)


LOOK = "random thermal look"
CROPS: Mapping[str, Any] = {"segmenter_crops": 8}
UNET: Mapping[str, Any] = {"segmenter_variant": "unet"}
FALLING: Mapping[str, Any] = {"segmenter_lr_schedule": "cosine"}
ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gray": ("gray", {}),
    LOOK: (LOOK, {}),
    "nothing known of the night": ("nothing known of the night", {}),
    "look, 8 crops": (LOOK, CROPS),
    "look, U-Net": (LOOK, UNET),
    "look, 8 crops, U-Net": (LOOK, {**CROPS, **UNET}),
    "look, 8 crops, U-Net, falling rate": (LOOK, {**CROPS, **UNET, **FALLING}),
}
"""What each row shows the segmenter, and what it changes of the preset."""


def gray(images: Tensor, labels: Tensor) -> Tensor:
    """Return color images in gray, as three equal channels."""
    return to_gray(images).expand_as(images)


def views(seed: int, space: LabelSpace) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return by name what a segmenter may see of color images and their labels."""
    draws = [seeded(seed, Stream.LOOK, row) for row in range(2)]
    known, unknown = RandomThermalLook.from_label_space(space), RandomThermalLook.from_label_space(space, known={})
    return {
        "gray": gray,
        LOOK: lambda images, labels: known(images, labels, draws[0]),
        "nothing known of the night": lambda images, labels: unknown(images, labels, draws[1]),
    }


@torch.no_grad()
def score(method: MornGAN, folder: Path, space: LabelSpace) -> tuple[float, ...]:
    """Return the scores of ``COLUMNS`` of S_B on the thermal images of ``valB``."""
    segmenter, K = method.networks.segmenter_b, len(space)
    segmenter.eval()
    confusion = np.zeros((K, K))
    for files in list_cases(folder):
        case = read_case(files)
        if case.labels is None:
            raise DataError(f"{files['night']}: has no true labels to compare with")
        classes, known = segmenter(case.night[None])[0].argmax(0), case.labels != space.ignore_index
        pairs = case.labels[known] * K + classes[known]
        confusion += torch.bincount(pairs, minlength=K * K).view(K, K).numpy()
    segmenter.train()
    small, person, building = list(space.small_sample), space.index("person"), space.index("building")
    right, true, given = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return (
        share(right.sum(), confusion.sum()),
        float(np.nanmean(class_iou(confusion)[true > 0])),
        share(right[small].sum(), true[small].sum()),
        share(right[person], given[person]),
        share(right[person], true[person]),
        share(right[building], true[building]),
    )


def study(
    config: TrainConfig,
    data: TrainingData,
    folder: Path,
    options: Options,
    space: LabelSpace = CITYSCAPES,
    say: Callable[[str], None] = print,
) -> Table:
    """Train every row with every seed and return the means of its last three scores.

    Raises:
        ValueError: an unknown row.
    """
    for name in options.rows:
        if name not in ROWS:
            raise ValueError(f"rows: expected some of {', '.join(map(repr, ROWS))}, got {name!r}")
    rows: list[tuple[str, tuple[Values, ...]]] = []
    for name, (view, changes) in ROWS.items():
        if options.rows and name not in options.rows:
            continue
        scores = []
        for seed in range(options.seeds):
            method = method_for(change(dataclasses.replace(config, seed=seed), changes), data, options, space)
            steps = teach(method, method.networks.segmenter_b, options, views(seed, space)[view])
            last = [score(method, folder, space) for step in steps if is_scored(step, options)]
            scores.append(np.nanmean(last, axis=0).tolist())
            say(f"{name}, seed {seed}: accuracy {scores[-1][0]:.3f}, mIoU {scores[-1][1]:.3f}")
        rows.append((name, tuple(zip(*scores, strict=True))))
    return Table("S_B on thermal images, trained on color images, %", COLUMNS, tuple(rows), scale=100, digits=1)
