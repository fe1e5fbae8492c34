"""What labels the night images of a recipe: a network taught on day images in a random thermal look."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from crops import Crops
from morn_losses import (
    CITYSCAPES,
    ACALoss,
    ACATerms,
    LabelMiner,
    LabelSpace,
    OnlineSemanticDistillation,
    PseudoLabeler,
    SemanticDenoiser,
)
from morn_losses.functional import class_balanced_cross_entropy
from morn_losses.pseudo_labels.look import RandomThermalLook
from ntir2dc.data.images import DataError
from ntir2dc.files import write_text
from ntir2dc.networks.unet import ResidualUNet
from ntir2dc.seeds import seeded

VEHICLES = ("car", "truck", "bus", "train")
"""One class for ACA: small segmenters mix them up."""

UNTRIED = 0.99
"""Threshold of all other classes, the paper's largest."""

THRESHOLDS: dict[str, float] = {
    **dict.fromkeys(CITYSCAPES.names, 0.5),
    "road": 0.3,
    "sky": 0.3,
    "vegetation": 0.3,
    "car": 0.3,
    "person": 0.1,
}
"""By class; thresholds.py says how precise labels are at which. Half of the labels of persons and cars are right."""

Look = Callable[[Tensor, Tensor], Tensor]
"""Color images and their labels, to the images in a random thermal look."""


def _looks(generator: torch.Generator) -> Look:
    return functools.partial(RandomThermalLook.from_label_space(CITYSCAPES), generator=generator)


def _new_segmenter(seed: int) -> ResidualUNet:
    # apart from the global generator, so that a run is the same whether it trains a segmenter or loads one
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResidualUNet(len(CITYSCAPES))


def teach_with_looks(
    folder: Path, *, steps: int, crop: int, batch: int = 8, seed: int = 0, device: torch.device | None = None
) -> ResidualUNet:
    """Teach a segmenter of night images on day images alone, and return it.

    Every crop gets another thermal look, in which few classes can be told by their brightness; its labels are known.

    Args:
        folder: with ``trainA``, ``labels_pred1``, ``labels_pred2``, as :class:`crops.Crops` reads them.
        steps: of the training.
        crop: side of the crops, every second of which holds a small-sample class.
        batch: crops of a step.
        seed: of weights, crops and looks.
        device: where to; None is the CPU.
    """
    segmenter, generator = _new_segmenter(seed).to(device), seeded(seed)
    look = _looks(generator)
    crops = Crops(folder, steps * batch, crop=crop, seed=seed, labels=True, seeking=True)
    optimizer = torch.optim.Adam(segmenter.parameters(), 2e-3, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step, (images, labels, _) in enumerate(DataLoader(crops, batch, generator=generator), start=1):
        logits = segmenter(look(images, labels).to(device))
        loss = class_balanced_cross_entropy(logits, labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"night segmenter: step {step}/{steps}, loss {loss.item():.3f}")
    return segmenter


def night_segmenter(options: argparse.Namespace) -> ResidualUNet:
    """Return what has learned from looks alone, from the file ``options.segmenter`` or taught and kept there."""
    if not options.segmenter.is_file():
        steps, crop = options.segmenter_steps, options.segmenter_crop
        taught = teach_with_looks(options.data, steps=steps, crop=crop, seed=options.seed, device=options.device)
        options.segmenter.parent.mkdir(parents=True, exist_ok=True)
        torch.save(taught.state_dict(), options.segmenter)
        return taught
    segmenter = _new_segmenter(options.seed).to(options.device)
    try:
        segmenter.load_state_dict(torch.load(options.segmenter, map_location=options.device, weights_only=True))
    except Exception as error:  # a file of anything else makes torch raise nearly anything
        raise DataError(f"{options.segmenter}: holds no weights of the night segmenter") from error
    return segmenter


def night_labeler(options: argparse.Namespace) -> tuple[PseudoLabeler, Look]:
    """Return what labels night images, and the looks that its student, the night segmenter, learns on from.

    The looks have a generator of their own, so that the draws of a run are the same without them.
    """
    miner = LabelMiner([THRESHOLDS.get(name, UNTRIED) for name in CITYSCAPES.names])
    distill = OnlineSemanticDistillation(miner, SemanticDenoiser.thermal(CITYSCAPES))
    label = PseudoLabeler(night_segmenter(options), distill, agree=False).to(options.device)
    label.student.eval()  # batch norm would take over the statistics of single translations
    return label, _looks(seeded(options.seed))


class Shares:
    """In which share of the steps ACA found its classes in both images.

    Args:
        aca: the loss, with ``return_terms``.
        space: what its classes are called in.
    """

    def __init__(self, aca: ACALoss[Literal[True]], space: LabelSpace = CITYSCAPES) -> None:
        groups = [(c,) if isinstance(c, int) else c for c in aca.classes]
        self.names = ["/".join(space.names[i] for i in group) for group in groups]
        self.acted: list[Tensor] = []

    def add(self, terms: ACATerms) -> None:
        """Count a step."""
        self.acted.append(terms.present.any(0))

    def last(self, steps: int = 0) -> dict[str, float]:
        """Return the share of each class, and of any of them, in the last steps; 0 is all of them."""
        return self._of(torch.stack(self.acted[-steps:]))

    def say(self, steps: int = 0) -> str:
        """Return these shares as text."""
        return ", ".join(f"{name} {share:.0%}" for name, share in self.last(steps).items())

    def save(self, file: Path) -> None:
        """Write the shares of the whole run, and of every tenth of it, as JSON."""
        parts = torch.stack(self.acted).tensor_split(min(10, len(self.acted)))
        shares = {"steps": len(self.acted), "all": self.last(), "tenths": [self._of(part) for part in parts]}
        write_text(file, json.dumps(shares, indent=1) + "\n")

    def _of(self, acted: Tensor) -> dict[str, float]:
        of_class = acted.float().mean(0).tolist()
        return {"any": acted.any(1).float().mean().item(), **dict(zip(self.names, of_class, strict=True))}
