"""Images read in batches, and what is written of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ntir2dc.colorizing.sources import Pair
from ntir2dc.data.images import OWN_TONES, DataError, read_thermal, to_image
from ntir2dc.data.thermal import Tones


def batches(
    pairs: Iterable[Pair], batch_size: int, problems: list[str], tones: Tones = OWN_TONES
) -> Iterator[tuple[Tensor, list[Path]]]:
    """Read the images and join neighbors of equal size; what cannot be used is added to ``problems``."""
    images: list[Tensor] = []
    targets: list[Path] = []
    for source, target in pairs:
        try:
            image = read_thermal(source, tones)
        except DataError as error:
            problems.append(str(error))
            continue
        if images and (len(images) == batch_size or image.shape != images[0].shape):
            yield torch.stack(images), targets
            images, targets = [], []
        images.append(image)
        targets.append(target)
    if images:
        yield torch.stack(images), targets


def stretched(x: Tensor) -> Image.Image:
    """Return ``(3, H, W)`` as the authors write it: its own extremes over all channels to 0 and 255, truncated."""
    low, high = x.aminmax()
    # a picture of one value is black
    pixels = (x - low) / (high - low).clamp_min(1e-12) * 255
    return Image.fromarray(pixels.to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def picture(night: Tensor, day: Tensor, *, stretch: bool = False, side_by_side: bool = False) -> Image.Image:
    """Return what is written of a translation, both ``(3, H, W)`` in [-1, 1]."""
    shown = stretched(day) if stretch else to_image(day)
    if not side_by_side:
        return shown
    joined = Image.new("RGB", (2 * shown.width, shown.height))
    joined.paste(to_image(night), (0, 0))
    joined.paste(shown, (shown.width, 0))
    return joined
