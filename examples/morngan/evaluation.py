"""What a run is worth: every row of the table is measured in the same way, the trivial ones included."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pytorch_msssim import ssim
from torch import Tensor, nn

from morn_losses import LabelSpace
from morn_losses.metrics import edge_scores
from morngan.config import TrainConfig, from_dict, to_dict
from morngan.data.images import DataError, list_images, read_color, read_labels, read_thermal
from morngan.files import write_atomically
from morngan.judge import (
    class_iou,
    confusion_matrix,
    hash_files,
    hash_weights,
    judge_pairs,
    load_or_train_judge,
    mean_iou,
    predict,
)
from morngan.model import MornGAN
from morngan.panels import colorize_labels, save_panel
from morngan.weights import load_translator

CLASSES_A = ("road", "building", "sky", "car", "traffic sign", "person", "motorcycle", "truck", "bus")
CLASSES_S = CLASSES_A[4:]
"""The classes of mIoU.A and of mIoU.S (section 4.2)."""

INPUT, TINTED, UNTRAINED, TRAINED, TRUTH = (
    "input",
    "tinted input",
    "untrained generator",
    "trained generator",
    "true day image",
)

RESAMPLES = 500
PANEL_ROWS = 5


@dataclass(frozen=True)
class Column:
    """A figure of the table: how it is called, multiplied and rounded. More is better in every one of them."""

    key: str
    title: str
    scale: float = 1.0
    digits: int = 3


COLUMNS = (
    Column("miou_a", "mIoU.A %", 100, 1),
    Column("miou_s", "mIoU.S %", 100, 1),
    Column("miou_all", "mIoU.all %", 100, 1),
    Column("apce", "APCE"),
    Column("edge_precision", "edge precision"),
    Column("edge_f1", "edge F1"),
    Column("psnr", "PSNR dB", 1, 2),
    Column("ssim", "SSIM"),
)


@dataclass(frozen=True)
class Case:
    """A night image with what is known about it: the same scene by day, and the labels; all of one size."""

    name: str
    night: Tensor
    day: Tensor | None = None
    labels: Tensor | None = None


Translate = Callable[[Case], Tensor]
"""From a case to a day image ``(3, H, W)`` in [-1, 1]."""


@dataclass(frozen=True)
class Figure:
    """A value and its standard error over the images; NaN where undefined."""

    value: float
    error: float


@dataclass(frozen=True)
class Row:
    """What was measured for one way of translating."""

    name: str
    figures: dict[str, Figure]
    iou: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """What was measured on one image: three edge curves, distances to the true day image, the judge's confusion."""

    edges: NDArray[np.float64]
    psnr: float
    ssim: float
    confusion: NDArray[np.int64]


# ---- the images ------------------------------------------------------------------------------------------------------


def list_cases(folder: Path, limit: int = 0) -> list[dict[str, Path]]:
    """Return the files of each night image of ``valB``: ``night`` and, where there are any, ``day`` and ``labels``.

    Raises:
        DataError: no night images, or a partner folder that lacks some of their names.
    """
    nights = list_images(folder / "valB")
    if not nights:
        raise DataError(f"{folder / 'valB'}: expected night thermal images to evaluate on, found none")
    cases = [{"night": path} for path in nights]
    for key in ("day", "labels"):
        partners = {path.stem: path for path in list_images(folder / f"valB_{key}")}
        for case in cases if partners else []:
            if case["night"].stem not in partners:
                raise DataError(f"{case['night']}: has no partner of its name in {folder / f'valB_{key}'}")
            case[key] = partners[case["night"].stem]
    return cases[: limit or None]


def read_case(files: Mapping[str, Path]) -> Case:
    """Read a case; sizes are cut to multiples of 4, which the generators need.

    Raises:
        DataError: files that cannot be used, or whose sizes differ.
    """
    night = read_thermal(files["night"])
    H, W = night.shape[-2:]
    partners: dict[str, Tensor | None] = {}
    for key, read in (("day", read_color), ("labels", read_labels)):
        partners[key] = read(files[key]) if key in files else None
        found = partners[key]
        if found is not None and found.shape[-2:] != (H, W):
            raise DataError(f"{files[key]}: is not {W} x {H}, the size of {files['night']}")
    cut = (..., slice(H - H % 4), slice(W - W % 4))
    day, labels = (None if x is None else x[cut] for x in (partners["day"], partners["labels"]))
    return Case(files["night"].stem, night[cut], day, labels)


# ---- ways of translating ---------------------------------------------------------------------------------------------


def tint(night: Tensor) -> Tensor:
    """Return the input in two colors: from the brown of asphalt (cold) to the blue of the sky (warm).

    Each channel rises linearly with the gray value, and so does the gray value of the result: all edges stay.
    """
    dark = night.new_tensor((-0.4, -0.5, -0.6))[:, None, None]
    bright = night.new_tensor((0.5, 0.7, 0.9))[:, None, None]
    return dark + (night + 1) / 2 * (bright - dark)


