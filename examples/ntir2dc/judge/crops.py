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

    Args:
        pairs: day images and label maps.
        space: the label space of the maps.
        crop: side of the crops; an image that is smaller gives what it has.
        seed: of all draws.
        keep: keep all pairs in memory, 4 bytes a pixel, instead of reading files again.
    """

    def __init__(self, pairs: Sequence[Pair], space: LabelSpace, crop: int, seed: int, *, keep: bool = False) -> None:
        self.pairs, self.space, self.crop = pairs, space, crop
        self.rng = np.random.default_rng(seed)
        self.kept: list[tuple[Tensor, Tensor]] | None = [] if keep else None
        counts = np.stack([self._count(*pair) for pair in pairs])
        self.holders = {c: np.flatnonzero(counts[:, c]) for c in range(len(space)) if counts[:, c].any()}
        if not self.holders:
            raise DataError(f"{pairs[0][1].parent}: holds no labeled pixel")
        self.pixels = counts.sum(0)

    def _count(self, image: Path, path: Path) -> NDArray[np.int64]:
        pixels, source = load_color(image)
        labels = read_known_labels(path, source, self.space)
        if self.kept is not None:
            self.kept.append((((pixels + 1) * 127.5).round().to(torch.uint8), labels.to(torch.uint8)))
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
        image, labels = self._read(int(self.rng.choice(candidates)))
        if self.rng.random() < 0.5:
            image, labels = image.flip(-1), labels.flip(-1)
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
        rows, columns = (slice(start, start + self.crop) for start in corner)
        # a single row or column lies at -1
        window = torch.tensor([[top, left, *(max(2, length) for length in labels.shape)]])
        cut = add_coordinates(self._jittered(image[:, rows, columns])[None], window)[0]
        return cut, labels[rows, columns].long()

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        if self.kept is not None:
            return self.kept[index]
        image, source = load_color(self.pairs[index][0])
        return image, read_labels(self.pairs[index][1], source)

    def _jittered(self, image: Tensor) -> Tensor:
        """Vary brightness, contrast and the balance of the channels."""
        if image.dtype == torch.uint8:
            image = image / 127.5 - 1
        contrast = 1 + 0.2 * self.rng.uniform(-1, 1)
        offset = torch.from_numpy(0.2 * self.rng.uniform(-1, 1) + 0.1 * self.rng.uniform(-1, 1, (3, 1, 1))).float()
        return (image * contrast + offset).clamp(-1, 1)
