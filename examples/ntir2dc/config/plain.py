"""Options as plain dicts, as JSON and checkpoints hold them, and in what two of them differ."""

from __future__ import annotations

import dataclasses
from typing import Any

from ntir2dc.config.options import (
    CycleGANOptions,
    DataOptions,
    DRITOptions,
    ForkGANOptions,
    LossOptions,
    ModuleOptions,
    NetworkOptions,
    PearlGANOptions,
    PhaseOptions,
    ToDayGANOptions,
    UNITOptions,
)
from ntir2dc.config.train import TrainConfig
from ntir2dc.data.thermal import ThermalOptions


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested plain dicts, as JSON and checkpoints hold it."""
    plain = dataclasses.asdict(config)
    plain["networks"]["discriminator_layers"] = list(plain["networks"]["discriminator_layers"])
    return plain


def from_dict(plain: dict[str, Any]) -> TrainConfig:
    """Return the configuration that :func:`to_dict` or :func:`of_the_run` gave.

    Raises:
        ValueError: a name that is no option, or a value that the configuration refuses.
    """
    unknown = _unknown(plain, to_dict(TrainConfig()))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no option of this trainer")
    values = dict(plain)
    networks = dict(values["networks"])
    networks["discriminator_layers"] = tuple(networks["discriminator_layers"])
    values["networks"] = NetworkOptions(**networks)
    values["dataset"] = DataOptions(**values["dataset"])
    values["phases"] = PhaseOptions(**values["phases"])
    values["modules"] = ModuleOptions(**values["modules"])
    values["losses"] = LossOptions(**values["losses"])
    values["cyclegan"] = CycleGANOptions(**values["cyclegan"])
    values["forkgan"] = ForkGANOptions(**values["forkgan"])
    values["pearlgan"] = PearlGANOptions(**values["pearlgan"])
    values["todaygan"] = ToDayGANOptions(**values["todaygan"])
    values["unit"] = UNITOptions(**values["unit"])
    values["drit"] = DRITOptions(**values["drit"])
    # runs of before have none
    values["thermal"] = ThermalOptions(**values.get("thermal", {}))
    return TrainConfig(**values)


def from_stored(plain: Any) -> TrainConfig:
    """Return the configuration of a run, perhaps of an older one: options that it lacks have their default.

    Raises:
        ValueError: as :func:`from_dict`, or this is no dict of options.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"expected options by their names, got a {type(plain).__name__}")
    return from_dict(with_defaults(plain))


def of_the_run(config: TrainConfig) -> dict[str, Any]:
    """Return what ``config.json`` and checkpoints hold of a run's options: all but those of a single call."""
    plain = to_dict(config)
    del plain["max_steps"]
    return plain


def with_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """Return stored options with the defaults of those that did not exist when they were stored."""

    def over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        merged = {**defaults, **values}
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(defaults.get(key), dict):
                merged[key] = over(value, defaults[key])
        return merged

    return over(plain, to_dict(TrainConfig()))


def _unknown(plain: dict[str, Any], known: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names that are no options; a group that is none is told at once."""
    names: list[str] = []
    for name, value in plain.items():
        if name not in known:
            names.append(f"{prefix}{name}")
        elif isinstance(known[name], dict):
            if not isinstance(value, dict):
                raise ValueError(f"{prefix}{name}: expected options by their names, got {value!r}")
            names += _unknown(value, known[name], f"{prefix}{name}.")
    return names


def what_matters(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the options that may change between two parts of a run."""
    free = {"out", "max_steps", "checkpoint_every", "panel_every", "keep_checkpoints", "device", "data"}
    free |= {"devices", "num_nodes", "strategy", "precision", "accumulate", "compile"}
    kept = {key: value for key, value in config.items() if key not in free}
    # which one it is, its hash tells
    kept["segmenter_a"] = bool(config["segmenter_a"])
    kept["dataset"] = {key: value for key, value in kept["dataset"].items() if key != "workers"}
    kept["networks"] = {key: value for key, value in kept["networks"].items() if key != "checkpointing"}
    return kept


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Return one line for each option in which two configurations differ."""
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} in the run, {b!r} asked for")
    return lines
