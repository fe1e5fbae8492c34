"""What stops a run from outside: a signal, a bad image or a dead process, in words that say how to go on."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ntir2dc.data.images import DataError
from ntir2dc.run.checkpoint import list_checkpoints


class RunError(RuntimeError):
    """A run that had to stop; the message says why, and how to go on."""


def how_to_go_on(out: Path) -> str:
    """Return what to type into a shell to continue the run in ``out``."""
    if list_checkpoints(out / "checkpoints"):
        return f"Go on with\n  python examples/train_morngan.py --out {shlex.quote(str(out))} --resume"
    return "There is no checkpoint yet: start the run again."


def how_to_begin_from(out: Path) -> str:
    """Return what to type into a shell to train on from the run in ``out`` with other options or data."""
    command = f"python examples/train_morngan.py --init_from {shlex.quote(str(out))} --out ANOTHER"
    return f"To train on with other options or data, begin another run with its networks:\n  {command}"


@contextmanager
def explained(out: Path, save: Callable[[], None]) -> Iterator[None]:
    """Save what can be saved and raise :class:`RunError` when an image cannot be read or a loader process dies."""
    try:
        yield
    except DataError as error:
        # files are read between two steps only, so that the state is whole
        save()
        raise RunError(f"{_last_line(error)}\nEverything until then is saved. {how_to_go_on(out)}") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        # noticed at any moment, perhaps in the middle of a step, so that this state is not saved
        raise RunError(
            f"a data-loader process died: {_last_line(error)}\n"
            f"It may have run out of memory; --dataset.workers 0 needs the least. {how_to_go_on(out)}"
        ) from error


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a request that the loop honours between two steps.

    Only the main thread is told of signals. In another one nothing is ever requested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    requested = False
    before: dict[signal.Signals, Any] = {}

    def request(signum: int, frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(signum, before[signal.Signals(signum)])  # a second one ends the process at once

    for signum in (signal.SIGINT, signal.SIGTERM):
        before[signum] = signal.signal(signum, request)
    try:
        yield lambda: requested
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _last_line(error: Exception) -> str:
    """Return what the error says; one from a loader process comes with its traceback and its class in front."""
    line = str(error).strip().splitlines()[-1]
    return line.removeprefix(f"{DataError.__module__}.{DataError.__name__}: ")
