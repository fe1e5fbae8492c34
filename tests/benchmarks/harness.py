"""Measure functions against each other in one run: interleaved, warmed up, median and quartiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from studies.comparing.measuring import Timing, clock, in_turns, timings_of

Run = Callable[[], object]


@dataclass
class Row:
    """One line of a table: a task, the library's time and its peers'."""

    task: str
    timings: list[Timing]
    note: str = ""
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    repeats: int = 9
    tiny: bool = False
    full: bool = False
    """Whether networks have the paper's size, which takes hours."""
    phases: tuple[str, ...] = ()
    """Phases of the training step that are measured; all of them if empty."""
    device: str = "cpu"
    """Where tensors lie, those of peers that know devices included."""
    compiled: bool = True
    """Whether what ``torch.compile`` makes is measured too, where a part does so; it takes minutes the first time."""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is not the CPU."""
        return self.device != "cpu"


def compare(task: str, runs: dict[str, Run | None], settings: Settings, note: str = "", *, warm_up: bool = True) -> Row:
    """Time the functions in turns, the first one being the library's; one that is None is named as skipped.

    A repetition calls a function as often as it takes to last 2 ms at least, once where it has been warmed up before;
    every other one runs them in reverse.
    """
    there = {name: run for name, run in runs.items() if run is not None}
    now = partial(clock, settings.device)
    calls = dict.fromkeys(there, 1)
    for name, run in there.items() if warm_up else ():
        start = now()
        run()  # warm-up
        if not settings.tiny and now() - start < 0.1:
            start = now()
            run()
            calls[name] = max(1, int(2e-3 / max(now() - start, 1e-5)))

    def repeat(name: str) -> None:
        for _ in range(calls[name]):
            there[name]()

    rounds = 1 if settings.tiny else settings.repeats
    seconds = in_turns({name: partial(repeat, name) for name in there}, rounds, settings.device)
    timings = timings_of({name: [s / calls[name] for s in samples] for name, samples in seconds.items()})
    return Row(task, timings, note, [name for name, run in runs.items() if run is None])


def number(x: float) -> str:
    """Return three digits, without an exponent."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def table(title: str, rows: list[Row]) -> str:
    """Return a Markdown table: one line for each task and function."""
    lines = [f"### {title}", "", "| task | function | ms (quartiles) | times the first |", "|---|---|---:|---:|"]
    for row in rows:
        for i, t in enumerate(row.timings):
            task = f"{row.task}{': ' + row.note if row.note else ''}" if i == 0 else ""
            ratio = "1" if i == 0 else f"{t.ratio:.2f}"
            spread = f"{number(t.low)} to {number(t.high)}"
            lines.append(f"| {task} | {t.name} | {number(t.median)} ({spread}) | {ratio} |")
        lines += [f"| | {name} | not installed, skipped | |" for name in row.skipped]
    return "\n".join([*lines, ""])
