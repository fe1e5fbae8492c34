"""Sample panels: what the networks make of the first images of both domains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morn_losses import LabelSpace
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.images import read_color, read_labels, read_thermal
from ntir2dc.methods.morngan.forward import Mine
from ntir2dc.methods.morngan.model import MornGAN, evaluating
from ntir2dc.run.contact_sheet import colorize_labels, save_panel

COUNT = 3


@torch.no_grad()
def save_samples(
    path: Path, model: MornGAN, halves: nn.ModuleDict, data: TrainingData, space: LabelSpace, mine: Mine
) -> None:
    """Write a panel with a row for each image: itself, its translation, the way back, and its pseudo-labels.

    Args:
        path: of the picture.
        model: brings the segmenters, if it has them.
        halves: encoders and decoders by name, those of the model or their running average.
        data: validation images if there are any, else training images.
        space: the label space.
        mine: gives the pseudo-labels of thermal images.
    """
    rows = []
    translate_ab = nn.Sequential(halves["encoder_a"], halves["decoder_b"])
    translate_ba = nn.Sequential(halves["encoder_b"], halves["decoder_a"])
    count = min(COUNT, len(data.a), len(data.b))
    with evaluating(model):
        for thermal in (data.val_b or [f.image for f in data.b])[:count]:
            real = model.moved(_cropped(read_thermal(thermal)))[None]
            fake = translate_ba(real)
            row: list[Any] = [real[0], fake[0], translate_ab(fake)[0]]
            if model.segmenters():
                labels = mine(model.segmenter_b(real), model.segmenter_a(fake), real)
                row.append(colorize_labels(labels[0], space))
            rows.append(row)
        for frame in data.a[:count]:
            real = model.moved(_cropped(read_color(frame.image)))[None]
            fake = translate_ab(real)
            row = [real[0], fake[0], translate_ba(fake)[0]]
            if model.segmenters() and frame.labels is not None:
                row.append(colorize_labels(_cropped(read_labels(frame.labels)), space))
            rows.append(row)
    titles = ["input", "fake", "cycle", "pseudo-labels"][: len(rows[0])]
    save_panel(path, rows, titles)


def _cropped(image: Tensor) -> Tensor:
    """Cut the last two axes to multiples of 4."""
    H, W = image.shape[-2:]
    return image[..., : H - H % 4, : W - W % 4]
