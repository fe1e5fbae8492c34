"""Start the processes of a run on this machine, and end all of them when one is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

GONE = 69
"""Exit status of a process that ends because of another one and has nothing to say itself."""

_SUPERVISED = "MORNGAN_SUPERVISED"


def supervise(command: Sequence[str], count: int, advice: Callable[[], str]) -> int:
    """Run ``command`` in ``count`` processes, each with its ``LOCAL_RANK``; return the exit status of all.

    Once one has failed the others get a few seconds to end by themselves. Ctrl-C and SIGTERM reach each process once.

    Args:
        command: and its arguments.
        count: number of processes.
        advice: says how to go on when a process was killed.
    """
    environment = {
        **os.environ,
        _SUPERVISED: "1",
        "PYTHONUNBUFFERED": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(count),
    }
    processes: list[subprocess.Popen[bytes]] = []
    before: dict[signal.Signals, Any] = {}

    def forward(signum: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(signum)

    try:
        for rank in range(count):
            # out of the terminal's reach, whose Ctrl-C would come a second time; the pipe tells when this process ends
            process = subprocess.Popen(
                command,
                env={**environment, "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
            processes.append(process)
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, forward)
        killed = _wait(processes)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for process in processes:
            process.kill()
            process.communicate()

    statuses = [process.returncode for process in processes]
    if not any(statuses):
        return 0
    if statuses[0] in (1, 130):  # the first process has said why
        return int(statuses[0])
    rank = next((r for r, s in enumerate(statuses) if s not in (0, GONE) and r not in killed), 0)
    print(f"error: process {rank} of {count} {_ending(statuses[rank])}; all have ended. {advice()}", file=sys.stderr)
    return 1


def _wait(processes: Sequence[subprocess.Popen[bytes]], patience: float = 5.0, saving: float = 60.0) -> set[int]:
    """Wait until all have ended; kill those that a failed one has left behind and return their ranks."""
    deadline: float | None = None
    while None in (statuses := [process.poll() for process in processes]):
        failed = [status for status in statuses if status]
        if failed and deadline is None:
            # a bad image ends the others at once, while the first process saves
            deadline = time.monotonic() + (saving if failed == [GONE] * len(failed) else patience)
        if deadline is not None and time.monotonic() > deadline:
            left = {rank for rank, status in enumerate(statuses) if status is None}
            for rank in left:
                processes[rank].kill()
                processes[rank].wait()
            return left
        time.sleep(0.1)
    return set()


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}, perhaps by a system out of memory"
    return f"ended with status {status}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_supervised() -> bool:
    """Whether :func:`supervise` has started this process."""
    return _SUPERVISED in os.environ


def end_with_supervisor() -> None:
    """End this process as soon as the one that supervises it is gone."""

    def watch() -> None:
        while os.read(0, 1):  # at the end of the pipe, that is of the process that holds its other end
            pass
        os._exit(GONE)

    if is_supervised():
        threading.Thread(target=watch, daemon=True).start()
