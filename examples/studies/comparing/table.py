"""The table of the methods, from their finished runs, and the sheet of their translations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from morn_losses import LabelSpace
from ntir2dc.data.images import save_image
from ntir2dc.data.thermal import Tones, tones_of
from ntir2dc.evaluation import (
    CLASSES_A,
    COLUMNS,
    INPUT,
    TINTED,
    TRUTH,
    Column,
    Translate,
    find_cases,
    list_cases,
    run_network,
    score,
    tint,
    true_day,
)
from ntir2dc.evaluation.cases import pictures_of
from ntir2dc.evaluation.formats import to_csv, to_latex, to_markdown
from ntir2dc.files import attempt, write_text
from ntir2dc.judge import STEPS, find_judges
from ntir2dc.run.weights import load_translator
from studies.ablations.pictures import draw_translations
from studies.ablations.tables import Line, class_cells, format_cell, make_line, table_cells
from studies.comparing.objects import Objects
from studies.comparing.runs import TITLES, Run

PICTURES = 4
ENDINGS = (".csv", ".md", ".tex", ".png")


@dataclass
class Table:
    """What was measured on the test images of a folder.

    Args:
        data: the folder.
        tones: what becomes black and white in its night images.
        lines: figures by seed of each method.
        references: of the rows that have no seeds.
        objects: columns of objects; empty where nothing is known of them.
        shown: the translators of the sheet, by title.
        notes: what to know of it, in sentences.
    """

    data: Path
    tones: Tones
    lines: list[Line] = field(default_factory=list)
    references: list[Line] = field(default_factory=list)
    objects: tuple[Column, ...] = ()
    shown: dict[str, Translate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def all_lines(self) -> list[Line]:
        """The rows of the table."""
        return [*self.lines, *self.references]

    def cells(self) -> list[list[str]]:
        """Return head and rows as text."""
        head, *rows = table_cells(self.lines, self.references)
        head += [column.title for column in self.objects]
        for row, line in zip(rows, self.all_lines, strict=True):
            row += [format_cell(column, line.figures[column.key]) for column in self.objects]
        return [head, *rows]

    def by_seed(self) -> list[list[str]]:
        """Return head and rows of every seed, unrounded, with the IoU of each class."""
        keys = [column.key for column in (*COLUMNS, *self.objects)]
        rows = [["row", "seed", *keys, *(f"iou {name}" for name in CLASSES_A)]]
        for line, has_seeds in [(x, True) for x in self.lines] + [(x, False) for x in self.references]:
            for i, seed in enumerate(line.seeds):
                values = [*(line.figures[key][i] for key in keys), *(line.iou[name][i] for name in CLASSES_A)]
                rows.append([line.title, str(seed) if has_seeds else "", *map(repr, values)])
        return rows

    def page(self) -> str:
        """Return the tables and the notes as Markdown."""
        judged = any(math.isfinite(value) for line in self.all_lines for value in line.figures["miou_a"])
        tables = [self.cells(), *([class_cells(self.all_lines)] if judged else [])]
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join((*map(to_markdown, tables), notes)) + "\n"


def measure_runs(
    runs: Sequence[Run],
    data: Path,
    space: LabelSpace,
    *,
    results: Mapping[str, Path] = {},
    cache: Path,
    detector: Path | None = None,
    device: torch.device | str,
    say: Callable[[str], None],
) -> Table:
    """Measure the translations of every run, and those that cost no training.

    Args:
        runs: all of them finished.
        data: holds ``valB`` and, where known, ``valB_day`` and ``valB_labels``.
        space: the label space.
        results: folders of finished pictures by the names of their rows.
        cache: where a judge that has to be trained is kept.
        detector: weights of a detector of scenes that looks at every translation; None is none.
        device: where networks run.
        say: is told what is being done.

    Raises:
        DataError: frames, judges, pictures or a detector that cannot be used.
    """
    nights = [files["night"] for files in list_cases(data)]
    table = Table(data, tones_of(nights, runs[0].config.thermal))
    cases = find_cases(data, space, tones=table.tones)
    judges = find_judges(data, cache, space, steps=STEPS, device=device, say=say) if "labels" in cases[0] else None
    first, second = (judges.first, judges.second) if judges else (None, None)

    ways = trained_ways(runs, device)
    others: dict[str, Translate] = {INPUT: lambda case: case.night, TINTED: lambda case: tint(case.night)}
    pictures = {name: pictures_of(folder, nights) for name, folder in results.items()}
    others |= pictures | ({TRUTH: true_day} if "day" in cases[0] else {})
    table.shown = {title: by_seed[min(by_seed)] for title, by_seed in ways.items()} | pictures
    ways |= {name: {0: way} for name, way in others.items()}
    objects = None
    if detector is not None:
        names = [_name(title, seed) for title, by_seed in ways.items() for seed in by_seed]
        objects = Objects(detector, data, nights, names, device)
        table.objects = objects.columns

    for title, by_seed in ways.items():
        say(f"{title}: {len(cases)} images")
        if objects is not None:
            by_seed = {seed: objects.watched(_name(title, seed), way) for seed, way in by_seed.items()}
        scores = {seed: score(cases, way, first, space, second, table.tones) for seed, way in by_seed.items()}
        line = make_line(title, scores, space)
        if objects is not None:
            found = [objects.figures(_name(title, seed)) for seed in line.seeds]
            of_objects = {c.key: tuple(figures[c.key] for figures in found) for c in objects.columns}
            line = dataclasses.replace(line, figures={**line.figures, **of_objects})
        (table.references if title in others else table.lines).append(line)
    table.notes = [*notes_on(data, runs), *(objects.notes if objects else [])]
    return table


def trained_ways(runs: Sequence[Run], device: torch.device | str) -> dict[str, dict[int, Translate]]:
    """Return the translators of all runs by the title of their method and by seed."""
    ways: dict[str, dict[int, Translate]] = {}
    for run in runs:
        network = load_translator(run.folder).to(device)
        ways.setdefault(TITLES[run.method], {})[run.seed] = run_network(network, device)
    return ways


def _name(title: str, seed: int) -> str:
    return f"{title}, seed {seed}"


def files_of(out: Path, name: str) -> list[Path]:
    """Return the files of a table."""
    return [out / f"{name}{ending}" for ending in ENDINGS]


def save(out: Path, name: str, table: Table, problems: list[str], more: str = "") -> str:
    """Write a table as ``.csv``, ``.md``, ``.tex`` and ``.png``; return the page, which ends with ``more``.

    What cannot be written is added to ``problems``.
    """
    figures, page_file, latex, picture = files_of(out, name)
    page = table.page() + more
    for file, text in ((figures, to_csv(table.by_seed())), (page_file, page), (latex, to_latex(table.cells()))):
        attempt(partial(write_text, file, text), file, problems)
    sheet = draw_translations(table.data, table.shown, images=PICTURES, tones=table.tones)
    attempt(partial(save_image, sheet, picture), picture, problems)
    return page


def notes_on(data: Path, runs: Sequence[Run]) -> list[str]:
    """Return what to know of the table, in sentences."""
    config = runs[0].config
    batches = {TITLES[run.method]: run.config.batch_size for run in runs}
    usual = min(batches.values())
    larger = ", ".join(f"{title} {size}" for title, size in batches.items() if size != usual)
    elsewhere = config.data is not None and Path(config.data) != data
    return [
        f"{_lengths(runs)}, preset {config.preset}, crops of {config.dataset.crop}; images of a domain "
        f"in a step: {usual}{f', {larger}' if larger else ''}.",
        f"{len(list_cases(data))} test images of {data}; ± is the standard deviation over the seeds.",
        *([f"The methods were trained on {config.data}, and are tested on other data."] if elsewhere else []),
    ]


def _lengths(runs: Sequence[Run]) -> str:
    steps = {TITLES[run.method]: run.steps for run in runs}
    if len(set(steps.values())) == 1:
        return f"{runs[0].steps} steps a method"
    return f"Steps in equal time: {', '.join(f'{title} {number}' for title, number in steps.items())}"
