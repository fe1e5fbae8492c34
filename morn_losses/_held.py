"""What a module holds of the options of its function, and shows of them."""

from __future__ import annotations

import inspect

from torch import Tensor, nn


def hold(module: nn.Module, options: object) -> None:
    """Give a module the options of a dataclass as attributes; a tensor is a buffer, which moves with the module."""
    for name, value in vars(options).items():
        if isinstance(value, Tensor):
            module.register_buffer(name, value, persistent=False)
        else:
            setattr(module, name, value)


def describe(module: nn.Module) -> str:
    """Return ``name=value`` of what the module was made with, for its ``extra_repr``."""
    held = {name: getattr(module, name) for name in inspect.signature(type(module)).parameters if hasattr(module, name)}
    shown = {n: f"centers {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x) for n, x in held.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())
