"""The scenes that train the judges and those that mark them: of seeds that no table, test or example uses."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ntir2dc.judge import Pair, judge_pairs
from scenes import write_scenes

Size = tuple[int, int]


class Batch(NamedTuple):
    """Scenes of one size, in several folders of equal length so that an interruption loses little."""

    size: Size
    folders: int
    per_folder: int


TRAINING = (Batch((96, 128), 8, 300), Batch((144, 192), 4, 200), Batch((192, 256), 4, 150))
MARKS = (Batch((96, 128), 1, 150), Batch((144, 192), 1, 150), Batch((192, 256), 1, 150))
MARKS_SEED = 9000
TRAINING_SEEDS = {"a": 9100, "b": 9200}
"""The first of each judge's seeds; a folder of training scenes takes the next one."""


def training_pairs(folder: Path, judge: str, batches: tuple[Batch, ...] = TRAINING) -> list[Pair]:
    """Return the day images and label maps that train a judge, rendered where they are not there yet."""
    pairs: list[Pair] = []
    seed = TRAINING_SEEDS[judge]
    for batch in batches:
        for _ in range(batch.folders):
            pairs += _rendered(folder / f"train_{judge}", seed, batch.size, batch.per_folder)
            seed += 1
    return pairs


def marks_pairs(folder: Path, batches: tuple[Batch, ...] = MARKS) -> dict[Size, list[Pair]]:
    """Return, by size, the day images and label maps that mark the judges: the same streets at each size."""
    return {b.size: _rendered(folder / "marks", MARKS_SEED, b.size, b.per_folder) for b in batches}


def _rendered(folder: Path, seed: int, size: Size, number: int) -> list[Pair]:
    place = folder / f"{size[0]}x{size[1]}_seed_{seed}"
    write_scenes(place, seed=seed, n_train_a=0, n_train_b=0, n_val=0, n_judge=number, size=size)
    return judge_pairs(place)
