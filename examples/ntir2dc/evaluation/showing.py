"""What the commands that evaluate have in common: their options, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ntir2dc.console import tell
from ntir2dc.data.images import DataError


def check_options(judge_steps: int, judge_seed: int, limit: int) -> None:
    """Raise a DataError for a number that is too small."""
    if judge_steps < 1 or limit < 0 or judge_seed < 0:
        raise DataError("options: expected judge_steps of at least 1, and limit and judge_seed of at least 0")


def wide_console() -> Console:
    """Return the console; a file that stands for it is as wide as tables need."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def show(head: list[str], rows: list[list[str]], console: Console) -> None:
    """Print a table."""
    table = Table()
    for index, title in enumerate(head):
        table.add_column(title, justify="right" if index else "left")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)


def tell_written(paths: Sequence[Path], problems: Sequence[str]) -> int:
    """Say which files were written and what is wrong with the others; return the exit status."""
    written = [str(path) for path in paths if not any(problem.startswith(f"{path}: ") for problem in problems)]
    if written:
        print(f"written: {', '.join(written)}")
    return tell(problems)
