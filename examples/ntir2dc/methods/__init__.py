"""The systems that the trainer can train, by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from ntir2dc.config import TrainConfig
from ntir2dc.methods import cyclegan, dlamgan, drit, forkgan, morngan, pearlgan, todaygan, unit
from ntir2dc.methods.method import Method


class Entry(NamedTuple):
    """A method, and how its night-to-day network alone is made.

    Args:
        method: the class.
        make_translator: from what :meth:`Method.describe` returned, with whatever weights.
        untrained_translator: as a run of these options starts: ``(config, n_classes)``.
    """

    method: type[Method]
    make_translator: Callable[..., nn.Module]
    untrained_translator: Callable[[TrainConfig, int], nn.Module]


METHODS: dict[str, Entry] = {
    "cyclegan": Entry(cyclegan.CycleGAN, cyclegan.make_translator, cyclegan.untrained_translator),
    "dlamgan": Entry(dlamgan.DlamGAN, dlamgan.make_translator, dlamgan.untrained_translator),
    "drit": Entry(drit.DRIT, drit.make_translator, drit.untrained_translator),
    "forkgan": Entry(forkgan.ForkGAN, forkgan.make_translator, forkgan.untrained_translator),
    "morngan": Entry(morngan.MornGAN, morngan.make_translator, morngan.untrained_translator),
    "pearlgan": Entry(pearlgan.PearlGAN, pearlgan.make_translator, pearlgan.untrained_translator),
    "todaygan": Entry(todaygan.ToDayGAN, todaygan.make_translator, todaygan.untrained_translator),
    "unit": Entry(unit.UNIT, unit.make_translator, unit.untrained_translator),
}

__all__ = ["METHODS", "Entry", "Method"]
