"""Optimizers and their learning rates, which depend on the step alone: nothing of them has to be remembered."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ntir2dc.config import TrainConfig
from ntir2dc.methods.method import Group

Optimizers = dict[str, torch.optim.Optimizer]


def make_optimizers(groups: Mapping[str, Group]) -> Optimizers:
    """Return Adam for each group of networks, as every system of the paper's tables has it."""
    return {
        name: torch.optim.Adam(
            (p for network in group.networks for p in network.parameters()),
            lr=group.lr,
            betas=(0.5, 0.999),
            weight_decay=group.weight_decay,
            fused=True,
        )
        for name, group in groups.items()
    }


def lr_factor(config: TrainConfig, step: int, steps_per_epoch: int, falls_until: int = 0) -> float:
    """Return what the learning rate of a group at the start is multiplied by in a step.

    A group whose rate ``falls_until`` an epoch follows a cosine. Otherwise ``linear``: 1 until ``lr_decay_start``, then
    down by an equal amount an epoch, so that 0 would come after the last one (CycleGAN). ``linear_late``: the same line
    from an epoch later on, where the rate is lowered at the end of an epoch (ToDayGAN). ``step``: halved every
    ``lr_halve_every`` steps (UNIT).
    """
    if falls_until:
        return (1 + math.cos(math.pi * min(1, step / (falls_until * steps_per_epoch)))) / 2
    if config.lr_schedule in ("linear", "linear_late"):
        flat = round(config.lr_decay_start * config.epochs)
        if config.lr_schedule == "linear_late":
            flat = min(flat + 1, config.epochs)
        return 1 - max(0, step // steps_per_epoch + 1 - flat) / (config.epochs - flat + 1)
    if config.lr_schedule == "step":
        return float(0.5 ** (step // config.lr_halve_every))
    return 1.0


def set_lr(
    optimizers: Mapping[str, torch.optim.Optimizer],
    groups: Mapping[str, Group],
    config: TrainConfig,
    step: int,
    steps_per_epoch: int,
) -> None:
    """Set the learning rates of a step."""
    for name, optimizer in optimizers.items():
        group = groups[name]
        for held in optimizer.param_groups:
            held["lr"] = group.lr * lr_factor(config, step, steps_per_epoch, group.falls_until)
