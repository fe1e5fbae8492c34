"""Train tiny networks for thousands of steps through every phase, and watch memory, open files and speed.

python tests/drills/long_run.py --steps 5000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from helpers.small_folder import write_folder  # noqa: E402
from helpers.tiny_run import TINY  # noqa: E402
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase  # noqa: E402
from ntir2dc.trainer import Trainer  # noqa: E402
from train_morngan import main as train  # noqa: E402


@dataclass(frozen=True)
class Sample:
    """What is seen before a step: resident memory in bytes, open files, and the clock in seconds."""

    step: int
    phase: Phase
    memory: int
    files: int
    clock: float


def look(step: int, phase: Phase) -> Sample:
    """Return a sample of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        step, phase, pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), time.perf_counter()
    )


def long_run(work: Path, steps: int) -> list[Sample]:
    """Train for about that many steps, evenly over the phases; return a sample before each step."""
    samples: list[Sample] = []
    step_of = Trainer.training_step

    def watched(self: Trainer, batch: dict[str, torch.Tensor], epoch: int) -> dict[str, Any]:
        samples.append(look(self.step, Phase(self.method.phase(epoch))))
        return step_of(self, batch, epoch)

    each = max(1, steps // len(PAPER_PHASES))
    write_folder(work / "data")
    every = [f"--{name}_every={max(1, steps // 50)}" for name in ("checkpoint", "panel")]
    Trainer.training_step = watched  # type: ignore[method-assign]
    try:
        status = train(
            [
                "--preset=mini",
                *TINY,
                f"--steps_per_epoch={each}",
                *every,
                f"--data={work / 'data'}",
                f"--out={work / 'run'}",
            ]
        )
    finally:
        Trainer.training_step = step_of  # type: ignore[method-assign]
    assert status == 0
    return samples


def slope(samples: list[Sample]) -> tuple[float, float]:
    """Return the slope of memory over steps by least squares, bytes a step, and its standard error."""
    x, y = (np.array([getattr(s, name) for s in samples], dtype=float) for name in ("step", "memory"))
    x, y = x - x.mean(), y - y.mean()
    rise = float((x * y).sum() / (x * x).sum())
    left = y - rise * x
    return rise, float(np.sqrt((left * left).sum() / (len(x) - 2) / (x * x).sum()))


def report(samples: list[Sample]) -> list[str]:
    """Return a table: memory and files, and the speed in the first and in the last fifth of each phase."""
    lines = [
        "| phase | steps | MB at its end | bytes/step, second half | open files | ms/step, first fifth | last fifth |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for phase in PAPER_PHASES:
        of = [s for s in samples if s.phase is phase]
        fifth = max(2, len(of) // 5)
        speeds = [(part[-1].clock - part[0].clock) / (len(part) - 1) * 1e3 for part in (of[:fifth], of[-fifth:])]
        rise, error = slope(of[len(of) // 2 :])
        files = f"{of[0].files} to {of[-1].files}"
        lines.append(
            f"| {phase.name.lower()} | {len(of)} | {of[-1].memory / 1e6:.0f} | {rise:+.0f} ± {error:.0f} | {files} | "
            f"{speeds[0]:.0f} | {speeds[1]:.0f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=5000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        samples = long_run(Path(work), options.steps)
    print("\n".join(report(samples)))
    rise, error = slope(samples[len(samples) // 5 :])
    print(f"\nmemory after the first fifth: {rise:+.0f} ± {error:.0f} bytes/step")


if __name__ == "__main__":
    main()
