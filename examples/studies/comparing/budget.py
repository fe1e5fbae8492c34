"""By equal time: how many steps of each method fit a number of minutes, measured once and kept with the study."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ntir2dc.data.images import DataError
from ntir2dc.files import write_atomically
from studies.comparing.runs import Run
from studies.comparing.steps import time_steps, whole_run

FILE = "minutes.json"


def steps_that_fit(out: Path, minutes: float, runs: Sequence[Run], say: Callable[[str], None]) -> dict[str, int]:
    """Return the steps an epoch with which each method takes so many minutes for the steps of its whole run.

    A call that goes on takes what an earlier one has measured: another measurement would be another study.

    Args:
        out: folder of the study, where ``minutes.json`` holds the seconds a step.
        minutes: of every run.
        runs: one of each method.
        say: is told what is being done.

    Raises:
        DataError: the study was begun with other minutes or epochs.
    """
    file, epochs = out / FILE, runs[0].config.epochs
    asked = {"minutes": minutes, "epochs": epochs}
    seconds: dict[str, float] = {}
    if file.is_file():
        held = json.loads(file.read_text())
        seconds = held.pop("seconds")
        if held != asked:
            raise DataError(f"{file}: the study was begun with {held}, not {asked}; choose another --out")
    missing = [run for run in runs if run.method not in seconds]
    if missing:
        timings, _ = time_steps(missing, whole_run, say)
        seconds |= {name: timing.median / 1e3 for name, timing in timings.items()}
        write_atomically(file, (json.dumps({**asked, "seconds": seconds}, indent=1) + "\n").encode())
    return {run.method: max(1, int(60 * minutes / seconds[run.method] / epochs)) for run in runs}
