"""The two judges in ``examples/weights``, which ``studies/judge.py`` trained once, on procedural scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from morn_losses import CITYSCAPES
from ntir2dc.data.images import DataError
from ntir2dc.judge.dilated import DilatedNet
from ntir2dc.networks.unet import ResidualUNet

FOLDER = Path(__file__).resolve().parents[2] / "weights"
LOOKS, WORLD = 2, "a"
"""The scenes that they know."""


@dataclass(frozen=True)
class Shipped:
    """A judge that is shipped.

    Args:
        file: its weights.
        sha256: of that file.
        make: makes the network, from the number of classes.
    """

    file: str
    sha256: str
    make: Callable[[int], nn.Module]


SHIPPED = {
    "a": Shipped(
        "judge_a.safetensors", "2040ad0699c0c98029ada86ccea4e91c1440bb7d4034aefcb7c3868445b739de", ResidualUNet
    ),
    "b": Shipped("judge_b.safetensors", "d70247afc9c272b3756357f10574f6be8e4518804c8a4318da6b1939fa22a290", DilatedNet),
}


def load_shipped(name: str, device: torch.device | str = "cpu") -> nn.Module:
    """Return judge ``a`` or ``b`` in eval mode; it knows the 19 classes of Cityscapes.

    Raises:
        DataError: the file is missing, or is not the one that was shipped.
    """
    shipped = SHIPPED[name]
    path = FOLDER / shipped.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); it comes with the repository") from error
    found = hashlib.sha256(content).hexdigest()
    if found != shipped.sha256:
        raise DataError(f"{path}: is not the judge that was shipped: SHA-256 {found}, expected {shipped.sha256}")
    return from_half(content, shipped).to(device)


def from_half(content: bytes, shipped: Shipped) -> nn.Module:
    """Return the judge that a file of :func:`to_half` keeps, in single precision and eval mode."""
    judge = shipped.make(len(CITYSCAPES))
    judge.load_state_dict(load(content))  # which copies into single precision
    return judge.requires_grad_(False).eval()


def to_half(state: Mapping[str, Tensor]) -> bytes:
    """Return the file that keeps a judge's state: floats in half precision."""
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    return save({key: value.contiguous() for key, value in halves.items()})
