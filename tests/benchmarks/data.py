"""What a data-loader worker needs for a sample, beside the step that it feeds."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import torch
from torch.utils.data import default_collate

from morn_losses import CITYSCAPES, MemorySampler
from ntir2dc.config import make_config
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.pairing import PairedCrops
from ntir2dc.methods.morngan.schedule import Phase
from scenes import write_scenes
from tests.benchmarks.harness import Row, Settings, compare
from tests.benchmarks.lookups import bank
from tests.benchmarks.training_step import epoch_of, make_batch, make_trainer

TITLE = "Data"


def rows(settings: Settings) -> list[Row]:
    """Measure a sample of the demo in its last phase: decoding, crops, cached edges and labels, pairing."""
    config = make_config("demo")
    options = config.dataset
    frames = 2 if settings.tiny else 8
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_scenes(
            root / "scenes", seed=0, n_train_a=frames, n_train_b=frames, n_val=1, n_judge=1,
            size=(options.scene_height, options.scene_width),
        )  # fmt: skip
        data = prepare_training_data(root / "scenes", root / "cache", CITYSCAPES, crop=options.crop)
        # as many frames as a memory of a large data set has entries; the files repeat
        entries = 100 if settings.tiny else options.scenes_b
        data = dataclasses.replace(data, b=tuple(data.b[i % frames] for i in range(entries)))
        memory = bank(entries, len(CITYSCAPES.small_sample), payload_size=2)
        samples = PairedCrops(
            data, length=1000, epoch=0, seed=0, crop=options.crop, flip=options.flip, classes=CITYSCAPES.small_sample,
            sampler=MemorySampler(memory, k=config.losses.memory_k),
        )  # fmt: skip
        position = iter(range(10**9))
        trainer = make_trainer(Phase.COLLABORATE, 0.5, options.crop, config.networks, device=settings.device)
        batch = make_batch(options.crop, device=settings.device)
        fewer = dataclasses.replace(settings, repeats=min(settings.repeats, 5))
        with torch.random.fork_rng():
            row = compare(
                f"one sample, {options.crop} x {options.crop} out of {options.scene_height} x {options.scene_width}",
                {
                    "one worker of the loader": lambda: default_collate([samples[next(position) % 1000]]),
                    "a training step of the demo that takes it": lambda: trainer.training_step(
                        batch, epoch_of(trainer, Phase.COLLABORATE)
                    ),
                },
                fewer,
            )
    return [row]
