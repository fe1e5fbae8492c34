"""Generators in halves: G_AB is the encoder of A and the decoder of B, G_BA the encoder of B and the decoder of A."""

from __future__ import annotations

from torch import Tensor, nn

HALVES = ("encoder_a", "encoder_b", "decoder_a", "decoder_b")


def halves_of(networks: nn.Module) -> nn.ModuleDict:
    """Return encoders and decoders by name."""
    return nn.ModuleDict({name: networks.get_submodule(name) for name in HALVES})


def translators(halves: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
    """Return G_AB and G_BA."""
    return (
        nn.Sequential(halves["encoder_a"], halves["decoder_b"]),
        nn.Sequential(halves["encoder_b"], halves["decoder_a"]),
    )


class Translator(nn.Module):
    """G_BA alone, its halves under the names that they have in a weights file."""

    def __init__(self, encoder_b: nn.Module, decoder_a: nn.Module) -> None:
        super().__init__()
        self.encoder_b = encoder_b
        self.decoder_a = decoder_a

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` in [-1, 1], H and W at least 8 and divisible by 4, to the same shape and range."""
        image: Tensor = self.decoder_a(self.encoder_b(x))
        return image
