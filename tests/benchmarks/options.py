"""What the options of a training step are worth."""

from __future__ import annotations

import dataclasses
import time

import torch
from torch import nn

from ntir2dc.methods.morngan.schedule import Phase
from studies.comparing.measuring import peak_memory
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.training_step import epoch_of, make_batch, make_trainer, sizes

TITLE = "Options of the training step"


def rows(settings: Settings) -> list[Row]:
    """Measure what can be switched on, in the last phase; compiling takes minutes the first time."""
    size, networks = sizes(settings)
    settings = dataclasses.replace(settings, repeats=min(settings.repeats, 2 if settings.full else 5))
    phase, batch = Phase.COLLABORATE, make_batch(size, device=settings.device)
    plain, again, last, checkpointed, compiled = (
        make_trainer(
            phase,
            0.5,
            size,
            dataclasses.replace(networks, checkpointing=on == "checkpointing"),
            device=settings.device,
            compile=on == "compile" and not settings.tiny,
        )
        for on in ("", "", "", "checkpointing", "compile")
    )
    epoch = epoch_of(plain, phase)
    last.method.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    in_channels_last = {
        n: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for n, x in batch.items()
    }
    runs: dict[str, Run | None] = {
        "as it is": lambda: plain.training_step(batch, epoch),
        "as it is, another trainer": lambda: again.training_step(batch, epoch),  # what differs by chance
        "channels_last": lambda: last.training_step(in_channels_last, epoch),
        "--networks.checkpointing": lambda: checkpointed.training_step(batch, epoch),
    }
    two = (runs["as it is"], runs["--networks.checkpointing"])
    peaks = [peak_memory(run, settings.device, warm_up=False) for run in two if run]
    note = f"checkpointing takes {peaks[1] / peaks[0]:.2f} of the peak memory"
    if settings.compiled:
        runs["--compile"] = lambda: compiled.training_step(batch, epoch)
        start = time.perf_counter()
        compiled.training_step(batch, epoch)
        note += f", compiling {time.perf_counter() - start:.0f} s by the clock"
    width = networks.generator_width
    steps = compare(f"collaborate, {size} x {size}, width {width}", runs, settings, note)
    return [steps, adam(list(plain.method.networks.parameters()), f"Adam over all networks, width {width}", settings)]


def adam(parameters: list[nn.Parameter], task: str, settings: Settings) -> Row:
    """Measure Adam's own step, which is a small part of a training step, fused and not."""
    for p in parameters:
        p.grad = torch.randn_like(p)
    makers = {"fused": {"fused": True}, "one operation at a time": {"foreach": False}, "foreach": {"foreach": True}}
    return compare(
        task,
        {
            name: torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999), **given).step
            for name, given in makers.items()
        },
        settings,
    )
