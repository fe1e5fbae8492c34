"""What a module says of the options that it holds."""

from __future__ import annotations

import inspect

from torch import nn


def show_options(module: nn.Module) -> str:
    """Return ``name=value`` of what the module was made with, for its ``extra_repr``; submodules show themselves."""
    held = {name: getattr(module, name) for name in inspect.signature(type(module)).parameters if hasattr(module, name)}
    return ", ".join(f"{name}={value!r}" for name, value in held.items() if not isinstance(value, nn.Module))
