"""What a short training of the color domain's segmenter depends on: one option changed at a time.

Everything else of the method needs S_A: its labels teach S_B, and both fill the memory. The paper trains it for tens of
thousands of steps; the presets for a CPU have a few hundred, in which the paper's own choices learn hardly anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morn_losses import CITYSCAPES, LabelSpace, SegmentationLoss
from ntir2dc.config import PhaseOptions, TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.images import read_color, read_labels
from ntir2dc.data.loading import load
from ntir2dc.judge import class_iou
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.optimizers import lr_factor
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.parallel.world import World
from studies.cards.card import Table, Values

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "one crop a step": {"segmenter_crops": 1},
    "instance norm": {"segmenter_norm": "instance"},
    "group norm": {"segmenter_norm": "group"},
    "N(0, 0.02)": {"segmenter_init": "normal"},
    "boundary loss 0.5": {"boundary_weight": 0.5},
    "coordinates of the frame": {"segmenter_coordinates": "frame"},
}
"""What each row changes of the preset."""


See = Callable[[Tensor, Tensor], Tensor]
"""From images and their labels to what a segmenter sees of them."""


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Args:
        seeds: trainings of every row, each with other held-out frames.
        steps: of each training.
        score_every: steps between two scores; the mean of the last three is what the table shows, since a single state
            swings by several points.
        held_out: every how many-th frame is kept for the score.
        rows: some of the study's rows, all if empty.
    """

    seeds: int = 3
    steps: int = 200
    score_every: int = 20
    held_out: int = 7
    rows: tuple[str, ...] = ()


