"""Output that no file name and no terminal can end."""

from __future__ import annotations

import io
import sys


def escape_what_cannot_be_shown() -> None:
    """Let standard output and error escape what they cannot encode: a name that is no text, ± where only ASCII goes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
