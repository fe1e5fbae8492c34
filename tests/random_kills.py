"""Kill a training run again and again at random moments, resume it, and compare with a run that was never stopped.

python tests/random_kills.py --kills 20
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests")]

from small_folder import write_folder  # noqa: E402
from tiny_run import TINY, finish, outcome, start  # noqa: E402

# a checkpoint after every step, so that many a kill hits one being written
OPTIONS = ["--preset=mini", *TINY, "--steps_per_epoch=8", "--checkpoint_every=1", "--panel_every=12"]


def random_kills(folder: Path, work: Path, kills: int, seed: int, say: Callable[[str], None]) -> Counter[str]:
    """Kill runs on the images of ``folder`` that many times in all; count what was seen.

    Raises:
        AssertionError: a run did not resume, or ended in another state than the one that was never stopped.
    """
    draw, seen = random.Random(seed), Counter[str]()
    began = time.monotonic()
    finish(start(*OPTIONS, f"--data={folder}", f"--out={work / 'whole'}"))
    duration = time.monotonic() - began
    expected = outcome(work / "whole")
    out, number = work / "run_0", 0
    while True:
        checkpoints = out / "checkpoints"
        written = len(list(checkpoints.glob("step_*.pt")))
        process = start(*OPTIONS, f"--data={folder}", f"--out={out}", *(["--resume"] if written else []))
        # anywhere from its first moment to its end
        moment = time.monotonic() + draw.uniform(0.2, 1.0) * duration
        while seen["kills"] < kills and process.poll() is None and time.monotonic() < moment:
            time.sleep(0.002)
        if process.poll() is None and seen["kills"] < kills:
            process.kill()
            process.communicate()
            seen["kills"] += 1
            left = len(list(checkpoints.glob(".step_*.tmp")))
            seen["kills while a checkpoint was written"] += left > 0
            seen["kills before the first checkpoint"] += not list(checkpoints.glob("step_*.pt"))
            log = out / "log.csv"
            say(
                f"kill {seen['kills']}: {len(log.read_text().splitlines()) - 1 if log.is_file() else 0} rows in the log"
            )
            continue
        finish(process)
        assert outcome(out) == expected, f"{out}: differs from the run that was never stopped"
        seen["runs that ended as if never stopped"] += 1
        if seen["kills"] == kills:
            return seen
        number += 1
        out = work / f"run_{number}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = write_folder(Path(work) / "data")
        seen = random_kills(folder, Path(work), options.kills, options.seed, print)
    for what, count in seen.items():
        print(f"{what}: {count}")


if __name__ == "__main__":
    main()
