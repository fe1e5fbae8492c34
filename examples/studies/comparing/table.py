"""The table of the methods, from their finished runs, and the sheet of their translations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from morn_losses import LabelSpace
from ntir2dc.data.images import save_image
from ntir2dc.data.thermal import tones_of
from ntir2dc.evaluation import (
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
from studies.ablations.tables import Line, format_cell, make_line, table_cells
from studies.comparing.runs import TITLES, Run, seconds_a_step

SECONDS = Column("seconds", "s a step")
PICTURES = 4
NAMES = ("methods.csv", "methods.md", "methods.tex", "methods.png")


@dataclass
class Table:
    """What was measured.

    Args:
        space: the label space.
        lines: figures by seed of each method.
        references: of the rows that have no seeds.
        parameters: of the network from night to day, by the title of a line.
        seconds: a training step takes in each run, by the title of a line.
        shown: the translators of the sheet, by title.
    """

    space: LabelSpace
    lines: list[Line] = field(default_factory=list)
    references: list[Line] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    shown: dict[str, Translate] = field(default_factory=dict)

    def cells(self) -> list[list[str]]:
        """Return head and rows as text."""
        head, *rows = table_cells(self.lines, self.references)
        return [[*head, "parameters", SECONDS.title], *([*row, *self._costs(row[0])] for row in rows)]

    def _costs(self, title: str) -> list[str]:
        if title not in self.parameters:
            return ["", ""]
        return [f"{self.parameters[title]:,}", format_cell(SECONDS, self.seconds[title])]

    def by_seed(self) -> list[list[str]]:
        """Return head and rows of every seed, unrounded."""
        rows = [["row", "seed", *(c.key for c in COLUMNS), "parameters", SECONDS.key]]
        for line in self.lines:
            for i, seed in enumerate(line.seeds):
                costs = (str(self.parameters[line.title]), repr(self.seconds[line.title][i]))
                rows.append([line.title, str(seed), *(repr(line.figures[c.key][i]) for c in COLUMNS), *costs])
        for line in self.references:
            rows.append([line.title, "", *(repr(line.figures[c.key][0]) for c in COLUMNS), "", ""])
        return rows


def measure_runs(
    runs: Sequence[Run],
    data: Path,
    results: Mapping[str, Path],
    space: LabelSpace,
    *,
    cache: Path,
    device: torch.device | str,
    say: Callable[[str], None],
) -> Table:
    """Measure the translations of every run, and those that cost no training.

    Args:
        runs: all of them finished.
        data: holds ``valB`` and, where known, ``valB_day`` and ``valB_labels``.
        results: folders of finished pictures by the names of their rows.
        space: the label space.
        cache: where a judge that has to be trained is kept.
        device: where networks run.
        say: is told what is being done.

    Raises:
        DataError: frames, judges or pictures that cannot be used.
    """
    nights = [files["night"] for files in list_cases(data)]
    tones = tones_of(nights, runs[0].config.thermal)
    cases = find_cases(data, space, tones=tones)
    judges = None
    if "labels" in cases[0]:
        judges = find_judges(data, cache, space, steps=STEPS, device=device, say=say)
    first, second = (judges.first, judges.second) if judges else (None, None)
    table = Table(space)

    def measured(title: str, translators: Mapping[int, Translate]) -> Line:
        say(f"{title}: {len(cases)} images")
        scores = {seed: score(cases, way, first, space, second, tones) for seed, way in translators.items()}
        return make_line(title, scores, space)

    for method in dict.fromkeys(run.method for run in runs):
        of_method, title = [run for run in runs if run.method == method], TITLES[method]
        networks = {run.seed: load_translator(run.folder).to(device) for run in of_method}
        translators = {seed: run_network(network, device) for seed, network in networks.items()}
        table.lines.append(measured(title, translators))
        table.parameters[title] = sum(p.numel() for p in networks[0].parameters())
        table.seconds[title] = [seconds_a_step(run) for run in of_method]
        table.shown[title] = translators[0]
    pictures = {name: pictures_of(folder, nights) for name, folder in results.items()}
    table.shown |= pictures
    others: dict[str, Translate] = {INPUT: lambda case: case.night, TINTED: lambda case: tint(case.night), **pictures}
    if "day" in cases[0]:
        others[TRUTH] = true_day
    table.references += [measured(name, {0: way}) for name, way in others.items()]
    return table


def save(out: Path, table: Table, data: Path, runs: Sequence[Run], problems: list[str]) -> str:
    """Write ``methods.csv``, ``.md``, ``.tex`` and ``.png``; return the page.

    What cannot be written is added to ``problems``.
    """
    cells = table.cells()
    notes = "\n".join(f"- {note}" for note in notes_on(data, runs))
    page = f"{to_markdown(cells)}\n\n{notes}\n"
    texts = {"methods.csv": to_csv(table.by_seed()), "methods.md": page, "methods.tex": to_latex(cells)}
    for name, text in texts.items():
        attempt(partial(write_text, out / name, text), out / name, problems)
    tones = tones_of([files["night"] for files in list_cases(data)], runs[0].config.thermal)
    sheet = draw_translations(data, table.shown, images=PICTURES, tones=tones)
    attempt(partial(save_image, sheet, out / "methods.png"), out / "methods.png", problems)
    return page


def notes_on(data: Path, runs: Sequence[Run]) -> list[str]:
    """Return what to know of the table, in sentences."""
    config = runs[0].config
    batches = {TITLES[run.method]: run.config.batch_size for run in runs}
    usual = min(batches.values())
    larger = ", ".join(f"{title} {size}" for title, size in batches.items() if size != usual)
    return [
        f"{runs[0].steps} steps a method, preset {config.preset}, crops of {config.dataset.crop}; images of a domain "
        f"in a step: {usual}{f', {larger}' if larger else ''}.",
        f"{len(list_cases(data))} test images of {data}; ± is the standard deviation over the seeds.",
        "Parameters are those of the network from night to day. A step's seconds are the mean over the last half of "
        "the steps, on the machine of the training.",
    ]
