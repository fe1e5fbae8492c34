"""The networks of CycleGAN in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ntir2dc.config import NetworkOptions, TrainConfig
from ntir2dc.networks import PatchDiscriminator, ResnetGenerator, init_weights


class Networks(nn.Module):
    """``generator_ab`` is G_AB (day to thermal), ``generator_ba`` is G_BA; a discriminator for each domain.

    Args:
        options: widths and depths.
        seed: of the initial weights, N(0, 0.02), drawn without touching the global RNG.
    """

    def __init__(self, options: NetworkOptions, seed: int) -> None:
        super().__init__()
        self.generator_ab, self.generator_ba = (
            ResnetGenerator(
                options.generator_width,
                options.encoder_blocks,
                options.decoder_blocks,
                checkpointing=options.checkpointing,
            )
            for _ in range(2)
        )
        self.discriminator_a, self.discriminator_b = (PatchDiscriminator(options.discriminator_width) for _ in range(2))
        generator = torch.Generator().manual_seed(seed)
        for network in self.children():
            init_weights(network, 0.02, generator=generator)

    def generators(self) -> list[nn.Module]:
        """Return both generators."""
        return [self.generator_ab, self.generator_ba]

    def discriminators(self) -> list[nn.Module]:
        """Return both discriminators."""
        return [self.discriminator_a, self.discriminator_b]


class Translator(nn.Module):
    """G_BA alone, under the name that it has in a weights file."""

    def __init__(self, generator_ba: ResnetGenerator) -> None:
        super().__init__()
        self.generator_ba = generator_ba

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], H and W at least 8 and divisible by 4, to the same shape and range."""
        image: Tensor = self.generator_ba(x)
        return image


def describe(options: NetworkOptions) -> dict[str, int]:
    """Return what a weights file says of the generators."""
    return {
        "width": options.generator_width,
        "encoder_blocks": options.encoder_blocks,
        "decoder_blocks": options.decoder_blocks,
    }


def make_translator(width: int, encoder_blocks: int, decoder_blocks: int) -> Translator:
    """Return the translator that :func:`describe` describes, with whatever weights."""
    return Translator(ResnetGenerator(width, encoder_blocks, decoder_blocks))


def untrained_translator(config: TrainConfig, n_classes: int) -> Translator:
    """Return the translator that a run starts from, on the CPU; there are no segmenters."""
    return Translator(Networks(config.networks, config.seed).generator_ba)
