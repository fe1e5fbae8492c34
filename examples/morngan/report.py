"""A run as one self-contained HTML page: facts, metrics, curves and pictures. What is missing is named on the page."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from morngan.data.images import DataError
from morngan.evaluation import TRAINED, format_cells, format_classes
from morngan.files import write_atomically
from morngan.log import read_log
from morngan.schedule import Phase

MAX_POINTS = 400
MAX_PNG_BYTES = 400_000

ABOUT = {
    "total": "L_all, the sum of the weighted terms",
    "adv": "adversarial, generators",
    "cyc": "cycle: distance, and SSIM from phase 2 on",
    "tv": "total variation",
    "sga": "structured gradient alignment",
    "mono": "monochromatic regularization",
    "temp": "temperature regularization",
    "seg_ra": "segmentation, real day images",
    "seg_fb": "segmentation, fake thermal images",
    "seg_rb": "segmentation, real thermal images",
    "seg_fa": "segmentation, fake day images",
    "aca": "adaptive collaborative attention",
    "cgr": "conditional gradient repair",
    "sr": "scale robustness",
    "disc_a": "discriminators of day images",
    "disc_b": "discriminators of thermal images",
    "mined": "share of thermal pixels with a mined label",
    "seconds": "wall time of a step",
}
_NO_CURVE = ("step", "epoch", "phase", "pair_shared", "pair_random")
_PRESENT = "aca_present_"


@dataclass(frozen=True)
class HtmlTable:
    """A table of text; ``marked`` names the row that stands out."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: str | None = None


@dataclass(frozen=True)
class Series:
    """The defined values of a column of the log."""

    steps: np.ndarray
    values: np.ndarray


# ---- the log ---------------------------------------------------------------------------------------------------------


def series(rows: Sequence[Mapping[str, str]], column: str) -> Series:
    """Return the finite values of a column; a phase that does not compute it leaves its cells empty."""
    steps, values = [], []
    for row in rows:
        try:
            step, value = int(row["step"]), float(row[column])
        except (KeyError, TypeError, ValueError):
            continue  # an empty cell, or a line that was cut off
        if math.isfinite(value):
            steps.append(step)
            values.append(value)
    return Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the last ``window`` values at each position; of fewer at the start."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    averages: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return averages


def phase_starts(rows: Sequence[Mapping[str, str]]) -> list[tuple[int, int]]:
    """Return (first step, phase) of each phase, as the log shows them."""
    found = series(rows, "phase")
    starts: list[tuple[int, int]] = []
    for step, phase in zip(found.steps.tolist(), found.values.tolist(), strict=True):
        if not starts or starts[-1][1] != int(phase):
            starts.append((step, int(phase)))
    return starts


def svg_curve(curve: Series, span: tuple[int, int], starts: Sequence[tuple[int, int]], window: int) -> Markup:
    """Draw a curve with its moving average over the steps of ``span``, with the phases marked.

    At most 400 points are drawn of each line. Values beyond the 1st and 99th percentile are drawn at the border, since
    a single spike would flatten everything else.
    """
    width, height, left, right, top, bottom = 340, 150, 46, 6, 14, 18
    first, last = span
    low, high = (float(v) for v in np.percentile(curve.values, (1, 99)))
    if high - low <= 1e-9 * max(abs(high), abs(low)):
        low, high = low - max(abs(low), 1) * 0.1, high + max(abs(high), 1) * 0.1

    def x(step: float) -> float:
        return left + (width - left - right) * (step - first) / max(1, last - first)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return height - bottom - (height - top - bottom) * share

    kept = np.unique(np.linspace(0, len(curve.steps) - 1, min(MAX_POINTS, len(curve.steps))).round().astype(int))

    def line(values: np.ndarray, kind: str) -> str:
        points = " ".join(f"{x(curve.steps[i]):.1f},{y(values[i]):.1f}" for i in kept)
        return f'<polyline class="{kind}" points="{points}"/>'

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img">']
    ends = [step for step, _ in starts[1:]] + [last]
    for (start, phase), end in zip(starts, ends, strict=True):
        begin, length = x(start), x(end) - x(start)
        if phase % 2 == 0:
            parts.append(
                f'<rect class="band" x="{begin:.1f}" y="{top}" width="{length:.1f}" height="{height - top - bottom}"/>'
            )
        if start > first:
            parts.append(f'<line class="phase" x1="{begin:.1f}" x2="{begin:.1f}" y1="{top}" y2="{height - bottom}"/>')
        if length > 8:
            parts.append(f'<text x="{begin + length / 2:.1f}" y="{top - 4}" text-anchor="middle">{phase}</text>')
    parts.append(
        f'<rect class="frame" x="{left}" y="{top}" width="{width - left - right}" height="{height - top - bottom}"/>'
    )
    for value in (low, (low + high) / 2, high):
        parts.append(f'<text x="{left - 5}" y="{y(value) + 3.5:.1f}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{left}" y="{height - 5}">{first}</text>')
    parts.append(f'<text x="{width - right}" y="{height - 5}" text-anchor="end">{last}</text>')
    parts += [line(curve.values, "raw"), line(moving_average(curve.values, window), "mean"), "</svg>"]
    return Markup("".join(parts))  # numbers only


