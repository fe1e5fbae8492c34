"""What precision, compilation and batch size are worth on a GPU, against what a product of matrices reaches there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ntir2dc.methods.morngan.objective import Step
from ntir2dc.methods.morngan.schedule import Phase, active
from ntir2dc.trainer import Trainer, add_up
from studies.comparing.measuring import clock
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.published_step import generator_terms
from tests.benchmarks.training_step import epoch_of, make_batch, make_trainer, method_of, sizes

TITLE = "Precision and batch size"
OPTIONS: dict[str, dict[str, Any]] = {
    "float32": {},
    "TF32": {},
    "bf16": {"precision": "bf16-mixed"},
    "bf16, compiled": {"precision": "bf16-mixed", "compile": True},
}


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid products and convolutions of float32 to round their factors to TF32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def at(name: str, run: Run) -> Run:
    """Return the function at a precision of ``OPTIONS``."""

    def run_so() -> object:
        with tf32(name == "TF32"):
            return run()

    return run_so


def flops(run: Run) -> int:
    """Floating-point operations of the products and convolutions of a call, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def reached_by_products(name: str, settings: Settings) -> float:
    """Floating-point operations a second of a large product of matrices at a precision of ``OPTIONS``."""
    n, times = (64, 1) if settings.tiny else (8192, 20)
    dtype = torch.bfloat16 if name.startswith("bf16") else torch.float32
    x = torch.randn(n, n, device=settings.device, dtype=dtype)
    with tf32(name == "TF32"):
        _ = x @ x
        start = clock(settings.device)
        for _ in range(times):
            _ = x @ x
        return 2 * n**3 * times / max(clock(settings.device) - start, 1e-9)


def losses_alone(trainer: Trainer, batch: dict[str, Tensor], phase: Phase, scale: float) -> Run:
    """Return the losses of a step, forward and backward, on what the networks have made: leaves, no network runs."""
    method = method_of(trainer)
    step, on, networks = Step.of(trainer.moved(batch)), active(phase, trainer.config.modules), method.networks
    with trainer.autocast():
        generator_terms(method, step, on, scale)
    other_sizes = [networks.translate_ab(step.real_a), networks.translate_ba(step.real_b)]
    leaves: list[Tensor] = []

    def leaf(x: Any) -> Any:
        if isinstance(x, list):
            return [leaf(y) for y in x]
        if not (isinstance(x, Tensor) and x.requires_grad):
            return x
        leaves.append(x.detach().clone().requires_grad_())
        return leaves[-1]

    for field in dataclasses.fields(step):
        setattr(step, field.name, leaf(getattr(step, field.name)))
    scaled = [leaf(x) for x in other_sizes]
    objective = method.objective

    def run() -> None:
        for x in leaves:
            x.grad = None
        with trainer.autocast():
            terms = add_up(
                [
                    objective.to_night(step, on),
                    objective.to_day(step, on),
                    method.forward.other_scale(lambda _: scaled[0], step.real_a, step.fake_b, 1.0),
                    method.forward.other_scale(lambda _: scaled[1], step.real_b, step.fake_a, 1.0),
                    objective.discriminators(step, step.scores_fake_a, step.scores_fake_b),
                ]
            )
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]

    return run


def rows(settings: Settings) -> list[Row]:
    """Measure a step of the last phase, and its losses alone, for batches of 1, 4 and 16 at every precision."""
    size, networks = sizes(settings)
    phase, scale = Phase.COLLABORATE, 0.5
    options = OPTIONS if settings.on_gpu else {"float32": {}}  # the others are for GPUs
    options = {name: given for name, given in options.items() if settings.compiled or "compile" not in given}
    peaks = {name: reached_by_products(name, settings) for name in options}
    measured = []
    for batch_size in (1,) if settings.tiny else (1, 4, 16):
        torch.compiler.reset()  # code compiled for one size would else be compiled for any
        batch = make_batch(size, batch_size, settings.device)
        runs: dict[str, Run | None] = {}
        for name, given in options.items():
            trainer = make_trainer(phase, scale, size, networks, device=settings.device, batch_size=batch_size, **given)
            runs[name] = at(name, partial(trainer.training_step, batch, epoch_of(trainer, phase)))
        # with the last precision's images and logits
        runs[f"its losses alone, {name}"] = at(name, losses_alone(trainer, batch, phase, scale))
        plain = runs["float32"]
        assert plain is not None
        work = flops(plain)
        row = compare(f"batch {batch_size}, {size} x {size}, width {networks.generator_width}", runs, settings)
        row.note = f"{work / 1e9:.0f} GFLOP a step; " + ", ".join(
            f"{t.name} {1e3 * batch_size / t.median:.3g} images/s, "
            f"{work / t.median / 1e-3 / peaks[t.name]:.0%} of a product's FLOP/s"
            for t in row.timings
            if t.name in peaks
        )
        measured.append(row)
    return measured
