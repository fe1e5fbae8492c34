"""A training step of every phase against one in the manner of the published code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ntir2dc.config import DataOptions, NetworkOptions, TrainConfig, make_config
from ntir2dc.data.folders import Frame, TrainingData
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase
from ntir2dc.trainer import Trainer
from studies.comparing.measuring import peak_memory
from tests.benchmarks import published_step
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.losses import blocks

TITLE = "Training step"


def sizes(settings: Settings) -> tuple[int, NetworkOptions]:
    """Return the side of the crops and the networks: the paper's, a quarter of their width, or hardly any."""
    if settings.full and not settings.tiny:
        return 256, NetworkOptions()
    width, size = (4, 32) if settings.tiny else (16, 128)
    options = NetworkOptions(
        generator_width=width,
        discriminator_width=width,
        segmenter_width=width,
        aspp_channels=width,
        merged_channels=4 * width,
    )
    if settings.tiny:
        options = dataclasses.replace(
            options, encoder_blocks=1, decoder_blocks=1, segmenter_blocks=1, discriminator_layers=(3, 3, 2)
        )
    return size, options


def make_trainer(phase: Phase, scale: float, size: int, networks: NetworkOptions, **options: Any) -> Trainer:
    """Return a trainer in a phase, with thresholds that untrained segmenters reach; nothing is read or written.

    ``options`` are those of the configuration: device, precision, compile.
    """
    config: TrainConfig = make_config("flir")
    losses = dataclasses.replace(config.losses, theta_fg=0.04, theta_bg=0.04, fill_threshold=0.05)
    options = {"device": "cpu", **options}
    config = dataclasses.replace(
        config, networks=networks, losses=losses, dataset=DataOptions(crop=size), out="unused", **options
    )
    frame = Frame(Path("unused"), Path("unused"), Path("unused"))
    trainer = Trainer(config, TrainingData((frame,), (frame,), ()), say=lambda _: None)
    # full, so that nothing is read to fill it
    method = method_of(trainer)
    method.memory.write(torch.tensor([0]), torch.ones(1, method.memory.n_classes), torch.zeros(1, 2).long())
    method.enter_epoch(epoch_of(trainer, phase))
    method.scale = lambda part: scale  # type: ignore[method-assign]
    return trainer


def epoch_of(trainer: Trainer, phase: Phase) -> int:
    """Return the first epoch of a phase."""
    return method_of(trainer).schedule.starts[phase - 1]


def method_of(trainer: Trainer) -> MornGAN:
    """Return the method of a trainer, which is MornGAN."""
    assert isinstance(trainer.method, MornGAN)
    return trainer.method


def make_batch(size: int, batch: int = 1, device: str = "cpu") -> dict[str, Tensor]:
    """Return noise with label maps of blocks."""
    generator = torch.Generator().manual_seed(0)
    real_a, real_b = (torch.rand(batch, 3, size, size, generator=generator) * 2 - 1 for _ in range(2))
    edges_a, edges_b = ((torch.rand(batch, size, size, generator=generator) > 0.9).float() for _ in range(2))
    window = torch.tensor([[0, 0, size, size]] * batch)
    made = {
        "real_a": real_a,
        "window_a": window,
        "window_b": window,
        "real_b": real_b[:, :1].expand(-1, 3, -1, -1).contiguous(),
        "edges_a": edges_a,
        "edges_b": edges_b,
        "labels_a": torch.cat([blocks((*range(19), 255), size, generator) for _ in range(batch)]),
        "extra_a": torch.empty(batch, 0, 3, size, size),
        "extra_labels_a": torch.empty(batch, 0, size, size, dtype=torch.long),
        "extra_windows_a": torch.empty(batch, 0, 4, dtype=torch.long),
        "index_b": torch.zeros(batch, dtype=torch.long),
    }
    return {name: x if name == "index_b" else x.to(device) for name, x in made.items()}


def steps(phase: Phase, scale: float, settings: Settings) -> dict[str, Run]:
    """Return our step and the published manner's, each on networks of its own from the same start."""
    size, networks = sizes(settings)
    ours, theirs = (make_trainer(phase, scale, size, networks, device=settings.device) for _ in range(2))
    batch, epoch = make_batch(size, device=settings.device), epoch_of(ours, phase)
    return {
        "morngan": lambda: ours.training_step(batch, epoch),
        "published manner": lambda: published_step.training_step(theirs, batch, epoch),
    }


def phase_rows(settings: Settings) -> list[Row]:
    """Measure every phase, the last two also at the larger other scale."""
    size, networks = sizes(settings)
    measured = []
    for phase, scale in [*((phase, 0.5) for phase in PAPER_PHASES), (Phase.DISTILL, 1.5), (Phase.COLLABORATE, 1.5)]:
        if settings.phases and phase.name.lower() not in settings.phases:
            continue
        runs = steps(phase, scale, settings)
        ours, theirs = (peak_memory(run, settings.device, warm_up=False) for run in runs.values())
        task = f"{phase.name.lower()}{f', other scale {scale}' if phase >= Phase.DISTILL else ''}"
        measured.append(
            compare(
                f"{task}, {size} x {size}, width {networks.generator_width}",
                {**runs},
                settings,
                f"peak memory {ours / 2**20:.0f} MiB, {ours / theirs:.2f} of the published manner's",
                warm_up=False,
            )
        )
    return measured


def rows(settings: Settings) -> list[Row]:
    """Measure the phases."""
    return phase_rows(dataclasses.replace(settings, repeats=min(settings.repeats, 2 if settings.full else 3)))
