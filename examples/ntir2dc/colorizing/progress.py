"""How many frames are done, and how many a second: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class FrameProgress:
    """Counts frames on standard error, so that standard output holds results alone.

    Args:
        total: frames to come; None where nobody knows.
        every: seconds between lines where there is no terminal.
    """

    def __init__(self, total: int | None, *, every: float = 15.0) -> None:
        self.total, self.every, self.done = total, every, 0
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("frames"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> FrameProgress:
        self._started = self._told = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("frames", total=self.total, rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def rate(self) -> float:
        """Frames a second since the start."""
        return self.done / max(time.perf_counter() - self._started, 1e-9)

    def advance(self, frames: int = 1) -> None:
        """Count frames that are written."""
        self.done += frames
        rate = f"{self.rate:.1f} frames a second"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate=rate)
        elif time.perf_counter() - self._told >= self.every:
            self._told = time.perf_counter()
            of = "" if self.total is None else f" of {self.total}"
            print(f"colorize: {self.done}{of} frames, {rate}", file=sys.stderr)
