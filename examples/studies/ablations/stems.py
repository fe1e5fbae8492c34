"""Shared beginnings: runs of a seed that part ways only in a later phase are trained once up to it.

The trainer goes on from any checkpoint as if it had never stopped, so that a run which starts from the state of
another ends with the weights that it would have had on its own; `tests/examples/test_ablation.py` holds it to that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntir2dc.config import TrainConfig, from_stored, to_dict, what_matters
from ntir2dc.files import write_atomically
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase, Schedule
from ntir2dc.run.checkpoint import load_newest, save_checkpoint
from studies.ablations.design import flatten

# what an option not named here changes may show from the first step on, or in the log's columns, as that of
# losses.aca_merge_vehicles does
_ACTS_FROM = {
    "modules.sr": Phase.DISTILL,
    "modules.early_fa": Phase.DISTILL,
    "modules.mgca": Phase.COLLABORATE,
    "modules.cgr": Phase.COLLABORATE,
    "losses.aca_clusters": Phase.COLLABORATE,
    "losses.aca_metric": Phase.COLLABORATE,
    "losses.aca_init": Phase.COLLABORATE,
    "losses.aca_average": Phase.COLLABORATE,
    "losses.aca_features": Phase.COLLABORATE,
    "losses.aca_phi_local": Phase.COLLABORATE,
    "losses.aca_phi_global": Phase.COLLABORATE,
    "losses.lambda_aca": Phase.COLLABORATE,
    "losses.lambda_cgr": Phase.COLLABORATE,
    "losses.memory_k": Phase.COLLABORATE,
    # with modules.early_fa labels are mined before the freeze as well
    "losses.mine_frozen_alone": Phase.DISTILL,
    "losses.theta_frozen": Phase.COLLABORATE,
}


def first_steps(config: TrainConfig, steps_per_epoch: int) -> dict[Phase, int]:
    """Return the first step of each of the paper's phases."""
    starts = Schedule.from_options(config.phases, config.epochs).starts
    return {phase: start * steps_per_epoch for phase, start in zip(PAPER_PHASES, starts, strict=True)}


def shared_steps(one: TrainConfig, other: TrainConfig, steps_per_epoch: int) -> int:
    """Return how many steps two configurations train alike."""
    a, b = (flatten(what_matters(to_dict(config))) for config in (one, other))
    starts = first_steps(one, steps_per_epoch)
    changed = [key for key in a if a[key] != b[key]]
    return min(
        (starts[_ACTS_FROM[key]] if key in _ACTS_FROM else 0 for key in changed),
        default=one.epochs * steps_per_epoch,
    )


def stem_steps(config: TrainConfig, steps_per_epoch: int) -> list[int]:
    """Return the steps after which a run keeps a stem for others."""
    starts, total = first_steps(config, steps_per_epoch), config.epochs * steps_per_epoch
    return sorted({starts[phase] for phase in _ACTS_FROM.values() if 0 < starts[phase] < total})


def save_stem(folder: Path, step: int) -> None:
    """Keep the state of a run that has just done ``step`` steps, unless it is kept or the run has gone on."""
    checkpoint, target = folder / "checkpoints" / f"step_{step:08d}.pt", folder / "stems" / f"{step:08d}"
    if target.exists() or not checkpoint.is_file():
        return
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for source in (checkpoint, folder / "log.csv"):
        shutil.copy2(source, part / source.name)
    part.rename(target)


def find_stem(
    config: TrainConfig, hashes: Mapping[str, Any], donors: Sequence[Path], steps_per_epoch: int
) -> tuple[Path, int] | None:
    """Return the longest stem that a run may start from, and its steps.

    Args:
        config: of the run.
        hashes: of scenes, judge and, where it counts, code, which must be the donor's as well.
        donors: folders of runs.
        steps_per_epoch: of all of them.
    """
    longest: tuple[Path, int] | None = None
    for donor in donors:
        if not (donor / "started.json").is_file():
            continue
        held = json.loads((donor / "started.json").read_text())
        if any(held["identity"][key] != value for key, value in hashes.items()):
            continue
        shared = shared_steps(config, from_stored(held["options"]), steps_per_epoch)
        for stem in (donor / "stems").glob("[0-9]*[0-9]"):
            if int(stem.name) <= shared and (longest is None or int(stem.name) > longest[1]):
                longest = stem, int(stem.name)
    return longest


def start_from(stem: Path, folder: Path, config: TrainConfig) -> None:
    """Give a run the state of a stem; the next step is the run's own."""
    state = load_newest(stem)
    state["config"] = to_dict(config)
    write_atomically(folder / "log.csv", (stem / "log.csv").read_bytes())
    # last: it is what makes the run one that has begun
    save_checkpoint(folder / "checkpoints", state, config.keep_checkpoints)
