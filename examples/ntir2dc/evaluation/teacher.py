"""A pretrained segmentation network as a judge of translations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from morn_losses import LabelSpace
from ntir2dc.data.images import to_image
from ntir2dc.judge import Judges
from ntir2dc.pretrained.names import Matching, match_names
from ntir2dc.pretrained.teacher import PretrainedTeacher, join_scores, load_teacher


class PretrainedJudge(nn.Module):
    """A network of ``transformers`` that reads pictures as its own processor prepares them.

    Args:
        teacher: the network.
        matching: of its classes.
        space: the label space of the data.
    """

    def __init__(self, teacher: PretrainedTeacher, matching: Matching, space: LabelSpace) -> None:
        super().__init__()
        self.network = teacher.model
        self.teacher, self.matching, self.n_classes = teacher, matching, len(space)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1] to scores of the space's classes ``(B, K, H, W)``; those unknown are 0."""
        scores = self.teacher.scores([to_image(image) for image in images])
        return join_scores(scores, self.matching.ids, self.n_classes)


def pretrained_judge(name: str, space: LabelSpace, device: torch.device | str, *, offline: bool = False) -> Judges:
    """Return a pretrained network as the one judge.

    Args:
        name: a local folder, or a name on the hub.
        space: the label space of the data.
        device: where it runs.
        offline: take it from a local folder or the hub's cache alone.

    Raises:
        DataError: it cannot be loaded, or knows none of the classes.
    """
    teacher = load_teacher(name, torch.device(device), offline=offline)
    matching = match_names(teacher.names, space, of=name)
    facts: dict[str, Any] = {"teacher": name, "teacher_sha256": teacher.digest, "unknown": ", ".join(matching.absent)}
    return Judges(PretrainedJudge(teacher, matching, space), None, facts)
