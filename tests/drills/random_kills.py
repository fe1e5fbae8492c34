"""Kill a training run again and again at random moments, resume it, and compare with a run that was never stopped.

python tests/drills/random_kills.py --kills 20
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests")]

import torch.utils.tensorboard  # noqa: E402, F401  loaded once, not in every run

from helpers.small_folder import write_folder  # noqa: E402
from helpers.tiny_run import TINY, outcome  # noqa: E402
from train_morngan import main as train  # noqa: E402

# a checkpoint after every step, so that many a kill hits one being written
OPTIONS = ["--preset=mini", *TINY, "--steps_per_epoch=4", "--checkpoint_every=1", "--panel_every=12"]
STEPS = 24


def start(folder: Path, out: Path) -> int:
    """Start a run in a process of its own, or go on with it; return the process id."""
    arguments = [*OPTIONS, f"--data={folder}", f"--out={out}", *(["--resume"] if newest(out) else [])]
    child = os.fork()
    if child == 0:
        with open(f"{out}.txt", "a") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            os._exit(train(arguments))
    return child


def newest(out: Path) -> int:
    """Return the step of the newest checkpoint, 0 without one."""
    return max((int(path.stem[5:]) for path in (out / "checkpoints").glob("step_*.pt")), default=0)


def ended(child: int) -> bool:
    """Whether the process is done, which must be without an error."""
    done, status = os.waitpid(child, os.WNOHANG)
    assert status == 0, f"a run ended with status {os.waitstatus_to_exitcode(status)}"
    return done == child


def random_kills(folder: Path, work: Path, kills: int, seed: int) -> Counter[str]:
    """Kill runs on the images of ``folder`` that many times in all; count what was seen.

    Raises:
        AssertionError: a run did not resume, or ended in another state than the one that was never stopped.
    """
    draw, seen = random.Random(seed), Counter[str]()
    began = time.monotonic()
    assert os.waitpid(start(folder, work / "whole"), 0)[1] == 0, (work / "whole.txt").read_text()
    duration = time.monotonic() - began
    expected = outcome(work / "whole")
    out = work / "run_0"
    while True:
        # a few steps on (0: while it starts), however fast the machine is now, and then anywhere within a step
        target = newest(out) + draw.choice((0, 1, 1, 2, 2, 3, 5, 8))
        child = start(folder, out)
        done, moment = False, math.inf
        while not done and (seen["kills"] == kills or time.monotonic() < moment):
            if moment == math.inf and newest(out) >= target:
                moment = time.monotonic() + draw.uniform(0, duration / STEPS)
            time.sleep(0.004)
            done = ended(child)
        if not done:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            seen["kills"] += 1
            seen["kills while a checkpoint was written"] += any((out / "checkpoints").glob(".step_*.tmp"))
            seen["kills before the first checkpoint"] += newest(out) == 0
            print(f"kill {seen['kills']}: {newest(out)} of {STEPS} steps are saved", flush=True)
            continue
        assert outcome(out) == expected, f"{out}: differs from the run that was never stopped"
        seen["runs that ended as if never stopped"] += 1
        if seen["kills"] == kills:
            return seen
        out = work / f"run_{seen['runs that ended as if never stopped']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        seen = random_kills(write_folder(Path(work) / "data"), Path(work), options.kills, options.seed)
    for what, count in seen.items():
        print(f"{what}: {count}")


if __name__ == "__main__":
    main()
