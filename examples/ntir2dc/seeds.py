"""Every random stream of a run: each draw depends on the seed and on what it is for, never on what was drawn before."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a draw is for: the second number of its key, after the seed of the run.

    Two things draw from the global random state instead: dropout and starts of k-means, of a batch in one part. The
    state is part of a checkpoint.
    """

    ORDER = 0
    """In which order an epoch takes the images of both domains."""
    SAMPLE = 1
    """Crop, mirroring and partner of a position of an epoch."""
    MEMORY = 2
    """Which crop of a thermal image the memory describes."""
    SCALE = 3
    """psi of Eq. 22."""
    EXTRA = 4
    """Further color crops that teach the segmenters."""
    SEGMENTED = 5
    """Size at which the segmenters see a step (published)."""
    LOOK = 6
    """The thermal look in which S_B sees color images."""
    NOISE = 7
    """Unit noise on the latent of an image."""
    PATCH = 8
    """The patch of an image that structured gradient alignment sees (PearlGAN)."""
    LOADER = 100
    """Seeds of loader processes, which draw nothing of their own."""
    PART = 101
    """Dropout and starts of k-means in one part of a batch in several."""
    POOL = 102
    """Which earlier fakes the discriminators see, for a batch in several parts."""


def seeded(*key: int) -> torch.Generator:
    """Return a generator whose stream depends on all the integers of ``key``."""
    state = np.random.SeedSequence(key).generate_state(1, dtype=np.uint64)
    return torch.Generator().manual_seed(int(state[0]) & (2**63 - 1))


def psi(seed: int, epoch: int) -> float:
    """Return the random variable of Eq. 22 for an epoch (or a step), uniform in [0, 1)."""
    return float(torch.rand((), generator=seeded(seed, Stream.SCALE, epoch)))
