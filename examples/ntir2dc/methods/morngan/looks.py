"""Color images in a random thermal look (beyond the paper): what S_B can learn from before any translation is right.

A class keeps its place, its outline and its texture, and loses its brightness, which is what differs most between the
domains: each class of each image gets a gray value at random, and its texture a random sign and strength. What is known
of the night is kept: the sky is cold, people are warm.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morn_losses import LabelSpace

ANY = (0.25, 0.85)
KNOWN: Mapping[str, tuple[float, float]] = {
    "sky": (0.05, 0.35),
    "person": (0.75, 1.0),
    "rider": (0.75, 1.0),
    "traffic light": (0.6, 0.95),
    "motorcycle": (0.55, 0.95),
}
"""Ranges of the gray values of classes, of 0 to 1."""


class ThermalLook(nn.Module):
    """Turns color images into gray ones that a thermal camera might have taken of the same scene.

    Args:
        space: the label space.
        known: ranges of the gray values of classes by name; of all others nothing is known.
    """

    ranges: Tensor

    def __init__(self, space: LabelSpace, known: Mapping[str, tuple[float, float]] = KNOWN) -> None:
        super().__init__()
        self.n_classes, self.ignore_index = len(space), space.ignore_index
        ranges = [known.get(name, ANY) for name in space.names] + [ANY]
        self.register_buffer("ranges", torch.tensor(ranges), persistent=False)

    def forward(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``(B, 3, H, W)`` in [-1, 1] of images of that shape and range and their labels ``(B, H, W)``.

        ``generator`` is of the CPU.
        """
        B, K = len(images), self.n_classes + 1

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator).to(images)

        channels = rand(B, 3, 1, 1)
        gray = ((images + 1) / 2 * channels / channels.sum(1, keepdim=True)).sum(1)
        around = F.avg_pool2d(F.pad(gray[:, None], (8, 8, 8, 8), mode="replicate"), 17, 1)[:, 0]
        low, high = self.ranges.to(images).unbind(1)
        level = low + (high - low) * rand(B, K)
        strength = (0.3 + 0.7 * rand(B, K)) * torch.where(rand(B, K) < 0.4, -1.0, 1.0)
        classes = torch.where(labels == self.ignore_index, self.n_classes, labels).flatten(1)

        def of_class(values: Tensor) -> Tensor:
            return values.gather(1, classes).view_as(gray)

        look = of_class(level) + of_class(strength) * (gray - around)
        smooth = F.avg_pool2d(F.pad(look[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[:, 0]
        look = torch.lerp(look, smooth, rand(B, 1, 1))
        noise = torch.randn(look.shape, generator=generator).to(images)
        look = look * (0.8 + 0.4 * rand(B, 1, 1)) + 0.2 * (rand(B, 1, 1) - 0.5) + 0.03 * rand(B, 1, 1) * noise
        return (2 * look.clamp(0, 1) - 1)[:, None].expand(-1, 3, -1, -1).contiguous()
