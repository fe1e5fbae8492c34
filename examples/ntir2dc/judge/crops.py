"""The day images with label maps that train the judge, and their crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.data.images import DataError, list_images, load_color
from ntir2dc.data.maps import read_known_labels, read_labels
from ntir2dc.data.partners import partners_of
from ntir2dc.networks.segmenters import add_coordinates

Pair = tuple[Path, Path]
"""A day image and its label map."""


def judge_pairs(folder: Path) -> list[Pair]:
    """Return the day images that the judge is trained on with their label maps, by name; empty if there are none.

    Raises:
        DataError: an image without a label map, or two files of one name.
    """
    images = list_images(folder / "judgeA")
    maps = partners_of(images, folder / "judgeA_labels", complete=True, kind="label map") if images else []
    return [(image, labels) for image, labels in zip(images, maps, strict=True) if labels is not None]


class Crops:
    """Training crops. Every other one is centred on a class drawn evenly from those present, the rest are anywhere.

    Choice: a class that covers a thousandth of the pixels in a tenth of the images is hardly met otherwise.
    """

    def __init__(self, pairs: Sequence[Pair], space: LabelSpace, crop: int, seed: int) -> None:
        self.pairs, self.space, self.crop = pairs, space, crop
        self.rng = np.random.default_rng(seed)
        counts = np.stack([self._count(*pair) for pair in pairs])
        self.holders = {c: np.flatnonzero(counts[:, c]) for c in range(len(space)) if counts[:, c].any()}
        if not self.holders:
            raise DataError(f"{pairs[0][1].parent}: holds no labeled pixel")
        self.pixels = counts.sum(0)

    def _count(self, image: Path, path: Path) -> NDArray[np.int64]:
        labels = read_known_labels(path, load_color(image)[1], self.space)
        counts: NDArray[np.int64] = torch.bincount(labels.flatten(), minlength=256).numpy()[: len(self.space)]
        return counts

    def class_weights(self) -> Tensor:
        """Return one over the root of each class's share of the pixels; their mean over the labeled pixels is 1."""
        shares = torch.from_numpy(self.pixels / self.pixels.sum())
        weights = shares.clamp_min(1e-4).rsqrt()
        return (weights / (weights * shares).sum()).float()

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Return images with coordinates ``(B, 5, h, w)`` and labels ``(B, h, w)``."""
        cuts = [self._cut(centred=i % 2 == 1) for i in range(size)]
        # images may differ in size
        h, w = (min(image.shape[axis] for image, _ in cuts) for axis in (1, 2))
        return torch.stack([i[:, :h, :w] for i, _ in cuts]), torch.stack([t[:h, :w] for _, t in cuts])

    def _cut(self, *, centred: bool) -> tuple[Tensor, Tensor]:
        wanted = int(self.rng.choice(list(self.holders))) if centred else None
        candidates = np.arange(len(self.pairs)) if wanted is None else self.holders[wanted]
        image_path, labels_path = self.pairs[int(self.rng.choice(candidates))]
        image, source = load_color(image_path)
        labels = read_labels(labels_path, source)
        if self.rng.random() < 0.5:
            image, labels = image.flip(-1), labels.flip(-1)
        image = add_coordinates(self._jittered(image)[None])[0]
        corner = []
        places = (labels == wanted).nonzero() if wanted is not None else None
        place = places[int(self.rng.integers(len(places)))].tolist() if places is not None else None
        for axis, length in enumerate(labels.shape):
            room = max(0, length - self.crop)
            start = int(self.rng.integers(room + 1))
            if place is not None:
                start = min(max(0, place[axis] - int(self.rng.integers(1, self.crop))), room)
            corner.append(start)
        top, left = corner
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        return image[:, window[0], window[1]], labels[window]

    def _jittered(self, image: Tensor) -> Tensor:
        """Vary brightness, contrast and the balance of the channels."""
        contrast = 1 + 0.2 * self.rng.uniform(-1, 1)
        offset = torch.from_numpy(0.2 * self.rng.uniform(-1, 1) + 0.1 * self.rng.uniform(-1, 1, (3, 1, 1))).float()
        return (image * contrast + offset).clamp(-1, 1)
