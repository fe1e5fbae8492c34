"""A small U-Net, its training on a folder of images and label maps, and the labeler of night images that it makes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
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
    SegmentationLoss,
    SemanticDenoiser,
)
from ntir2dc.data.images import DataError
from ntir2dc.files import write_text
from ntir2dc.seeds import seeded

VEHICLES = ("car", "truck", "bus", "train")
"""One class for ACA: small segmenters mix them up."""

UNTRIED = 0.99
"""Threshold of all other classes, the paper's largest."""

THRESHOLDS: dict[str, float] = dict.fromkeys(CITYSCAPES.names, 0.5)
"""By class; in runs this short no threshold makes labels of objects precise, as thresholds.py shows."""


def _block(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


class Segmenter(nn.Module):
    """A small U-Net of half the resolution; any segmentation network of your own can take its place.

    The row is its fourth channel: sky is above and road below, which a small network cannot see from a crop alone.
    """

    def __init__(self, n_classes: int, width: int = 24) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        self.down = nn.ModuleList(
            nn.Sequential(_block(before, after, stride), _block(after, after))
            for before, after, stride in zip([4, *widths], widths, (2, 2, 2, 2), strict=False)
        )
        self.up = nn.ModuleList(
            _block(deep + skip, skip) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W multiples of 16, to logits ``(B, n_classes, H / 2, W / 2)``."""
        rows = torch.linspace(-1, 1, x.shape[2], device=x.device)[:, None].expand_as(x[:, :1])
        x = torch.cat((x, rows), 1)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(torch.cat((nn.functional.interpolate(x, scale_factor=2.0), skips.pop()), 1))
        logits: Tensor = self.head(x)
        return logits


def _new_segmenter(seed: int) -> Segmenter:
    # apart from the global generator, so that a run is the same whether it trains a segmenter or loads one
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(len(CITYSCAPES))


def train_segmenter(
    folder: Path, *, steps: int, crop: int = 64, batch: int = 8, seed: int = 0, device: torch.device | None = None
) -> Segmenter:
    """Train a segmenter on a folder of images and label maps, and return it.

    Half of the crops become gray negatives: as in a thermal image the sky is dark and persons are bright, so that a
    copy reads thermal images before it has seen one.

    Args:
        folder: with ``trainA``, ``labels_pred1``, ``labels_pred2``, as :class:`crops.Crops` reads them.
        steps: of the training.
        crop: side of the crops, a multiple of 8.
        batch: crops of a step.
        seed: of weights and crops.
        device: where to; None is the CPU.
    """
    segmenter = _new_segmenter(seed).to(device)
    generator = seeded(seed)
    crops = Crops(folder, steps * batch, crop=crop, seed=seed, labels=True, seeking=True)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1, pct_start=0.2)
    criterion = SegmentationLoss()
    for step, (images, labels, _) in enumerate(DataLoader(crops, batch, generator=generator), start=1):
        chosen = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(chosen[:, None, None, None], negatives(images, generator), images)
        logits = nn.functional.interpolate(segmenter(images.to(device)), scale_factor=2.0, mode="bilinear")
        loss = criterion(logits, labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"day segmenter: step {step}/{steps}, loss {loss.item():.3f}")
    return segmenter


def negatives(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return gray negatives of three channels: of a random mixture of the channels, with a random tone."""
    mixture, contrast, offset = (torch.rand(len(images), n, 1, 1, generator=generator).to(images) for n in (3, 1, 1))
    gray = (images * mixture).sum(1, keepdim=True) / mixture.sum(1, keepdim=True)
    return (-gray * (0.5 + contrast) + 0.8 * (offset - 0.5)).clamp(-1, 1).expand_as(images)


def day_segmenter(options: argparse.Namespace) -> Segmenter:
    """Return the segmenter of day images, from the file ``options.segmenter`` or trained and kept there."""
    if not options.segmenter.is_file():
        steps, crop = options.segmenter_steps, min(options.crop, 64)
        trained = train_segmenter(options.data, steps=steps, crop=crop, seed=options.seed, device=options.device)
        options.segmenter.parent.mkdir(parents=True, exist_ok=True)
        torch.save(trained.state_dict(), options.segmenter)
        return trained
    segmenter = _new_segmenter(options.seed).to(options.device)
    try:
        segmenter.load_state_dict(torch.load(options.segmenter, map_location=options.device, weights_only=True))
    except Exception as error:  # a file of anything else makes torch raise nearly anything
        raise DataError(f"{options.segmenter}: holds no weights of the day segmenter") from error
    return segmenter


def night_labeler(options: argparse.Namespace) -> PseudoLabeler:
    """Return what labels night images: the day segmenter, and a copy of it that learns beside the GAN."""
    miner = LabelMiner([THRESHOLDS.get(name, UNTRIED) for name in CITYSCAPES.names])
    distill = OnlineSemanticDistillation(miner, SemanticDenoiser.thermal(CITYSCAPES))
    label = PseudoLabeler(day_segmenter(options), distill).to(options.device)
    label.student.eval()  # batch norm would take over the statistics of single translations
    return label


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
