"""The second of the two shipped judges: dilated convolutions at half the size, without skips."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks.segmenters import add_coordinates

WIDTH = 48
DILATIONS = (1, 1, 2, 4, 8, 16, 1)


class DilatedBlock(nn.Module):
    """``x + norm(conv(relu(norm(dilated(x)))))`` and a ReLU after the sum."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``."""
        return F.relu(x + self.layers(x))


class DilatedNet(nn.Module):
    """Four pixels are folded into channels, and all layers run at half the size; the last ones unfold the classes.

    It sees far by dilation and by the image's mean, where the other judge goes down to an eighth of the size.

    Args:
        n_classes: channels of the logits.
        width: channels of all layers.
        dilations: of the blocks, one after the other.
    """

    def __init__(self, n_classes: int, width: int = WIDTH, dilations: tuple[int, ...] = DILATIONS) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(20, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(DilatedBlock(width, dilation) for dilation in dilations))
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(width, 4 * n_classes, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], any H and W, to logits ``(B, n_classes, H, W)``."""
        H, W = x.shape[-2:]
        return self.classify(add_coordinates(x))[..., :H, :W]

    def classify(self, x: Tensor) -> Tensor:
        """Map an image with its coordinates, ``(B, 5, H, W)``, to logits of the size rounded up to multiples of 2."""
        x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2), mode="replicate")
        x = self.blocks(self.stem(x))
        logits: Tensor = self.head(x + self.context(x))
        return logits
