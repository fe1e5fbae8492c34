"""From finished runs to the files of a study: tables, figures, panels, and their place in the docs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig, to_dict
from ntir2dc.data.images import save_image
from ntir2dc.evaluation import COLUMNS, list_cases
from ntir2dc.evaluation.formats import to_csv, to_latex, to_markdown
from ntir2dc.files import attempt, write_atomically, write_text
from studies.ablations.contrasts import RESAMPLES
from studies.ablations.design import TABLES, Base, Row, Table
from studies.ablations.frozen import REFERENCES, Frozen, reference_path
from studies.ablations.pictures import draw_figure, draw_panels
from studies.ablations.runs import find_state, make_runs
from studies.ablations.scoring import load_scores
from studies.ablations.tables import (
    Line,
    Results,
    class_cells,
    compare,
    contrast_cells,
    difference_cells,
    figures_csv,
    log_cells,
    make_line,
    make_lines,
    mean_and_spread,
    table_cells,
)

SIDE = {
    "pseudo_labels.md": (
        "How right the pseudo-labels are",
        "At the end of the fifth phase, of which all rows from + SDP on take their segmenters, on the test images; "
        "± is over seeds. A dash: no pixel was called so.",
    ),
    "true_labels.md": (
        "The last phase with true thermal labels",
        "From the same states before the last phase; differences are paired, with 95% intervals as above.",
    ),
    "true_labels_clusters.md": (
        "Table 7 with true thermal labels",
        "The row + MGCA with other numbers of clusters, from the same states before the last phase, where ACA has "
        "something to cluster. Without ACA the memory's partners are left.",
    ),
}
"""What other studies may have left in the folder of results: heading and remark."""
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass(frozen=True)
class Found:
    """The finished runs of a study: scores and records (``done.json``) by row and seed."""

    scores: Results
    records: Mapping[str, Mapping[int, Mapping[str, Any]]]


def collect(out: Path, base: TrainConfig, rows: Mapping[str, Row], frozen: Frozen) -> Found:
    """Find every finished run of a study that was made with these options, scenes and judge."""
    scores: dict[str, dict[int, Any]] = {}
    records: dict[str, dict[int, Any]] = {}
    for row in rows.values():
        names = [path.name.removeprefix("seed_") for path in (out / "rows" / row.name).glob("seed_*")]
        for run in make_runs(out, base, [row], sorted(int(name) for name in names if name.isdigit()), frozen):
            if find_state(run, frozen)[0] == "done":
                scores.setdefault(row.name, {})[run.seed] = load_scores(run.folder / "scores.npz")
                records.setdefault(row.name, {})[run.seed] = json.loads((run.folder / "done.json").read_text())
    return Found(scores, records)


def facts(base: Base, frozen: Frozen, scored: Found) -> list[str]:
    """Return what identifies the numbers: scenes, judge, budget, code and machine."""
    records = [record for by_seed in scored.records.values() for record in by_seed.values()]
    options = base.config
    judge = "no judge" if frozen.judge_sha256 is None else f"judge {frozen.judge_sha256[:12]}"
    judge += "" if frozen.second_sha256 is None else f", second judge {frozen.second_sha256[:12]}"
    budget = ", ".join(f"{steps} steps" for steps in sorted({record["steps"] for record in records}))
    made_by = {
        code for record in records for code in (record["identity"]["code_sha256"], *record.get("began_with", []))
    }
    code = sorted(code[:12] for code in made_by)
    lines = [
        f"Scenes {frozen.scenes_sha256[:12]}, {judge} (SHA-256); {len(list_cases(frozen.data))} test images.",
        f"Every row: {budget} of batch {options.batch_size}, crop {options.dataset.crop}, generator width "
        f"{options.networks.generator_width}; code {', '.join(code)}.",
        f"Made on: {'; '.join(sorted({record['machine'] for record in records}))}.",
    ]
    if len(code) > 1:
        lines.append(
            "The rows were not all made by the same code: library or trainer changed between them (--same_code true)."
        )
    return lines


def table_csv(lines: Sequence[Line], hashes: Mapping[str, str | None]) -> str:
    """Return means and standard deviations over seeds, unrounded, with the hashes of scenes and judge."""
    head = ["row", "seeds", *(f"{c.key}_{part}" for c in COLUMNS for part in ("mean", "sd")), *hashes]
    rows = []
    for line in lines:
        values = (repr(v) for c in COLUMNS for v in mean_and_spread(line.figures[c.key]))
        rows.append([line.title, len(line.seeds), *values, *hashes.values()])
    return to_csv([head, *rows])


def write_results(
    out: Path, base: Base, frozen: Frozen, rows: Mapping[str, Row], space: LabelSpace, problems: list[str]
) -> str:
    """Write everything that the finished runs allow into ``out/results``; return the page, ``results.md``.

    What cannot be written is added to ``problems``.
    """
    folder = out / "results"
    collected = collect(out, base.config, rows, frozen)
    if not collected.scores:
        return ""
    titles = {row.name: row.title for row in rows.values()}
    references = [
        make_line(name, {0: load_scores(reference_path(out, name))}, space)
        for name in REFERENCES
        if reference_path(out, name).is_file()
    ]
    about = facts(base, frozen, collected)
    remarks = "".join(f"% {line}\n" for line in about)
    compared = compare(collected.scores, space)
    parts: list[str] = []

    def write(name: str, text: str) -> None:
        attempt(partial(write_text, folder / name, text), folder / name, problems)

    def draw(name: str, picture: Image.Image) -> None:
        attempt(partial(save_image, picture, folder / name), folder / name, problems)

    write("figures.csv", figures_csv(collected.scores, space, frozen.hashes()))
    for table in TABLES.values():
        lines = make_lines(table, titles, collected.scores, space)
        # a table that only repeats rows of Table 5 says nothing new
        if not lines or not set(table.rows) & set(collected.scores) - _repeated(table):
            continue
        cells = table_cells(lines, references)
        write(f"{table.name}.csv", table_csv([*lines, *references], frozen.hashes()))
        classes = class_cells([*lines, *references])
        write(f"{table.name}.tex", remarks + to_latex(cells) + "\n" + to_latex(classes))
        shown = compared if table.name == "table5" else []
        picture = draw_figure(lines, shown, titles, table.title, about)
        draw(f"{table.name}.png", picture)
        logs = [
            (table.titles.get(name, titles[name]), [record["log"] for record in collected.records[name].values()])
            for name in table.rows
            if name in collected.records
        ]
        part = f"### {table.title}\n\n{to_markdown(cells)}\n\n![{table.title}](PICTURES{table.name}.png)\n"
        part += f"\n{to_markdown(classes)}\n" if frozen.judge_sha256 else ""
        if table.name == "table5":
            contrasts = contrast_cells(compared, titles)
            write("contrasts.csv", to_csv(contrasts))
            write("contrasts.tex", remarks + to_latex(contrasts, left=3))
            part += f"\nThe contrasts stated beforehand:\n\n{to_markdown(contrasts, left=3)}\n"
        named = {
            table.titles.get(name, titles[name]): collected.scores[name]
            for name in table.rows
            if name in collected.scores
        }
        pairs = [(table.titles.get(a, titles[a]), table.titles.get(b, titles[b])) for a, b in table.pairs]
        differences = difference_cells(pairs, named, space)
        if len(differences) > 1:
            part += f"\nPaired differences, of which nothing was claimed beforehand:\n\n{to_markdown(differences)}\n"
        part += (
            f"\nWhat the modules had to work with in the last phase, and the time:\n\n{to_markdown(log_cells(logs))}\n"
        )
        write(f"{table.name}.md", "\n".join(about) + "\n\n" + part.replace("PICTURES", ""))
        parts.append(part)
    for name, (heading, remark) in SIDE.items():
        if (folder / name).is_file():
            parts.append(f"### {heading}\n\n{remark}\n\n{(folder / name).read_text(encoding='utf-8')}")
    columns = _panel_columns(out, collected)
    draw("panels.png", draw_panels(frozen.data, columns))
    parts.append(
        "### What it looks like\n\nTest images at equal distances over the set.\n\n![Panels](PICTURESpanels.png)\n"
    )
    notes = (
        "A cell is the mean over seeds ± their standard deviation. An interval is over seeds and test images "
        f"({RESAMPLES} resamples).",
        "The rows of Table 5 are cumulative in the paper's order SC, SDP, MGCA, CGR, SR, also where rows are missing.",
    )
    page = "\n".join(f"- {line}" for line in (*about, *notes)) + "\n\n" + "\n".join(parts)
    write("results.md", page.replace("PICTURES", ""))
    return page


def _repeated(table: Table) -> set[str]:
    return set() if table.name == "table5" else set(TABLES["table5"].rows)


def _panel_columns(out: Path, scored: Found) -> dict[str, Path]:
    """Return the runs that the panels show: baseline and full where there are any, of their first common seed."""
    names = [name for name in ("baseline", "full") if name in scored.scores] or list(scored.scores)[:2]
    common = set.intersection(*(set(scored.scores[name]) for name in names))
    seeds = {name: min(common or set(scored.scores[name])) for name in names}
    return {f"{name}, seed {seeds[name]}": out / "rows" / name / f"seed_{seeds[name]}" for name in names}


def update_docs(page: str, results: Path, target: Path) -> None:
    """Put the page between the marks of a page of the docs, and its pictures, with that one's name, into ``pictures``.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = target.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{target}: expected the marks {BEGIN} and {END}")
    pictures = target.parent / "pictures"
    for picture in sorted(results.glob("*.png")):
        if f"PICTURES{picture.name}" in page:
            pictures.mkdir(exist_ok=True)
            shutil.copyfile(picture, pictures / f"{target.stem}_{picture.name}")
    text = page.replace("PICTURES", f"pictures/{target.stem}_")
    write_atomically(target, f"{before}{BEGIN}\n\n{text}\n{END}{after}".encode())


def save_base(out: Path, base: Base) -> None:
    """Write the base of the study, ``base.json``, for whoever reads the tables later."""
    text = json.dumps({"judge": base.judge, "judge_steps": base.judge_steps, "config": to_dict(base.config)}, indent=2)
    write_atomically(out / "base.json", (text + "\n").encode())
