"""Label maps predicted for a folder of images; what was made before in the same way is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.data.derived import is_kept, keep, keeper_of, key_of
from ntir2dc.data.images import check_size, load_color, to_image
from ntir2dc.data.maps import read_labels
from ntir2dc.data.samples import DataError
from ntir2dc.files import attempt
from ntir2dc.pretrained.names import Matching
from ntir2dc.pretrained.teacher import Teacher, join_scores

KEEPER = "label.py"

Watch = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass(frozen=True)
class Options:
    """How maps are predicted.

    Args:
        confidence: pixels of less certainty stay unlabeled.
        batch_size: images of one size that are predicted together.
        overwrite: replace maps that were not made here.
    """

    confidence: float = 0.5
    batch_size: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise DataError(f"options: expected a confidence in [0, 1], got {self.confidence:g}")
        if self.batch_size < 1:
            raise DataError(f"options: expected a batch_size of at least 1, got {self.batch_size}")


@dataclass
class Outcome:
    """What was done in a folder: maps written and kept, and how many pixels each id has in them."""

    written: int = 0
    kept: int = 0
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))

    def count(self, labels: NDArray[np.uint8]) -> None:
        """Add the pixels of a map."""
        self.pixels += np.bincount(labels.ravel(), minlength=256)


def choose(scores: Tensor, matching: Matching, space: LabelSpace, confidence: float) -> Tensor:
    """Return the labels that a network's scores stand for.

    Scores of classes that are one in the space are added: a house and a roof are both a building. A pixel stays
    unlabeled where another class, one without a counterpart, is more certain, or where the certainty is below
    ``confidence``.

    Args:
        scores: ``(B, K, H, W)`` in [0, 1].
        matching: of the network's classes.
        space: the label space.
        confidence: as above.

    Returns:
        uint8 ``(B, H, W)``.
    """
    sure, labels = join_scores(scores, matching.ids, len(space)).max(1)
    others = [i for i in range(scores.shape[1]) if i not in matching.ids]
    if others:
        sure = torch.where(scores[:, others].amax(1) > sure, -1, sure)
    return labels.masked_fill(sure < confidence, space.ignore_index).byte()


def label_images(
    images: Sequence[Path],
    folder: Path,
    teacher: Teacher,
    matching: Matching,
    space: LabelSpace,
    options: Options,
    outcome: Outcome,
    problems: list[str],
    watch: Watch,
) -> None:
    """Write a map for each image that can be read, named after it, and add up what was done.

    A map that was made from the same image by the same network and options is kept; one that was not made here is named
    as a problem and left.

    Raises:
        DataError: out of memory.
        OSError: a full or read-only disk.
    """
    recipe = ("teacher", teacher.digest, sorted(matching.ids.items()), options.confidence, space.ignore_index)

    def to_do() -> Iterator[tuple[Path, str, Image.Image]]:
        for path in watch(images):
            target = folder / f"{path.stem}.png"
            try:
                key = key_of((path,), recipe)
                if is_kept(target, key):
                    outcome.kept += 1
                    outcome.count(read_labels(target).numpy().astype(np.uint8))
                    continue
                if target.exists() and keeper_of(target) != KEEPER and not options.overwrite:
                    raise DataError(f"{target}: was not written by this command and is left as it is (--overwrite)")
                pixels, source = load_color(path)
                check_size(source)
            except (DataError, OSError) as error:
                problems.append(str(error) if isinstance(error, DataError) else f"{path}: {error.strerror}")
                continue
            yield target, key, to_image(pixels)

    for batch in batches(to_do(), options.batch_size):
        try:
            labels = choose(teacher.scores([image for *_, image in batch]), matching, space, options.confidence)
        except torch.OutOfMemoryError:
            raise DataError(
                f"{teacher.name}: out of memory; with a smaller --batch_size or --device cpu the same command goes on"
            ) from None
        for (target, key, _), one in zip(batch, labels.cpu().numpy(), strict=True):
            if attempt(partial(keep, target, one, key, KEEPER), target, problems, one_of_many=True):
                outcome.written += 1
                outcome.count(one)


def batches(
    items: Iterable[tuple[Path, str, Image.Image]], batch_size: int
) -> Iterator[list[tuple[Path, str, Image.Image]]]:
    """Join neighbors of equal size."""
    batch: list[tuple[Path, str, Image.Image]] = []
    for item in items:
        if batch and (len(batch) == batch_size or item[2].size != batch[0][2].size):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
