"""Contact sheets: pictures in rows under column titles, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.data.images import to_image


def colorize_labels(labels: Tensor, space: LabelSpace) -> Image.Image:
    """Return ``(H, W)`` labels in the colors of the space's palette; unlabeled is black."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    if space.palette is not None:
        palette[: len(space)] = space.palette
    else:
        rng = np.random.default_rng(0)
        palette[: len(space)] = rng.integers(40, 256, (len(space), 3))
    palette[space.ignore_index] = 0
    return Image.fromarray(palette[labels.clamp(0, 255).cpu().numpy()])


def contact_sheet(rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], *, gap: int = 4) -> Image.Image:
    """Arrange pictures in rows under column titles."""
    widths = [max(row[i].width for row in rows) for i in range(len(rows[0]))]
    heights = [max(picture.height for picture in row) for row in rows]
    head = 16
    sheet = Image.new(
        "RGB", (sum(widths) + gap * (len(widths) + 1), head + sum(heights) + gap * (len(heights) + 1)), "white"
    )
    draw = ImageDraw.Draw(sheet)
    left = gap
    for title, width in zip(titles, widths, strict=True):
        draw.text((left, 2), title, fill="black")
        left += width + gap
    top = head + gap
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for picture, width in zip(row, widths, strict=True):
            sheet.paste(picture, (left, top))
            left += width + gap
        top += height + gap
    return sheet


def save_sheet(path: Path, rows: Sequence[Sequence[Tensor | Image.Image]], titles: Sequence[str]) -> None:
    """Write a contact sheet of images ``(3, H, W)`` in [-1, 1] and ready pictures."""
    pictures = [[to_image(p.cpu()) if isinstance(p, torch.Tensor) else p for p in row] for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, titles).save(path)
