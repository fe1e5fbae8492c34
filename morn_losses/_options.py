"""What a module says of the options that it holds: in its ``repr`` and in its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def show_options(module: nn.Module) -> str:
    """Return ``name=value`` of what the module was made with, for its ``extra_repr``; submodules show themselves."""
    held = {name: getattr(module, name) for name in inspect.signature(type(module)).parameters if hasattr(module, name)}
    shown = {name: value for name, value in held.items() if not isinstance(value, nn.Module)}
    return ", ".join(
        f"{name}=centers {tuple(value.shape)}" if isinstance(value, Tensor) else f"{name}={value!r}"
        for name, value in shown.items()
    )


def hold(module: nn.Module, options: object) -> None:
    """Give a module the options of a dataclass as attributes; a tensor is a buffer, which moves with the module."""
    for name, value in vars(options).items():
        if isinstance(value, Tensor):
            module.register_buffer(name, value, persistent=False)
        else:
            setattr(module, name, value)


def takes_options_of(function: Callable[..., object]) -> Callable[[type[M]], type[M]]:
    """Return a decorator that puts what a function says of its options into the docstring of its module."""

    def describe(module: type[M]) -> type[M]:
        if module.__doc__ is None or function.__doc__ is None:  # python -OO
            return module
        own, of_function = inspect.cleandoc(module.__doc__), inspect.cleandoc(function.__doc__)
        arguments = re.split(
            r"^(?=    \w+: )", of_function.partition("Args:\n")[2].partition("\n\n")[0], flags=re.MULTILINE
        )
        said = {text.split(":")[0].strip(): text.rstrip() for text in arguments}
        options = "\n".join(said[name] for name in inspect.signature(module).parameters)
        text, example, code = own.partition("\n\nExample:")
        module.__doc__ = f"{text}\n\nArgs:\n{options}{example}{code}\n"
        return module

    return describe
