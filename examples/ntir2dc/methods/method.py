"""What a method is: the networks, losses and order of steps that the trainer drives without knowing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.utils.data import Dataset

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.parallel.microbatches import Microbatches

Terms = dict[str, Tensor]
"""Weighted terms of a loss by name."""


class Pool(Protocol):
    """A pool of earlier fakes."""

    def query(self, images: Tensor) -> Tensor:
        """Return ``(B, 3, H, W)`` detached images, each a new or a stored one."""


@dataclass(frozen=True)
class Part:
    """A part of a step's batch (all of it, most of the time) on its way through a method.

    Args:
        batch: tensors by the names of :class:`ntir2dc.data.pairing.Sample`, on the networks' device.
        step: of the run, from 0.
        epoch: of the run, from 0.
        pools: of earlier fakes, by name.
        first: place of its first image in the whole batch, for draws that are an image's own.
        log: takes what the log shows beside the terms.
    """

    batch: Mapping[str, Tensor]
    step: int
    epoch: int
    pools: Mapping[str, Pool]
    first: int = 0
    log: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """Optimizers that step together, one after another: the gradients of all are taken before the first one steps.

    Args:
        optimizers: their names, in the order in which they step.
        losses: gives the loss of a part in pieces, each as weighted terms. The trainer adds the gradients of a piece
            before it asks for the next one: pieces share no graph, so that only the largest takes memory.
    """

    optimizers: tuple[str, ...]
    losses: Callable[[Part], Iterator[Terms]]


@dataclass(frozen=True)
class Group:
    """What one optimizer moves.

    Args:
        networks: whose parameters.
        lr: learning rate at the start; the run's schedule lowers that of all groups alike.
        weight_decay: L2 penalty of Adam, on weights, biases and gains alike.
        falls_until: the epoch before which the rate falls along a cosine to 0, whatever the run's schedule; 0: as the
            run's.
        max_norm: of all its gradients together, which are scaled down to it; 0 leaves them as they are.
    """

    networks: Sequence[nn.Module]
    lr: float
    weight_decay: float = 0.0
    falls_until: int = 0
    max_norm: float = 0.0


@dataclass(frozen=True)
class LogNames:
    """What the log of a run shows.

    Args:
        terms: of the generators' (and their helpers') loss; their sum is the column ``total``.
        adversaries: losses of discriminators.
        observed: what else a method notes.
        weights: names that count for how many images an observed mean stands; not shown.
    """

    terms: tuple[str, ...]
    adversaries: tuple[str, ...]
    observed: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)

    def columns(self) -> list[str]:
        """Return the columns of the log."""
        return [
            *("step", "epoch", "phase", *self.terms, "total", *self.adversaries, *self.observed, "seconds"),
        ]


class Method(Protocol):
    """What the trainer asks of a method.

    ``config`` and ``data`` are those of the run, ``space`` is the label space, ``microbatches`` says how batches are
    cut and which processes there are, ``say`` tells a person.
    """

    pools: ClassVar[tuple[str, ...]]
    """Names of the pools of earlier fakes."""
    log: LogNames
    """The columns of the log."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None: ...

    @property
    def networks(self) -> nn.Module:
        """All networks, each a child with a name, on their device."""

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return whether a run of these options needs labels of the color images."""

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return whether a run of these options needs edge maps; without them the batch holds zeros."""

    def groups(self) -> dict[str, Group]:
        """Return what each optimizer moves, by its name."""

    def generators(self) -> nn.ModuleDict:
        """Return by name the networks that are saved for inference, and averaged over the steps."""

    def describe(self) -> dict[str, Any]:
        """Return what the weights file says of these networks, enough to build them again."""

    def held(self) -> Mapping[str, Any]:
        """Return what else belongs into a checkpoint, by name."""

    def plan(self) -> str:
        """Return the phases of the run in a line."""

    def phase(self, epoch: int) -> IntEnum:
        """Return the phase of an epoch."""

    def enter_epoch(self, epoch: int) -> None:
        """Make everything ready for an epoch, first or resumed."""

    def crops(self, epoch: int, length: int) -> Dataset[Any]:
        """Return the crops of an epoch, of that many positions."""

    def updates(self, epoch: int) -> Sequence[Update]:
        """Return the optimizers' steps of a training step, in their order."""

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return day to night and night to day, made of what :meth:`generators` returned (or its average)."""

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> Tensor | None:
        """Return the pseudo-labels ``(B, H, W)`` of thermal images; None where there are none."""
