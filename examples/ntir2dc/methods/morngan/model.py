"""All networks of a run in one module: two generators in halves, two discriminators, two segmenters.

And what moves them: optimizers, and the running average of the generators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ntir2dc.config import NetworkOptions, TrainConfig
from ntir2dc.networks import Decoder, Discriminator, Encoder, Segmenter, init_weights

GENERATORS = ("encoder_a", "encoder_b", "decoder_a", "decoder_b")


class MornGAN(nn.Module):
    """The networks; ``translate_ab`` is G_AB (day to thermal), ``translate_ba`` is G_BA (thermal to day).

    Args:
        options: widths and depths.
        n_classes: of the segmenters.
        seed: of the initial weights, drawn without touching the global RNG.
        segmenters: False leaves the segmenters out (no semantic consistency).
    """

    def __init__(self, options: NetworkOptions, n_classes: int, seed: int, *, segmenters: bool = True) -> None:
        super().__init__()
        width, checkpointing = options.generator_width, options.checkpointing
        self.encoder_a, self.encoder_b = (
            Encoder(width=width, n_blocks=options.encoder_blocks, checkpointing=checkpointing) for _ in range(2)
        )
        self.decoder_a, self.decoder_b = (
            Decoder(
                width=width, n_blocks=options.decoder_blocks, norm=options.decoder_norm, checkpointing=checkpointing
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
            self.segmenter_a, self.segmenter_b = (
                Segmenter(
                    n_classes,
                    width=options.segmenter_width,
                    n_blocks=options.segmenter_blocks,
                    aspp_channels=options.aspp_channels,
                    merged_channels=options.merged_channels,
                    dropout=options.dropout,
                    norm=options.segmenter_norm,
                    variant=options.segmenter_variant,
                    checkpointing=checkpointing,
                )
                for _ in range(2)
            )
        generator = torch.Generator().manual_seed(seed)
        for network in self.children():
            he = isinstance(network, Segmenter) and options.segmenter_init == "he"
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
        return nn.ModuleDict({name: getattr(self, name) for name in GENERATORS})

    def discriminators(self) -> list[nn.Module]:
        """Return both discriminators."""
        return [self.discriminator_a, self.discriminator_b]

    def segmenters(self) -> list[nn.Module]:
        """Return both segmenters, or nothing if there are none."""
        return [self.segmenter_a, self.segmenter_b] if hasattr(self, "segmenter_a") else []


def parameters(modules: list[nn.Module]) -> Iterator[nn.Parameter]:
    """Return the parameters of several modules."""
    for module in modules:
        yield from module.parameters()


def set_requires_grad(modules: list[nn.Module], value: bool) -> None:
    """Switch the gradients of all parameters on or off."""
    for module in modules:
        module.requires_grad_(value)


def make_model(config: TrainConfig, n_classes: int) -> MornGAN:
    """Return the networks of a run as they start, on the CPU."""
    model = MornGAN(config.networks, n_classes, config.seed, segmenters=config.modules.sc)
    model.to(torch.float64 if config.precision == "64-true" else torch.float32)
    return model


def make_optimizers(model: MornGAN, config: TrainConfig) -> dict[str, torch.optim.Optimizer]:
    """Return Adam for generators, segmenters (if there are any) and discriminators."""
    groups = {
        "generators": (list(model.generators().values()), config.lr),
        "segmenters": (model.segmenters(), config.segmenter_lr or config.lr),
        "discriminators": (model.discriminators(), config.lr),
    }
    return {
        name: torch.optim.Adam(parameters(networks), lr=lr, betas=(0.5, 0.999), fused=True)
        for name, (networks, lr) in groups.items()
        if networks
    }


def make_average(model: MornGAN, decay: float) -> AveragedModel:
    """Return the running average of the generators' weights."""
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model.generators(), multi_avg_fn=average)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Switch modules to eval mode and back to what each submodule was."""
    modes = [(m, m.training) for module in modules for m in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
