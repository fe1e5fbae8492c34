"""A pretrained segmentation network as it is used here: images in, a share of certainty for each class out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.data.samples import DataError
from ntir2dc.pretrained.loading import load_network


class Teacher(Protocol):
    """What labels images."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def names(self) -> Mapping[int, str]:
        """Its classes by their ids."""

    @property
    def digest(self) -> str:
        """What tells it from other networks: a hash of its weights and settings."""

    def scores(self, images: Sequence[Image.Image]) -> Tensor:
        """Return ``(B, K, H, W)`` in [0, 1], at most 1 in sum over the classes, for RGB images of one size."""


class PretrainedTeacher:
    """A network of ``transformers``: one that labels pixels (SegFormer) or one that proposes masks (Mask2Former).

    Args:
        name: of a folder or on the hub.
        model: the network.
        processor: what makes its input.
        device: where it runs.
        task: what a network for several tasks is asked for (OneFormer).
    """

    def __init__(
        self, name: str, model: nn.Module, processor: Any, device: torch.device, task: str | None = None
    ) -> None:
        self.name, self.device = name, device
        self.model = model.to(device)
        self.processor, self.task = processor, task
        if getattr(processor, "do_center_crop", False):  # a map is of the whole image
            processor.do_center_crop = False
        self.names: Mapping[int, str] = names_of(model)
        images = getattr(processor, "image_processor", processor)
        self.digest = digest_of(self.model, images.to_json_string())

    @torch.inference_mode()
    def scores(self, images: Sequence[Image.Image]) -> Tensor:
        """Return how sure the network is of each class; see :class:`Teacher`."""
        asked = {} if self.task is None else {"task_inputs": [self.task] * len(images)}
        inputs = self.processor(images=list(images), return_tensors="pt", **asked).to(self.device)
        output = self.model(**inputs)
        size = (images[0].height, images[0].width)
        if hasattr(output, "masks_queries_logits"):
            scores = of_queries(output.class_queries_logits, output.masks_queries_logits, size)
        else:
            scores = of_pixels(output.logits, size)
        self.check_classes(scores)
        return scores

    def check_classes(self, maps: Tensor) -> None:
        """Raise a :class:`DataError` for maps ``(B, K, H, W)`` of other classes than are named."""
        if maps.shape[1] != len(self.names):
            raise DataError(
                f"{self.name}: gives {maps.shape[1]} classes, its id2label names {len(self.names)}; mend config.json"
            )


def of_pixels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return probabilities ``(B, K, *size)`` from logits of pixels, which are resized before the softmax."""
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False).softmax(1)


def of_queries(classes: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(B, K, *size)`` from queries that each propose a class and a mask.

    A pixel's score of a class is the sum over queries of the class's probability times the mask's. Choice: where the
    scores of a pixel add up to more than 1, as queries are not exclusive, they are divided by their sum; where no query
    claims a pixel they stay small.

    Args:
        classes: ``(B, Q, K + 1)`` logits, the last one of "no object".
        masks: ``(B, Q, h, w)`` logits.
        size: height and width of the result.
    """
    sure = classes.float().softmax(-1)[..., :-1]
    inside = F.interpolate(masks.float(), size, mode="bilinear", align_corners=False).sigmoid()
    scores = torch.einsum("bqk,bqhw->bkhw", sure, inside)
    return scores / scores.sum(1, keepdim=True).clamp_min(1)


def join_scores(scores: Tensor, ids: Mapping[int, int], n_classes: int) -> Tensor:
    """Return the scores of a label space: those of classes that are one there are added, others left out.

    Args:
        scores: ``(B, K, H, W)`` in [0, 1].
        ids: from the network's classes to those of the space.
        n_classes: of the space.

    Returns:
        ``(B, n_classes, H, W)``.
    """
    sources, targets = (torch.tensor(list(part), device=scores.device) for part in (ids, ids.values()))
    joined = scores.new_zeros((scores.shape[0], n_classes, *scores.shape[2:]))
    return joined.index_add_(1, targets, scores[:, sources])


def names_of(network: Any) -> dict[int, str]:
    """Return a network's classes by their ids."""
    return {int(i): str(label) for i, label in network.config.id2label.items()}


def digest_of(network: nn.Module, settings: str = "") -> str:
    """Return a hash of a network's weights, and of what its input is made by."""
    digest = hashlib.sha256(settings.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_teacher(name: str, device: torch.device, *, offline: bool = False) -> PretrainedTeacher:
    """Load a segmentation network; see :func:`ntir2dc.pretrained.loading.load_network`."""
    model, processor = load_network(name, "a segmentation network", _class_of, offline=offline)
    config: Any = model.config
    return PretrainedTeacher(name, model, processor, device, "semantic" if config.model_type == "oneformer" else None)


def _class_of(name: str, config: Any) -> Any:
    """Return which class of ``transformers`` loads a network that labels pixels or proposes masks."""
    import transformers

    if type(config) in transformers.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        return transformers.AutoModelForSemanticSegmentation
    if config.model_type in ("mask2former", "maskformer", "oneformer"):
        return transformers.AutoModelForUniversalSegmentation
    raise DataError(
        f"{name}: is of the kind {config.model_type}, expected a network for semantic or panoptic segmentation such as "
        "SegFormer, Mask2Former or OneFormer"
    )
