"""A pretrained object detector: pictures in, boxes with a class and a score out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ntir2dc.data.samples import DataError
from ntir2dc.pretrained.loading import load_network
from ntir2dc.pretrained.names import plain
from ntir2dc.pretrained.teacher import names_of

SYNONYMS = (
    ("person", "pedestrian"),
    ("bicycle", "bike"),
    ("motorcycle", "motorbike", "motor"),
    ("traffic light", "light"),
    ("traffic sign", "sign", "stop sign"),
    ("fire hydrant", "hydrant"),
)
"""Names of one kind of object, as COCO, FLIR and others have them."""


@dataclass(frozen=True)
class Found:
    """What a detector proposes in a picture.

    Args:
        corners: left, top, right and bottom in pixels, ``(N, 4)``.
        classes: its own ids, ``(N,)``.
        scores: in [0, 1], ``(N,)``.
    """

    corners: NDArray[np.float64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


class PretrainedDetector:
    """A detector of ``transformers``, such as YOLOS, DETR or RT-DETR.

    Args:
        name: of a folder or on the hub.
        model: the network.
        processor: what makes its input, and boxes of its output.
        device: where it runs.
    """

    def __init__(self, name: str, model: nn.Module, processor: Any, device: torch.device | str) -> None:
        self.name, self.device = name, device
        self.model, self.processor = model.to(device), processor
        self.names: Mapping[int, str] = names_of(model)

    @torch.inference_mode()
    def find(self, images: Sequence[Image.Image]) -> list[Found]:
        """Return all that it proposes, however unsure, in each of RGB images of one size."""
        inputs = self.processor(images=list(images), return_tensors="pt").to(self.device)
        sizes = [(image.height, image.width) for image in images]
        found = self.processor.post_process_object_detection(self.model(**inputs), threshold=0.0, target_sizes=sizes)
        return [
            Found(
                one["boxes"].cpu().double().numpy(), one["labels"].cpu().numpy(), one["scores"].cpu().double().numpy()
            )
            for one in found
        ]


def match_categories(wanted: Sequence[str], detector: PretrainedDetector) -> dict[int, int]:
    """Return which of the wanted categories, by index, a detector's classes are, by id.

    Capitals, "-" and "_" count for nothing, and what ``SYNONYMS`` holds is one.

    Raises:
        DataError: none of them is.
    """
    kinds = {name: names[0] for names in SYNONYMS for name in names}

    def kind(name: str) -> str:
        return kinds.get(plain(name), plain(name))

    places = {kind(name): index for index, name in reversed(list(enumerate(wanted)))}
    matched = {i: places[kind(name)] for i, name in detector.names.items() if kind(name) in places}
    if not matched:
        theirs = ", ".join(list(detector.names.values())[:6])
        raise DataError(
            f"{detector.name}: none of its {len(detector.names)} classes ({theirs}) is a category of the boxes "
            f"({', '.join(wanted)}); name them alike in id2label of its config.json"
        )
    return matched


def load_pretrained_detector(name: str, device: torch.device | str, *, offline: bool = False) -> PretrainedDetector:
    """Load a detector; see :func:`ntir2dc.pretrained.loading.load_network`."""
    model, processor = load_network(name, "an object detector", _class_of, offline=offline)
    return PretrainedDetector(name, model, processor, device)


def _class_of(name: str, config: Any) -> Any:
    import transformers

    if type(config) in transformers.MODEL_FOR_OBJECT_DETECTION_MAPPING:
        return transformers.AutoModelForObjectDetection
    raise DataError(
        f"{name}: is of the kind {config.model_type}, expected an object detector such as YOLOS, DETR or RT-DETR"
    )
