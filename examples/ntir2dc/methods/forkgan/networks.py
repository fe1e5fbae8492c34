"""The networks of ForkGAN in one module."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from ntir2dc.config import NetworkOptions, TrainConfig
from ntir2dc.networks import CrossedDiscriminator, DomainClassifier, ForkDecoder, ForkEncoder
from ntir2dc.networks.blocks import ResidualBlock

ROLES = ("translated", "reconstructed", "refined")
COPIES = 2

Output = Literal["refined", "translated"]


class Fork(NamedTuple):
    """The networks of one direction."""

    encoder: ForkEncoder
    translate: ForkDecoder
    reconstruct: ForkDecoder


class Judges(nn.ModuleDict):
    """The discriminators of a domain: independent copies for each kind of images."""

    def __init__(self, width: int) -> None:
        super().__init__({role: nn.ModuleList(CrossedDiscriminator(width) for _ in range(COPIES)) for role in ROLES})

    def scores(self, role: str, x: Tensor) -> list[list[Tensor]]:
        """Return the maps that each copy gives images of a kind."""
        return [discriminator(x) for discriminator in cast(nn.ModuleList, self[role])]


class Networks(nn.Module):
    """A fork for each direction, the discriminators of each domain, and one classifier; nothing else is shared.

    Args:
        options: widths and depths; a discriminator has half the width, as there are two copies.
        seed: of the initial weights, drawn without touching the global RNG.
    """

    def __init__(self, options: NetworkOptions, seed: int) -> None:
        super().__init__()
        width, checkpointing = options.generator_width, options.checkpointing
        self.encoder_ab, self.encoder_ba = (
            ForkEncoder(width, options.encoder_blocks, checkpointing=checkpointing) for _ in range(2)
        )
        (
            self.decoder_translate_ab,
            self.decoder_translate_ba,
            self.decoder_reconstruct_ab,
            self.decoder_reconstruct_ba,
        ) = (ForkDecoder(width, options.decoder_blocks, checkpointing=checkpointing) for _ in range(4))
        self.classifier = DomainClassifier(width)
        self.discriminator_a, self.discriminator_b = (
            Judges(max(1, options.discriminator_width // COPIES)) for _ in range(2)
        )
        init_as_published(self, torch.Generator().manual_seed(seed))

    def forks(self) -> tuple[Fork, Fork]:
        """Return the networks from A to B and from B to A."""
        return (
            Fork(self.encoder_ab, self.decoder_translate_ab, self.decoder_reconstruct_ab),
            Fork(self.encoder_ba, self.decoder_translate_ba, self.decoder_reconstruct_ba),
        )

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders by name."""
        return nn.ModuleDict({n: m for n, m in self.named_children() if n.startswith(("encoder", "decoder"))})

    def discriminators(self) -> list[nn.Module]:
        """Return those of both domains."""
        return [self.discriminator_a, self.discriminator_b]


def init_as_published(networks: nn.Module, generator: torch.Generator) -> None:
    """Draw weights from N(0, 0.02), cut off at twice that outside residual blocks, and gains from N(1, 0.02)."""
    if any(parameter.is_meta for parameter in networks.parameters()):
        return  # which holds no numbers
    residual = {conv for block in networks.modules() if isinstance(block, ResidualBlock) for conv in block.modules()}
    for layer in networks.modules():
        if isinstance(layer, nn.InstanceNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02, generator=generator)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer in residual:
            nn.init.normal_(layer.weight, 0, 0.02, generator=generator)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.trunc_normal_(layer.weight, 0, 0.02, -0.04, 0.04, generator=generator)


def describe(options: NetworkOptions, output: Output) -> dict[str, int | str]:
    """Return what a weights file says of the forks."""
    return {
        "width": options.generator_width,
        "encoder_blocks": options.encoder_blocks,
        "decoder_blocks": options.decoder_blocks,
        "output": output,
    }


def translator(parts: Mapping[str, nn.Module], there: str, back: str, output: Output) -> nn.Module:
    """Return the way ``there`` (as ``ba``); the refined one goes on through what reconstructs on the way ``back``."""
    names = [f"encoder_{there}", f"decoder_translate_{there}"]
    if output == "refined":
        names += [f"encoder_{back}", f"decoder_reconstruct_{back}"]
    return nn.Sequential(OrderedDict((name, parts[name]) for name in names))


def make_translator(width: int, encoder_blocks: int, decoder_blocks: int, output: Output = "refined") -> nn.Module:
    """Return the translator that :func:`describe` describes, with whatever weights; it adds no noise.

    Raises:
        ValueError: no such output.
    """
    if output not in get_args(Output):
        raise ValueError(f"output {output!r}")
    parts = {
        "encoder_ba": ForkEncoder(width, encoder_blocks),
        "decoder_translate_ba": ForkDecoder(width, decoder_blocks),
        "encoder_ab": ForkEncoder(width, encoder_blocks),
        "decoder_reconstruct_ab": ForkDecoder(width, decoder_blocks),
    }
    return translator(parts, "ba", "ab", output)


def untrained_translator(config: TrainConfig, n_classes: int) -> nn.Module:
    """Return the translator that a run starts from, on the CPU; there are no segmenters."""
    parts = dict(Networks(config.networks, config.seed).generators().items())
    return translator(parts, "ba", "ab", config.forkgan.output)
