"""ForkGAN's networks, padded as TensorFlow pads: an encoder with two decoders, its discriminator, its classifier."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.networks.blocks import ReflectionPad, ResidualBlock, check_images, check_width, run

affine_norm = partial(nn.InstanceNorm2d, affine=True)
Residual = partial(ResidualBlock, pad=nn.ZeroPad2d, norm=affine_norm, activation=nn.ReLU, bias=False)


class SameConv(nn.Conv2d):
    """A convolution that gives a side of n / stride, rounded up: what is odd of its zeros lies after, not before."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        zeros = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        (top, bottom), (left, right) = ((n // 2, n - n // 2) for n in zeros)
        return super().forward(F.pad(x, (left, right, top, bottom)))


class SameTransposed(nn.ConvTranspose2d):
    """A transposed 3x3 convolution that gives twice the side: the last row and column that it makes are cut off."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, stride=2, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map ``(B, C, H, W)``."""
        return super().forward(x, output_size)[..., :-1, :-1]


class ForkEncoder(nn.Module):
    """Image to features at a quarter of its size; 6,282,304 parameters at width 64.

    Args:
        width: channels after the first convolution, a multiple of 4; the features have four times as many.
        n_blocks: residual blocks.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    def __init__(self, width: int = 64, n_blocks: int = 5, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        layers = [ReflectionPad(3), nn.Conv2d(3, width, 7, bias=False), affine_norm(width), nn.ReLU()]
        for inputs in (width, 2 * width):
            layers += [SameConv(inputs, 2 * inputs, 3, stride=2), affine_norm(2 * inputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *(Residual(4 * width) for _ in range(n_blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W at least 8 and divisible by 4, to ``(B, 4 * width, H / 4, W / 4)``."""
        check_images(x, 3)
        return run(self.layers, x, self.checkpointing)


class ForkDecoder(nn.Module):
    """Features to an image in [-1, 1]; 5,101,120 parameters at width 64.

    Args:
        width: that of the encoder.
        n_blocks: residual blocks, at least 1.
        checkpointing: that of the encoder.
    """

    def __init__(self, width: int = 64, n_blocks: int = 4, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        if n_blocks < 1:
            raise ValueError(f"n_blocks: expected at least 1, got {n_blocks}")
        self.checkpointing = checkpointing
        self.channels = 4 * width
        self.first = nn.Sequential(Residual(4 * width))
        layers: list[nn.Module] = [Residual(4 * width) for _ in range(n_blocks - 1)]
        for inputs in (4 * width, 2 * width):
            layers += [SameTransposed(inputs, inputs // 2), affine_norm(inputs // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Sequential(ReflectionPad(3), nn.Conv2d(width, 3, 7, bias=False), nn.Tanh())

    def forward(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map ``(B, 4 * width, h, w)``, h and w at least 2, to ``(B, 3, 4h, 4w)``.

        Args:
            features: of an encoder.
            noise: of their shape, added after the first block.
        """
        check_images(features, self.channels, minimum=2, multiple=1)
        x = run(self.first, features, self.checkpointing)
        x = run(self.layers, x if noise is None else x + noise, self.checkpointing)
        # under autocast too, as in every decoder: the steps of bfloat16 are coarse near -1 and 1
        with torch.autocast(x.device.type, enabled=False):
            return run(self.last, x.to(next(self.last.parameters()).dtype), self.checkpointing)


def normed_leaky(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A 4x4 convolution, its norm and its activation."""
    return nn.Sequential(SameConv(inputs, outputs, 4, stride), affine_norm(outputs), nn.LeakyReLU(0.2))


class CrossedDiscriminator(nn.Module):
    """Two streams, of the image and of its half, that cross at each of four levels; 2,783,040 parameters at width 32.

    Args:
        width: channels of the first level, doubled by each of the next three.
    """

    # two rows are left of the coarse stream, whose norm needs more than one pixel
    minimum_size: ClassVar[int] = 36

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [3, *(width * 2**i for i in range(4))]
        self.to_fine = nn.ModuleList(normed_leaky(inputs, outputs, 1) for inputs, outputs in pairwise(widths))
        self.to_coarse = nn.ModuleList(
            nn.Sequential(normed_leaky(inputs, outputs, 2), normed_leaky(outputs, outputs, 2))
            for inputs, outputs in pairwise(widths)
        )
        self.last_fine, self.last_coarse = (SameConv(widths[-1], 1, 4) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps at a 16th and at a 32nd of the size.

        Args:
            x: ``(B, 3, H, W)``, H and W at least 36 and divisible by 4.
        """
        check_images(x, 3, minimum=self.minimum_size)
        # under autocast too, as every discriminator: scores stay in full precision
        with torch.autocast(x.device.type, enabled=False):
            fine, coarse = x, x[..., ::2, ::2]
            for to_fine, to_coarse in zip(self.to_fine, self.to_coarse, strict=True):
                fine, coarse = to_fine(coarse), to_coarse(fine)
            return [self.last_fine(fine), self.last_coarse(coarse)]


class DomainClassifier(nn.Sequential):
    """Features to two logits, of A and of B; 723,456 parameters at width 64.

    Args:
        width: that of the encoder.
    """

    def __init__(self, width: int = 64) -> None:
        widths = [4 * width, 2 * width, width, width]
        super().__init__(
            *(normed_leaky(inputs, outputs, 2) for inputs, outputs in pairwise(widths)),
            SameConv(width, 2, 4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
