"""Progress for a person: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import IntEnum
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Shows phase, step, rate and remaining time.

    Args:
        total: steps of the run.
        done: steps already done.
        say: prints a line.
        every: seconds between lines where there is no terminal.
        show: False shows nothing.
    """

    def __init__(
        self, total: int, done: int, say: Callable[[str], None], every: float = 15.0, *, show: bool = True
    ) -> None:
        self.total, self.first, self.done, self.say, self.every = total, done, done, say, every
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        if show and sys.stdout.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )

    def __enter__(self) -> Progress:
        self._started = self._told = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("training", total=self.total, completed=self.done, rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, phase: IntEnum, total: float) -> None:
        """Count one step."""
        self.done += 1
        now = time.perf_counter()
        seconds = (now - self._started) / (self.done - self.first)
        text = f"phase {int(phase)} {phase.name.lower()}"
        if self._bar is not None and self._task is not None:
            rate = f"{seconds:.2f} s/step, loss {total:.2f}"
            self._bar.update(self._task, completed=self.done, description=text, rate=rate)
        elif now - self._told >= self.every or self.done == self.total:
            self._told = now
            left = seconds * (self.total - self.done)
            self.say(
                f"step {self.done}/{self.total}, {text}, loss {total:.3f}, {seconds:.2f} s/step, "
                f"{int(left // 60)}:{int(left % 60):02d} left"
            )
