"""Tables and contrasts as CSV, Markdown and LaTeX, from the runs that are done."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morn_losses import LabelSpace
from morngan.evaluation import COLUMNS, Column, Scores, weighted_figures
from studies.ablations.contrasts import LEVEL, Estimate, paired, verdict
from studies.ablations.design import CONTRASTS, Contrast, Table

SHOWN = tuple(c for c in COLUMNS if c.key != "miou_all")
Results = Mapping[str, Mapping[int, Sequence[Scores]]]
"""For each row by name, the scores of all test images by seed."""


@dataclass(frozen=True)
class Line:
    """A row of a table: the figures of each seed, keyed by column."""

    title: str
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Compared:
    """A contrast with what was found; None where its rows share no seed yet."""

    contrast: Contrast
    seeds: tuple[int, ...]
    found: Estimate | None


def figures_of(scores: Sequence[Scores], space: LabelSpace) -> dict[str, float]:
    """Return the figures of a test set."""
    return {key: float(value[0]) for key, value in weighted_figures(scores, np.ones((1, len(scores))), space).items()}


def make_line(title: str, by_seed: Mapping[int, Sequence[Scores]], space: LabelSpace) -> Line:
    """Return the row of a table."""
    found = [figures_of(by_seed[seed], space) for seed in sorted(by_seed)]
    return Line(title, tuple(sorted(by_seed)), {c.key: tuple(f[c.key] for f in found) for c in COLUMNS})


def make_lines(table: Table, titles: Mapping[str, str], results: Results, space: LabelSpace) -> list[Line]:
    """Return the rows of a table that have results, in its order."""
    return [
        make_line(table.titles.get(name, titles[name]), results[name], space)
        for name in table.rows
        if results.get(name)
    ]


def compare(results: Results, space: LabelSpace) -> list[Compared]:
    """Return the contrasts that were stated beforehand."""
    compared = []
    for contrast in CONTRASTS:
        row, against = results.get(contrast.row, {}), results.get(contrast.against, {})
        seeds = tuple(sorted(set(row) & set(against)))
        found = None
        if seeds:
            found = paired([row[s] for s in seeds], [against[s] for s in seeds], contrast.key, space)
        compared.append(Compared(contrast, seeds, found))
    return compared


def column_of(key: str) -> Column:
    """Return a column by its key."""
    return next(c for c in COLUMNS if c.key == key)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds and their standard deviation, NaN for a single one."""
    if not all(math.isfinite(v) for v in values):
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def format_cell(column: Column, values: Sequence[float]) -> str:
    """Return ``mean ± spread`` as the column rounds it, ``-`` where undefined."""
    mean, spread = mean_and_spread(values)
    if not math.isfinite(mean):
        return "-"
    text = f"{mean * column.scale:.{column.digits}f}"
    return f"{text} ±{spread * column.scale:.{column.digits}f}" if math.isfinite(spread) else text


def table_cells(lines: Sequence[Line], references: Sequence[Line]) -> list[list[str]]:
    """Return head and rows as text; references have no seeds."""
    cells = [["", "seeds", *(c.title for c in SHOWN)]]
    for line, seeds in [(x, str(len(x.seeds))) for x in lines] + [(x, "") for x in references]:
        cells.append([line.title, seeds, *(format_cell(c, line.figures[c.key]) for c in SHOWN)])
    return cells


def contrast_cells(compared: Sequence[Compared], titles: Mapping[str, str]) -> list[list[str]]:
    """Return head and rows of the contrasts as text."""
    cells = [["contrast", "figure", "claim", "difference", f"{LEVEL:.0%} interval", "by seed", "the claim"]]
    for one in compared:
        contrast, found, column = one.contrast, one.found, column_of(one.contrast.key)
        digits = column.digits

        def show(value: float, column: Column = column, digits: int = digits) -> str:
            return f"{value * column.scale:+.{digits}f}" if math.isfinite(value) else "-"

        claim = "> 0" if contrast.margin is None else f"> {show(-contrast.margin)}"
        name = f"{titles[contrast.row]} against {titles[contrast.against]}"
        if found is None:
            cells.append([name, column.title, claim, "-", "-", "-", "not run"])
            continue
        by_seed = ", ".join(show(v) for v in found.by_seed)
        interval = f"{show(found.low)} to {show(found.high)}" if math.isfinite(found.low) else "-"
        cells.append([name, column.title, claim, show(found.value), interval, by_seed, verdict(found, contrast.margin)])
    return cells


def log_cells(lines: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> list[list[str]]:
    """Return what the modules had to work with: means over the seeds of what each run's log says."""
    titles = {
        "mined": "mined %",
        "pair_shared": "pairs that share a class %",
        "pair_random": "random pairs %",
        "aca_found": "classes ACA found",
        "seconds": "training s",
    }
    scale = {"mined": 100, "pair_shared": 100, "pair_random": 100}
    cells = [["", *titles.values()]]
    for title, logs in lines:
        row = [title]
        for key in titles:
            values = [float(log[key]) * scale.get(key, 1) for log in logs if log[key] is not None]
            digits = 0 if key == "seconds" else 2 if key == "aca_found" else 1
            row.append(f"{np.mean(values):.{digits}f}" if values else "-")
        cells.append(row)
    return cells


# ---- formats ---------------------------------------------------------------------------------------------------------


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


def figures_csv(results: Results, space: LabelSpace, hashes: Mapping[str, str | None]) -> str:
    """Return every figure of every row and seed, unrounded, with the hashes of scenes and judge."""
    rows: list[list[Any]] = [["row", "seed", *(c.key for c in COLUMNS), *hashes]]
    for name, by_seed in results.items():
        for seed in sorted(by_seed):
            found = figures_of(by_seed[seed], space)
            rows.append([name, seed, *(repr(found[c.key]) for c in COLUMNS), *hashes.values()])
    return to_csv(rows)
