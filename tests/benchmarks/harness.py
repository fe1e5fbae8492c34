"""Measure functions against each other in one run: interleaved, warmed up, median and quartiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

Run = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one function: median and quartiles over the repetitions."""

    name: str
    median: float
    low: float
    high: float
    ratio: float
    """Median over the repetitions of its time by that of the first function in the same repetition."""


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


def clock(device: str = "cpu") -> float:
    """CPU time of the process where one thread runs, as other programs then count little; else wall-clock time.

    On a device wall-clock time, once it has done all that it was given.
    """
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() if device != "cpu" or torch.get_num_threads() > 1 else time.process_time()


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
    seconds: dict[str, list[float]] = {name: [] for name in there}
    for i in range(1 if settings.tiny else settings.repeats):
        for name in list(there)[:: 1 if i % 2 == 0 else -1]:
            start = now()
            for _ in range(calls[name]):
                there[name]()
            seconds[name].append((now() - start) / calls[name])
    first = seconds[next(iter(there))]
    timings = []
    for name, samples in seconds.items():
        low, middle, high = quartiles([1e3 * s for s in samples])
        ratio = statistics.median(a / max(b, 1e-9) for a, b in zip(samples, first, strict=True))
        timings.append(Timing(name, middle, low, high, ratio))
    return Row(task, timings, note, [name for name, run in runs.items() if run is None])


def quartiles(samples: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(samples) < 2:
        return samples[0], samples[0], samples[0]
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, middle, high


def peak_memory(run: Run, device: str = "cpu", *, warm_up: bool = True) -> int:
    """Bytes that a call holds at most beyond what it was given: tensors, saved ones and gradients included.

    On the CPU summed up over the allocations and releases that the profiler has noted, in the order of time.
    """
    if warm_up:
        run()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    # as they were noted: profiler.events() would build a tree of all operations first, ten times as long as a step
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    assert results is not None
    notes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    held = peak = 0
    for _, size in sorted(notes, key=lambda note: note[0]):
        held += size
        peak = max(peak, held)
    return peak


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
