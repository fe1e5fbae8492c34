"""What the methods cost, in a table: the network from night to day, and a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from morn_losses import CITYSCAPES
from ntir2dc.evaluation import list_cases, read_case
from ntir2dc.evaluation.formats import to_csv, to_markdown
from ntir2dc.files import attempt, write_text
from ntir2dc.methods import METHODS
from studies.comparing.measuring import Timing, in_turns, multiply_adds, timings_of
from studies.comparing.runs import TITLES, Run, is_done
from studies.comparing.steps import EPOCHS, ROUNDS, last_phase, time_steps

FRAMES = 9
NAMES = ("costs.csv", "costs.md")


@dataclass(frozen=True)
class Cost:
    """What a method costs.

    Args:
        parameters: of the network from night to day.
        macs: its multiply-adds for a frame.
        frame: its milliseconds for one.
        memory: bytes that a training step holds at most beside networks and the state of optimizers.
        step: milliseconds of one.
    """

    parameters: int
    macs: int
    frame: Timing
    memory: int
    step: Timing


@dataclass(frozen=True)
class Costs:
    """The costs of all methods, and how they were measured.

    Args:
        by_title: of each method, by the title of its row; ratios are to the first one.
        notes: what to know of them, in sentences.
    """

    by_title: Mapping[str, Cost]
    notes: tuple[str, ...]

    def cells(self) -> list[list[str]]:
        """Return head and rows as text."""
        first = next(iter(self.by_title))
        head = ["", "parameters", "GMAC a frame", "ms a frame", "MiB a step", "s a step", f"times {first}"]
        return [head, *([title, *_texts(cost)] for title, cost in self.by_title.items())]

    def values(self) -> list[list[str]]:
        """Return head and rows, unrounded."""
        timed = [f"{key}{part}" for key in ("frame_ms", "step_ms") for part in ("", "_low", "_high", "_ratio")]
        rows = [["row", "parameters", "macs", "step_bytes", *timed]]
        for title, cost in self.by_title.items():
            times = [x for t in (cost.frame, cost.step) for x in (t.median, t.low, t.high, t.ratio)]
            rows.append([title, *map(str, (cost.parameters, cost.macs, cost.memory)), *map(repr, times)])
        return rows

    def page(self) -> str:
        """Return the table and the notes as Markdown."""
        return f"{to_markdown(self.cells())}\n\n" + "".join(f"- {note}\n" for note in self.notes)

    def save(self, out: Path, problems: list[str]) -> None:
        """Write ``costs.csv`` and ``costs.md``; what cannot be written is added to ``problems``."""
        for name, text in zip(NAMES, (to_csv(self.values()), self.page()), strict=True):
            attempt(partial(write_text, out / name, text), out / name, problems)


def _texts(cost: Cost) -> list[str]:
    frame, step = cost.frame, cost.step
    return [
        f"{cost.parameters:,}",
        f"{cost.macs / 1e9:.3g}",
        f"{frame.median:.3g} ({frame.low:.3g} to {frame.high:.3g})",
        f"{cost.memory / 2**20:,.0f}",
        f"{step.median / 1e3:.3g} ({step.low / 1e3:.3g} to {step.high / 1e3:.3g})",
        f"{step.ratio:.2f}",
    ]


def time_frames(networks: Mapping[str, nn.Module], frame: Tensor) -> dict[str, Timing]:
    """Return how long each network takes for a frame ``(1, 3, H, W)``."""

    def translate(network: nn.Module) -> None:
        with torch.inference_mode():
            network(frame)

    calls = {name: partial(translate, network) for name, network in networks.items()}
    for call in calls.values():
        call()  # warm-up
    return {timing.name: timing for timing in timings_of(in_turns(calls, FRAMES, frame.device))}


def measure_costs(runs: Sequence[Run], data: Path, say: Callable[[str], None]) -> Costs:
    """Measure what the methods cost, on finished runs or on untrained networks.

    Args:
        runs: of all methods; those of the first seed count.
        data: holds ``valB``, whose frames give the size.
        say: is told what is being done.
    """
    firsts = [run for run in runs if run.seed == runs[0].seed]
    device = firsts[0].config.device
    frame = read_case(list_cases(data, 1)[0]).night[None].to(device)
    networks = {
        run.method: METHODS[run.method].untrained_translator(run.config, len(CITYSCAPES)).eval().to(device)
        for run in firsts
    }
    frames = time_frames(networks, frame)
    steps, memory = time_steps(firsts, last_phase, say)
    by_title = {
        TITLES[name]: Cost(
            sum(p.numel() for p in network.parameters()),
            multiply_adds(network, frame),
            frames[name],
            memory[name],
            steps[name],
        )
        for name, network in networks.items()
    }
    return Costs(by_title, tuple(_notes(firsts, frame)))


def _notes(runs: Sequence[Run], frame: Tensor) -> Iterator[str]:
    H, W = frame.shape[-2:]
    config, threads = runs[0].config, torch.get_num_threads()
    place = f"{threads} thread{'s' if threads > 1 else ''} of the CPU" if config.device == "cpu" else config.device
    yield (
        "Parameters and GMAC are those of the network from night to day. GMAC: billions of multiply-adds of products "
        f"and convolutions for a frame of {W} x {H}, counted by torch.utils.flop_counter."
    )
    kind = "CPU time" if config.device == "cpu" and threads == 1 else "wall-clock time"
    yield (
        f"Times are medians (quartiles) of {FRAMES} frames and {ROUNDS} rounds of steps, {kind} on {place}, "
        "all methods in turn. A round takes one step in each of at most "
        f"{EPOCHS} epochs of the last phase and counts their mean; reading images is no part of it."
    )
    yield ("MiB: what such steps hold at most in tensors and gradients, beside the networks and the optimizers' state.")
    untrained = [TITLES[run.method] for run in runs if not is_done(run)]
    if untrained:
        yield (
            f"Untrained: {', '.join(untrained)}; the steps are those of untrained networks, whose segmenters label "
            "night by thresholds that they reach."
        )
