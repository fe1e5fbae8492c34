"""What methods without phases, labels and memory have in common."""

from __future__ import annotations

from enum import IntEnum

from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.pairing import PairedCrops


class Phase(IntEnum):
    """Nothing is switched on or off; the learning rate may fall."""

    TRAIN = 1


def plan(config: TrainConfig) -> str:
    """Return the epochs of the only phase."""
    return f"epochs: train 0-{config.epochs - 1}"


def random_crops(config: TrainConfig, data: TrainingData, epoch: int, length: int) -> PairedCrops:
    """Return the crops of an epoch, paired at random."""
    dataset = config.dataset
    return PairedCrops(
        data,
        length=length,
        epoch=epoch,
        seed=config.seed,
        crop=dataset.crop,
        flip=dataset.flip,
        classes=(),
        replacement=dataset.replacement,
    )
