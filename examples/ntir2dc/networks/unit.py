"""UNIT's two halves (Liu et al., NIPS 2017, by the code that its README names): an autoencoder for each domain."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ntir2dc.networks.blocks import LayerNorm, ReflectionPad, ResidualBlock, check_images, check_width, run


def conv(
    inputs: int, outputs: int, kernel: int, padding: int, stride: int = 1, norm: type[nn.Module] = nn.InstanceNorm2d
) -> list[nn.Module]:
    """Return a reflecting convolution, its norm and ReLU."""
    return [ReflectionPad(padding), nn.Conv2d(inputs, outputs, kernel, stride), norm(outputs), nn.ReLU()]


class UNITEncoder(nn.Module):
    """Image to the mean of its latent; 5,385,856 parameters at width 64.

    Args:
        width: channels after the first convolution, a multiple of 4; the latent has four times as many.
        n_blocks: residual blocks.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    def __init__(self, width: int = 64, n_blocks: int = 4, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        self.layers = nn.Sequential(
            *conv(3, width, 7, padding=3),
            *conv(width, 2 * width, 4, padding=1, stride=2),
            *conv(2 * width, 4 * width, 4, padding=1, stride=2),
            *(ResidualBlock(4 * width, activation=nn.ReLU) for _ in range(n_blocks)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W at least 8 and divisible by 4, to ``(B, 4 * width, H / 4, W / 4)``."""
        check_images(x, 3)
        return run(self.layers, x, self.checkpointing)


class UNITDecoder(nn.Module):
    """Latent to an image in [-1, 1]; 5,754,627 parameters at width 64.

    Args:
        width: that of the encoder.
        n_blocks: residual blocks.
        checkpointing: that of the encoder.
    """

    def __init__(self, width: int = 64, n_blocks: int = 4, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        self.channels = 4 * width
        self.inner = nn.Sequential(
            *(ResidualBlock(4 * width, activation=nn.ReLU) for _ in range(n_blocks)),
            nn.Upsample(scale_factor=2),
            *conv(4 * width, 2 * width, 5, padding=2, norm=LayerNorm),
            nn.Upsample(scale_factor=2),
            *conv(2 * width, width, 5, padding=2, norm=LayerNorm),
        )
        self.last = nn.Sequential(ReflectionPad(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        """Map ``(B, 4 * width, h, w)``, h and w at least 2, to ``(B, 3, 4h, 4w)``."""
        check_images(latent, self.channels, minimum=2, multiple=1)
        x = run(self.inner, latent, self.checkpointing)
        # under autocast too: near -1 and 1 the steps of bfloat16 are half a gray level
        with torch.autocast(x.device.type, enabled=False):
            return run(self.last, x.to(next(self.last.parameters()).dtype), self.checkpointing)
