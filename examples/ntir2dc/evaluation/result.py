"""What an evaluation found, as plain values with what is to be known of them: what ``metrics.json`` holds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntir2dc.config import TrainConfig, to_dict
from ntir2dc.evaluation.cases import TRUTH
from ntir2dc.evaluation.figures import CLASSES_A, COLUMNS, SECOND, Row
from ntir2dc.judge import Judges, hash_files


def notes_on(missing: Sequence[str], has_day: bool, judges: Judges | None) -> list[str]:
    """Return what to know of the table, in sentences."""
    notes = ["± is the standard error over the images (bootstrap). More is better in every column."]
    if judges:
        teacher, unknown = judges.facts.get("teacher"), judges.facts.get("unknown")
        apart = "a segmentation network trained apart, on true day images and labels only,"
        notes.append(
            f"mIoU: {f'the pretrained network {teacher}' if teacher else apart} reads the translations. "
            "mIoU.A is over " + ", ".join(CLASSES_A) + "; mIoU.S over the last five; mIoU.all over all classes. "
            "Classes in neither truth nor prediction are skipped."
        )
        if unknown:
            notes.append(f"{teacher} does not know {unknown}: their IoU is 0 where they occur.")
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


def describe(
    config: TrainConfig | None,
    folder: Path,
    files: Sequence[Mapping[str, Path]],
    table: Sequence[Row],
    judges: Judges | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return what ``metrics.json`` holds of all that is measured on every image."""
    columns = [c for c in COLUMNS if c.key not in SECOND or (judges and judges.second)]
    thresholds = table[0].edges.shape[1]
    facts: dict[str, Any] = {}
    if config is not None:
        parameters = json.dumps(to_dict(config)["dataset"], sort_keys=True)
        facts["parameters_sha256"] = hashlib.sha256(parameters.encode()).hexdigest()
        facts["trained_on"] = config.data
    return {
        **({"preset": config.preset, "variant": config.variant, "seed": config.seed} if config else {}),
        "data": {
            "folder": str(folder),
            "images": len(files),
            **facts,
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
        "edges": {
            "thresholds": [round(j / (thresholds + 1), 4) for j in range(1, thresholds + 1)],
            "rows": {
                row.name: {
                    name: [_finite(round(value, 5)) for value in curve]
                    for name, curve in zip(("apce", "precision", "f1"), row.edges.tolist(), strict=True)
                }
                for row in table
            },
        },
        "notes": list(notes),
    }


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None