def _charts(rows: Sequence[Mapping[str, str]], window: int) -> list[dict[str, Any]]:
    steps = series(rows, "step").steps
    columns = [c for c in rows[0] if c is not None and c not in _NO_CURVE and not c.startswith(_PRESENT)]
    columns.sort(key=lambda c: (c != "total", c == "seconds"))  # the sum first, the time last
    starts = phase_starts(rows)
    charts = []
    for column in columns:
        curve = series(rows, column)
        if len(curve.values):
            svg = svg_curve(curve, (int(steps[0]), int(steps[-1])), starts, window)
            charts.append({"name": column, "about": ABOUT.get(column, ""), "svg": svg})
    return charts


def _phases(rows: Sequence[Mapping[str, str]]) -> HtmlTable | None:
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


def _collaboration(rows: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
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
        counts = series(rows, column).values if column and column.startswith(_PRESENT) else np.empty(0)
        if len(counts):
            name = column.removeprefix(_PRESENT).replace("_", " ")
            body.append([name, str(int((counts > 0).sum())), str(len(counts)), f"{(counts > 0).mean():.1%}"])
    if body:
        texts.append("ACA compares a class where both images hold enough of it:")
    found = HtmlTable("", ("class", "steps found", "of steps", "share"), body) if body else None
    return {"texts": texts, "found": found} if texts else None


# ---- pictures --------------------------------------------------------------------------------------------------------


def embed(path: Path, title: str) -> dict[str, str]:
    """Return a picture as a data URI; a large PNG becomes a JPEG.

    Raises:
        DataError: a file that is no picture.
    """
    data = path.read_bytes()
    kind = "png"
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if len(data) > MAX_PNG_BYTES:
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, format="JPEG", quality=88)
                data, kind = buffer.getvalue(), "jpeg"
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path.name}: cannot be read as an image ({error})") from error
    return {"title": title, "source": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}


