"""Two processes of a test, for what torch.distributed does between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch._dynamo  # noqa: F401  DistributedDataParallel loads it: here once, and not in each process
import torch.multiprocessing as mp


def in_two_ranks(act: Callable[..., None], *arguments: Any) -> None:
    """Call ``act(rank, *arguments)`` in two processes; what one of them raises is raised here."""
    # forked: nothing is imported a second time
    mp.start_processes(act, arguments, 2, start_method="fork")  # type: ignore[no-untyped-call]
