"""The runs of the study of the methods: one a method and seed, each gone on with where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ntir2dc.config import TrainConfig, differences, to_dict, what_matters
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import load_config
from studies.ablations.runs import total_steps
from studies.ablations.worker import steps_done
from train_morngan import main as train_morngan
from train_morngan import parse

TITLES = {
    "cyclegan": "CycleGAN",
    "unit": "UNIT",
    "todaygan": "ToDayGAN",
    "drit": "DRIT++",
    "forkgan": "ForkGAN",
    "pearlgan": "PearlGAN",
    "dlamgan": "DlamGAN (reconstruction)",
    "morngan": "MornGAN",
}
"""How tables call the methods, in the order of the paper's."""


@dataclass(frozen=True)
class Run:
    """A method and a seed, the folder of the training, and its options: as the command line takes them, and read."""

    method: str
    seed: int
    folder: Path
    arguments: tuple[str, ...]
    config: TrainConfig

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return total_steps(self.config, 0)


def choose_methods(text: str) -> list[str]:
    """Return the methods between commas, in the order of the table; all of them of an empty text.

    Raises:
        DataError: an unknown one.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in TITLES:
            raise DataError(f"methods: expected some of {', '.join(TITLES)}, got {name!r}")
    return [name for name in TITLES if name in names or not names]


def make_runs(out: Path, steps_per_epoch: Mapping[str, int], seeds: int, common: Sequence[str]) -> list[Run]:
    """Return the runs: all methods of a seed before the next seed.

    Args:
        out: folder of the study.
        steps_per_epoch: of each method, by its name.
        seeds: how many.
        common: the other options of every run, as the command line takes them.
    """
    runs = []
    for seed in range(seeds):
        for method, steps in steps_per_epoch.items():
            folder = out / method / f"seed_{seed}"
            own = (f"--steps_per_epoch={steps}", f"--method={method}", f"--seed={seed}", f"--out={folder}")
            arguments = (*common, *own)
            runs.append(Run(method, seed, folder, arguments, parse(list(arguments))[0]))
    return runs


def is_done(run: Run) -> bool:
    """Return whether a run is finished.

    Raises:
        DataError: its folder holds a run of other options or data.
    """
    done = steps_done(run.folder)
    if not done:
        return False
    held = load_config(run.folder)
    old, new = ({"data": config.data, **what_matters(to_dict(config))} for config in (held, run.config))
    changed = differences(old, new)
    if changed:
        raise DataError(f"{run.folder}: {'; '.join(changed)}; choose another --out")
    return done == run.steps


def train(run: Run) -> int:
    """Train a run to its end, from where it stopped; return 0, or another status where the end was not reached."""
    resume = ["--resume"] if steps_done(run.folder) else []
    status = train_morngan([*run.arguments, *resume])
    return status or (0 if steps_done(run.folder) == run.steps else 130)
