"""What a call costs: time, memory, and the multiplications of its products and convolutions."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

Call = Callable[[], object]


def clock(device: torch.device | str = "cpu") -> float:
    """Return the seconds of a clock to take differences of.

    CPU time of the process where one thread runs, as other programs then count little; else wall-clock time. On a
    device wall-clock time, once it has done all that it was given.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
    return time.process_time() if kind == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(samples) < 2:
        return samples[0], samples[0], samples[0]
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, middle, high


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one function: median and quartiles over the repetitions."""

    name: str
    median: float
    low: float
    high: float
    ratio: float
    """Median over the repetitions of its time by that of the first function in the same repetition."""


def in_turns(calls: Mapping[str, Call], rounds: int, device: torch.device | str = "cpu") -> dict[str, list[float]]:
    """Return the seconds of every call in each round; every other round runs them in reverse."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls)[:: 1 if i % 2 == 0 else -1]:
            start = clock(device)
            calls[name]()
            seconds[name].append(clock(device) - start)
    return seconds


def timings_of(seconds: Mapping[str, Sequence[float]]) -> list[Timing]:
    """Return the timing of each function, by its seconds in each round; ratios are to the first one."""
    first = next(iter(seconds.values()))
    timings = []
    for name, samples in seconds.items():
        low, middle, high = quartiles([1e3 * s for s in samples])
        ratio = statistics.median(a / max(b, 1e-9) for a, b in zip(samples, first, strict=True))
        timings.append(Timing(name, middle, low, high, ratio))
    return timings


def peak_memory(call: Call, device: torch.device | str = "cpu", *, warm_up: bool = True) -> int:
    """Return the bytes that a call holds at most beyond what it was given: tensors, saved ones, gradients.

    On the CPU summed up over the allocations and releases that the profiler has noted, in the order of time.
    """
    if warm_up:
        call()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler announces itself below that
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    # as they were noted: profiler.events() would build a tree of all operations first, ten times as long as a step
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    assert results is not None
    notes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    held = peak = 0
    for _, size in sorted(notes, key=lambda note: note[0]):
        held += size
        peak = max(peak, held)
    return peak


def multiply_adds(network: nn.Module, x: Tensor) -> int:
    """Return the multiplications, each with its addition, of the products and convolutions for an input."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(x)
    return int(counter.get_total_flops()) // 2
