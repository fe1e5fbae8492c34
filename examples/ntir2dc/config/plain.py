"""Options as plain dicts, as JSON and checkpoints hold them, and in what two of them differ."""

from __future__ import annotations

import dataclasses
from typing import Any

from ntir2dc.config.options import (
    CycleGANOptions,
    DataOptions,
    LossOptions,
    ModuleOptions,
    NetworkOptions,
    PhaseOptions,
)
from ntir2dc.config.train import TrainConfig
from ntir2dc.data.thermal import ThermalOptions


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested plain dicts, as JSON and checkpoints hold it."""
    plain = dataclasses.asdict(config)
    plain["networks"]["discriminator_layers"] = list(plain["networks"]["discriminator_layers"])
    return plain


def from_dict(plain: dict[str, Any]) -> TrainConfig:
    """Return the configuration that :func:`to_dict` gave."""
    values = dict(plain)
    networks = dict(values["networks"])
    networks["discriminator_layers"] = tuple(networks["discriminator_layers"])
    values["networks"] = NetworkOptions(**networks)
    values["dataset"] = DataOptions(**values["dataset"])
    values["phases"] = PhaseOptions(**values["phases"])
    values["modules"] = ModuleOptions(**values["modules"])
    values["losses"] = LossOptions(**values["losses"])
    values["cyclegan"] = CycleGANOptions(**values["cyclegan"])
    # runs of before have none
    values["thermal"] = ThermalOptions(**values.get("thermal", {}))
    return TrainConfig(**values)


def with_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """Return stored options with the defaults of those that did not exist when they were stored."""

    def over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        merged = {**defaults, **values}
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(defaults.get(key), dict):
                merged[key] = over(value, defaults[key])
        return merged

    return over(plain, to_dict(TrainConfig()))


def what_matters(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the options that may change between two parts of a run."""
    free = {"out", "max_steps", "checkpoint_every", "panel_every", "keep_checkpoints", "device", "data"}
    free |= {"devices", "num_nodes", "strategy", "precision", "accumulate", "compile"}
    kept = {key: value for key, value in config.items() if key not in free}
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
