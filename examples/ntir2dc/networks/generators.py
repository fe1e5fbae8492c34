"""The generator's two halves: an encoder and a decoder for each domain, sharing nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ntir2dc.networks.blocks import ReflectionPad, ResidualBlock, check_images, check_width, group_norm, run, stem


class Encoder(nn.Module):
    """Image to features at a quarter of its size; ACA compares these.

    Args:
        width: channels after the first convolution, a multiple of 4; the features have four times as many.
        n_blocks: residual blocks.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    def __init__(self, width: int = 64, n_blocks: int = 4, *, checkpointing: bool = False) -> None:
        super().__init__()
        check_width(width)
        self.checkpointing = checkpointing
        self.layers = nn.Sequential(
            *stem(3, width),
            *(ResidualBlock(4 * width) for _ in range(n_blocks)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)``, H and W at least 8 and divisible by 4, to ``(B, 4 * width, H / 4, W / 4)``."""
        check_images(x, 3)
        return run(self.layers, x, self.checkpointing)


class Decoder(nn.Module):
    """Features to an image in [-1, 1].

    Args:
        width: that of the encoder.
        n_blocks: residual blocks.
        norm: after the two transposed convolutions: ``group``, against the dots that ``instance`` leaves (3.2.1).
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
        check_width(width)
        self.checkpointing = checkpointing
        norms: dict[str, Callable[[int], nn.Module]] = {"group": group_norm, "instance": nn.InstanceNorm2d}
        make_norm = norms[norm]
        self.channels = 4 * width
        self.layers = nn.Sequential(
            *(ResidualBlock(4 * width) for _ in range(n_blocks)),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
            make_norm(2 * width),
            nn.PReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            make_norm(width),
            nn.PReLU(),
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
