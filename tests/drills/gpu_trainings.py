"""Trainings of the whole method side by side on one GPU, as long as a given time lasts: what options are worth there.

python tests/drills/gpu_trainings.py --out gpu/trainings --seconds 360

Renders scenes on all cores, trains every row of ``ROWS`` for a few steps to learn its pace, then for as many steps as
fit. ``OUT`` gets, for each row, the weights for inference and the segmenters in float16, the log, the options and the
panels: a few MB, which ``examples/studies/pseudo_labels.py`` and ``examples/colorize.py`` read elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from ntir2dc.config import PhaseOptions  # noqa: E402
from scenes import write_scenes  # noqa: E402

COMMON: Mapping[str, object] = {
    "preset": "demo",
    "batch_size": 4,
    "lr": 4e-4,
    "lr_schedule": "linear",
    "lr_decay_start": 0.6,
    "segmenter_lr": 2e-3,
    "segmenter_lr_schedule": "cosine",
    "segmenter_crops": 2,
    "warm_up_crops": 4,
    "ema_decay": 0.998,
    "keep_checkpoints": 1,
    "checkpoint_every": 10**6,
    "networks.generator_width": 32,
    "networks.discriminator_width": 32,
    "networks.segmenter_variant": "unet",
    "networks.segmenter_init": "he",
    "networks.segmenter_coordinates": "frame",
    "dataset.crop": 128,
    "dataset.workers": 4,
    "phases.baseline": 0.25,
    "phases.structure": 0.27,
    "phases.segment_a": 0.27,
    "phases.segment_b": 0.27,
    "phases.distill": 0.27,
    "phases.collaborate": 0.6,
    "losses.mine_frozen_alone": True,
    "losses.theta_fg": 0.5,
    "losses.theta": "",
    "losses.theta_frozen": "",
    "losses.boundary_weight": 0,
}
ROWS: Mapping[str, Mapping[str, object]] = {
    "night": {"modules.looks": True, "modules.early_fa": True},
    "aca_off": {"modules.looks": True, "modules.early_fa": True, "losses.lambda_aca": 0},
    "baseline": {f"modules.{name}": False for name in ("sc", "sdp", "mgca", "cgr", "sr", "looks", "early_fa")},
}
"""The whole method with labels that ACA can work with, the same without ACA, and nothing but the backbone."""
TINY: Mapping[str, object] = {
    "batch_size": 2,
    "networks.generator_width": 4,
    "networks.discriminator_width": 4,
    "networks.segmenter_width": 4,
    "dataset.crop": 48,
    "dataset.workers": 0,
}
EPOCHS, PROBED = 40, 14
"""Epochs of a training, and of the one that measures the pace: enough for every phase."""


@dataclass
class Drill:
    """Where the trainings run and for how long."""

    out: Path
    device: str
    seconds: float
    tiny: bool
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.started)

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        print(f"[{time.monotonic() - self.started:5.0f} s] {text}", flush=True)

    # ---- scenes --------------------------------------------------------------------------------------------------

    def scenes(self) -> Path:
        """Render scenes in as many processes as there are cores, each some of them, and join their folders."""
        parts, n = (1, 4) if self.tiny else (max(1, (os.cpu_count() or 2) - 2), 900)
        size = (48, 64) if self.tiny else (144, 192)
        jobs = [(self.out / f"part_{i}", 100 + i, -(-n // parts), size) for i in range(parts)]
        with ProcessPoolExecutor(parts) as pool:
            list(pool.map(_render, jobs))
        whole = self.out / "scenes"
        for i, (part, *_) in enumerate(jobs):
            for picture in part.glob("*/*.png"):
                folder = whole / picture.parent.name
                folder.mkdir(parents=True, exist_ok=True)
                picture.rename(folder / f"{i:02d}_{picture.name}")
            shutil.rmtree(part)
        return whole

    # ---- trainings -----------------------------------------------------------------------------------------------

    def start(self, name: str, row: str, scenes: Path, changes: Mapping[str, object]) -> subprocess.Popen[bytes]:
        """Start a training in a process of its own."""
        out = self.out / name
        options = {**COMMON, **(TINY if self.tiny else {}), **ROWS[row], **changes}
        options |= {"device": self.device, "data": scenes, "out": out}
        out.mkdir(parents=True)
        cache = self.out / "cache"
        if cache.exists():
            shutil.copytree(cache, out / "cache")
        arguments = [f"--{key}={str(x).lower() if isinstance(x, bool) else x}" for key, x in options.items()]
        with (self.out / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "examples/train_morngan.py", *arguments],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])},
            )  # fmt: skip

    def wait(self, running: Mapping[str, subprocess.Popen[bytes]], seconds: float) -> None:
        """Wait for trainings; after the time is up, let them save what they have."""
        end = time.monotonic() + seconds
        for process in running.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
        for name, process in running.items():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            last = (self.out / f"{name}.log").read_text().strip().splitlines()[-1:]
            self.say(f"{name}: status {process.returncode}; {' '.join(last)[:200]}")

    def pace(self, rows: Sequence[str], scenes: Path) -> float:
        """Return the seconds of a mean step of the slowest row, all of them running."""
        changes = {"epochs": PROBED, "steps_per_epoch": 1 if self.tiny else 5, "panel_every": 10**6}
        running = {f"pace_{row}": self.start(f"pace_{row}", row, scenes, changes) for row in rows}
        self.wait(running, 0.25 * self.left() if not self.tiny else 300)
        means = []
        for name in running:
            file = self.out / name / "log.csv"
            text = file.read_text().splitlines() if file.exists() else []
            seconds = [float(line["seconds"]) for line in csv.DictReader(text)]
            # the first steps of each phase compile kernels
            means.append(sum(sorted(seconds)[: max(1, int(0.8 * len(seconds)))]) / max(1, int(0.8 * len(seconds))))
        return max(means)

    # ---- results -------------------------------------------------------------------------------------------------

    def keep(self, row: str) -> None:
        """Keep what is worth carrying away of a training, and nothing else."""
        run, kept = self.out / f"run_{row}", self.out / row
        kept.mkdir()
        checkpoints = sorted((run / "checkpoints").glob("*.pt"))
        if not checkpoints:
            self.say(f"{row}: no checkpoint")
            return
        networks = torch.load(checkpoints[-1], map_location="cpu", weights_only=True)["model"]
        chosen = {name: x for name, x in networks.items() if name.startswith("segmenter")}
        for name, tensors in (("weights", load_file(run / "weights.safetensors")), ("segmenters", chosen)):
            halves = {key: (x.half() if x.is_floating_point() else x).contiguous() for key, x in tensors.items()}
            save_file(halves, kept / f"{name}.safetensors")
        for name in ("log.csv", "config.json"):
            shutil.copy(run / name, kept / name)
        for panel in sorted((run / "panels").glob("*.png")):
            Image.open(panel).convert("RGB").save(kept / f"{panel.stem}.jpg", quality=88)


def _render(job: tuple[Path, int, int, tuple[int, int]]) -> None:
    folder, seed, n, size = job
    write_scenes(folder, seed=seed, n_train_a=n, n_train_b=n, n_val=max(1, n // 16), n_judge=0, size=size)


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run; 1 where a row has no result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--seconds", type=float, default=360)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", nargs="*", choices=tuple(ROWS), default=tuple(ROWS))
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: does the command work?")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True)
    drill = Drill(args.out.resolve(), args.device, args.seconds, args.tiny)
    scenes = drill.scenes()
    drill.say("scenes rendered")
    # edges and labels once, for all rows
    off = {f"phases.{phase.name}": 1 for phase in dataclasses.fields(PhaseOptions)}
    first = {"epochs": 1, "steps_per_epoch": 1, "panel_every": 10**6, "dataset.workers": 0, **off}
    drill.wait({"cached": drill.start("cached", "night", scenes, first)}, 120)
    shutil.move(drill.out / "cached" / "cache", drill.out / "cache")
    seconds = drill.pace(args.rows, scenes)
    # what saving and carrying away takes stays free
    steps = EPOCHS if args.tiny else max(EPOCHS, int(0.85 * (drill.left() - 25) / seconds))
    per_epoch = max(1, steps // EPOCHS)
    drill.say(f"{seconds:.3f} s a step, {per_epoch * EPOCHS} steps")
    epochs = PROBED if args.tiny else EPOCHS
    changes = {"epochs": epochs, "steps_per_epoch": per_epoch, "panel_every": max(1, 10 * per_epoch)}
    running = {f"run_{row}": drill.start(f"run_{row}", row, scenes, changes) for row in args.rows}
    drill.wait(running, 600 if args.tiny else drill.left() - 25)
    for row in args.rows:
        drill.keep(row)
    for folder in drill.out.iterdir():
        if folder.is_dir() and folder.name not in args.rows:
            shutil.rmtree(folder)
    return int(not all((drill.out / row / "weights.safetensors").exists() for row in args.rows))


if __name__ == "__main__":
    sys.exit(main())
