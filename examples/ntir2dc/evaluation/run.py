"""The evaluation of a run: its generator and the rows to compare with, written as table and pictures."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig, from_stored, to_dict
from ntir2dc.data.images import DataError, list_images
from ntir2dc.data.thermal import tell_tones, tones_of
from ntir2dc.evaluation.cases import (
    INPUT,
    TINTED,
    TRAINED,
    TRUTH,
    UNTRAINED,
    Case,
    Translate,
    find_cases,
    list_cases,
    read_case,
    run_network,
    tint,
    true_day,
)
from ntir2dc.evaluation.figures import CLASSES_A, COLUMNS, SECOND, Row, evaluate
from ntir2dc.evaluation.tables import to_markdown
from ntir2dc.files import attempt, check_writable, write_text
from ntir2dc.judge import Choice, Judges, find_judges, hash_files, predict
from ntir2dc.methods import METHODS
from ntir2dc.run.contact_sheet import colorize_labels, save_sheet
from ntir2dc.run.weights import load_translator, thermal_of

PANEL_ROWS = 5


def load_config(run: Path) -> TrainConfig:
    """Return the options of a run.

    Raises:
        DataError: no ``config.json``, or one that cannot be used.
    """
    path = run / "config.json"
    try:
        return from_stored(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected the folder of a run") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be used ({error})") from error


def data_of(run: Path, config: TrainConfig) -> Path:
    """Return the folder that a run was trained on.

    Raises:
        DataError: it is not there: moved, or named from another folder than this command is called from.
    """
    if config.data is None:
        return run / "scenes"
    folder = Path(config.data)
    if not folder.is_dir():
        where = "" if folder.is_absolute() else f", and {config.data} is a path from where training was started"
        raise DataError(f"{folder.absolute()}: no such folder. The run was trained on it{where}; name it with --data")
    return folder


def evaluate_run(
    run: Path,
    space: LabelSpace,
    *,
    data: Path | None = None,
    choice: Choice = "auto",
    judge_steps: int,
    judge_seed: int = 0,
    limit: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
    problems: list[str] | None = None,
) -> dict[str, Any]:
    """Evaluate a run and write ``metrics.json``, ``metrics.md`` and ``panels/evaluation.png`` into its folder.

    Args:
        run: holds ``config.json`` and ``weights.safetensors``; a judge that is trained is kept here as
            ``judge.safetensors``.
        space: the label space of the data.
        data: holds ``valB`` and, where known, ``valB_day``, ``valB_labels``, ``judgeA``, ``judgeA_labels``; None is the
            data the run was trained on.
        choice: of the judge, see :func:`ntir2dc.judge.find_judges`.
        judge_steps: training steps of a judge that is trained.
        judge_seed: of such a judge.
        limit: evaluate only the first images; 0 is all of them.
        device: where networks run.
        say: is told what is being done.
        problems: is told what could not be written while the rest was; None raises it.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        DataError: data or options that cannot be used.
        WeightsError: weights that cannot be used.
    """
    config = load_config(run)
    folder = data or data_of(run, config)
    check_writable(run)
    # of all frames, whatever the limit
    tones = tones_of([files["night"] for files in list_cases(folder)], thermal_of(run))
    if (line := tell_tones(tones, folder / "valB")) is not None:
        say(line)
    files = find_cases(folder, space, limit, tones)
    trained = load_translator(run).to(device)
    untrained = METHODS[config.method].untrained_translator(config, len(space)).eval().to(device)
    translators: dict[str, Translate] = {
        INPUT: lambda case: case.night,
        TINTED: lambda case: tint(case.night),
        UNTRAINED: run_network(untrained, device),
        TRAINED: run_network(trained, device),
    }
    if "day" in files[0]:
        translators[TRUTH] = true_day

    labeled = "labels" in files[0]
    judges = None
    if labeled:
        judges = find_judges(
            folder, run / "judge.safetensors", space,
            choice=choice, steps=judge_steps, seed=judge_seed, device=device, say=say,
        )  # fmt: skip
    needed = {"judgeA": bool(list_images(folder / "judgeA")), "valB_labels": labeled}
    missing = [] if judges else [name for name, there in needed.items() if not there]
    judge, second = (judges.first, judges.second) if judges else (None, None)

    stride = max(1, len(files) // PANEL_ROWS)
    rows: list[list[Tensor | Image.Image]] = []
    titles: list[str] = []

    def look(index: int, case: Case, images: dict[str, Tensor]) -> None:
        if index % stride or len(rows) == PANEL_ROWS:
            return
        shown: dict[str, Tensor | Image.Image] = {"night input": case.night, **images}
        shown.pop(INPUT)
        if judge is not None:
            shown["judge on trained"] = colorize_labels(predict(judge, images[TRAINED]), space)
        if case.labels is not None:
            shown["true labels"] = colorize_labels(case.labels, space)
        rows.append(list(shown.values()))
        titles[:] = list(shown)

    say(f"evaluating {len(files)} night images of {folder / 'valB'}")
    table = evaluate((read_case(f, tones=tones) for f in files), translators, judge, space, look, second)
    result = _result(config, folder, files, table, judges, _notes(missing, "day" in files[0], judges))
    outputs: dict[str, Callable[[Path], None]] = {
        "metrics.json": partial(write_text, text=json.dumps(result, indent=2, allow_nan=False) + "\n"),
        "metrics.md": partial(write_text, text=to_markdown(result)),
        "panels/evaluation.png": partial(save_sheet, rows=rows, titles=titles),
    }
    unwritten: list[str] = []
    for name, write in outputs.items():
        attempt(partial(write, run / name), run / name, unwritten)
    if problems is None and unwritten:
        raise DataError("; ".join(unwritten))
    if problems is not None:
        problems += unwritten
    return result


def _notes(missing: Sequence[str], has_day: bool, judges: Judges | None) -> list[str]:
    notes = ["± is the standard error over the images (bootstrap). More is better in every column."]
    if judges:
        notes.append(
            "mIoU: a segmentation network trained apart, on true day images and labels only, reads the translations. "
            "mIoU.A is over " + ", ".join(CLASSES_A) + "; mIoU.S over the last five; mIoU.all over all classes. "
            "Classes in neither truth nor prediction are skipped."
        )
        if judges.second:
            notes.append(
                "Judge b is a network of another architecture, trained on other scenes: what one judge alone says of a "
                "difference is not to be trusted. The other columns, the classes and the picture are of judge a."
            )
        if has_day:
            notes.append(
                f"The row '{TRUTH}' is what that network scores on the real thing, to compare the other rows with."
            )
    else:
        notes.append(f"mIoU is left out (-): the data has no {' and no '.join(missing)}.")
    notes.append(
        "APCE is a recall of the input's edges: the input itself and a tinted copy of it have the highest possible "
        "APCE, precision and F1 without any translation. Edge figures only mean something beside the other columns."
    )
    if has_day:
        notes.append("PSNR and SSIM compare with the true day image of the same scene.")
    else:
        notes.append("PSNR, SSIM and the row of the true day image are left out (-): the data has no valB_day.")
    return notes


def _result(
    config: TrainConfig,
    folder: Path,
    files: Sequence[Mapping[str, Path]],
    table: Sequence[Row],
    judges: Judges | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    columns = [c for c in COLUMNS if c.key not in SECOND or (judges and judges.second)]
    parameters = json.dumps(to_dict(config)["dataset"], sort_keys=True)
    return {
        "preset": config.preset,
        "variant": config.variant,
        "seed": config.seed,
        "data": {
            "folder": str(folder),
            "images": len(files),
            "parameters_sha256": hashlib.sha256(parameters.encode()).hexdigest(),
            "images_sha256": hash_files(path for case in files for path in case.values()),
        },
        "judge": judges.facts if judges else None,
        "columns": [{"key": c.key, "title": c.title, "scale": c.scale, "digits": c.digits} for c in columns],
        "rows": [
            {
                "name": row.name,
                "figures": {
                    c.key: {"value": _finite(row.figures[c.key].value), "error": _finite(row.figures[c.key].error)}
                    for c in columns
                },
                "iou": {name: _finite(value) for name, value in row.iou.items()},
            }
            for row in table
        ],
        "notes": list(notes),
    }


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None
