"""Several processes, one device each, as one run: what they exchange and where they have to agree.

Fabric finds out which process this is, picks its device and connects it to the others. Networks are not wrapped in
``DistributedDataParallel``: each is called several times a step, its gradients are switched on and off in between, and
two or three optimizers step after several backward passes, none of which its reducer expects. Every term of the loss
is a mean over the images of a batch, and all processes take equally many, so that the mean of their gradients is the
gradient of the whole batch: it is taken here, in one exchange for each optimizer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ntir2dc.config import TrainConfig

T = TypeVar("T")

_CPU = torch.device("cpu")


class LostError(RuntimeError):
    """Another process of the run is gone."""


@dataclass(frozen=True)
class World:
    """This process among all of the run; with one process every method is free and changes nothing.

    Every method is called by all processes, in the same order.

    Args:
        rank: of this process, from 0; the first one alone writes and speaks.
        size: number of processes.
        device: of this process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Replace ``values`` by their sum over all processes."""
        if self.size > 1:
            with _connected():
                dist.all_reduce(values)
        return values

    def mean(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of one dtype by their means over all processes, in one exchange."""
        held = list(tensors)
        if self.size == 1 or not held:
            return
        flat = self.sum(torch.cat([x.flatten() for x in held])).div_(self.size)
        for x, mean in zip(held, torch.split(flat, [x.numel() for x in held]), strict=True):
            x.copy_(mean.view_as(x))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, those of the first one first; each holds equally many."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with _connected():
            dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(int(flag), device=self.device)))

    def together(self, action: Callable[[], T]) -> T:
        """Return what ``action`` gives here; an error of any process is raised in all."""
        if self.size == 1:
            return action()
        error: Exception | None = None
        try:
            result = action()
        except LostError:
            raise
        except Exception as caught:
            error = caught
        if self.any(error is not None):
            errors: list[Exception | None] = [None] * self.size
            with _connected():
                dist.all_gather_object(errors, error)
            lowest = next(rank for rank, e in enumerate(errors) if e is not None)
            raise (error if lowest == self.rank else errors[lowest]) or AssertionError
        return result

    def first_alone(self, action: Callable[[], object]) -> None:
        """Let the first process do something; its error is raised in all."""
        self.together(action if self.is_first else lambda: None)

    def first_then_others(self, action: Callable[[], T]) -> T:
        """Return what ``action`` gives; where it leaves files, the first process does so before the others look."""
        if self.is_first:
            result = self.together(action)
            self.together(lambda: None)
            return result
        self.together(lambda: None)
        return self.together(action)

    def each(self, batches: Iterable[T]) -> Iterator[T]:
        """Return the batches, equally many in all processes; one that cannot be read ends all."""
        if self.size == 1:
            yield from batches
            return
        rest = iter(batches)
        while (batch := self.together(lambda: next(rest, None))) is not None:
            yield batch

    def wait(self) -> None:
        """Go on when all processes are here."""
        self.any(False)


def device_of(name: str) -> torch.device:
    """Return the device of a run in one process; ``"auto"`` is a GPU where there is one.

    Raises:
        ValueError: one that does not exist, or that cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    # builds without CUDA raise an AssertionError
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name}: cannot be used ({str(error).splitlines()[0]})") from None


def be_deterministic() -> None:
    """Choose the kernels that give the same result every time; an operation that has none only warns."""
    # read when CUDA starts its first product
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def started_by_launcher() -> bool:
    """Whether a launcher has started this process as one of several: torchrun, or this trainer."""
    return "LOCAL_RANK" in os.environ


def speaks() -> bool:
    """Whether this process speaks for all, as long as it is not connected to them."""
    return int(os.environ.get("RANK", "0")) == 0


def check_launched(config: TrainConfig) -> None:
    """Raise ``ValueError`` unless as many processes were started as the options say."""
    if not started_by_launcher():
        if config.num_nodes > 1:
            raise ValueError(f"num_nodes: {config.num_nodes} machines need a launcher on each, such as torchrun")
        return
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size != config.devices * config.num_nodes:
        raise ValueError(
            f"devices: expected devices * num_nodes = {size}, the number of processes that were started, "
            f"got {config.devices} * {config.num_nodes}"
        )


def connect(config: TrainConfig) -> World:
    """Join the processes that a launcher has started; without one, a world of this process."""
    if config.devices * config.num_nodes == 1:
        return World(device=device_of(config.device))
    # slow to import
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=device_of(config.device).type,
        devices=config.devices,
        num_nodes=config.num_nodes,
        # the others wait while the first one prepares the data
        strategy=DDPStrategy(timeout=timedelta(hours=6)),
        plugins=[TorchElasticEnvironment()],
    )
    fabric.launch()
    return World(fabric.global_rank, fabric.world_size, fabric.device)


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo says nothing more exact
        raise LostError(f"another process of the run is gone ({str(error).splitlines()[0]})") from error