def _panels(run: Path, missing: list[str]) -> list[dict[str, str]]:
    paths = sorted((run / "panels").glob("step_*.png"))
    if not paths:
        missing.append("No sample panels: the folder panels holds no step_*.png.")
    chosen = sorted({0, len(paths) // 2, len(paths) - 1}) if paths else []
    pictures = []
    for index in chosen:
        step = paths[index].stem.removeprefix("step_").lstrip("0") or "0"
        try:
            pictures.append(embed(paths[index], f"After step {step}"))
        except DataError as error:
            missing.append(f"A sample panel is left out. {error}")
    return pictures


# ---- the page --------------------------------------------------------------------------------------------------------


def _read_json(path: Path, absent: str, missing: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        missing.append(absent)
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({error}).")
        return None
    if not isinstance(found, dict):
        missing.append(f"{path.name} cannot be used: it holds no JSON object.")
        return None
    return found


def _metrics(run: Path, missing: list[str]) -> dict[str, Any] | None:
    absent = f"Not evaluated yet: no metrics.json. Make it with: python examples/evaluate.py --run {run}"
    result = _read_json(run / "metrics.json", absent, missing)
    if result is None:
        return None
    try:
        figures, classes = format_cells(result), format_classes(result)
        tables = [HtmlTable("Figures", *figures, marked=TRAINED)]
        if classes[1]:
            tables.append(HtmlTable("IoU of each class", *classes))
        judge, data = result["judge"], result["data"]
        notes = [str(note) for note in result["notes"]]
        notes.append(f"Measured on {data['images']} images of {data['folder']}.")
        if judge:
            notes.append(
                f"The segmentation network: {judge['steps']} training steps on {judge['images']} images, "
                f"seed {judge['seed']}, weights {judge['weights_sha256'][:12]}."
            )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        missing.append(f"metrics.json cannot be used ({type(error).__name__}: {error}).")
        return None
    return {"tables": tables, "notes": notes}


def _facts(config: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    facts = [(key, str(config[key])) for key in ("preset", "variant", "seed") if key in config]
    if "data" in config:
        facts.append(("data", str(config["data"] or "procedural scenes")))
    facts += [(key.replace("_", " "), str(config[key])) for key in ("epochs", "batch_size", "lr") if key in config]
    if rows:
        seconds = series(rows, "seconds").values
        facts += [
            ("steps", str(len(rows))),
            ("training time", _duration(float(seconds.sum()))),
            ("seconds a step", f"{seconds.mean():.2f}" if len(seconds) else "-"),
        ]
    modules = config.get("modules")
    if isinstance(modules, dict):
        facts.append(("modules", " ".join(key for key, on in modules.items() if on) or "none"))
    return [
        *facts,
        ("page made on", platform.platform()),
        ("processors", str(os.cpu_count())),
        ("torch", torch.__version__),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{seconds:.0f} s ({hours}:{minutes:02d}:{rest:02d})"


def _draw(table: HtmlTable) -> Markup:
    """Return a table as HTML; every cell is escaped."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)

    body = "".join(
        ('<tr class="trained">' if table.marked and cells[0] == table.marked else "<tr>") + row(cells, "td") + "</tr>"
        for cells in table.rows
    )
    return Markup(f"<table><thead><tr>{row(table.head, 'th')}</tr></thead><tbody>{body}</tbody></table>")


def make_report(run: Path) -> str:
    """Return the page of a run.

    Raises:
        DataError: no such folder.
    """
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; expected that of a run")
    missing: list[str] = []
    config = _read_json(run / "config.json", "No config.json, so preset and options are unknown.", missing) or {}
    log = run / "log.csv"
    rows = [row for row in read_log(log) if str(row.get("step") or "").isdigit()] if log.is_file() else []
    if not rows:
        missing.append("No curves: log.csv is missing or empty.")
    if not (run / "tensorboard").is_dir():
        missing.append("No TensorBoard log; the curves below come from log.csv and do not need it.")
    metrics = _metrics(run, missing)
    evaluation = None
    if (run / "panels" / "evaluation.png").is_file():
        try:
            evaluation = embed(run / "panels" / "evaluation.png", "Images of the evaluation, at a fixed stride")
        except DataError as error:
            missing.append(f"The evaluation's picture is left out. {error}")
    else:
        missing.append("No picture of the evaluation: panels/evaluation.png is missing.")
    window = max(2, len(rows) // 40)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=run.resolve().name,
        draw=_draw,
        facts=_facts(config, rows),
        metrics=metrics,
        evaluation=evaluation,
        phases=_phases(rows) if rows else None,
        charts=_charts(rows, window) if rows else [],
        window=window,
        collaboration=_collaboration(rows) if rows else None,
        panels=_panels(run, missing),
        options=json.dumps(config, indent=2) if config else None,
        missing=missing,
    )


def write_report(run: Path) -> Path:
    """Write the page of a run as ``report.html`` into its folder and return its path.

    Raises:
        DataError: no such folder.
    """
    path = run / "report.html"
    write_atomically(path, make_report(run).encode())
    return path
