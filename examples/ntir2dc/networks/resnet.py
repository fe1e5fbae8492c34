"""CycleGAN's two networks (Zhu et al., ICCV 2017): a residual generator and a patch discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ntir2dc.networks.blocks import check_images
from ntir2dc.networks.generators import Decoder, Encoder


class ResnetGenerator(nn.Module):
    """Image to image, 11,378,179 parameters at width 64: the halves of ToDayGAN with ReLU, and 3x3 on the way up.

    Args:
        width: channels after the first convolution, a multiple of 4.
        encoder_blocks: residual blocks in the first half, of nine in all.
        decoder_blocks: those in the second half.
        checkpointing: run layers again in the backward pass instead of keeping all that they made.
    """

    def __init__(
        self, width: int = 64, encoder_blocks: int = 4, decoder_blocks: int = 5, *, checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.encoder = Encoder(width, encoder_blocks, "relu", checkpointing=checkpointing)
        self.decoder = Decoder(
            width, decoder_blocks, "instance", "relu", upsampling="transposed3", checkpointing=checkpointing
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], H and W at least 8 and divisible by 4, to the same shape and range."""
        image: Tensor = self.decoder(self.encoder(x))
        return image


class PatchDiscriminator(nn.Module):
    """A single map of scores, each of 70 x 70 pixels; 2,764,737 parameters at width 64.

    Args:
        width: channels of the first layer, doubled by each of the next three.
    """

    # after three halvings, the two convolutions of stride 1 each take a pixel
    minimum_size = 24

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")

        def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(outputs),
                nn.LeakyReLU(0.2),
            )

        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            block(width, 2 * width, stride=2),
            block(2 * width, 4 * width, stride=2),
            block(4 * width, 8 * width, stride=1),
            nn.Conv2d(8 * width, 1, 4, padding=1),
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return the one map of the one discriminator, ``(B, 1, H // 8 - 2, W // 8 - 2)``, in the form of several.

        Args:
            x: ``(B, 3, H, W)``, H and W at least 24.
        """
        check_images(x, 3, minimum=self.minimum_size, multiple=1)
        # under autocast too, as every discriminator: scores stay in full precision
        with torch.autocast(x.device.type, enabled=False):
            return [[self.layers(x)]]