def true_day(case: Case) -> Tensor:
    """Return the true day image."""
    if case.day is None:
        raise ValueError(f"{case.name}: has no true day image")
    return case.day


def run_network(network: Callable[[Tensor], Tensor], device: torch.device | str = "cpu") -> Translate:
    """Return a way of translating out of a network that maps ``(1, 3, H, W)`` to the same."""

    @torch.inference_mode()
    def translate(case: Case) -> Tensor:
        return network(case.night[None].to(device))[0].float().cpu()

    return translate


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure(case: Case, translated: Tensor, judge: nn.Module | None, space: LabelSpace) -> Scores:
    """Measure one translation; what cannot be measured is NaN, or a confusion of zeros."""
    if translated.shape != case.night.shape:
        raise ValueError(f"{case.name}: expected a translation of {tuple(case.night.shape)}, got {translated.shape}")
    translated = translated.clamp(-1, 1)
    edges = edge_scores(case.night, translated)
    psnr = structure = math.nan
    if case.day is not None:
        x, y = (translated[None] + 1) / 2, (case.day[None] + 1) / 2
        error = float((x - y).double().square().mean())
        psnr = -10 * math.log10(error) if error else math.inf
        if min(x.shape[-2:]) >= 11:  # the window of SSIM
            structure = float(ssim(x, y, data_range=1.0))
    confusion = np.zeros((len(space), len(space)), np.int64)
    if judge is not None and case.labels is not None:
        confusion = confusion_matrix(predict(judge, translated), case.labels, space)
    curves = np.stack((edges.recall_curve, edges.precision_curve, edges.f1_curve))
    return Scores(curves, psnr, structure, confusion)


def _mean(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(count > 0, total, np.nan) / np.where(count > 0, count, 1)


def weighted_figures(
    scores: Sequence[Scores], counts: NDArray[np.float64], space: LabelSpace
) -> dict[str, NDArray[np.float64]]:
    """Return every figure over the images, each image taken ``counts[r, image]`` times: what a bootstrap needs.

    Args:
        scores: of N images.
        counts: float64 ``(R, N)``; a row of ones gives the figures of the set as it is.
        space: the label space of the confusions.

    Returns:
        For the key of each of ``COLUMNS`` float64 ``(R,)``.
    """
    edges = np.stack([s.edges for s in scores])
    defined = ~np.isnan(edges)
    # first over the images at each threshold, then over the thresholds, as APCE is defined
    curves = _mean(
        np.einsum("rn,nct->rct", counts, np.where(defined, edges, 0)), np.einsum("rn,nct->rct", counts, defined * 1.0)
    )
    usable = ~np.isnan(curves)
    apce, precision, f1 = _mean(np.where(usable, curves, 0).sum(-1), usable.sum(-1) * 1.0).T
    confusion = np.einsum("rn,nij->rij", counts, np.stack([s.confusion for s in scores]).astype(np.float64))
    figures = {"apce": apce, "edge_precision": precision, "edge_f1": f1}
    for key, classes in (("a", CLASSES_A), ("s", CLASSES_S), ("all", space.names)):
        figures[f"miou_{key}"] = mean_iou(confusion, [space.index(name) for name in classes])
    for key in ("psnr", "ssim"):
        values = np.array([getattr(s, key) for s in scores])
        finite = np.isfinite(values)
        # a perfect image has no finite PSNR, and a mean without it would be wrong
        figures[key] = (
            counts @ values / counts.sum(1) if bool(finite.all()) else np.full(len(counts), values[~finite][0])
        )
    return figures


def summarize(name: str, scores: Sequence[Scores], space: LabelSpace) -> Row:
    """Turn the scores of all images into a row: figures over the whole set, standard errors by bootstrap over images.

    mIoU is that of the confusion summed over the set; a class in neither truth nor prediction is skipped.
    """
    n = len(scores)
    values = weighted_figures(scores, np.ones((1, n)), space)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)
    resampled = weighted_figures(scores, draws, space)
    figures = {}
    for column in COLUMNS:
        value, again = float(values[column.key][0]), resampled[column.key]
        known = again[np.isfinite(again)]
        error = float(known.std(ddof=1)) if n > 1 and known.size > 1 and math.isfinite(value) else math.nan
        figures[column.key] = Figure(value, error)
    iou = class_iou(np.sum([s.confusion for s in scores], axis=0))
    return Row(name, figures, {c: float(v) for c, v in zip(space.names, iou, strict=True)})


