"""What the page says of a run in tables and sentences."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from markupsafe import Markup, escape

from ntir2dc.evaluation import TRAINED, format_cells, format_classes, format_objects
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.report.curves import PRESENT, phase_starts, series


@dataclass(frozen=True)
class HtmlTable:
    """A table of text; ``marked`` names the row that stands out, and one not ``shown`` is folded away."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: str | None = None
    shown: bool = False


def draw(table: HtmlTable) -> Markup:
    """Return a table as HTML; every cell is escaped."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)

    body = "".join(
        ('<tr class="trained">' if table.marked and cells[0] == table.marked else "<tr>") + row(cells, "td") + "</tr>"
        for cells in table.rows
    )
    return Markup(f"<table><thead><tr>{row(table.head, 'th')}</tr></thead><tbody>{body}</tbody></table>")


def phase_table(rows: Sequence[Mapping[str, str]]) -> HtmlTable | None:
    """Return when each phase was, and its pace."""
    starts = phase_starts(rows)
    last = int(series(rows, "step").steps[-1])
    seconds = series(rows, "seconds")
    body = []
    for index, (start, phase) in enumerate(starts):
        end = starts[index + 1][0] - 1 if index + 1 < len(starts) else last
        inside = seconds.values[(seconds.steps >= start) & (seconds.steps <= end)]
        pace = f"{inside.mean():.2f}" if len(inside) else "-"
        known = phase in list(Phase)
        body.append([f"{phase} {Phase(phase).name.lower() if known else ''}", f"{start} to {end}", pace])
    return HtmlTable("", ("phase", "steps", "seconds a step"), body) if body else None


def collaboration(rows: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """Return how lucky the pairing was, and how often ACA found each class in both images."""
    texts = []
    shared, random = series(rows, "pair_shared"), series(rows, "pair_random")
    if len(shared.values) and len(random.values):
        texts.append(
            f"In {len(shared.values)} steps of the last phase the color image held a small-sample class. The thermal "
            f"image that the memory chose held one of the same classes in {shared.values.mean():.0%} of these steps "
            f"(pair_shared); one drawn at random would have in {random.values.mean():.0%} (pair_random). What a "
            "thermal image holds is read from its mined labels."
        )
    body = []
    for column in rows[0]:
        counts = series(rows, column).values if column and column.startswith(PRESENT) else np.empty(0)
        if len(counts):
            name = column.removeprefix(PRESENT).replace("_", " ")
            body.append([name, str(int((counts > 0).sum())), str(len(counts)), f"{(counts > 0).mean():.1%}"])
    if body:
        texts.append("ACA compares a class where both images hold enough of it:")
    table = HtmlTable("", ("class", "steps found", "of steps", "share"), body) if body else None
    return {"texts": texts, "classes": table} if texts else None


def metric_tables(result: Mapping[str, Any], missing: list[str]) -> dict[str, Any] | None:
    """Return the tables and notes of ``metrics.json``; what is wrong with it is added to ``missing``."""
    try:
        figures, classes = format_cells(result), format_classes(result)
        tables = [HtmlTable("Figures", *figures, marked=TRAINED, shown=True)]
        if classes[1]:
            tables.append(HtmlTable("IoU of each class", *classes))
        judge, data = result["judge"], result["data"]
        notes = [str(note) for note in result["notes"]]
        if "objects" in result:
            tables.append(HtmlTable("Objects", *format_cells(result["objects"]), marked=TRAINED, shown=True))
            tables.append(HtmlTable("Objects of each class", *format_objects(result["objects"])))
            notes += [str(note) for note in result["objects"]["notes"]]
        if "distances" in result:
            tables.append(HtmlTable("Distances", *format_cells(result["distances"]), marked=TRAINED, shown=True))
            notes += [str(note) for note in result["distances"]["notes"]]
        notes.append(f"Measured on {data['images']} images of {data['folder']}.")
        if judge and "shipped" in judge:
            hashes = ", ".join(judge[key][:12] for key in ("weights_sha256", "second_weights_sha256"))
            notes.append(f"The segmentation networks are those that are shipped: {judge['shipped']}, weights {hashes}.")
        elif judge and "teacher" in judge:
            notes.append(f"The segmentation network is {judge['teacher']}, hash {judge['teacher_sha256'][:12]}.")
        elif judge:
            notes.append(
                f"The segmentation network: {judge['steps']} training steps on {judge['images']} images, "
                f"seed {judge['seed']}, weights {judge['weights_sha256'][:12]}."
            )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        missing.append(f"metrics.json cannot be used ({type(error).__name__}: {error}).")
        return None
    return {"tables": tables, "notes": notes}


def facts(config: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return what there is to say of a run in a word each, and on what the page was made."""
    pairs = [(key, str(config[key])) for key in ("preset", "variant", "seed") if key in config]
    if "data" in config:
        pairs.append(("data", str(config["data"] or "procedural scenes")))
    pairs += [(key.replace("_", " "), str(config[key])) for key in ("epochs", "batch_size", "lr") if key in config]
    if rows:
        seconds = series(rows, "seconds").values
        pairs += [
            ("steps", str(len(rows))),
            ("training time", _duration(float(seconds.sum()))),
            ("seconds a step", f"{seconds.mean():.2f}" if len(seconds) else "-"),
        ]
    modules = config.get("modules")
    if isinstance(modules, dict):
        pairs.append(("modules", " ".join(key for key, on in modules.items() if on) or "none"))
    return [
        *pairs,
        ("page made on", platform.platform()),
        ("processors", str(os.cpu_count())),
        ("torch", torch.__version__),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{seconds:.0f} s ({hours}:{minutes:02d}:{rest:02d})"
