"""Training crops of both domains, and which thermal image meets which color image.

Every draw is seeded by (seed, epoch, index), so that an epoch can be entered anywhere and by any number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from morn_losses import MemorySampler
from morn_losses.functional import semantic_descriptor
from ntir2dc.data.folders import Frame, TrainingData, read_edges
from ntir2dc.data.images import read_color, read_labels, read_thermal
from ntir2dc.seeds import Stream, seeded


class Sample(TypedDict):
    """What one position of the data set gives; the loader stacks it along a batch axis.

    A window ``(4,)`` is where a crop lies in its (mirrored) frame: first row and column, height and width of the frame.
    """

    real_a: Tensor
    window_a: Tensor
    edges_a: Tensor
    labels_a: Tensor
    extra_a: Tensor
    extra_labels_a: Tensor
    extra_windows_a: Tensor
    real_b: Tensor
    window_b: Tensor
    edges_b: Tensor
    index_b: int


class LabeledSample(Sample):
    """A sample whose thermal image came with labels."""

    labels_b: Tensor


def order(length: int, n: int, generator: torch.Generator, *, replacement: bool = False) -> Tensor:
    """Return ``length`` indices below ``n``: one random permutation after another, or all drawn with replacement."""
    if replacement:
        return torch.randint(n, (length,), generator=generator)
    passes = -(-length // n)
    return torch.cat([torch.randperm(n, generator=generator) for _ in range(passes)])[:length]


def random_corner(size: tuple[int, int], crop: int, generator: torch.Generator) -> tuple[int, int]:
    """Return the upper left corner (row, col) of a random crop."""
    row = int(torch.randint(size[0] - crop + 1, (), generator=generator))
    col = int(torch.randint(size[1] - crop + 1, (), generator=generator))
    return row, col


def corner_at_class(labels: Tensor, classes: Sequence[int], crop: int, generator: torch.Generator) -> tuple[int, int]:
    """Return the corner of a crop that holds a random pixel of a class, drawn evenly from the ``classes`` in the map.

    Any corner, if the map holds none of them.
    """
    held = [c for c in classes if bool((labels == c).any())]
    size = (labels.shape[0], labels.shape[1])
    if not held:
        return random_corner(size, crop, generator)
    places = (labels == held[int(torch.randint(len(held), (), generator=generator))]).nonzero()
    row, col = places[int(torch.randint(len(places), (), generator=generator))].tolist()
    before = torch.randint(crop, (2,), generator=generator).tolist()
    return min(max(0, row - before[0]), size[0] - crop), min(max(0, col - before[1]), size[1] - crop)


def cut(x: Tensor, corner: tuple[int, int], crop: int, flip: bool) -> Tensor:
    """Cut a square out of the last two axes, mirrored if ``flip``."""
    row, col = corner
    x = x[..., row : row + crop, col : col + crop]
    return x.flip(-1) if flip else x.contiguous()


def window(size: Sequence[int], corner: tuple[int, int], crop: int, flip: bool) -> Tensor:
    """Return where :func:`cut` looks: ``(row, col, height, width)``, the column in the mirrored frame if ``flip``."""
    height, width = size[-2:]
    row, col = corner
    return torch.tensor([row, width - crop - col if flip else col, height, width])


def edges_of(frame: Frame, image: Tensor) -> Tensor:
    """Return the edge map ``(H, W)`` of a frame; zeros where its method needs none."""
    return torch.zeros(image.shape[-2:]) if frame.edges is None else read_edges(frame.edges)


@dataclass
class PairedCrops(Dataset[Sample]):
    """The samples of one epoch.

    Args:
        data: the frames of both domains.
        length: samples in the epoch.
        epoch: enters the seed of every draw.
        seed: of the run.
        crop: side of the crops.
        flip: probability of mirroring, drawn for each domain.
        classes: the small-sample classes that pairing looks at.
        sampler: the memory; None pairs at random.
        ignore_index: the id of unlabeled pixels; without labels all are.
        extra: further color crops of each sample, to teach the segmenters; every second one around one of ``classes``.
        replacement: draw the images of both domains with replacement (published) instead of in passes over all.
    """

    data: TrainingData
    length: int
    epoch: int
    seed: int
    crop: int
    flip: float
    classes: tuple[int, ...]
    sampler: MemorySampler | None = None
    ignore_index: int = 255
    extra: int = 0
    replacement: bool = False

    def __post_init__(self) -> None:
        generator = seeded(self.seed, Stream.ORDER, self.epoch)
        self._order_a = order(self.length, len(self.data.a), generator, replacement=self.replacement)
        self._order_b = order(self.length, len(self.data.b), generator, replacement=self.replacement)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> Sample:
        """Return the crops at a position of the epoch."""
        generator = seeded(self.seed, Stream.SAMPLE, self.epoch, position)
        frame = self.data.a[int(self._order_a[position])]
        real_a, labels_a = self._read_a(frame)
        edges_a = edges_of(frame, real_a)
        corner = random_corner((real_a.shape[-2], real_a.shape[-1]), self.crop, generator)
        mirrored = bool(torch.rand((), generator=generator) < self.flip)
        window_a = window(real_a.shape, corner, self.crop, mirrored)
        real_a, edges_a, labels_a = (cut(x, corner, self.crop, mirrored) for x in (real_a, edges_a, labels_a))

        index_b = int(self._order_b[position])
        corner_b = None
        if self.sampler is not None:
            descriptor = semantic_descriptor(labels_a[None], self.classes)
            index_b = int(self.sampler(descriptor, generator=generator))
            row, col = self.sampler.bank.payload[index_b].tolist()
            corner_b = (row, col)
        frame = self.data.b[index_b]
        real_b = read_thermal(frame.image, self.data.tones_b)
        edges_b = edges_of(frame, real_b)
        if corner_b is None:
            corner_b = random_corner((real_b.shape[-2], real_b.shape[-1]), self.crop, generator)
        mirrored = bool(torch.rand((), generator=generator) < self.flip)
        window_b = window(real_b.shape, corner_b, self.crop, mirrored)
        real_b, edges_b = (cut(x, corner_b, self.crop, mirrored) for x in (real_b, edges_b))
        extra_a, extra_labels_a, extra_windows_a = self._extra(position)
        sample = Sample(
            real_a=real_a,
            window_a=window_a,
            edges_a=edges_a,
            labels_a=labels_a,
            extra_a=extra_a,
            extra_labels_a=extra_labels_a,
            extra_windows_a=extra_windows_a,
            real_b=real_b,
            window_b=window_b,
            edges_b=edges_b,
            index_b=index_b,
        )
        if frame.labels is None:
            return sample
        return LabeledSample(**sample, labels_b=cut(read_labels(frame.labels), corner_b, self.crop, mirrored))

    def _read_a(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Return a color image and its labels."""
        image = read_color(frame.image)
        labels = torch.full(image.shape[1:], self.ignore_index) if frame.labels is None else read_labels(frame.labels)
        return image, labels

    def _extra(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the further color crops of a position, ``(extra, 3, crop, crop)``, their labels and windows."""
        generator = seeded(self.seed, Stream.EXTRA, self.epoch, position)
        images = [torch.empty(0, 3, self.crop, self.crop)]
        maps = [torch.empty(0, self.crop, self.crop, dtype=torch.long)]
        windows = [torch.empty(0, 4, dtype=torch.long)]
        for i in range(self.extra):
            image, labels = self._read_a(self.data.a[int(torch.randint(len(self.data.a), (), generator=generator))])
            classes = self.classes if i % 2 == 0 else ()
            corner = corner_at_class(labels, classes, self.crop, generator)
            mirrored = bool(torch.rand((), generator=generator) < self.flip)
            images.append(cut(image, corner, self.crop, mirrored)[None])
            maps.append(cut(labels, corner, self.crop, mirrored)[None])
            windows.append(window(image.shape, corner, self.crop, mirrored)[None])
        return torch.cat(images), torch.cat(maps), torch.cat(windows)


@dataclass
class MemoryCrops(Dataset[dict[str, Tensor]]):
    """One random crop of each thermal image, the same at every call: what the memory describes."""

    data: TrainingData
    seed: int
    crop: int

    def __len__(self) -> int:
        return len(self.data.b)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return the crop, its window (of which the first two are its corner), its image's index, and given labels."""
        frame = self.data.b[index]
        real_b = read_thermal(frame.image, self.data.tones_b)
        size = (real_b.shape[-2], real_b.shape[-1])
        corner = random_corner(size, self.crop, seeded(self.seed, Stream.MEMORY, index))
        sample = {
            "index_b": torch.tensor(index),
            "real_b": cut(real_b, corner, self.crop, False),
            "window_b": window(size, corner, self.crop, False),
        }
        if frame.labels is not None:
            sample["labels_b"] = cut(read_labels(frame.labels), corner, self.crop, False)
        return sample