def evaluate(
    cases: Iterable[Case],
    translators: Mapping[str, Translate],
    judge: nn.Module | None,
    space: LabelSpace,
    look: Callable[[int, Case, dict[str, Tensor]], None] = lambda *_: None,
) -> list[Row]:
    """Translate every case in every way and measure the results.

    Args:
        cases: read one at a time.
        translators: the rows of the table.
        judge: the segmentation network; None leaves mIoU out.
        space: its label space.
        look: is shown each case with its translations, for pictures.
    """
    scores: dict[str, list[Scores]] = {name: [] for name in translators}
    for index, case in enumerate(cases):
        images = {name: translate(case) for name, translate in translators.items()}
        for name, image in images.items():
            scores[name].append(measure(case, image, judge, space))
        look(index, case, images)
    return [summarize(name, found, space) for name, found in scores.items()]


# ---- a run -----------------------------------------------------------------------------------------------------------


def load_config(run: Path) -> TrainConfig:
    """Return the options of a run.

    Raises:
        DataError: no ``config.json``, or one that cannot be used.
    """
    path = run / "config.json"
    try:
        return from_dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected the folder of a run") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be used ({error})") from error


def evaluate_run(
    run: Path,
    space: LabelSpace,
    *,
    data: Path | None = None,
    judge_steps: int,
    judge_seed: int = 0,
    limit: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a run and write ``metrics.json``, ``metrics.md`` and ``panels/evaluation.png`` into its folder.

    Args:
        run: holds ``config.json`` and ``weights.safetensors``; the judge is kept here as ``judge.safetensors``.
        space: the label space of the data.
        data: holds ``valB`` and, where known, ``valB_day``, ``valB_labels``, ``judgeA``, ``judgeA_labels``; None is the
            data the run was trained on.
        judge_steps: training steps of the judge.
        judge_seed: of the judge.
        limit: evaluate only the first images; 0 is all of them.
        device: where networks run.
        say: is told what is being done.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        DataError: data or options that cannot be used.
        WeightsError: weights that cannot be used.
    """
    config = load_config(run)
    folder = data or (Path(config.data) if config.data else run / "scenes")
    files = list_cases(folder, limit)
    trained = load_translator(run).to(device)
    untrained = MornGAN(config.networks, len(space), config.seed, segmenters=False).eval().to(device)
    translators: dict[str, Translate] = {
        INPUT: lambda case: case.night,
        TINTED: lambda case: tint(case.night),
        UNTRAINED: run_network(untrained.translate_ba, device),
        TRAINED: run_network(trained, device),
    }
    if "day" in files[0]:
        translators[TRUTH] = true_day

    pairs = judge_pairs(folder)
    missing = [name for name, there in (("judgeA", pairs), ("valB_labels", "labels" in files[0])) if not there]
    judge, settings = None, None
    if not missing:
        judge, trained_with = load_or_train_judge(
            pairs, run / "judge.safetensors", space, steps=judge_steps, seed=judge_seed, device=device, say=say
        )
        settings = {**trained_with, "weights_sha256": hash_weights(judge)}

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
    table = evaluate((read_case(f) for f in files), translators, judge, space, look)
    save_panel(run / "panels" / "evaluation.png", rows, titles)
    result = _result(config, folder, files, table, settings, _notes(missing, "day" in files[0], judge is not None))
    write_atomically(run / "metrics.json", (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
    write_atomically(run / "metrics.md", to_markdown(result).encode())
    return result


def _notes(missing: Sequence[str], has_day: bool, judged: bool) -> list[str]:
    notes = ["± is the standard error over the images (bootstrap). More is better in every column."]
    if judged:
        notes.append(
            "mIoU: a segmentation network trained apart, on true day images and labels only, reads the translations. "
            "mIoU.A is over " + ", ".join(CLASSES_A) + "; mIoU.S over the last five; mIoU.all over all classes. "
            "Classes in neither truth nor prediction are skipped."
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
    judge: Mapping[str, str | int] | None,
    notes: Sequence[str],
) -> dict[str, Any]:
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
        "judge": judge,
        "columns": [{"key": c.key, "title": c.title, "scale": c.scale, "digits": c.digits} for c in COLUMNS],
        "rows": [
            {
                "name": row.name,
                "figures": {
                    key: {"value": _finite(f.value), "error": _finite(f.error)} for key, f in row.figures.items()
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


# ---- showing ---------------------------------------------------------------------------------------------------------


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
        found = [row["iou"][name] for row in result["rows"]]
        rows.append([name, *("-" if value is None else f"{100 * value:.1f}" for value in found)])
    return head, rows


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the tables and the notes as Markdown."""
    parts = []
    for head, rows in (format_cells(result), format_classes(result)):
        if rows:
            lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
            parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    parts.append("\n".join(f"- {note}" for note in result["notes"]))
    return "\n\n".join(parts) + "\n"
