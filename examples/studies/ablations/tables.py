"""Tables and contrasts as cells of text, from the scores of the runs that are done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morn_losses import LabelSpace
from ntir2dc.evaluation import CLASSES_A, COLUMNS, SECOND, Column, Scores, weighted_figures
from ntir2dc.evaluation.formats import to_csv
from ntir2dc.judge import class_iou
from studies.ablations.contrasts import LEVEL, Estimate, paired, verdict
from studies.ablations.design import CONTRASTS, Contrast, Table

DIFFERENCES = ("miou_a", "miou_s", "apce", "edge_f1")
SHOWN = tuple(c for c in COLUMNS if c.key != "miou_all")
Results = Mapping[str, Mapping[int, Sequence[Scores]]]
"""For each row by name, the scores of all test images by seed."""


@dataclass(frozen=True)
class Line:
    """A row of a table: the figures of each seed, keyed by column, and the IoU of each seed, keyed by class."""

    title: str
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]
    iou: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Compared:
    """A contrast with what was found; None where its rows share no seed yet."""

    contrast: Contrast
    seeds: tuple[int, ...]
    estimate: Estimate | None


def figures_of(scores: Sequence[Scores], space: LabelSpace) -> dict[str, float]:
    """Return the figures of a test set."""
    return {key: float(value[0]) for key, value in weighted_figures(scores, np.ones((1, len(scores))), space).items()}


def make_line(title: str, by_seed: Mapping[int, Sequence[Scores]], space: LabelSpace) -> Line:
    """Return the row of a table."""
    seeds = tuple(sorted(by_seed))
    figures = [figures_of(by_seed[seed], space) for seed in seeds]
    iou = [class_iou(np.sum([s.confusion for s in by_seed[seed]], axis=0)) for seed in seeds]
    return Line(
        title,
        seeds,
        {c.key: tuple(f[c.key] for f in figures) for c in COLUMNS},
        {name: tuple(float(values[space.index(name)]) for values in iou) for name in CLASSES_A},
    )


def make_lines(table: Table, titles: Mapping[str, str], results: Results, space: LabelSpace) -> list[Line]:
    """Return the rows of a table that have results, in its order."""
    return [
        make_line(table.titles.get(name, titles[name]), results[name], space)
        for name in table.rows
        if results.get(name)
    ]


def compare(results: Results, space: LabelSpace) -> list[Compared]:
    """Return the contrasts that were stated beforehand; those in mIoU also by the second judge where there is one."""
    compared = []
    twice = any(s.second is not None for by_seed in results.values() for scores in by_seed.values() for s in scores)
    again = [dataclasses.replace(c, key=f"{c.key}_second") for c in CONTRASTS if f"{c.key}_second" in SECOND]
    for contrast in (*CONTRASTS, *(again if twice else ())):
        row, against = results.get(contrast.row, {}), results.get(contrast.against, {})
        seeds = tuple(sorted(set(row) & set(against)))
        estimate = None
        if seeds:
            estimate = paired([row[s] for s in seeds], [against[s] for s in seeds], contrast.key, space)
        compared.append(Compared(contrast, seeds, estimate))
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
    judged = [line.figures[key] for line in (*lines, *references) for key in SECOND]
    twice = any(math.isfinite(value) for values in judged for value in values)
    shown = [c for c in SHOWN if twice or c.key not in SECOND]
    cells = [["", "seeds", *(c.title for c in shown)]]
    for line, seeds in [(x, str(len(x.seeds))) for x in lines] + [(x, "") for x in references]:
        cells.append([line.title, seeds, *(format_cell(c, line.figures[c.key]) for c in shown)])
    return cells


def class_cells(lines: Sequence[Line]) -> list[list[str]]:
    """Return head and rows of the IoU by class, as the paper's Table 1 has it."""
    percent = Column("iou", "IoU", 100, 1)
    cells = [["IoU %", *CLASSES_A, "mIoU.A"]]
    for line in lines:
        values = [*(line.iou[name] for name in CLASSES_A), line.figures["miou_a"]]
        cells.append([line.title, *(format_cell(percent, v) for v in values)])
    return cells


def contrast_cells(compared: Sequence[Compared], titles: Mapping[str, str]) -> list[list[str]]:
    """Return head and rows of the contrasts as text."""
    cells = [["contrast", "figure", "claim", "difference", f"{LEVEL:.0%} interval", "by seed", "the claim"]]
    for one in compared:
        contrast, estimate, column = one.contrast, one.estimate, column_of(one.contrast.key)
        digits = column.digits

        def show(value: float, column: Column = column, digits: int = digits) -> str:
            return f"{value * column.scale:+.{digits}f}" if math.isfinite(value) else "-"

        claim = "> 0" if contrast.margin is None else f"> {show(-contrast.margin)}"
        name = f"{titles[contrast.row]} against {titles[contrast.against]}"
        if estimate is None:
            cells.append([name, column.title, claim, "-", "-", "-", "not run"])
            continue
        by_seed = ", ".join(show(v) for v in estimate.by_seed)
        interval = f"{show(estimate.low)} to {show(estimate.high)}" if math.isfinite(estimate.low) else "-"
        cells.append(
            [name, column.title, claim, show(estimate.value), interval, by_seed, verdict(estimate, contrast.margin)]
        )
    return cells


def difference_cells(pairs: Sequence[tuple[str, str]], scores: Results, space: LabelSpace) -> list[list[str]]:
    """Return head and rows of paired differences with their intervals, for the seeds that both rows have.

    Args:
        pairs: a row and the one that is taken from it, by their names in ``scores``.
        scores: of all rows.
        space: the label space of the judge.
    """
    columns = [column_of(key) for key in DIFFERENCES]
    cells = [["difference", "seeds", *(column.title for column in columns)]]
    for row, against in pairs:
        seeds = sorted(set(scores.get(row, {})) & set(scores.get(against, {})))
        if not seeds:
            continue
        cells.append([f"{row} minus {against}", str(len(seeds))])
        for column in columns:
            estimate = paired([scores[row][s] for s in seeds], [scores[against][s] for s in seeds], column.key, space)
            value, low, high = (
                f"{x * column.scale:+.{column.digits}f}" for x in (estimate.value, estimate.low, estimate.high)
            )
            cells[-1].append(f"{value} ({low} to {high})" if math.isfinite(estimate.low) else value)
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


def figures_csv(results: Results, space: LabelSpace, hashes: Mapping[str, str | None]) -> str:
    """Return every figure of every row and seed, unrounded, with the hashes of scenes and judge."""
    rows: list[list[Any]] = [["row", "seed", *(c.key for c in COLUMNS), *hashes]]
    for name, by_seed in results.items():
        for seed in sorted(by_seed):
            figures = figures_of(by_seed[seed], space)
            rows.append([name, seed, *(repr(figures[c.key]) for c in COLUMNS), *hashes.values()])
    return to_csv(rows)
