"""Loaders of a run: one process's share of an epoch's crops, and of the crops that fill the memory."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from morn_losses import LabelSpace, MemoryBank, MemorySampler
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.pairing import MemoryCrops, PairedCrops, seeded
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.parallel.microbatches import Parts

_LOADER = 100


def training_loader(
    config: TrainConfig,
    data: TrainingData,
    space: LabelSpace,
    memory: MemoryBank | None,
    parts: Parts,
    epoch: int,
    steps: range,
    phase: Phase,
) -> DataLoader[Any]:
    """Return what this process reads of an epoch.

    Args:
        config: of the run.
        data: its images.
        space: the label space.
        memory: what picks the thermal images, read as it is now; None pairs at random.
        parts: how batches are cut.
        epoch: from 0.
        steps: of the epoch, up to its end.
        phase: of the epoch.
    """
    teaches = Phase.SEGMENT_A <= phase < Phase.COLLABORATE
    dataset = PairedCrops(
        data,
        length=steps.stop * config.batch_size,
        epoch=epoch,
        seed=config.seed,
        crop=config.dataset.crop,
        flip=config.dataset.flip,
        classes=space.small_sample,
        sampler=None if memory is None else MemorySampler(memory, k=config.losses.memory_k),
        ignore_index=space.ignore_index,
        extra=config.segmenter_crops - 1 if teaches and config.modules.sc else 0,
    )
    return DataLoader(
        dataset,
        batch_size=parts.size * parts.accumulate,
        sampler=parts.positions(steps.start, steps.stop),
        num_workers=config.dataset.workers,
        # a generator of its own: the loader would draw from the global one, which resuming must not disturb
        generator=seeded(config.seed, _LOADER, epoch),
    )


def memory_loader(config: TrainConfig, data: TrainingData, parts: Parts) -> DataLoader[Any]:
    """Return one crop of every thermal image of this process's share: its index, the crop, and its window."""
    crops = MemoryCrops(data, config.seed, config.dataset.crop)
    share = range(parts.world.rank, len(crops), parts.world.size)
    return DataLoader(crops, parts.size, sampler=share, generator=seeded(config.seed, _LOADER))
