"""The networks of DRIT++ in one module."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ntir2dc.config import TrainConfig
from ntir2dc.networks import MultiScaleDiscriminator, init_weights
from ntir2dc.networks.blocks import ResidualBlock
from ntir2dc.networks.drit import ContentDiscriminator, ContentEncoder, StyledDecoder, StyleEncoder

SAVED = ("encoder_a", "encoder_b", "encoder_shared", "decoder_shared", "decoder_a", "decoder_b")
"""What translates with a fixed style."""


class Domain(NamedTuple):
    """The networks of one domain; ``second`` judges images of random styles."""

    encoder: nn.Module
    style: nn.Module
    decoder: nn.Module
    discriminator: nn.Module
    second: nn.Module


class Networks(nn.Module):
    """Encoders of content and style, decoders and two discriminators for each domain; what domains share is one each.

    Args:
        config: of the run. For crops below 212 the content discriminator is the padded one.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        options, style = config.networks, config.drit.style
        width, checkpointing = options.generator_width, options.checkpointing
        self.encoder_a, self.encoder_b = (
            ContentEncoder(width, options.encoder_blocks, checkpointing=checkpointing) for _ in range(2)
        )
        self.encoder_shared, self.decoder_shared = shared_block(width), shared_block(width)
        self.decoder_a, self.decoder_b = (
            StyledDecoder(width, options.decoder_blocks, style, checkpointing=checkpointing) for _ in range(2)
        )
        self.style_a, self.style_b = (StyleEncoder(width, style) for _ in range(2))
        self.discriminator_a, self.discriminator_b, self.second_a, self.second_b = (
            MultiScaleDiscriminator(options.discriminator_width, slope=0.01) for _ in range(4)
        )
        padded = config.dataset.crop < ContentDiscriminator.published_size
        self.content_discriminator = ContentDiscriminator(width, padded=padded)
        generator = torch.Generator().manual_seed(config.seed)
        for network in self.children():
            init_weights(network, 0.02, generator=generator)
            draw_defaults(network, generator)

    def domains(self) -> tuple[Domain, Domain]:
        """Return the networks of A and of B."""
        return (
            Domain(self.encoder_a, self.style_a, self.decoder_a, self.discriminator_a, self.second_a),
            Domain(self.encoder_b, self.style_b, self.decoder_b, self.discriminator_b, self.second_b),
        )

    def content(self, domain: Domain, images: Tensor) -> Tensor:
        """Return the contents of images, without noise."""
        content: Tensor = self.encoder_shared(domain.encoder(images))
        return content

    def decode(self, domain: Domain, content: Tensor, style: Tensor) -> Tensor:
        """Return images of a domain."""
        images: Tensor = domain.decoder(self.decoder_shared(content), style)
        return images

    def saved(self) -> nn.ModuleDict:
        """Return by name what translates with a fixed style."""
        return nn.ModuleDict({name: self.get_submodule(name) for name in SAVED})

    def discriminators(self) -> list[nn.Module]:
        """Return the four discriminators of images."""
        return [self.discriminator_a, self.discriminator_b, self.second_a, self.second_b]


def shared_block(width: int) -> ResidualBlock:
    """Return the residual block on contents that both domains share; 1,180,160 parameters at width 64."""
    return ResidualBlock(4 * width, activation=nn.ReLU)


def draw_defaults(network: nn.Module, generator: torch.Generator) -> None:
    """Draw what the published code leaves as torch makes it: biases of convolutions, and linear layers."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and not layer.weight.is_meta:
            drawn = [layer.weight, layer.bias] if isinstance(layer, nn.Linear) else [layer.bias]
            for parameter in drawn:
                assert parameter is not None
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(parameter, -bound, bound, generator=generator)


def describe(config: TrainConfig) -> dict[str, int]:
    """Return what a weights file says of the networks that translate."""
    return {
        "width": config.networks.generator_width,
        "encoder_blocks": config.networks.encoder_blocks,
        "decoder_blocks": config.networks.decoder_blocks,
        "style": config.drit.style,
    }


def translator(networks: nn.Module, source: str, target: str) -> nn.Sequential:
    """Return what translates from a domain to the other one with the style 0, each network under its own name."""
    names = (f"encoder_{source}", "encoder_shared", "decoder_shared", f"decoder_{target}")
    return nn.Sequential(OrderedDict((name, networks.get_submodule(name)) for name in names))


def make_translator(width: int, encoder_blocks: int, decoder_blocks: int, style: int) -> nn.Sequential:
    """Return the translator that :func:`describe` describes, with whatever weights."""
    networks = {
        "encoder_b": ContentEncoder(width, encoder_blocks),
        "encoder_shared": shared_block(width),
        "decoder_shared": shared_block(width),
        "decoder_a": StyledDecoder(width, decoder_blocks, style),
    }
    return translator(nn.ModuleDict(networks), "b", "a")


def untrained_translator(config: TrainConfig, n_classes: int) -> nn.Sequential:
    """Return the translator that a run starts from, on the CPU; there are no segmenters."""
    return translator(Networks(config), "b", "a")
