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


def format_objects(objects: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of objects by class: how many were kept and invented."""
    rows = objects["rows"]
    head = ["kept of those there, invented", *(str(row["name"]) for row in rows)]
    return head, [
        [name, *("{kept} of {objects}, {invented}".format(**row["classes"][name]) for row in rows)]
        for name in rows[0]["classes"]
    ]


def more_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what was measured beside the main table: objects, and distances in features."""
    return [result[key] for key in ("objects", "distances") if key in result]


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the tables and the notes as Markdown."""
    tables = [format_cells(result), format_classes(result)]
    notes = [*result["notes"]]
    for part in more_of(result):
        tables.append(format_cells(part))
        notes += part["notes"]
    if "objects" in result:
        tables.append(format_objects(result["objects"]))
    parts = []
    for head, rows in tables:
        if rows:
            lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
            parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"
