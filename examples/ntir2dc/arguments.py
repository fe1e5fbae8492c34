"""What every command line has in common: switches that stand alone, lists, and help that starts with examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any, get_type_hints

ALONE = "An option of true or false may stand alone, which means true."
"""The last line of every help."""


def switches(main: Callable[..., Any], prefix: str = "--") -> frozenset[str]:
    """Return the options of true or false that a function, or a dataclass and those in it, has on a command line.

    Example:
        >>> def main(run: str, limit: int = 0, deep: bool = False) -> int: ...
        >>> switches(main)
        frozenset({'--deep'})
    """
    found: set[str] = set()
    for name, kind in get_type_hints(main).items():
        if kind is bool:
            found.add(f"{prefix}{name}")
        elif isinstance(kind, type) and is_dataclass(kind):
            found |= switches(kind, f"{prefix}{name}.")
    return frozenset(found)


def with_values(arguments: Sequence[str], switches: Iterable[str]) -> list[str]:
    """Return the arguments of a command line; a switch that stands alone says true.

    Example:
        >>> with_values(["--deep", "--run", "x", "--wide", "false"], ["--deep", "--wide"])
        ['--deep=true', '--run', 'x', '--wide', 'false']
    """
    alone, following = frozenset(switches), [*arguments[1:], "--"]
    return [
        f"{argument}=true" if argument in alone and after.startswith("-") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


def lists(main: Callable[..., Any]) -> frozenset[str]:
    """Return the options of a function that take several values.

    Example:
        >>> def main(run: str, results: list[str] = []) -> int: ...
        >>> lists(main)
        frozenset({'--results'})
    """
    return frozenset(f"--{name}" for name, kind in get_type_hints(main).items() if kind == list[str])


def with_lists(arguments: Sequence[str], lists: Collection[str]) -> list[str]:
    """Return the arguments of a command line; the values that follow an option of several become one list.

    Example:
        >>> with_lists(["--results", "a=x", "b=y", "--run", "z"], ["--results"])
        ['--run', 'z', '--results=["a=x", "b=y"]']
    """
    joined: list[str] = []
    values: dict[str, list[str]] = {}
    option = None
    for argument in arguments:
        if argument.startswith("--"):
            option = argument if argument in lists else None
            if option is not None:
                values.setdefault(option, [])
                continue
        if option is not None:
            values[option].append(argument)
        else:
            joined.append(argument)
    return joined + [f"{option}={json.dumps(those)}" for option, those in values.items()]


def examples_of(doc: str | None) -> list[str]:
    """Return the commands in the docstring of a script, which stand in a paragraph of their own."""
    return [line for line in (doc or "").splitlines() if line.startswith("python ")]


def usage_of(doc: str | None) -> str | None:
    """Return the usage that the help of a script starts with: its examples; None, as argparse has it, without any."""
    return "".join(f"\n  {line}" for line in examples_of(doc)).replace("%", "%%") or None
