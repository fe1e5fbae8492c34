"""Tables of text as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any


def to_markdown(cells: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table; the first ``left`` columns are aligned to the left."""
    rule = ["---"] * left + ["---:"] * (len(cells[0]) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))


def to_latex(cells: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a ``tabular`` for the booktabs package."""

    def escape(text: str) -> str:
        text = text.replace("\\", r"\textbackslash{}")
        for sign in "%&_#$":
            text = text.replace(sign, "\\" + sign)
        for sign, command in (("±", r"$\pm$"), (">", "$>$")):
            text = text.replace(sign, command)
        return text

    head, *rows = [" & ".join(escape(cell) for cell in row) + r" \\" for row in cells]
    columns = "l" * left + "r" * (len(cells[0]) - left)
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(cells: Sequence[Sequence[Any]]) -> str:
    """Return comma-separated lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()
