"""What a run says where it cannot be heard: on closed streams, or to a reader such as ``head`` that went away."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class _Lossy(io.FileIO):
    """A descriptor to which a write never fails; what cannot be written is lost."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def speak_anyhow() -> None:
    """Replace standard output and standard error by streams that never fail, line by line, for the whole process.

    A run must not end because of what it says. Characters that an encoding lacks are escaped. A closed descriptor is
    opened on the null device: the next file of the run would get its number, and with it what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)


def _stream(number: int, before: TextIO | None) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    buffer = io.BufferedWriter(_Lossy(number, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=True)
