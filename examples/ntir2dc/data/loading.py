"""The loader of a run's crops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ntir2dc.seeds import Stream, seeded


def load(
    crops: Dataset[Any], batch_size: int, positions: Iterable[int], *key: int, workers: int = 0
) -> DataLoader[dict[str, Any]]:
    """Return what reads the crops at some positions, in their order.

    Args:
        crops: all of them.
        batch_size: how many are joined.
        positions: this process's share.
        key: the run's seed, and what tells this loader from the run's others.
        workers: processes that read.
    """
    return DataLoader(
        crops,
        batch_size=batch_size,
        sampler=positions,
        num_workers=workers,
        # a generator of its own: the loader would draw from the global one, which resuming must not disturb
        generator=seeded(key[0], Stream.LOADER, *key[1:]),
    )
