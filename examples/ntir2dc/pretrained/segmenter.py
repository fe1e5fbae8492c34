"""A pretrained segmentation network as S_A of a training: tensors in, logits of a label space out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from morn_losses import LabelSpace
from ntir2dc.data.samples import DataError
from ntir2dc.pretrained.names import match_names
from ntir2dc.pretrained.teacher import PretrainedTeacher, load_teacher

UNKNOWN = 1e-4
"""Probability, everywhere, of a class that the network does not know."""


class PretrainedSegmenter:
    """A network that labels pixels, in the place of a :class:`ntir2dc.networks.Segmenter` that never learns.

    Gradients reach the images, never its weights. It is no module: nothing that trains, saves, moves or compiles the
    networks of a run finds it. It is always in eval mode, and computes in single precision.

    Choice: it sees a crop as large as it is, not resized to the size that its processor has for whole pictures.

    Args:
        teacher: the network.
        space: whose classes the logits are of, by their names.

    Raises:
        DataError: its classes are not known in the space.
    """

    def __init__(self, teacher: PretrainedTeacher, space: LabelSpace) -> None:
        self.name, self.n_classes = teacher.name, len(space)
        self.matching = match_names(teacher.names, space, of=teacher.name)
        known = f"{teacher.digest} {sorted(self.matching.ids.items())}"
        self.digest = hashlib.sha256(known.encode()).hexdigest()
        self.model = teacher.model.requires_grad_(False)
        self.scale, self.shift = (part.to(teacher.device) for part in input_of(teacher.processor))
        self.reversed = bool(getattr(teacher.processor, "do_flip_channel_order", False))

    def __call__(self, x: Tensor, window: Tensor | None = None) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1] to logits ``(B, K, H, W)``; where crops lie in their frames is not asked."""
        with torch.autocast(x.device.type, enabled=False):
            pixels = self.scale * x.float() + self.shift
            logits = self.model(pixel_values=pixels.flip(1) if self.reversed else pixels).logits
            sized = F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)
            return join_logits(sized, self.matching.ids, self.n_classes).to(x.dtype)

    def state_dict(self) -> dict[str, str]:
        """Return what a checkpoint says of it: not the weights, but what tells them from others."""
        return {"name": self.name, "digest": self.digest}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Compare with what a checkpoint says.

        Raises:
            DataError: the run began with another network.
        """
        if state["digest"] != self.digest:
            raise DataError(
                f"segmenter_a: {self.name} is not the network that the run began with, {state['name']} of hash "
                f"{state['digest'][:12]}, but one of hash {self.digest[:12]}; give that one"
            )


def input_of(processor: Any) -> tuple[Tensor, Tensor]:
    """Return scale and shift ``(3, 1, 1)`` that bring images in [-1, 1] to what a processor makes of 8-bit ones."""
    half = 127.5 * (processor.rescale_factor if processor.do_rescale else 1)
    normal = getattr(processor, "do_normalize", False)
    given = (processor.image_mean, processor.image_std) if normal else (0.0, 1.0)
    mean, std = (torch.tensor(value, dtype=torch.float64).expand(3).view(3, 1, 1) for value in given)
    return (half / std).float(), ((half - mean) / std).float()


def join_logits(logits: Tensor, ids: Mapping[int, int], n_classes: int) -> Tensor:
    """Return the logits of a label space.

    Logits of classes that are one in the space are joined by logsumexp: their probabilities are added. The network's
    classes without a counterpart count as nothing.

    Choice: a class that the network does not know has the probability ``UNKNOWN`` wherever it looks. It is never mined,
    and where it is the label of a pixel, the cross entropy is a constant, without a gradient.

    Args:
        logits: ``(B, n, H, W)``.
        ids: from the network's classes to those of the space.
        n_classes: of the space.

    Returns:
        ``(B, n_classes, H, W)``.
    """
    sources: dict[int, list[int]] = {}
    for source, target in ids.items():
        sources.setdefault(target, []).append(source)
    known = {target: logits[:, channels].logsumexp(1) for target, channels in sources.items()}
    unknown = torch.stack(list(known.values()), 1).logsumexp(1) + math.log(UNKNOWN)
    return torch.stack([known.get(c, unknown) for c in range(n_classes)], 1)


def load_segmenter(
    name: str, space: LabelSpace, crop: int, device: torch.device, say: Callable[[str], None]
) -> PretrainedSegmenter:
    """Load a network as S_A, try it, and say which classes it knows.

    Args:
        name: a local folder, or a name on the hub.
        space: whose classes it gives.
        crop: side of the crops that it will see.
        device: where it runs.
        say: is told.

    Raises:
        DataError: it cannot be loaded, or used as S_A.
    """
    teacher = load_teacher(name, device)
    check_pixels(teacher, (crop, crop + 32))
    segmenter = PretrainedSegmenter(teacher, space)
    say(segmenter.matching.told(f"S_A is {name}, which does not learn", "count as nothing"))
    return segmenter


def check_pixels(teacher: PretrainedTeacher, size: tuple[int, int]) -> None:
    """Raise a :class:`DataError` for a network that does not label the pixels of pictures of a size.

    One of masks does not, nor one of a fixed size, which would fail at the first panel.
    """
    try:
        with torch.no_grad():
            logits = teacher.model(pixel_values=torch.zeros(1, 3, *size, device=teacher.device)).logits
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{teacher.name}: cannot be S_A, which labels the pixels of pictures of any size, as SegFormer does "
            f"({first})"
        ) from error
    teacher.check_classes(logits)
