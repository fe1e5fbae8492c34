"""Scenes as a folder of pictures, laid out as a folder of real frames."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scenes.predictions import predict_labels
from scenes.render import Scene, render_scene
from scenes.worlds import WorldName

PARAMETERS = "scenes.json"
LOOKS = 2
"""Counts the changes to how scenes look: a folder of older looks is not taken for one of these."""
FOLDERS = (
    "trainA", "labels_pred1", "labels_pred2", "trainB", "valB", "valB_day", "valB_labels", "judgeA", "judgeA_labels",
)  # fmt: skip
# each half draws from its own stretch of indices, so that no street is in two of them
FIRST_INDEX = {"trainA": 0, "trainB": 1_000_000, "valB": 2_000_000, "judgeA": 3_000_000}


def write_scenes(
    folder: Path,
    *,
    seed: int,
    n_train_a: int,
    n_train_b: int,
    n_val: int,
    n_judge: int,
    size: tuple[int, int],
    world: WorldName = "a",
) -> None:
    """Write scenes as PNG files.

    ``trainA/`` (color) with ``labels_pred1/`` and ``labels_pred2/``, ``trainB/`` and ``valB/`` (thermal): what a folder
    of real frames holds. Beside them the truth that real frames lack: ``valB_day/``, ``valB_labels/`` and
    ``valB_boxes.json`` of the very scenes of ``valB/``, and ``judgeA/`` with ``judgeA_labels/`` to train a judge on.
    No two of ``trainA``, ``trainB``, ``valB`` and ``judgeA`` show the same street.

    Args:
        folder: where to; it appears whole or not at all. One that holds the same scenes already is left as it is.
        seed: scenes of one seed share nothing with those of another.
        n_train_a: number of color frames.
        n_train_b: number of thermal frames.
        n_val: number of thermal frames with their truth.
        n_judge: number of color frames with their true labels.
        size: (height, width) of the pictures.
        world: ``a``, or ``b``, another city with other cameras.

    Raises:
        ValueError: a negative number, or a folder that holds anything else.
    """
    numbers = {"trainA": n_train_a, "trainB": n_train_b, "valB": n_val, "judgeA": n_judge}
    for name, number in numbers.items():
        if not 0 <= number <= 1_000_000:
            raise ValueError(f"number of {name}: expected 0 to 1000000, got {number}")
    parameters = {
        "looks": LOOKS,
        "seed": seed,
        "n_train_a": n_train_a,
        "n_train_b": n_train_b,
        "n_val": n_val,
        "n_judge": n_judge,
        "size": list(size),
        "world": world,
    }
    if folder.exists():
        _check_same(folder, parameters)
        return
    part = folder.with_name(folder.name + ".tmp")
    if part.exists():
        shutil.rmtree(part)
    for name in FOLDERS:
        (part / name).mkdir(parents=True)

    boxes: dict[str, list[dict[str, int]]] = {}
    for half, number in numbers.items():
        for i in range(number):
            index = FIRST_INDEX[half] + i
            scene = render_scene(seed, index, size, world)
            file = f"scene_{i:05d}.png"
            for name, picture in _pictures(half, scene, seed, index).items():
                Image.fromarray(picture).save(part / name / file, compress_level=1)
            if half == "valB":
                boxes[file] = [dataclasses.asdict(box) for box in scene.boxes]
    (part / "valB_boxes.json").write_text(json.dumps(boxes, indent=1) + "\n")
    (part / PARAMETERS).write_text(json.dumps(parameters, indent=1) + "\n")
    part.rename(folder)


def _pictures(half: str, scene: Scene, seed: int, index: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Return what is written of a scene: folder to picture."""
    if half == "trainA":
        primary, secondary = predict_labels(scene, seed, index)
        return {"trainA": scene.color, "labels_pred1": primary, "labels_pred2": secondary}
    if half == "trainB":
        return {"trainB": scene.thermal}
    if half == "valB":
        return {"valB": scene.thermal, "valB_day": scene.color, "valB_labels": scene.labels}
    return {"judgeA": scene.color, "judgeA_labels": scene.labels}


def _check_same(folder: Path, parameters: dict[str, object]) -> None:
    file = folder / PARAMETERS
    if not file.is_file():
        raise ValueError(f"folder: expected a new one or one of scenes, but {folder} exists and has no {PARAMETERS}")
    there = json.loads(file.read_text())
    names = sorted(there.keys() | parameters.keys())
    differing = [
        f"{n} = {there.get(n)} instead of {parameters.get(n)}" for n in names if there.get(n) != parameters.get(n)
    ]
    if differing:
        raise ValueError(f"folder: {folder} holds other scenes: {', '.join(differing)}")
