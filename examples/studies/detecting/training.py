"""The training of the detector on scenes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ntir2dc.detector.network import CLASSES, Detector
from ntir2dc.networks.init import init_weights
from studies.detecting.scenes import Draws, loss_on, training_scenes
from studies.judging.training import Options, optimize

SEED = 3
SIZE = (96, 128)
OPTIONS = Options(steps=3400, batch=6)
RARE = 0.02
"""How sure of a middle the detector is before it has learned anything: most pixels are none."""


def first_detector(widths: tuple[int, ...] | None = None) -> Detector:
    """Return a detector with its initial weights."""
    detector = Detector(widths) if widths else Detector()
    init_weights(detector, "he", generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        bias = detector.trunk.head.bias
        if bias is not None:
            bias[: len(CLASSES)] = -math.log(1 / RARE - 1)
        detector.trunk.head.weight.mul_(0.1)
    return detector


def train_from_scenes(folder: Path, *, steps: int, say: Callable[[str], None] = lambda _: None) -> dict[str, Tensor]:
    """Render the scenes and train the detector on them, or go on; return its state.

    Args:
        folder: holds the scenes and the checkpoint.
        steps: of training.
        say: is told how far it is.
    """
    say(f"scenes: rendered into {folder / 'scenes'} unless they are there")
    draws = Draws(training_scenes(folder / "scenes"), SIZE, SEED)
    detector = first_detector()
    options = Options(steps=steps, batch=OPTIONS.batch)
    loss = partial(loss_on, detector, draws, options.batch)
    return optimize(detector, loss, draws.rng, folder / "checkpoint.pt", options, say=say)
