"""The log of a run: one CSV row a step, TensorBoard beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntir2dc.files import write_atomically


class RunLog:
    """``log.csv`` with fixed columns; a term that a phase does not compute leaves its cell empty.

    Args:
        folder: of the run.
        columns: all of them, ``step`` first.
        last_step: rows after it are dropped, since they will be written again; -1 starts anew.
    """

    def __init__(self, folder: Path, columns: Sequence[str], last_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        self.path = folder / "log.csv"
        self.columns = list(columns)
        rows: list[dict[str, str]] = []
        if last_step >= 0 and self.path.is_file():
            with open(self.path, newline="") as file:
                # a killed process may have left half a line
                rows = [r for r in csv.DictReader(file) if _is_row(r, self.columns) and int(r["step"]) <= last_step]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue().encode())
        self._file = open(self.path, "a", newline="", buffering=1)  # noqa: SIM115
        self._csv = csv.DictWriter(self._file, self.columns, lineterminator="\n")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; floats are written so that they read back exactly."""
        self._csv.writerow({k: repr(v) if isinstance(v, float) else v for k, v in row.items()})
        for name, value in row.items():
            if isinstance(value, float):
                self._board.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Flush and close both logs."""
        self._file.close()
        self._board.close()


def _is_row(row: Mapping[str, str | None], columns: Sequence[str]) -> bool:
    complete = all(row.get(c) is not None for c in columns) and None not in row
    return complete and str(row["step"]).isdigit() and str(row["seconds"]) != ""


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the rows of a ``log.csv``."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
