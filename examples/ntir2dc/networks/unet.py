"""A U-Net of residual blocks: the segmenters beyond the paper's, and the first of the two shipped judges."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks.blocks import ResidualBlock
from ntir2dc.networks.segmenters import add_coordinates

WIDTHS = (16, 32, 64, 128)


def block(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, its norm and a ReLU."""
    convolution = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def residual(channels: int) -> nn.Sequential:
    """A residual block with batch norm and zero padding, and a ReLU after its sum."""
    return nn.Sequential(ResidualBlock(channels, nn.ZeroPad2d, nn.BatchNorm2d, nn.ReLU, bias=False), nn.ReLU())


def repeat_to_multiple(x: Tensor, factor: int, dim: int) -> Tensor:
    """Repeat the last row or column until the size is a multiple of ``factor``.

    ``F.pad(mode="replicate")`` gives the same; its gradient is laid out as Inductor does not expect it (torch 2.13).
    """
    missing = -x.shape[dim] % factor
    return torch.cat((x, *[x.narrow(dim, -1, 1)] * missing), dim) if missing else x


class ResidualUNet(nn.Module):
    """A U-Net with residual blocks from half the size down and the image's mean at its lowest level.

    Choice: batch norm, so that in eval mode an image is judged by its own colors; few channels at full size, where most
    of the time goes.

    Args:
        n_classes: channels of the logits.
        widths: channels at full, half, a quarter and an eighth of the size.
    """

    by_batch = True
    """Whether eval mode differs in more than dropout, as :class:`ntir2dc.networks.Segmenter` has it."""

    def __init__(self, n_classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = block(5, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(block(before, after, stride=2), residual(after), residual(after))
            for before, after in itertools.pairwise(widths)
        )
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[-1], widths[-1], 1), nn.ReLU())
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, skip, 1) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(block(skip, skip) for skip in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], n_classes, 1)

    def forward(self, x: Tensor, window: Tensor | None = None) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], any H and W, to logits ``(B, n_classes, H, W)``.

        ``window`` says where the images lie in their frames, see :func:`ntir2dc.networks.segmenters.add_coordinates`.
        """
        H, W = x.shape[-2:]
        return self.classify(add_coordinates(x, window))[..., :H, :W]

    def classify(self, x: Tensor) -> Tensor:
        """Map an image with its coordinates, ``(B, 5, H, W)``, to logits of the size rounded up to multiples of 8."""
        x = repeat_to_multiple(repeat_to_multiple(x, 8, dim=-1), 8, dim=-2)
        skips = [self.stem(x)]
        for layers in self.down:
            skips.append(layers(skips[-1]))
        x = skips.pop()
        x = x + self.context(x)
        for narrow, layers in zip(self.narrow, self.up, strict=True):
            x = layers(F.interpolate(narrow(x), scale_factor=2.0) + skips.pop())
        logits: Tensor = self.head(x)
        return logits