def change(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration with some options changed, wherever they live."""
    parts = {name: getattr(config, name) for name in ("networks", "losses")}
    for key, value in changes.items():
        for name, part in parts.items():
            if hasattr(part, key):
                parts[name] = dataclasses.replace(part, **{key: value})
    whole = {key: value for key, value in changes.items() if hasattr(config, key)}
    return dataclasses.replace(config, **parts, **whole)


def windows(size: tuple[int, int], crop: int) -> list[tuple[int, int]]:
    """Return the corners of the fewest crops that cover a frame."""

    def starts(length: int) -> list[int]:
        count = -(-length // crop)
        return [round(i * (length - crop) / max(1, count - 1)) for i in range(count)]

    return [(row, col) for row in starts(size[0]) for col in starts(size[1])]


@torch.no_grad()
def score(method: MornGAN, frames: TrainingData, space: LabelSpace) -> tuple[float, float, float]:
    """Return pixel accuracy, mIoU over the classes in the labels, and accuracy on small-sample pixels.

    Over crops of the training size that cover the frames.
    """
    (segmenter, _), crop = method.networks.segmenters(), method.config.dataset.crop
    segmenter.eval()
    confusion = np.zeros((len(space), len(space)))
    for frame in frames.a:
        assert frame.labels is not None
        image, labels = read_color(frame.image), read_labels(frame.labels)
        H, W = labels.shape
        for row, col in windows((H, W), crop):
            window = method.forward.seen(torch.tensor([[row, col, H, W]]))
            classes = segmenter(image[None, :, row : row + crop, col : col + crop], window)[0].argmax(0)
            true = labels[row : row + crop, col : col + crop]
            known = true != space.ignore_index
            pairs = true[known] * len(space) + classes[known]
            confusion += torch.bincount(pairs, minlength=len(space) ** 2).view(len(space), -1).numpy()
    segmenter.train()
    held = confusion.sum(1) > 0
    small = list(space.small_sample)
    return (
        float(confusion.trace() / confusion.sum()),
        float(np.nanmean(class_iou(confusion)[held])),
        float(confusion[small, small].sum() / max(1.0, confusion[small].sum())),
    )


def train(config: TrainConfig, data: TrainingData, options: Options, space: LabelSpace) -> tuple[float, float, float]:
    """Train S_A alone on most frames and return the mean of its last three scores on the others."""
    held = [i % options.held_out == config.seed % options.held_out for i in range(len(data.a))]
    taught = dataclasses.replace(data, a=tuple(f for f, out in zip(data.a, held, strict=True) if not out))
    others = dataclasses.replace(data, a=tuple(f for f, out in zip(data.a, held, strict=True) if out))
    method = method_for(config, taught, options, space)
    scores = []
    for step in teach(method, method.networks.segmenters()[0], options):
        if is_scored(step, options):
            scores.append(score(method, others, space))
    accuracy, miou, small = np.mean(scores, axis=0).tolist()
    return accuracy, miou, small


def method_for(config: TrainConfig, taught: TrainingData, options: Options, space: LabelSpace) -> MornGAN:
    """Return the networks of one training, and what cuts its crops: one epoch, in which segmenters learn."""
    phases = PhaseOptions(structure=0, segment_a=0, segment_b=1, distill=1, collaborate=1)
    config = dataclasses.replace(config, epochs=1, steps_per_epoch=options.steps, phases=phases)
    torch.manual_seed(config.seed)
    microbatches = Microbatches(World(), 1, config.batch_size, config.seed)
    return MornGAN(config, taught, space, microbatches, say=lambda _: None)


def teach(method: MornGAN, segmenter: nn.Module, options: Options, see: See | None = None) -> Iterator[int]:
    """Train a segmenter on color crops, or on what ``see`` makes of crops and their labels; give each step, from 1."""
    config = method.config
    crops = method.crops(0, options.steps * config.batch_size)
    positions = method.microbatches.positions(0, options.steps)
    rate = config.segmenter_lr or config.lr
    optimizer = torch.optim.Adam(segmenter.parameters(), lr=rate, betas=(0.5, 0.999))
    loss = SegmentationLoss(boundary_weight=config.losses.boundary_weight)
    falls = config.segmenter_lr_schedule == "cosine"
    for step, batch in enumerate(load(crops, config.batch_size, positions, config.seed, 0), 1):
        if falls:
            optimizer.param_groups[0]["lr"] = rate * lr_factor(config, step - 1, options.steps, falls_until=1)
        images = torch.cat((batch["real_a"], batch["extra_a"].flatten(0, 1)))
        labels = torch.cat((batch["labels_a"], batch["extra_labels_a"].flatten(0, 1)))
        where = torch.cat((batch["window_a"], batch["extra_windows_a"].flatten(0, 1)))
        optimizer.zero_grad()
        seen = images if see is None else see(images, labels)
        value: Tensor = loss(segmenter(seen, method.forward.seen(where)), labels)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield step


def is_scored(step: int, options: Options) -> bool:
    """Return whether a step is one of the last three that are scored."""
    return step % options.score_every == 0 and step > options.steps - 3 * options.score_every


def study(
    config: TrainConfig,
    data: TrainingData,
    options: Options,
    space: LabelSpace = CITYSCAPES,
    say: Callable[[str], None] = print,
) -> tuple[Table, Table]:
    """Train every row with every seed.

    Returns:
        The scores, and their differences to the first row within a seed.

    Raises:
        ValueError: an unknown row.
    """
    for name in options.rows:
        if name not in VARIANTS:
            raise ValueError(f"rows: expected some of {', '.join(VARIANTS)}, got {name!r}")
    scores_by_row: dict[str, tuple[Values, ...]] = {}
    for name, changes in VARIANTS.items():
        if options.rows and name not in options.rows:
            continue
        scores = []
        for seed in range(options.seeds):
            scores.append(train(change(dataclasses.replace(config, seed=seed), changes), data, options, space))
            say(f"{name}, seed {seed}: accuracy {scores[-1][0]:.3f}, mIoU {scores[-1][1]:.3f}")
        scores_by_row[name] = tuple(zip(*scores, strict=True))
    columns = ("pixel accuracy", "mIoU", "accuracy on small-sample pixels")
    first = next(iter(scores_by_row))
    differences = tuple(
        (
            name,
            tuple(
                tuple(a - b for a, b in zip(*cells, strict=True))
                for cells in zip(row, scores_by_row[first], strict=True)
            ),
        )
        for name, row in list(scores_by_row.items())[1:]
    )
    return (
        Table("held-out frames, %", columns, tuple(scores_by_row.items()), scale=100, digits=1),
        Table(f"difference to {first}, points", columns, differences, scale=100, digits=1),
    )
