"""Evaluate a run or folders of pictures: mIoU, edges, PSNR, SSIM, objects, distances, beside rows that cost nothing.

python examples/evaluate.py --run runs/demo
python examples/evaluate.py --run runs/flir --data data/kaist --out runs/flir_on_kaist
python examples/evaluate.py --run runs/flir --boxes valB_boxes.json --detections found.json
python examples/evaluate.py --data data/flir --results ours=day/ peer=peer_day/ --out runs/both
python examples/evaluate.py --run runs/flir --features inception.pt
python examples/evaluate.py --run runs/demo --detector runs/detector/detector.safetensors
python examples/evaluate.py --run runs/flir --boxes valB_boxes.json --detector models/yolos --teacher models/segformer
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

if importlib.util.find_spec("jsonargparse") is None:
    sys.exit("evaluate.py needs: pip install 'morn-losses[train]'")

from morn_losses import CITYSCAPES
from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError
from ntir2dc.data.thermal import ThermalAsked
from ntir2dc.detector import IOU
from ntir2dc.evaluation import (
    TRAINED,
    FeaturesAsked,
    ObjectsAsked,
    choose_subject,
    evaluate_run,
)
from ntir2dc.evaluation.faithfulness import SCORE
from ntir2dc.evaluation.showing import check_options, show, tell_written, wide_console
from ntir2dc.evaluation.tables import notes_of, tables_of
from ntir2dc.judge import STEPS, Choice
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import WeightsError

AS_TRAINED = ThermalAsked()


def named(option: str, values: Sequence[str], unnamed: str | None = None) -> dict[str, Path]:
    """Return the paths of NAME=PATH by their names.

    Args:
        option: how the option is called.
        values: what was given.
        unnamed: the name of a path that stands alone; None refuses such.

    Raises:
        DataError: a path without name or a name without path, or a name given twice.
    """
    paths: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals and unnamed is not None:
            name, path = unnamed, value
        if not name or not path:
            raise DataError(f"{option}: expected NAME=PATH, got {value}")
        if name in paths:
            raise DataError(f"{option}: {name} is given twice")
        paths[name] = Path(path)
    return paths


def main(
    run: Path | None = None,
    data: Path | None = None,
    results: list[str] = [],  # noqa: B006  read only
    boxes: Path | None = None,
    detections: list[str] = [],  # noqa: B006
    detector: str | None = None,
    detection_score: float = SCORE,
    detection_iou: float = IOU,
    features: str | None = None,
    real: Path | None = None,
    thermal: ThermalAsked = AS_TRAINED,
    out: Path | None = None,
    judge: Choice = "auto",
    judge_steps: int = STEPS,
    judge_seed: int = 0,
    teacher: str | None = None,
    limit: int = 0,
    device: str = "auto",
    offline: bool = False,
) -> int:
    """Evaluate a run, folders of pictures, or both; writes metrics.json, metrics.md and panels/evaluation.png.

    Args:
        run: folder of the run; without one, results, data and out have to be named.
        data: folder with valB and, where known, valB_day, valB_labels, judgeA and judgeA_labels; the run's own data
            if it is not given.
        results: further rows, NAME=FOLDER of finished pictures by the names of valB, one after the other.
        boxes: COCO JSON of the objects in valB.
        detections: a detector's COCO results, with the ids of boxes, on the pictures of a row: NAME=FILE, one after the
            other; a FILE alone is of the row "trained generator".
        detector: in place of detections, looks for objects in the pictures of every row: an object detector of
            transformers, a local folder or a name on the hub; or, on procedural scenes, weights of
            examples/studies/detector.py. Scenes need no boxes.
        detection_score: from which score on a detection counts as an object, kept or invented.
        detection_iou: least overlap of a detection with what it found, for AP as well.
        features: for KID and FD, module:function that maps images (N, 3, H, W) in [0, 1] to (N, D), or a file of
            TorchScript or torch.export (.pt2) that does.
        real: folder of true day images for them; trainA of the data if it is not given.
        thermal: how night images are read; as in training where nothing is said.
        out: where to write; the run's folder if it is not given.
        judge: which segmentation network reads the translations: shipped (two of them, trained on procedural scenes),
            trained (on judgeA, kept where the rest is written), or auto: shipped for procedural scenes, else trained.
        judge_steps: training steps of a judge that is trained.
        judge_seed: seed of such a judge.
        teacher: in place of these, a semantic or panoptic network of transformers reads the translations: a local
            folder, or a name on the hub.
        limit: evaluate only the first images; 0 is all of them.
        device: auto, cpu, cuda, cuda:1, mps.
        offline: take networks of transformers from local folders and the hub's cache alone.

    Returns:
        0, or 1 where something cannot be evaluated; what is left out of boxes and detections is named.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    try:
        check_options(judge_steps, judge_seed, limit)
        if teacher is not None and judge != "auto":
            raise DataError("teacher: takes the place of the judges; leave out --judge")
        found = named("detections", detections, TRAINED)
        objects = ObjectsAsked(boxes, found, detection_score, detection_iou, detector, offline)
        subject = choose_subject(run, named("results", results), data=data, out=out, thermal=asdict(thermal))
        result = evaluate_run(
            subject, CITYSCAPES, choice=judge, judge_steps=judge_steps, judge_seed=judge_seed, limit=limit,
            objects=objects, features=FeaturesAsked(features, real) if features else None,
            teacher=teacher, offline=offline, device=choose_device(device), say=print, problems=problems,
        )  # fmt: skip
    except (DataError, WeightsError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    console = wide_console()
    for head, rows in tables_of(result):
        show(head, rows, console)
    for note in notes_of(result):
        console.print(note, highlight=False)
    names = ("metrics.json", "metrics.md", "panels/evaluation.png")
    return tell_written([subject.target / name for name in names], problems)


if __name__ == "__main__":
    sys.exit(call(main))
