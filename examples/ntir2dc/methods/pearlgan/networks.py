"""The networks of PearlGAN in one module."""

from __future__ import annotations

from typing import NamedTuple, get_args

import torch
from torch import nn

from ntir2dc.config import NetworkOptions, TrainConfig
from ntir2dc.methods.halves import Translator
from ntir2dc.methods.morngan.networks import DecoderNorm
from ntir2dc.networks import AttentiveDecoder, AttentiveEncoder, Discriminator, init_weights


class Domain(NamedTuple):
    """The networks of one domain."""

    encoder: AttentiveEncoder
    decoder: AttentiveDecoder
    discriminator: Discriminator


class Networks(nn.Module):
    """An encoder, a decoder and a discriminator for each domain; domains share nothing.

    Args:
        options: widths, depths and norms.
        seed: of the initial weights, N(0, 0.02), drawn without touching the global RNG.
    """

    def __init__(self, options: NetworkOptions, seed: int) -> None:
        super().__init__()
        width, checkpointing = options.generator_width, options.checkpointing
        self.encoder_a, self.encoder_b = (
            AttentiveEncoder(width, options.encoder_blocks, checkpointing=checkpointing) for _ in range(2)
        )
        self.decoder_a, self.decoder_b = (
            AttentiveDecoder(width, options.decoder_blocks, options.decoder_norm, checkpointing=checkpointing)
            for _ in range(2)
        )
        self.discriminator_a, self.discriminator_b = (
            Discriminator(
                options.discriminator_width,
                options.discriminator_layers,
                views=options.discriminator_views,
                norm=options.discriminator_norm,
            )
            for _ in range(2)
        )
        generator = torch.Generator().manual_seed(seed)
        for network in self.children():
            init_weights(network, 0.02, generator=generator)

    def domains(self) -> tuple[Domain, Domain]:
        """Return the networks of A and of B."""
        return (
            Domain(self.encoder_a, self.decoder_a, self.discriminator_a),
            Domain(self.encoder_b, self.decoder_b, self.discriminator_b),
        )

    def discriminators(self) -> list[nn.Module]:
        """Return both discriminators."""
        return [self.discriminator_a, self.discriminator_b]


def make_translator(
    width: int, encoder_blocks: int, decoder_blocks: int, decoder_norm: DecoderNorm = "group"
) -> Translator:
    """Return the translator that :func:`ntir2dc.methods.morngan.networks.describe` describes, with whatever weights.

    Raises:
        ValueError: no such networks.
    """
    if decoder_norm not in get_args(DecoderNorm):
        raise ValueError(f"decoder_norm {decoder_norm!r}")
    return Translator(AttentiveEncoder(width, encoder_blocks), AttentiveDecoder(width, decoder_blocks, decoder_norm))


def untrained_translator(config: TrainConfig, n_classes: int) -> Translator:
    """Return the translator that a run starts from, on the CPU; there are no segmenters."""
    networks = Networks(config.networks, config.seed)
    return Translator(networks.encoder_b, networks.decoder_a)
