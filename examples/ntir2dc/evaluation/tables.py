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


def tables_of(result: Mapping[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """Return head and rows of every table that there is: figures, classes, objects, distances in features."""
    tables = [format_cells(result), format_classes(result)]
    if "objects" in result:
        tables += [format_cells(result["objects"]), format_objects(result["objects"])]
    if "distances" in result:
        tables.append(format_cells(result["distances"]))
    return [(head, rows) for head, rows in tables if rows]


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """Return what to know of all tables, in sentences."""
    parts = [result, *(result[key] for key in ("objects", "distances") if key in result)]
    return [note for part in parts for note in part["notes"]]


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the tables and the notes as Markdown."""
    parts = []
    for head, rows in tables_of(result):
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    parts.append("\n".join(f"- {note}" for note in notes_of(result)))
    return "\n\n".join(parts) + "\n"
