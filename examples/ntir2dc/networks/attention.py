"""PearlGAN's guided attention, in which each map leads the next finer one, and the generator's halves that have it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks.blocks import ReflectionPad, ResidualBlock, check_images, check_width, run, stem
from ntir2dc.networks.generators import Decoder

MINIMUM_FEATURES = 19
"""Smallest height and width of features: two pixels are left at the coarsest level, which reflection by one needs."""


def gate(channels: int) -> nn.Sequential:
    """Features of a level to its map in (0, 1); the norm keeps it from being all 0 or all 1."""
    return nn.Sequential(ReflectionPad(1), nn.Conv2d(channels, 1, 3), nn.InstanceNorm2d(1), nn.Sigmoid())


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` at the height and width of ``like``."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


class GuidedAttention(nn.Module):
    """Adds to features what four maps from coarse to fine let through, each for a quarter of the channels.

    Args:
        channels: of the features, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_width(channels)
        self.channels = channels
        self.mix = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.InstanceNorm2d(channels), nn.PReLU())
        self.gates = nn.ModuleList(gate(channels // 4) for _ in range(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features ``(B, C, h, w)`` and the maps in (0, 1), ``(B, 4, h, w)``, coarse to fine.

        Args:
            x: ``(B, C, h, w)``, h and w at least 19.
        """
        check_images(x, self.channels, minimum=MINIMUM_FEATURES, multiple=1)
        quarters = self.mix(x).chunk(4, 1)
        levels = [F.avg_pool2d(quarter, 3, stride=2 ** (i + 1)) for i, quarter in enumerate(quarters)]
        maps: list[Tensor] = []
        for make_map, level in zip(self.gates, reversed(levels), strict=True):
            guided = level * (1 + resized(maps[-1], level)) if maps else level
            maps.append(make_map(guided))
        masks = [resized(m, x) for m in maps]
        # the finest map is that of the first quarter
        let_through = [quarter * mask for quarter, mask in zip(quarters, reversed(masks), strict=True)]
        return x + torch.cat(let_through, 1), torch.cat(masks, 1)


class AttentiveEncoder(nn.Module):
    """:class:`ntir2dc.networks.Encoder` with attention before its residual blocks.

    Args:
        width: channels after the first convolution, a multiple of 4; the features have four times as many.
        n_blocks: residual blocks.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    minimum_size: ClassVar[int] = 4 * MINIMUM_FEATURES

    def __init__(self, width: int = 64, n_blocks: int = 4, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        self.stem = stem(3, width)
        self.attention = GuidedAttention(4 * width)
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(n_blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W at least 76 and divisible by 4, to ``(B, 4 * width, H / 4, W / 4)``."""
        return self.attend(x)[0]

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features and the maps ``(B, 4, H / 4, W / 4)`` of the attention."""
        attended, maps = self.begin(x)
        return run(self.blocks, attended, self.checkpointing), maps

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the attention gives, before the residual blocks."""
        check_images(x, 3, minimum=self.minimum_size)
        attended: tuple[Tensor, Tensor] = self.attention(run(self.stem, x, self.checkpointing))
        return attended


class AttentiveDecoder(nn.Module):
    """:class:`ntir2dc.networks.Decoder` after attention.

    Args:
        width: that of the encoder.
        n_blocks: residual blocks.
        norm: after the two transposed convolutions.
        checkpointing: that of the encoder.
    """

    def __init__(
        self,
        width: int = 64,
        n_blocks: int = 5,
        norm: Literal["group", "instance"] = "group",
        *,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.attention = GuidedAttention(4 * width)
        self.decoder = Decoder(width, n_blocks, norm, checkpointing=checkpointing)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, 4 * width, h, w)``, h and w at least 19, to ``(B, 3, 4h, 4w)`` in [-1, 1]."""
        attended, _ = self.attention(features)
        image: Tensor = self.decoder(attended)
        return image
