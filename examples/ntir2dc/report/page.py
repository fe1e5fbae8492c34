"""The page of a run: what there is, put into the template, and a list of what is missing."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ntir2dc.data.images import DataError
from ntir2dc.files import write_text
from ntir2dc.report.curves import charts
from ntir2dc.report.edges import edge_charts
from ntir2dc.report.pictures import embed, panels
from ntir2dc.report.tables import collaboration, draw, facts, metric_tables, phase_table
from ntir2dc.run.log import read_log

TRAINING = ("config.json", "log.csv", "checkpoints", "weights.safetensors")
PARTS = (*TRAINING, "metrics.json", "panels")
"""What a run leaves, of which a report takes what there is; an evaluation of pictures leaves the last two."""


def make_report(run: Path) -> str:
    """Return the page of a run.

    Raises:
        DataError: no such folder, or nothing of a run in it.
    """
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; expected that of a run")
    if not any((run / name).exists() for name in PARTS):
        raise DataError(f"{run}: is not the folder of a run; it holds none of {', '.join(PARTS)}")
    missing: list[str] = []
    trained = any((run / name).exists() for name in TRAINING)
    # what only a training leaves is not missing from an evaluation of pictures
    lacks = missing if trained else []
    config = _read_json(run / "config.json", "No config.json, so preset and options are unknown.", lacks) or {}
    rows = _read_rows(run / "log.csv")
    if not rows:
        lacks.append("No curves: log.csv is missing or empty.")
    if not (run / "tensorboard").is_dir():
        lacks.append("No TensorBoard log; the curves below come from log.csv and do not need it.")
    absent = (
        f"Not evaluated yet: no metrics.json. Make it with: python examples/evaluate.py --run {shlex.quote(str(run))}"
    )
    result = _read_json(run / "metrics.json", absent, missing)
    metrics = metric_tables(result, missing) if result is not None else None
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
    return environment.get_template("page.html.j2").render(
        name=run.resolve().name,
        draw=draw,
        facts=facts(config, rows),
        metrics=metrics,
        edges=edge_charts(result, missing) if metrics and result is not None else None,
        what="one training run" if trained else "an evaluation of pictures",
        evaluation=evaluation,
        phases=phase_table(rows) if rows else None,
        charts=charts(rows, window) if rows else [],
        window=window,
        collaboration=collaboration(rows) if rows else None,
        panels=panels(run, lacks),
        options=json.dumps(config, indent=2) if config else None,
        missing=missing,
    )


def write_report(run: Path) -> Path:
    """Write the page of a run as ``report.html`` into its folder and return its path.

    Raises:
        DataError: no such folder.
    """
    path = run / "report.html"
    write_text(path, make_report(run))
    return path


def _read_rows(log: Path) -> list[dict[str, str]]:
    try:
        return [row for row in read_log(log) if str(row.get("step") or "").isdigit()] if log.is_file() else []
    except (ValueError, csv.Error):  # bytes that are no text
        return []


def _read_json(path: Path, absent: str, missing: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        missing.append(absent)
        return None
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({error}).")
        return None
    if not isinstance(loaded, dict):
        missing.append(f"{path.name} cannot be used: it holds no JSON object.")
        return None
    return loaded
