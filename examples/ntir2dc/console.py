"""Command lines and output that no file name and no terminal can end."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def escape_what_cannot_be_shown() -> None:
    """Let standard output and error escape what they cannot encode: a name that is no text, ± where only ASCII goes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(problems: Sequence[str]) -> int:
    """Say what went wrong while the rest was done; return the exit status."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def call(main: Callable[..., int]) -> int:
    """Call a command with the options of the command line and return its exit status.

    Its help starts with the examples in the docstring of its script.
    """
    from jsonargparse import auto_cli

    from ntir2dc.arguments import ALONE, lists, switches, usage_of, with_lists, with_values

    escape_what_cannot_be_shown()
    # its YAML reader refuses names that are no text
    is_text = not any("\udc80" <= character <= "\udcff" for argument in sys.argv for character in argument)
    status: int = auto_cli(
        main,
        args=with_lists(with_values(sys.argv[1:], switches(main)), lists(main)),
        as_positional=False,
        parser_mode="yaml" if is_text else "json",
        usage=usage_of(sys.modules[main.__module__].__doc__),
        epilog=ALONE,
        allow_abbrev=False,
    )
    return status


def counted(items: Sequence[T], what: str, every: float = 15.0) -> Iterator[T]:
    """Yield the items, and show how far it is: a bar in a terminal, else a line now and then, on standard error."""
    from rich.console import Console
    from rich.progress import track

    if sys.stderr.isatty():
        yield from track(items, what, console=Console(stderr=True), transient=True)
        return
    started = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - told >= every:
            told = time.monotonic()
            print(f"{what}: {done} of {len(items)}, {done / (told - started):.1f} a second", file=sys.stderr)
