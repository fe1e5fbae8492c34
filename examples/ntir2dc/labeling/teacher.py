"""A pretrained segmentation network as it is used here: images in, a share of certainty for each class out."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.data.samples import DataError


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
        # a stored dtype of half precision is of no use on a CPU
        self.model = model.float().eval().to(device)
        self.processor, self.task = processor, task
        if getattr(processor, "do_center_crop", False):  # a map is of the whole image
            processor.do_center_crop = False
        config: Any = model.config
        self.names: Mapping[int, str] = {int(i): str(label) for i, label in config.id2label.items()}
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
        if scores.shape[1] != len(self.names):
            raise DataError(
                f"{self.name}: gives {scores.shape[1]} classes, its id2label names {len(self.names)}; mend config.json"
            )
        return scores


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


def digest_of(network: nn.Module, settings: str = "") -> str:
    """Return a hash of a network's weights, and of what its input is made by."""
    digest = hashlib.sha256(settings.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_teacher(name: str, device: torch.device, *, offline: bool = False) -> PretrainedTeacher:
    """Load a network with all its weights.

    Args:
        name: a local folder, or a name on the hub.
        device: where it runs.
        offline: take from the hub's local cache alone.

    Raises:
        DataError: ``transformers`` is missing, or the network is, or is of another kind, or lacks weights.
    """
    if importlib.util.find_spec("transformers") is None:
        raise DataError("label.py needs: pip install 'morn-losses[teacher]'")
    import transformers

    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise DataError(f"{name}: no such folder")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    alone = {"local_files_only": offline or local}
    try:
        config = transformers.AutoConfig.from_pretrained(name, **alone)
        kind = _kind_of(name, config)
        model, told = kind.from_pretrained(name, config=config, output_loading_info=True, **alone)
        several = config.model_type == "oneformer"
        read = transformers.AutoProcessor if several else transformers.AutoImageProcessor
        processor = read.from_pretrained(name, **alone)
    except DataError:
        raise
    # whatever is wrong with a folder or the way to the hub
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fetched = "without --offline it is fetched from the hub, or " if offline else ""
        remedy = "" if local else f"; {fetched}give a local folder"
        raise DataError(f"{name}: cannot be loaded as a segmentation network ({first}){remedy}") from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise DataError(
            f"{name}: holds no weights for {len(missing)} parts of a segmentation network ({missing[0]}); take one "
            "that was trained to segment"
        )
    return PretrainedTeacher(name, model, processor, device, "semantic" if several else None)


def _kind_of(name: str, config: Any) -> Any:
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
