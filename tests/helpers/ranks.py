"""Two processes of a test, for what torch.distributed does between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.multiprocessing as mp


def in_two_ranks(act: Callable[..., None], *arguments: Any) -> None:
    """Call ``act(rank, *arguments)`` in two processes; what one of them raises is raised here."""
    # forked from a server without threads, which imports once what both need; DistributedDataParallel loads dynamo
    mp.get_context("forkserver").set_forkserver_preload(["torch", "torch._dynamo"])
    mp.start_processes(act, arguments, 2, start_method="forkserver")  # type: ignore[no-untyped-call]
