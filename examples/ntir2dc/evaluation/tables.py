"""What ``metrics.json`` holds, as tables of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def format_cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table, as text."""
    head = ["", *(str(c["title"]) for c in result["columns"])]
    rows = []
    for row in result["rows"]:
        cells = [str(row["name"])]
        for column in result["columns"]:
            value, error = (row["figures"][column["key"]][part] for part in ("value", "error"))
            text = "-" if value is None else f"{value * column['scale']:.{column['digits']}f}"
            if value is not None and error is not None:
                text += f" ±{error * column['scale']:.{column['digits']}f}"
            cells.append(text)
        rows.append(cells)
    return head, rows


def format_classes(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the per-class table: IoU in percent, ``-`` for a class that does not occur."""
    head = ["IoU %", *(str(row["name"]) for row in result["rows"])]
    names = list(result["rows"][0]["iou"]) if result["judge"] else []
    rows = []
    for name in names:
        shares = [row["iou"][name] for row in result["rows"]]
        rows.append([name, *("-" if value is None else f"{100 * value:.1f}" for value in shares)])
    return head, rows


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the tables and the notes as Markdown."""
    parts = []
    for head, rows in (format_cells(result), format_classes(result)):
        if rows:
            lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
            parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    parts.append("\n".join(f"- {note}" for note in result["notes"]))
    return "\n\n".join(parts) + "\n"
