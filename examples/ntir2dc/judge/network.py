"""A small U-Net with batch norm."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks.segmenters import add_coordinates
from ntir2dc.networks.unet import block

WIDTH = 16


class Judge(nn.Module):
    """A small U-Net with the pixels' coordinates as input channels.

    Choice: batch norm, so that in eval mode an image is judged by its own colors, not relative to its own mean; skips
    are added, which takes half the time of concatenation.

    Args:
        n_classes: channels of the logits.
        width: channels at full size; doubled at each of the three halvings.
    """

    def __init__(self, n_classes: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(
            nn.Sequential(block(before, after), block(after, after))
            for before, after in zip([5, *widths[:-1]], widths, strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, skip, 1) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(block(skip, skip) for skip in widths[-2::-1])
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], any H and W, to logits ``(B, n_classes, H, W)``."""
        H, W = x.shape[-2:]
        return self.classify(add_coordinates(x))[..., :H, :W]

    def classify(self, x: Tensor) -> Tensor:
        """Map an image with its coordinates, ``(B, 5, H, W)``, to logits of the size rounded up to multiples of 8."""
        x = F.pad(x, (0, -x.shape[-1] % 8, 0, -x.shape[-2] % 8), mode="replicate")
        skips: list[Tensor] = []
        for level, layers in enumerate(self.down):
            x = layers(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for narrow, layers in zip(self.narrow, self.up, strict=True):
            x = layers(F.interpolate(narrow(x), scale_factor=2.0) + skips.pop())
        logits: Tensor = self.head(x)
        return logits
