"""What is evaluated, and on what: a run's generator, folders of finished pictures, or both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig, from_stored
from ntir2dc.data.images import DataError
from ntir2dc.data.thermal import ThermalOptions
from ntir2dc.evaluation.cases import (
    INPUT,
    TINTED,
    TRAINED,
    TRUTH,
    UNTRAINED,
    Translate,
    pictures_of,
    run_network,
    tint,
    true_day,
)
from ntir2dc.methods import METHODS
from ntir2dc.run.weights import load_translator, thermal_of


def load_config(run: Path) -> TrainConfig:
    """Return the options of a run.

    Raises:
        DataError: no ``config.json``, or one that cannot be used.
    """
    path = run / "config.json"
    try:
        return from_stored(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected the folder of a run") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be used ({error})") from error


def data_of(run: Path, config: TrainConfig) -> Path:
    """Return the folder that a run was trained on.

    Raises:
        DataError: it is not there: moved, or named from another folder than this command is called from.
    """
    if config.data is None:
        return run / "scenes"
    folder = Path(config.data)
    if not folder.is_dir():
        where = "" if folder.is_absolute() else f", and {config.data} is a path from where training was started"
        raise DataError(f"{folder.absolute()}: no such folder. The run was trained on it{where}; name it with --data")
    return folder


@dataclass(frozen=True)
class Trained:
    """A run: its folder and its options."""

    run: Path
    config: TrainConfig

    @property
    def data(self) -> Path:
        """What it was trained on, there or not."""
        return Path(self.config.data) if self.config.data is not None else self.run / "scenes"


@dataclass(frozen=True)
class Subject:
    """What is evaluated, and on what.

    Args:
        trained: a run, whose generator translates; None is none.
        results: folders of finished pictures by the names of their rows.
        folder: holds ``valB`` and, where known, ``valB_day``, ``valB_labels``, ``judgeA``, ``judgeA_labels``.
        target: where to write.
        thermal: how night images are read.
    """

    trained: Trained | None
    results: Mapping[str, Path]
    folder: Path
    target: Path
    thermal: ThermalOptions

    @property
    def judged(self) -> str:
        """The row that the picture shows read by the judge."""
        return TRAINED if self.trained else next(iter(self.results))

    @property
    def notes(self) -> list[str]:
        """What to know of a run that is evaluated on data other than its own."""
        if self.trained is None or self.trained.data.absolute() == self.folder.absolute():
            return []
        return [f"The run was trained on {self.trained.data} and is evaluated on other data, {self.folder}."]

    def ways(
        self, space: LabelSpace, nights: Sequence[Path], *, has_day: bool, device: torch.device | str
    ) -> dict[str, Translate]:
        """Return the rows of the table: the trivial ones, the run's, those of the folders, and the truth.

        Raises:
            DataError: a folder that lacks a picture.
            WeightsError: weights that cannot be used.
        """
        ways: dict[str, Translate] = {INPUT: lambda case: case.night, TINTED: lambda case: tint(case.night)}
        if self.trained:
            config = self.trained.config
            untrained = METHODS[config.method].untrained_translator(config, len(space)).eval()
            ways[UNTRAINED] = run_network(untrained.to(device), device)
            ways[TRAINED] = run_network(load_translator(self.trained.run).to(device), device)
        ways |= {name: pictures_of(place, nights) for name, place in self.results.items()}
        return ways | ({TRUTH: true_day} if has_day else {})


def choose_subject(
    run: Path | None,
    results: Mapping[str, Path],
    *,
    data: Path | None = None,
    out: Path | None = None,
    thermal: Mapping[str, Any] | None = None,
) -> Subject:
    """Return what is evaluated; what is not named is the run's.

    Args:
        run: the folder of a run, or None.
        results: folders of finished pictures by the names of their rows.
        data: the folder of the test images; None is the data that the run was trained on.
        out: where to write; None is the run's folder.
        thermal: how night images are read, by the names of :class:`ntir2dc.data.thermal.ThermalOptions`; what is None
            or not named is as the run has learned them.

    Raises:
        DataError: nothing to evaluate, nowhere to write, names that other rows have, or a range that is none.
    """
    taken = [name for name in results if name in (INPUT, TINTED, UNTRAINED, TRAINED, TRUTH)]
    if taken:
        raise DataError(f"results: {taken[0]} is the name of another row; choose another one")
    if run is not None:
        trained = Trained(run, load_config(run))
        folder = data or data_of(run, trained.config)
        return Subject(trained, results, folder, out or run, _changed(thermal_of(run), thermal))
    if not results:
        raise DataError("nothing to evaluate: expected --run, the folder of a run, or --results NAME=FOLDER")
    if data is None or out is None:
        raise DataError("without --run, expected --data, the folder of the test images, and --out, where to write")
    return Subject(None, results, data, out, _changed(ThermalOptions(), thermal))


def _changed(options: ThermalOptions, thermal: Mapping[str, Any] | None) -> ThermalOptions:
    try:
        return replace(options, **{key: value for key, value in (thermal or {}).items() if value is not None})
    except ValueError as error:
        raise DataError(f"options: {error}") from None
