"""The generators' weights as one safetensors file, which describes its networks and can hold no code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ntir2dc.data.thermal import ThermalOptions
from ntir2dc.files import named_in_text, write_atomically
from ntir2dc.methods import METHODS

FILE_NAME = "weights.safetensors"

PICKLED = (".pt", ".pth", ".ckpt", ".bin")
"""Suffixes of what torch.save writes."""


class WeightsError(ValueError):
    """A weights file that cannot be used; the message starts with its path."""


def save_weights(
    path: Path,
    networks: Mapping[str, nn.Module],
    description: Mapping[str, int | str],
    thermal: ThermalOptions | None = None,
) -> None:
    """Write the generators' networks whole or not at all.

    Args:
        path: of the file, ``weights.safetensors`` in the folder of a run.
        networks: those of both directions, by name.
        description: ``method``, and all that its ``make_translator`` takes.
        thermal: how the frames were read that they have learned from; the default is not noted.
    """
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    metadata = {"config": json.dumps(dict(description))}
    if thermal not in (None, ThermalOptions()):
        metadata["thermal"] = json.dumps(asdict(thermal))
    write_atomically(path, save(tensors, metadata=metadata))


def thermal_of(path: Path | str) -> ThermalOptions:
    """Return how thermal frames have to be read for the weights of a file, or of the folder of a run.

    Raises:
        WeightsError: no such file, or one that says what is not known here.
    """
    path = _file_of(path)
    with opened(path) as file:
        text = (file.metadata() or {}).get("thermal", "{}")
    try:
        return ThermalOptions(**json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: says of thermal frames what is not known here ({error})") from error


def load_translator(path: Path | str) -> nn.Module:
    """Return the night thermal to day color generator of a run, in eval mode, on the CPU.

    Args:
        path: a weights file, or the folder of a run that holds ``weights.safetensors``.

    Raises:
        WeightsError: no such file, a file that is not safetensors (nothing else is ever read), without the
            description of its networks, or whose tensors do not fit it.
    """
    path = _file_of(path)
    with opened(path) as file:
        text = (file.metadata() or {}).get("config")
        names = list(file.keys())
        translator = _describe(path, text, len(names))
        wanted = {name.split(".")[0] for name in translator.state_dict()}
        tensors = {name: file.get_tensor(name) for name in names if name.split(".")[0] in wanted}
    _check_fit(path, tensors, translator.state_dict())
    translator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return translator.requires_grad_(False).eval()


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Return all tensors of a weights file, named ``network.layer``, on the CPU.

    Args:
        path: a weights file, or the folder of a run that holds one.

    Raises:
        WeightsError: no such file, a file that is not safetensors, or one of other names.
    """
    path = _file_of(path)
    with opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  a file is no dictionary
    unnamed = [name for name in tensors if "." not in name]
    if unnamed or not tensors:
        raise WeightsError(f"{path}: holds no networks ({unnamed[:1]})")
    return tensors


@contextmanager
def opened(path: Path | str) -> Iterator[Any]:
    """Open a weights file, or that of a run's folder, as safetensors does.

    Raises:
        WeightsError: no such file, or a file that is not safetensors.
    """
    path = _file_of(path)
    try:
        with named_in_text(path) as named, safe_open(named, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors, the only format accepted ({error})") from error


def _file_of(path: Path | str) -> Path:
    """Return the weights file that is named, or that a run's folder holds."""
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
        if not path.is_file():
            raise WeightsError(f"{path.parent}: holds no {FILE_NAME}, expected the folder of a run or a weights file")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder")
    if path.suffix.lower() in PICKLED:
        run = next((folder for folder in path.parents if (folder / FILE_NAME).is_file()), None)
        remedy = f"give {run / FILE_NAME}" if run else f"give the folder of the run, which holds {FILE_NAME}"
        raise WeightsError(
            f"{path}: is a checkpoint, not a weights file; {remedy} (import_published.py makes one of the authors' "
            "checkpoints)"
        )
    return path


def _describe(path: Path, text: str | None, n_tensors: int) -> nn.Module:
    """Return the network that a file describes, without memory for its weights."""
    try:
        loaded = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        loaded = None
    description: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    method = description.pop("method", "morngan")
    if method not in METHODS:
        raise WeightsError(f"{path}: made by a method that is not known here ({method!r}; known: {', '.join(METHODS)})")
    make = METHODS[method].make_translator
    asked = inspect.signature(make).parameters.values()
    needed = [p.name for p in asked if p.default is p.empty]
    numbers = [value for name, value in description.items() if name in needed]
    if len(numbers) != len(needed) or not all(type(value) is int and value >= 0 for value in numbers):
        raise WeightsError(
            f"{path}: does not describe its networks; expected metadata 'config' with {', '.join(needed)}"
        )
    deepest = max((value for name, value in description.items() if name.endswith("blocks")), default=0)
    if deepest > n_tensors:
        raise WeightsError(f"{path}: holds fewer tensors than the {deepest} residual blocks it describes")
    try:
        # nothing is allocated for networks that the file then turns out not to hold
        with torch.device("meta"):
            return make(**description)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: describes networks that cannot be built ({error})") from error


def misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return in what tensors differ by name and shape from those that a network needs."""
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in expected]
    return problems + [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]


def _check_fit(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    problems = misfits(tensors, expected)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{path}: does not fit the networks it describes: {', '.join(problems[:3])}{more}")
