"""The generator's two halves: an encoder and a decoder for each domain, sharing nothing."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ntir2dc.networks.blocks import (
    MakeActivation,
    MakeNorm,
    ReflectionPad,
    ResidualBlock,
    check_images,
    check_width,
    doubling,
    group_norm,
    run,
    stem,
)

Activation = Literal["prelu", "relu"]
Upsampling = Literal["transposed4", "transposed3"]

ACTIVATIONS: dict[Activation, MakeActivation] = {"prelu": nn.PReLU, "relu": nn.ReLU}
KERNELS: dict[Upsampling, Literal[3, 4]] = {"transposed4": 4, "transposed3": 3}


class Encoder(nn.Module):
    """Image to features at a quarter of its size; ACA compares these.

    Args:
        width: channels after the first convolution, a multiple of 4; the features have four times as many.
        n_blocks: residual blocks.
        activation: ``prelu`` (ToDayGAN and its kin) or ``relu`` (CycleGAN).
        antialias: blur before each convolution of stride 2, so that features depend less on where a thing lies.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    def __init__(
        self,
        width: int = 64,
        n_blocks: int = 4,
        activation: Activation = "prelu",
        *,
        antialias: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        make = ACTIVATIONS[activation]
        self.layers = nn.Sequential(
            *stem(3, width, activation=make, antialias=antialias),
            *(ResidualBlock(4 * width, activation=make) for _ in range(n_blocks)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W at least 8 and divisible by 4, to ``(B, 4 * width, H / 4, W / 4)``."""
        check_images(x, 3)
        return run(self.layers, x, self.checkpointing)

    def with_half(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features, and those of the first layer of stride 2, ``(B, 2 * width, H / 2, W / 2)``."""
        check_images(x, 3)
        layers = list(self.layers)
        end = [i for i, layer in enumerate(layers, 1) if isinstance(layer, nn.PReLU | nn.ReLU)][1]
        half = run(nn.Sequential(*layers[:end]), x, self.checkpointing)
        return run(nn.Sequential(*layers[end:]), half, self.checkpointing), half


class Decoder(nn.Module):
    """Features to an image in [-1, 1].

    Args:
        width: that of the encoder.
        n_blocks: residual blocks.
        norm: after the two transposed convolutions: ``group``, against the dots that ``instance`` leaves (3.2.1).
        activation: that of the encoder.
        upsampling: the two transposed convolutions of stride 2: 4x4 (ToDayGAN and its kin) or 3x3 (CycleGAN).
        antialias: blur after each transposed convolution.
        checkpointing: that of the encoder.
    """

    def __init__(
        self,
        width: int = 64,
        n_blocks: int = 5,
        norm: Literal["group", "instance"] = "group",
        activation: Activation = "prelu",
        upsampling: Upsampling = "transposed4",
        *,
        antialias: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        norms: dict[str, MakeNorm] = {"group": group_norm, "instance": nn.InstanceNorm2d}
        make_norm, make = norms[norm], ACTIVATIONS[activation]
        kernel = KERNELS[upsampling]
        self.channels = 4 * width
        self.layers = nn.Sequential(
            *(ResidualBlock(4 * width, activation=make) for _ in range(n_blocks)),
            *doubling(4 * width, 2 * width, make_norm, make, kernel, antialias=antialias),
            *doubling(2 * width, width, make_norm, make, kernel, antialias=antialias),
            ReflectionPad(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, 4 * width, h, w)``, h and w at least 2, to ``(B, 3, 4h, 4w)``."""
        check_images(features, self.channels, minimum=2, multiple=1)
        layers = list(self.layers)
        inner, last = nn.Sequential(*layers[:-3]), nn.Sequential(*layers[-3:])
        x = run(inner, features, self.checkpointing)
        # under autocast too: near -1 and 1 the steps of bfloat16 are half a gray level, which losses on gradients see
        with torch.autocast(x.device.type, enabled=False):
            return run(last, x.to(next(last.parameters()).dtype), self.checkpointing)
