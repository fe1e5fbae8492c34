"""Which judges read the translations of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.data.images import DataError
from ntir2dc.judge.crops import judge_pairs
from ntir2dc.judge.hashes import hash_weights
from ntir2dc.judge.shipped import LOOKS, SHIPPED, WORLD, load_shipped
from ntir2dc.judge.training import STEPS, load_or_train_judge
from scenes.folder import PARAMETERS

Choice = Literal["auto", "shipped", "trained"]


@dataclass(frozen=True)
class Judges:
    """The network whose figures tables show, and one that has to agree.

    Args:
        first: the judge.
        second: another judge; None where the first was trained on the folder's own images.
        facts: what identifies both, for records.
    """

    first: nn.Module
    second: nn.Module | None
    facts: dict[str, str | int]


def are_known_scenes(folder: Path) -> bool:
    """Return whether a folder holds procedural scenes that look as those that the shipped judges were trained on."""
    try:
        held = json.loads((folder / PARAMETERS).read_text())
        return (held["looks"], held["world"]) == (LOOKS, WORLD)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def find_judges(
    folder: Path,
    cache: Path,
    space: LabelSpace,
    *,
    choice: Choice = "auto",
    steps: int = STEPS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> Judges | None:
    """Return the judges for a folder, or None where one would have to be trained and the folder has no ``judgeA``.

    Args:
        folder: the data.
        cache: where a judge that is trained is kept.
        space: the label space of the data.
        choice: ``shipped``: the two that are shipped; ``trained``: one trained on the folder's ``judgeA``; ``auto``:
            those that are shipped for procedural scenes with Cityscapes' classes, else one that is trained.
        steps: training steps of a judge that is trained.
        seed: of such a judge.
        device: where judges run.
        say: is told what is being done.

    Raises:
        DataError: files that cannot be used, or other classes than those of the judges that are shipped.
    """
    if choice not in get_args(Choice):
        raise DataError(f"judge: expected one of {', '.join(get_args(Choice))}, got {choice!r}")
    fits = space.names == CITYSCAPES.names
    if choice == "shipped" and not fits:
        raise DataError("judge: the judges that are shipped know the 19 classes of Cityscapes, and the data has others")
    if choice == "shipped" or (choice == "auto" and fits and are_known_scenes(folder)):
        first, second = (load_shipped(name, device) for name in ("a", "b"))
        facts: dict[str, str | int] = {"shipped": ", ".join(s.file for s in SHIPPED.values())}
        return Judges(first, second, facts | _hashes(first, second))
    pairs = judge_pairs(folder)
    if not pairs:
        return None
    judge, settings = load_or_train_judge(pairs, cache, space, steps=steps, seed=seed, device=device, say=say)
    return Judges(judge, None, settings | _hashes(judge))


def _hashes(judge: nn.Module, second: nn.Module | None = None) -> dict[str, str | int]:
    hashes: dict[str, str | int] = {"weights_sha256": hash_weights(judge)}
    return hashes if second is None else hashes | {"second_weights_sha256": hash_weights(second)}
