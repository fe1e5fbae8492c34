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
from torch import Tensor

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.config import TrainConfig, from_dict
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.data.images import DataError, list_images, read_thermal
from ntir2dc.run.checkpoint import list_checkpoints
from ntir2dc.trainer import Trainer
from scenes.folder import FIRST_INDEX, PARAMETERS
from scenes.render import render_scene
from studies.ablations.stems import start_from

PROBE = 16
"""Pixels of a crop's first row by which its place is looked up before all of it is compared."""


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
        scene = render_scene(made["seed"], FIRST_INDEX["trainB"] + i, size)
        thermal = (read_thermal(path)[0] * 127.5 + 127.5).round().to(torch.uint8)
        if not torch.equal(thermal, torch.from_numpy(scene.thermal)):
            raise DataError(f"{path}: is not the scene of its number; was the folder made by another version?")
        maps.append(torch.from_numpy(scene.labels).long())
    return torch.stack(maps)


class Places:
    """Finds where, in which image and how mirrored a crop was cut.

    Args:
        images: ``(N, H, W)``, one channel.
    """

    def __init__(self, images: Tensor) -> None:
        # an image and its mirror image
        self.images = torch.stack((images, images.flip(-1)), 1)
        self.probes = self.images.unfold(-1, PROBE, 1)

    def find(self, crop: Tensor) -> tuple[int, bool, int, int]:
        """Return image, whether mirrored, row and column (in the mirrored image) of a crop ``(h, w)``.

        Raises:
            ValueError: it is of none of the images.
        """
        h, w = crop.shape
        for place in (self.probes == crop[0, :PROBE]).all(-1).nonzero().tolist():
            image, mirrored, row, col = place
            if torch.equal(self.images[image, mirrored, row : row + h, col : col + w], crop):
                return image, bool(mirrored), row, col
        raise ValueError("crop: was not cut out of any of the images")


class KnowingTrainer(Trainer):
    """A trainer that is told the true labels of the thermal images once the segmenters are frozen."""

    def know(self, labels: Tensor) -> None:
        """Take the true labels of the thermal images ``(N, H, W)``, in their order."""
        self.places = Places(torch.stack([read_thermal(frame.image)[0] for frame in self.data.b]))
        self.labels_b = torch.stack((labels, labels.flip(-1)), 1)

    def mine(self, logits_b: Tensor, logits_a: Tensor, real_b: Tensor) -> Tensor:
        """Return the true labels of crops of the thermal images."""
        maps = []
        for crop in real_b[:, 0].cpu():
            image, mirrored, row, col = self.places.find(crop)
            h, w = crop.shape
            maps.append(self.labels_b[image, int(mirrored), row : row + h, col : col + w])
        return torch.stack(maps).to(real_b.device)

    def save_panel(self) -> None:
        """Write nothing: panels mine labels of images whose truth was not given."""


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
    data: TrainingData = prepare_training_data(
        Path(config.data),
        out / "cache",
        space,
        crop=dataset.crop,
        edge_thresholds=(dataset.edge_low, dataset.edge_high),
        denoise=config.modules.sdp,
    )
    trainer = KnowingTrainer(config, data, space, say=say)
    trainer.know(true_labels(Path(config.data)))
    trainer.resume()
    trainer.fit()


def options_of(run: Path) -> TrainConfig:
    """Return the options that a run of the study was started with."""
    return from_dict(json.loads((run / "options.json").read_text()))
