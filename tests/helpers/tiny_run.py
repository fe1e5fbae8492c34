"""Trainings on networks of a few channels: in this process, and by the command line in processes of their own."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from helpers.small_folder import write_folder
from morn_losses import CITYSCAPES
from ntir2dc.config import DataOptions, NetworkOptions, TrainConfig, make_config
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.methods.method import Terms
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.methods.morngan.objective import Step
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.run.log import read_log
from ntir2dc.trainer import Trainer, add_up

ROOT = Path(__file__).resolve().parents[2]

# networks of a few channels, as JSON holds them
SHAPES: dict[str, Any] = {
    "generator_width": 4,
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "discriminator_width": 4,
    "discriminator_layers": [3, 3, 2],
    "segmenter_width": 4,
    "segmenter_blocks": 1,
    "aspp_channels": 4,
    "merged_channels": 8,
}
NETWORKS = NetworkOptions(**{**SHAPES, "discriminator_layers": tuple(SHAPES["discriminator_layers"])})

# an untrained segmenter reaches them, so that there are pseudo-labels to work with
THRESHOLDS = {"theta_fg": 0.04, "theta_bg": 0.04, "fill_threshold": 0.05}

# as the command line takes them
TINY = [
    *("--epochs=6", "--steps_per_epoch=2", "--pool=3", "--checkpoint_every=3"),
    *(f"--networks.{name}={value}" for name, value in SHAPES.items()),
    *("--dataset.crop=32", "--losses.aca_clusters=2"),
    *(f"--losses.{name}={value}" for name, value in THRESHOLDS.items()),
]


def quiet(_: str) -> None:
    pass


def tiny_config(out: Path, **changes: Any) -> TrainConfig:
    """Return the options of six epochs of two steps: every phase takes one epoch."""
    chosen = make_config("mini", changes.pop("variant", "paper"), changes.pop("method", "morngan"))
    norms = {name: getattr(chosen.networks, name) for name in ("decoder_norm", "discriminator_norm")}
    base = dataclasses.replace(
        chosen,
        out=str(out),
        epochs=6,
        steps_per_epoch=2,
        pool=3,
        segmenter_lr=1e-3,
        segmenter_crops=1,
        ema_decay=0.0,
        checkpoint_every=3,
        panel_every=1000,
        networks=dataclasses.replace(NETWORKS, **norms),
        dataset=DataOptions(crop=32),
    )
    losses = dataclasses.replace(
        base.losses,
        **THRESHOLDS,
        aca_clusters=2,
        boundary_weight=0.5,
        mine_frozen_alone=base.variant == "published",
    )
    return dataclasses.replace(base, losses=losses, **changes)


def tiny_data(folder: Path) -> TrainingData:
    """Write a small data folder and return what it holds."""
    return prepare_training_data(write_folder(folder / "data"), folder / "cache", CITYSCAPES, crop=32)


def step_and_terms(trainer: Trainer, phase: Phase, scale: float = 0.5) -> tuple[Step, Terms]:
    """Enter the epoch of a phase and return its first step, all graphs alive, and the terms."""
    epoch, method = int(phase) - 1, method_of(trainer)
    method.enter_epoch(epoch)
    step = Step.of(trainer.moved(next(iter(trainer.loader(epoch, 0)))))
    torch.manual_seed(7)
    return step, add_up(method.forward.generate(step, method.on(epoch), scale))


def gradients_of_a_step(config: TrainConfig, data: TrainingData, epoch: int) -> list[torch.Tensor | None]:
    """Take the first step of an epoch; what it draws must not come from torch's own generator, which is moved on."""
    trainer = Trainer(config, data, say=quiet)
    torch.manual_seed(config.accumulate)
    trainer.training_step(next(iter(trainer.loader(epoch, 0))), epoch)
    return [p.grad for p in trainer.method.networks.parameters()]


def method_of(trainer: Trainer) -> MornGAN:
    """Return the method of a trainer, which is MornGAN."""
    assert isinstance(trainer.method, MornGAN)
    return trainer.method


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "train_morngan.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def rows_without_seconds(out: Path) -> list[dict[str, str]]:
    found = read_log(out / "log.csv")
    for row in found:
        assert float(row.pop("seconds")) > 0
    return found


def wait_for_rows(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "log.csv").is_file() and len((out / "log.csv").read_text().splitlines()) > count:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate()[0] if process.poll() is not None else "no log within the time")


def outcome(out: Path) -> tuple[list[dict[str, str]], bytes]:
    """Return what two equal runs have in common to the last bit: the log without its seconds, and the weights."""
    return rows_without_seconds(out), (out / "weights.safetensors").read_bytes()
