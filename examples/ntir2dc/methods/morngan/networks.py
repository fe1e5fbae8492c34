"""All networks of MornGAN in one module: two generators in halves, two discriminators, two segmenters."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ntir2dc.config import NetworkOptions, TrainConfig
from ntir2dc.methods.halves import Translator, halves_of
from ntir2dc.networks import Decoder, Discriminator, Encoder, ResidualUNet, Segmenter, init_weights
from ntir2dc.pretrained.segmenter import PretrainedSegmenter

DecoderNorm = Literal["group", "instance"]


class Networks(nn.Module):
    """The networks; ``translate_ab`` is G_AB (day to thermal), ``translate_ba`` is G_BA (thermal to day).

    Args:
        options: widths and depths.
        n_classes: of the segmenters.
        seed: of the initial weights, drawn without touching the global RNG.
        segmenters: False leaves the segmenters out (no semantic consistency).
        pretrained: is S_A, if given, and does not learn.
    """

    def __init__(
        self,
        options: NetworkOptions,
        n_classes: int,
        seed: int,
        *,
        segmenters: bool = True,
        pretrained: PretrainedSegmenter | None = None,
    ) -> None:
        super().__init__()
        width, antialias, checkpointing = options.generator_width, options.antialias, options.checkpointing
        self.encoder_a, self.encoder_b = (
            Encoder(width=width, n_blocks=options.encoder_blocks, antialias=antialias, checkpointing=checkpointing)
            for _ in range(2)
        )
        self.decoder_a, self.decoder_b = (
            Decoder(
                width=width,
                n_blocks=options.decoder_blocks,
                norm=options.decoder_norm,
                antialias=antialias,
                checkpointing=checkpointing,
            )
            for _ in range(2)
        )
        self.discriminator_a, self.discriminator_b = (
            Discriminator(
                width=options.discriminator_width,
                n_layers=options.discriminator_layers,
                views=options.discriminator_views,
                norm=options.discriminator_norm,
            )
            for _ in range(2)
        )
        if segmenters:
            self.segmenter_a = make_segmenter(options, n_classes) if pretrained is None else pretrained
            self.segmenter_b = make_segmenter(options, n_classes)
        generator = torch.Generator().manual_seed(seed)
        for network in self.children():
            he = isinstance(network, Segmenter | ResidualUNet) and options.segmenter_init == "he"
            init_weights(network, "he" if he else 0.02, generator=generator)

    def translate_ab(self, x: Tensor) -> Tensor:
        """G_AB: a day color image to night thermal."""
        translated: Tensor = self.decoder_b(self.encoder_a(x))
        return translated

    def translate_ba(self, x: Tensor) -> Tensor:
        """G_BA: a night thermal image to day color."""
        translated: Tensor = self.decoder_a(self.encoder_b(x))
        return translated

    def moved(self, x: Tensor) -> Tensor:
        """Return a tensor on the networks' device; floats in their precision."""
        like = next(self.parameters())
        return x.to(like.device, like.dtype if x.is_floating_point() else None, non_blocking=True)

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders by name."""
        return halves_of(self)

    def discriminators(self) -> list[nn.Module]:
        """Return both discriminators."""
        return [self.discriminator_a, self.discriminator_b]

    def segmenters(self) -> list[nn.Module]:
        """Return the segmenters that learn, both unless S_A is pretrained, or nothing if there are none."""
        return [network for name, network in self.named_children() if name.startswith("segmenter")]


def make_segmenter(options: NetworkOptions, n_classes: int) -> Segmenter | ResidualUNet:
    """Return a segmenter of one of the three kinds, with whatever weights."""
    if options.segmenter_variant == "unet":
        return ResidualUNet(n_classes, tuple(options.segmenter_width * factor for factor in (1, 2, 4, 8)))
    return Segmenter(
        n_classes,
        width=options.segmenter_width,
        n_blocks=options.segmenter_blocks,
        aspp_channels=options.aspp_channels,
        merged_channels=options.merged_channels,
        dropout=options.dropout,
        norm=options.segmenter_norm,
        variant=options.segmenter_variant,
        checkpointing=options.checkpointing,
    )


def make_networks(config: TrainConfig, n_classes: int, pretrained: PretrainedSegmenter | None = None) -> Networks:
    """Return the networks of a run as they start, on the CPU; one that is pretrained is where it is."""
    return Networks(config.networks, n_classes, config.seed, segmenters=config.modules.sc, pretrained=pretrained)


def describe(options: NetworkOptions) -> dict[str, int | str]:
    """Return what a weights file says of the generators."""
    described: dict[str, int | str] = {
        "width": options.generator_width,
        "encoder_blocks": options.encoder_blocks,
        "decoder_blocks": options.decoder_blocks,
        "decoder_norm": options.decoder_norm,
    }
    # only where it is on: files without are read by versions that do not know of it
    return described | {"antialias": 1} if options.antialias else described


def make_translator(
    width: int, encoder_blocks: int, decoder_blocks: int, decoder_norm: DecoderNorm = "group", antialias: int = 0
) -> Translator:
    """Return the translator that :func:`describe` describes, with whatever weights.

    Raises:
        ValueError: no such networks.
    """
    if decoder_norm not in get_args(DecoderNorm):
        raise ValueError(f"decoder_norm {decoder_norm!r}")
    if antialias not in (0, 1):
        raise ValueError(f"antialias {antialias!r}")
    blur = bool(antialias)
    return Translator(
        Encoder(width, encoder_blocks, antialias=blur), Decoder(width, decoder_blocks, decoder_norm, antialias=blur)
    )


def untrained_translator(config: TrainConfig, n_classes: int) -> Translator:
    """Return the translator that a run starts from, on the CPU."""
    networks = Networks(config.networks, n_classes, config.seed, segmenters=False)
    return Translator(networks.encoder_b, networks.decoder_a)
