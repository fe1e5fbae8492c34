"""A stand-in for a pretrained segmentation network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass
class Bright:
    """Says by the brightness of a pixel which of four classes it is: road, van, roof, cat."""

    name: str = "bright"
    names: Mapping[int, str] = field(default_factory=lambda: {0: "Road", 1: "van", 2: "roof", 3: "cat"})
    digest: str = "one"
    sure: float = 0.9
    seen: list[int] = field(default_factory=list)

    def scores(self, images: Sequence[Image.Image]) -> Tensor:
        self.seen.append(len(images))
        levels = torch.stack([torch.from_numpy(np.array(image.convert("L"))).long() // 64 for image in images])
        others = (1 - self.sure) / 3
        return torch.nn.functional.one_hot(levels, 4).movedim(-1, 1) * (self.sure - others) + others
