"""The processes of a run on this machine: launched as ``torchrun`` would, and ended together with a sentence."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

GONE = 69
"""Exit status of a process that ends because of another one and has nothing to say itself."""

_NAME = "train_morngan_"


def launch(command: Sequence[str], count: int, advice: Callable[[], str]) -> int:
    """Run ``command`` in ``count`` processes, as ``torchrun`` does; return the exit status of all.

    Once one has failed the others get a few seconds to end by themselves. Ctrl-C and SIGTERM reach each process once.

    Args:
        command: and its arguments.
        count: number of processes.
        advice: says how to go on when a process was killed.
    """
    # not part of every build of torch
    from ntir2dc.parallel.agent import run_agent

    try:
        failed = run_agent(command, count, f"{_NAME}{os.getpid()}")
    except KeyboardInterrupt:
        print(f"stopped at once. {advice()}", file=sys.stderr)
        return 130
    if not failed:
        return 0
    if failed.get(0) in (1, 2, 130):  # the first process has said why
        return failed[0]
    rank = next((rank for rank, status in failed.items() if status != GONE), 0)
    why = f"process {rank} of {count} {_ending(failed.get(rank, GONE))}"
    print(f"error: {why}; all have ended. {advice()}", file=sys.stderr)
    return 1


def _ending(status: int) -> str:
    if status < 0:
        why = ", perhaps by a system out of memory" if status == -signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-status).name}{why}"
    return f"ended with status {status}"


def is_launched() -> bool:
    """Whether :func:`launch` has started this process; torchrun may have, without it."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(_NAME)


def end_with_launcher() -> None:
    """End this process as soon as the one that launched it is gone."""
    if not is_launched():
        return
    launcher = int(os.environ["TORCHELASTIC_RUN_ID"].removeprefix(_NAME))

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(0.2)
        os._exit(GONE)

    threading.Thread(target=watch, daemon=True).start()
