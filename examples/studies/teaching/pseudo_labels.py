"""How right the labels are that a run gives its thermal images, and where on the way to them the classes get lost.

On scenes with true labels and true day images of the thermal frames: S_A on the true day image (what it has learned),
S_A on the translation (what the generator keeps of that), S_B on the thermal image, and what is mined and denoised.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.config import TrainConfig, from_stored
from ntir2dc.data.folders import Frame, TrainingData
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import find_cases, list_cases, read_case
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.parallel.world import World
from ntir2dc.run.checkpoint import load_newest
from studies.cards.card import Table, share

STAGES = ("S_A, true day image", "S_A, translation", "S_B, thermal image", "mined")

Counts = dict[str, NDArray[np.int64]]
"""For each stage, pixels by true (row) and found (column) class; the last column is of pixels without a label."""


def load_method(folder: Path, data: Path, space: LabelSpace = CITYSCAPES) -> MornGAN:
    """Return MornGAN with the networks of the newest checkpoint in a folder, to look at the ``valB`` of ``data``.

    Raises:
        CheckpointError: there is none that can be read.
        DataError: the run has no segmenters, or the folder no images.
    """
    state = load_newest(folder)
    config: TrainConfig = from_stored(state["config"])
    if not config.modules.sc:
        raise DataError(f"{folder}: the run has no segmenters (modules.sc is off)")
    frames = tuple(Frame(files["night"]) for files in find_cases(data, space))
    microbatches = Microbatches(World(), 1, config.batch_size, config.seed)
    method = MornGAN(config, TrainingData((), frames, ()), space, microbatches, say=lambda _: None)
    method.networks.load_state_dict(state["model"])
    method.networks.eval()
    return method


@torch.no_grad()
def count(method: MornGAN, data: Path) -> Counts:
    """Compare the labels of every stage with the truth, over the ``valB`` of a folder of scenes.

    Raises:
        DataError: the folder lacks true labels or true day images.
    """
    K, ignored = len(method.space), method.space.ignore_index
    counts = {stage: np.zeros((K, K + 1), np.int64) for stage in STAGES}
    networks = method.networks
    for files in list_cases(data):
        case = read_case(files)
        if case.labels is None or case.day is None:
            raise DataError(f"{files['night']}: has no true labels or no true day image to compare with")
        true, thermal = case.labels, case.night[None]
        logits_a, logits_b = networks.segmenter_a(networks.translate_ba(thermal)), networks.segmenter_b(thermal)
        maps: tuple[Tensor, ...] = (
            networks.segmenter_a(case.day[None]).argmax(1),
            logits_a.argmax(1),
            logits_b.argmax(1),
            method.labels.mine(logits_b, logits_a, thermal),
        )
        known = true != ignored
        for stage, labels in zip(STAGES, maps, strict=True):
            column = torch.where(labels[0] == ignored, K, labels[0])
            pairs = true[known] * (K + 1) + column[known]
            counts[stage] += torch.bincount(pairs, minlength=K * (K + 1)).view(K, K + 1).numpy()
    return counts


def tables(runs: Sequence[Counts], space: LabelSpace = CITYSCAPES) -> tuple[Table, Table]:
    """Return precision and recall of each class at each stage, with their spread over runs.

    A precision is undefined in a run that finds no pixel of the class; classes that the truth lacks are left out.
    """
    held = [i for i in range(len(space)) if any(run[STAGES[0]][i].any() for run in runs)]

    def precision(counts: NDArray[np.int64], i: int) -> float:
        return share(float(counts[i, i]), float(counts[:, i].sum()))

    def recall(counts: NDArray[np.int64], i: int) -> float:
        return share(float(counts[i, i]), float(counts[i].sum()))

    def right(counts: NDArray[np.int64]) -> float:
        return share(float(np.trace(counts)), float(counts[:, :-1].sum()))

    def labeled(counts: NDArray[np.int64]) -> float:
        return share(float(np.trace(counts)), float(counts.sum()))

    return tuple(
        Table(
            f"{title}, %",
            STAGES,
            (
                ("all pixels", tuple(tuple(whole(run[stage]) for run in runs) for stage in STAGES)),
                *(
                    (space.names[i], tuple(tuple(of_class(run[stage], i) for run in runs) for stage in STAGES))
                    for i in held
                ),
            ),
            scale=100,
            digits=1,
        )
        for title, of_class, whole in (("precision", precision, right), ("recall", recall, labeled))
    )  # type: ignore[return-value]
