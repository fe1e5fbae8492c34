"""DRIT++'s networks (Lee et al., IJCV 2020): what an image shows and how it looks, apart, and back to an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ntir2dc.networks.blocks import ReflectionPad, ResidualBlock, check_images, check_width, doubling, run


class ContentEncoder(nn.Module):
    """Image to its content, before the block that both domains share; 3,918,976 parameters at width 64.

    Args:
        width: channels after the first convolution, a multiple of 4; the content has four times as many.
        n_blocks: residual blocks.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    def __init__(self, width: int = 64, n_blocks: int = 3, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing

        def halving(inputs: int) -> list[nn.Module]:
            outputs = 2 * inputs
            return [ReflectionPad(1), nn.Conv2d(inputs, outputs, 3, stride=2), nn.InstanceNorm2d(outputs), nn.ReLU()]

        self.layers = nn.Sequential(
            *(ReflectionPad(3), nn.Conv2d(3, width, 7), nn.LeakyReLU(0.01)),
            *halving(width),
            *halving(2 * width),
            *(ResidualBlock(4 * width, activation=nn.ReLU) for _ in range(n_blocks)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W at least 8 and divisible by 4, to ``(B, 4 * width, H / 4, W / 4)``."""
        check_images(x, 3)
        return run(self.layers, x, self.checkpointing)


class PooledBlock(nn.Module):
    """Two 3x3 convolutions and a mean over 2 x 2, beside a shortcut with the same mean and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.LeakyReLU(0.2), ReflectionPad(1), nn.Conv2d(inputs, inputs, 3)),
            *(nn.LeakyReLU(0.2), ReflectionPad(1), nn.Conv2d(inputs, outputs, 3), nn.AvgPool2d(2)),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H // 2, W // 2)``."""
        halved: Tensor = self.layers(x) + self.shortcut(x)
        return halved


class StyleEncoder(nn.Module):
    """Image to mean and log variance of its style; 1,344,080 parameters at width 64 and 8 numbers of style.

    Args:
        width: channels after the first convolution.
        style: numbers of a style.
    """

    def __init__(self, width: int = 64, style: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(ReflectionPad(1), nn.Conv2d(3, width, 4, stride=2)),
            *(PooledBlock(i * width, (i + 1) * width) for i in (1, 2, 3)),
            nn.LeakyReLU(0.2),
        )
        self.mean, self.log_variance = nn.Linear(4 * width, style), nn.Linear(4 * width, style)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each ``(B, style)``, of ``(B, 3, H, W)``, H and W at least 16."""
        check_images(x, 3, minimum=16, multiple=1)
        features = self.layers(x).mean((2, 3))
        return self.mean(features), self.log_variance(features)


class StyledDecoder(nn.Module):
    """Content, after the block that both domains share, and style to an image; 4,192,275 parameters at width 64.

    Args:
        width: that of the content encoder.
        n_blocks: residual blocks.
        style: numbers of a style; each is a channel of its own at the start of every stage.
        checkpointing: that of the content encoder.
    """

    def __init__(self, width: int = 64, n_blocks: int = 3, style: int = 8, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing, self.channels, self.style = checkpointing, 4 * width, style

        def layer_norm(channels: int) -> nn.GroupNorm:
            return nn.GroupNorm(1, channels)

        self.stages = nn.ModuleList(
            [
                nn.Sequential(*(ResidualBlock(4 * width + style, activation=nn.ReLU) for _ in range(n_blocks))),
                doubling(4 * width + 2 * style, 2 * width + style, layer_norm, nn.ReLU, kernel=3),
                doubling(2 * width + 2 * style, width + style, layer_norm, nn.ReLU, kernel=3),
            ]
        )
        self.last = nn.Sequential(nn.ConvTranspose2d(width + 2 * style, 3, 1), nn.Tanh())

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        """Map ``(B, 4 * width, h, w)``, h and w at least 2, and styles ``(B, style)`` to ``(B, 3, 4h, 4w)``.

        Without a style it is the mean of all that there are, 0.
        """
        check_images(content, self.channels, minimum=2, multiple=1)
        if style is None:
            style = content.new_zeros(len(content), self.style)
        x = content
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)
            x = run(stage, _beside(x, style), self.checkpointing)
        # under autocast too: near -1 and 1 the steps of bfloat16 are half a gray level
        with torch.autocast(x.device.type, enabled=False):
            return run(self.last, _beside(x, style).to(next(self.last.parameters()).dtype), self.checkpointing)


class ContentDiscriminator(nn.Module):
    """Tells which domain a content is of; 10,683,649 parameters at width 64.

    Its published layers need contents of 53 x 53, of crops of 212. The ``padded`` ones, which have the same weights,
    reflect three pixels instead of one before each 7x7 convolution, and one instead of none before the 4x4 one.

    Args:
        width: that of the content encoder.
        padded: for crops below :attr:`published_size`, down to 64.
    """

    published_size = 212

    def __init__(self, width: int = 64, *, padded: bool = False) -> None:
        super().__init__()
        channels, wide, narrow = 4 * width, 3 if padded else 1, 1 if padded else 0
        self.layers = nn.Sequential(
            *(
                nn.Sequential(ReflectionPad(wide), nn.Conv2d(channels, channels, 7, stride=2), nn.LeakyReLU(0.01))
                for _ in range(3)
            ),
            *(ReflectionPad(narrow) if narrow else nn.Identity(), nn.Conv2d(channels, channels, 4), nn.LeakyReLU(0.01)),
            nn.Conv2d(channels, 1, 1),
        )

    def forward(self, content: Tensor) -> list[list[Tensor]]:
        """Return the one map of scores in the form of several: positive for contents of B, negative for those of A."""
        with torch.autocast(content.device.type, enabled=False):
            return [[self.layers(content.to(next(self.parameters()).dtype))]]


def _beside(x: Tensor, style: Tensor) -> Tensor:
    """Return channels and then the numbers of a style, each the same everywhere."""
    return torch.cat((x, style.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])), 1)
