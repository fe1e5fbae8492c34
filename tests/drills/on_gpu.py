"""Everything that waits for a GPU, in one command of at most so many seconds: tests, benchmarks, trainings.

python tests/drills/on_gpu.py --out gpu --seconds 570 --only tests losses inference step precisions kmeans trainings

What a part prints is in ``OUT/PART.log``. What was measured is in ``OUT/benchmarks.json`` after every part, so that
running out of time loses the part at work alone; the last part has all the time that is left. Needs what ``.[train]``
and pytest-xdist install. ``--device cpu --tiny`` shows that the command itself works.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# the quick ones and those that were never measured first
BENCHMARKS = ("losses", "inference", "step", "precisions", "edges", "lookups", "kmeans", "data", "options", "scaling")
PARTS = ("tests", *BENCHMARKS, "trainings")
LIMITS = {"tests": 90, "step": 60, "trainings": 360}
"""Seconds that a part may take, 45 where it is not said, so that one that hangs leaves time to the others."""


def command(part: str, out: Path, device: str, seconds: float, tiny: bool) -> list[str]:
    """Return the command of a part that has so many seconds."""
    python = [sys.executable]
    if part == "tests":  # warnings of the releases of that machine are not what is tested there
        # one script among the tests leaves the program where an extra is missing
        where = ["tests/test_edges.py"] if tiny else ["tests", "--ignore", "tests/drills"]
        how = ["-m", "gpu", "-q", "-W", "default", "-p", "no:cacheprovider", "-n", "0" if tiny else "4"]
        return [*python, "-m", "pytest", *how, *where]
    if part == "trainings":
        where = ["--out", str(out / "trainings"), "--device", device, "--seconds", str(int(seconds) - 10)]
        return [*python, "tests/drills/gpu_trainings.py", *where, *(["--tiny"] if tiny else [])]
    how = ["--tiny"] if tiny else ["--full", "--eager", "--repeats", "5"]
    where = ["--out", str(out / "benchmarks.json"), "--device", device]
    return [*python, "-m", "tests.benchmarks", *where, "--only", part, *how]


def run(parts: Sequence[str], out: Path, device: str, seconds: float, tiny: bool = False) -> dict[str, str]:
    """Run the parts one after another; return what became of each, and write what each printed beside the results."""
    out.mkdir(parents=True, exist_ok=True)
    outcomes, end = {}, time.monotonic() + seconds
    for part in parts:
        start = time.monotonic()
        left = max(end - start, 0.1)
        limit = left if part == parts[-1] else min(left, LIMITS.get(part, 45))
        with (out / f"{part}.log").open("w") as log:
            try:
                status = subprocess.run(
                    command(part, out.resolve(), device, limit, tiny),
                    cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, timeout=limit, check=False,
                ).returncode  # fmt: skip
                outcomes[part] = "done" if status == 0 else f"failed with status {status}"
            except subprocess.TimeoutExpired:
                outcomes[part] = "no time left"
        print(f"{part}: {outcomes[part]} in {time.monotonic() - start:.0f} s", flush=True)
    return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: does the command work?")
    args = parser.parse_args(argv)
    outcomes = run(args.only, args.out, args.device, args.seconds, args.tiny)
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
