"""Panels of a run: what its networks make of the first images of both domains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morn_losses import LabelSpace
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.images import read_color, read_labels, read_thermal
from ntir2dc.methods.method import Method
from ntir2dc.networks.modes import evaluating
from ntir2dc.run.contact_sheet import colorize_labels, save_sheet

COUNT = 3


@torch.no_grad()
def save_panel(path: Path, method: Method, generators: nn.ModuleDict, data: TrainingData, space: LabelSpace) -> None:
    """Write a panel with a row for each image: itself, its translation, the way back, and its pseudo-labels.

    Args:
        path: of the picture.
        method: of the run.
        generators: its own, or their running average.
        data: validation images if there are any, else training images.
        space: the label space.
    """
    rows = []
    translate_ab, translate_ba = method.translators(generators)
    like = next(method.networks.parameters())
    labeled = False
    count = min(COUNT, len(data.a), len(data.b))
    with evaluating(method.networks, generators):
        tones = data.tones_val_b if data.val_b else data.tones_b
        for thermal in (data.val_b or [f.image for f in data.b])[:count]:
            real = _cropped(read_thermal(thermal, tones))[None].to(like)
            fake = translate_ba(real)
            row: list[Any] = [real[0], fake[0], translate_ab(fake)[0]]
            labels = method.label_night(real, fake)
            if labels is not None:
                labeled = True
                row.append(colorize_labels(labels[0], space))
            rows.append(row)
        for frame in data.a[:count]:
            real = _cropped(read_color(frame.image))[None].to(like)
            fake = translate_ab(real)
            row = [real[0], fake[0], translate_ba(fake)[0]]
            if labeled and frame.labels is not None:
                row.append(colorize_labels(_cropped(read_labels(frame.labels)), space))
            rows.append(row)
    titles = ["input", "fake", "cycle", "pseudo-labels"][: len(rows[0])]
    save_sheet(path, rows, titles)


def _cropped(image: Tensor) -> Tensor:
    """Cut the last two axes to multiples of 4."""
    H, W = image.shape[-2:]
    return image[..., : H - H % 4, : W - W % 4]
