"""The networks of UNIT in one module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ntir2dc.config import NetworkOptions, TrainConfig
from ntir2dc.methods.halves import Translator
from ntir2dc.networks import MultiScaleDiscriminator, UNITDecoder, UNITEncoder, init_weights


class Domain(NamedTuple):
    """The networks of one domain."""

    encoder: nn.Module
    decoder: nn.Module
    discriminator: nn.Module


class Networks(nn.Module):
    """An encoder, a decoder and a discriminator for each domain; domains share nothing.

    Args:
        options: widths and depths.
        seed: of the initial weights, those of He et al. for the halves and N(0, 0.02) for the discriminators, drawn
            without touching the global RNG.
    """

    def __init__(self, options: NetworkOptions, seed: int) -> None:
        super().__init__()
        width, checkpointing = options.generator_width, options.checkpointing
        self.encoder_a, self.encoder_b = (
            UNITEncoder(width, options.encoder_blocks, checkpointing=checkpointing) for _ in range(2)
        )
        self.decoder_a, self.decoder_b = (
            UNITDecoder(width, options.decoder_blocks, checkpointing=checkpointing) for _ in range(2)
        )
        self.discriminator_a, self.discriminator_b = (
            MultiScaleDiscriminator(options.discriminator_width) for _ in range(2)
        )
        generator = torch.Generator().manual_seed(seed)
        for network in self.children():
            init_weights(network, 0.02 if network in self.discriminators() else "he", generator=generator)

    def domains(self) -> tuple[Domain, Domain]:
        """Return the networks of A and of B."""
        return (
            Domain(self.encoder_a, self.decoder_a, self.discriminator_a),
            Domain(self.encoder_b, self.decoder_b, self.discriminator_b),
        )

    def discriminators(self) -> list[nn.Module]:
        """Return both discriminators."""
        return [self.discriminator_a, self.discriminator_b]


def describe(options: NetworkOptions) -> dict[str, int]:
    """Return what a weights file says of the halves."""
    return {
        "width": options.generator_width,
        "encoder_blocks": options.encoder_blocks,
        "decoder_blocks": options.decoder_blocks,
    }


def make_translator(width: int, encoder_blocks: int, decoder_blocks: int) -> Translator:
    """Return the translator that :func:`describe` describes, with whatever weights."""
    # latents are their means here, without noise
    return Translator(UNITEncoder(width, encoder_blocks), UNITDecoder(width, decoder_blocks))


def untrained_translator(config: TrainConfig, n_classes: int) -> Translator:
    """Return the translator that a run starts from, on the CPU; there are no segmenters."""
    networks = Networks(config.networks, config.seed)
    return Translator(networks.encoder_b, networks.decoder_a)
