"""A step's batch in equal parts: one after another on a device (gradient accumulation), or on several at once.

A run is the same however its parts are spread: over processes, over micro-steps, or both. What has to hold for it:

- A part's random numbers (dropout, starts of k-means) depend on seed, step and part, not on the device; the noise on a
  latent (UNIT) on seed, step and image.
- All processes hold the same pools and put all translations in, in the order of the batch.
- Every part of a step starts from the same buffers. Spectral norm moves on once a step then, and running means of
  batch norm become those of all parts.

A batch in one part draws from torch's global random state instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntir2dc.networks.discriminators import ImagePool
from ntir2dc.parallel.world import World
from ntir2dc.seeds import Stream, seeded


@dataclass(frozen=True)
class SharedPool:
    """A pool that all parts and processes fill in one order, with the same draws.

    Args:
        pool: which all processes hold alike.
        world: the processes.
        draws: of the step.
    """

    pool: ImagePool
    world: World
    draws: torch.Generator | None

    def query(self, images: Tensor) -> Tensor:
        """Return what the pool gives for this part's translations."""
        if self.pool.capacity == 0:
            return self.pool.query(images)
        everyone = self.pool.query(self.world.gather(images.detach()), self.draws)
        return everyone[self.world.rank * len(images) :][: len(images)]


class Microbatches:
    """How the batches of a run are cut.

    Args:
        world: the processes.
        accumulate: parts of a process.
        batch_size: of the whole batch; a multiple of the number of parts.
        seed: of the run.
        pools: of earlier fakes, by name.
    """

    def __init__(
        self, world: World, accumulate: int, batch_size: int, seed: int, pools: Mapping[str, ImagePool] | None = None
    ) -> None:
        self.world, self.accumulate, self.batch_size, self.seed = world, accumulate, batch_size, seed
        self.count = world.size * accumulate
        self.size = batch_size // self.count
        self.pools = pools or {}
        self._pool_draws: dict[str, torch.Generator] = {}

    def first(self, number: int) -> int:
        """Return the place in the whole batch of the first image of this process's part of that number."""
        return (number * self.world.size + self.world.rank) * self.size

    def positions(self, first: int, last: int) -> list[int]:
        """Return the positions of an epoch that this process reads in the steps from ``first`` to before ``last``."""
        return [
            step * self.batch_size + self.first(i) + j
            for step in range(first, last)
            for i in range(self.accumulate)
            for j in range(self.size)
        ]

    def of(
        self, batch: Mapping[str, Tensor], networks: nn.Module, step: int, update: int = 0
    ) -> Iterator[dict[str, Tensor]]:
        """Return the parts of what this process has read of a batch; each starts with draws and buffers of its own.

        Args:
            batch: tensors by name.
            networks: whose buffers are meant.
            step: of the run.
            update: of the step, for methods with several.
        """
        if self.count == 1:
            yield dict(batch)
            return
        later = (update,) if update else ()
        self._pool_draws = {
            name: seeded(self.seed, Stream.POOL, step, place, *later) for place, name in enumerate(self.pools)
        }
        buffers = list(networks.buffers())
        before = [b.clone() for b in buffers] if self.accumulate > 1 else []
        learned = _running(networks)
        sums = [torch.zeros_like(b) for b in learned]
        chunks = {name: value.chunk(self.accumulate) for name, value in batch.items()}
        for i in range(self.accumulate):
            for buffer, start in zip(buffers, before, strict=bool(before)):
                buffer.copy_(start)
            part = i * self.world.size + self.world.rank
            torch.manual_seed(seeded(self.seed, Stream.PART, step, part, *later).initial_seed())
            yield {name: chunk[i] for name, chunk in chunks.items()}
            for total, buffer in zip(sums, learned, strict=True):
                total += buffer
        for total, buffer in zip(sums, learned, strict=True):
            buffer.copy_(total / self.accumulate)
        self.world.mean(learned)

    def shared(self) -> dict[str, ImagePool | SharedPool]:
        """Return the pools as a part of the batch asks them."""
        if self.count == 1:
            return dict(self.pools)
        return {name: SharedPool(pool, self.world, self._pool_draws.get(name)) for name, pool in self.pools.items()}

    def merged(
        self, seen: Sequence[Mapping[str, float]], names: Sequence[str], weights: Mapping[str, str]
    ) -> dict[str, float]:
        """Return what the log shows of a batch from what each part of this process shows.

        Losses and shares become means over the batch, counts become sums.

        Args:
            seen: values by name.
            names: all values that there can be.
            weights: for a mean over some images alone the name of the value that counts them.
        """
        if self.count == 1:
            return {name: value for name, value in seen[0].items() if name not in weights.values()}
        sums = torch.zeros(2, len(names), dtype=torch.float64)
        for values in seen:
            for column, name in enumerate(names):
                if name in values:
                    weight = values[weights[name]] if name in weights else 1
                    sums[:, column] += torch.tensor([values[name] * weight, weight], dtype=torch.float64)
        totals, counted = self.world.sum(sums.to(self.world.device)).tolist()
        return {
            name: int(total) if isinstance(seen[0].get(name), int) else total / weight
            for name, total, weight in zip(names, totals, counted, strict=True)
            if weight > 0
        }


def _running(model: nn.Module) -> list[Tensor]:
    """Return the running means and variances of the batch norms that learn."""
    learning = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    statistics = [(m.running_mean, m.running_var) for m in learning]
    return [b for pair in statistics for b in pair if b is not None]
