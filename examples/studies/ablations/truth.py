"""The last phase of a row with the true labels of the thermal scenes in place of mined ones.

What a module of the last phase adds depends on the pseudo-labels it is given. With the true ones it shows what it could
add; the difference to the row as it is, is what the pseudo-labels cost.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.config import TrainConfig, from_stored
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.data.images import DataError, list_images, read_thermal, save_image
from ntir2dc.run.checkpoint import list_checkpoints
from ntir2dc.trainer import Trainer
from scenes.folder import FIRST_INDEX, PARAMETERS
from scenes.render import render_scene
from studies.ablations.stems import start_from


def true_labels(scenes: Path) -> Tensor:
    """Return the labels of ``trainB`` of a folder of scenes, rendered again: int64 ``(N, H, W)``.

    Raises:
        DataError: a folder of something else.
    """
    if not (scenes / PARAMETERS).is_file():
        raise DataError(f"{scenes}: is no folder of procedural scenes, whose true labels are known")
    made = json.loads((scenes / PARAMETERS).read_text())
    size = (made["size"][0], made["size"][1])
    maps = []
    for i, path in enumerate(list_images(scenes / "trainB")):
        scene = render_scene(made["seed"], FIRST_INDEX["trainB"] + i, size, made.get("world", "a"))
        thermal = (read_thermal(path)[0] * 127.5 + 127.5).round().to(torch.uint8)
        if not torch.equal(thermal, torch.from_numpy(scene.thermal)):
            raise DataError(f"{path}: is not the scene of its number; was the folder made by another version?")
        maps.append(torch.from_numpy(scene.labels).long())
    return torch.stack(maps)


def with_true_labels(data: TrainingData, scenes: Path, folder: Path) -> TrainingData:
    """Return the data with the true labels of its thermal images, which then nobody mines; they lie in ``folder``."""
    frames = []
    for frame, labels in zip(data.b, true_labels(scenes), strict=True):
        path = folder / f"{frame.image.stem}.png"
        save_image(Image.fromarray(labels.to(torch.uint8).numpy()), path)
        frames.append(dataclasses.replace(frame, labels=path))
    return dataclasses.replace(data, b=tuple(frames))


def continue_with_truth(
    stem: Path, out: Path, config: TrainConfig, say: Callable[[str], None], space: LabelSpace = CITYSCAPES
) -> None:
    """Train from a stem (the state before the last phase) to the end with true thermal labels, into ``out``.

    A folder that holds the run half done is gone on with.
    """
    config = dataclasses.replace(config, out=str(out))
    if not list_checkpoints(out / "checkpoints"):
        start_from(stem, out, config)
    assert config.data is not None
    dataset = config.dataset
    data = prepare_training_data(
        Path(config.data),
        out / "cache",
        space,
        crop=dataset.crop,
        edge_thresholds=(dataset.edge_low, dataset.edge_high),
        denoise=config.modules.sdp,
    )
    data = with_true_labels(data, Path(config.data), out / "cache" / "labelsB")
    trainer = Trainer(config, data, space, say=say)
    trainer.resume()
    trainer.fit()


def options_of(run: Path) -> TrainConfig:
    """Return the options that a run of the study was started with."""
    return from_stored(json.loads((run / "options.json").read_text()))
