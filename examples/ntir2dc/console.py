"""Command lines and output that no file name and no terminal can end."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable


def escape_what_cannot_be_shown() -> None:
    """Let standard output and error escape what they cannot encode: a name that is no text, ± where only ASCII goes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def call(main: Callable[..., int]) -> int:
    """Call a command with the options of the command line and return its exit status."""
    from jsonargparse import auto_cli

    escape_what_cannot_be_shown()
    # its YAML reader refuses names that are no text
    is_text = not any("\udc80" <= character <= "\udcff" for argument in sys.argv for character in argument)
    status: int = auto_cli(main, as_positional=False, parser_mode="yaml" if is_text else "json")
    return status
