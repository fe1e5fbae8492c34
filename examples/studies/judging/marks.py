"""The marks of a judge: how right it is on true day images that it never saw, by size and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from morn_losses import LabelSpace
from ntir2dc.data.images import load_color
from ntir2dc.data.maps import read_known_labels
from ntir2dc.evaluation import CLASSES_A, CLASSES_S
from ntir2dc.evaluation.formats import to_markdown
from ntir2dc.judge import Pair, class_iou, confusion_matrix, mean_iou, predict
from studies.judging.scenes import Size

Confusions = Mapping[Size, NDArray[np.int64]]


@torch.inference_mode()
def confusion_of(judge: nn.Module, pairs: Sequence[Pair], space: LabelSpace) -> NDArray[np.int64]:
    """Return the confusion summed over day images."""
    total = np.zeros((len(space), len(space)), np.int64)
    for image_path, labels_path in pairs:
        image, source = load_color(image_path)
        total += confusion_matrix(predict(judge, image), read_known_labels(labels_path, source, space), space)
    return total


def marks(confusion: NDArray[np.int64], space: LabelSpace) -> dict[str, float]:
    """Return mIoU in percent over the groups of classes that tables speak of."""
    groups = {
        "mIoU.A": [space.index(name) for name in CLASSES_A],
        "mIoU.S": [space.index(name) for name in CLASSES_S],
        "mIoU.all": list(range(len(space))),
        "small-sample": list(space.small_sample),
    }
    return {name: 100 * float(mean_iou(confusion, ids)) for name, ids in groups.items()}


def format_marks(judges: Mapping[str, Confusions], space: LabelSpace) -> str:
    """Return two tables in Markdown: the groups, and every class, by judge and size."""
    columns = [
        (f"{name}, {size[0]} x {size[1]}", confusion)
        for name, by_size in judges.items()
        for size, confusion in by_size.items()
    ]
    found = [marks(confusion, space) for _, confusion in columns]
    head = [title for title, _ in columns]
    groups = [["%", *head], *([group, *(f"{one[group]:.1f}" for one in found)] for group in found[0])]
    by_class = [100 * class_iou(confusion) for _, confusion in columns]
    rows = [
        [name, *("-" if np.isnan(iou[index]) else f"{iou[index]:.1f}" for iou in by_class)]
        for index, name in enumerate(space.names)
    ]
    return f"{to_markdown(groups)}\n\n{to_markdown([['IoU %', *head], *rows])}\n"
