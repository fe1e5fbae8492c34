"""The device that a command was asked to use."""

from __future__ import annotations

import torch

from ntir2dc.data.images import DataError
from ntir2dc.parallel.world import device_of


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is a GPU where there is one."""
    if name == "auto" and not torch.cuda.is_available() and torch.backends.mps.is_available():
        name = "mps"
    try:
        return device_of(name)
    except ValueError as error:
        raise DataError(str(error)) from None
