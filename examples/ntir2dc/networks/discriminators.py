"""The discriminator of a domain: three patch discriminators, on color, on gray values and on gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from morn_losses.image import central_differences, to_gray
from ntir2dc.networks.blocks import ReflectionPad, check_images


def scale_weights(n: int) -> tuple[float, ...]:
    """Weights of a discriminator's ``n`` maps as published: 1, 2, ..., n, the last raised by one.

    Example:
        >>> scale_weights(4)
        (1.0, 2.0, 3.0, 5.0)
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {n}")
    return (*(float(i) for i in range(1, n)), float(n + 1))


class PatchDiscriminator(nn.Module):
    """Stride-2 convolutions with a prediction at each scale.

    Every layer after the first has one channel more than its width: this channel, before the activation, is the
    prediction of its scale, and the others go on. A last convolution of stride 1 predicts from the coarsest features,
    so that ``n_layers`` layers give as many maps, from fine to coarse.

    Choice: the kernel of the last convolution is 4x4 with padding 1, as in the other patch discriminators in use.
    """

    def __init__(self, in_channels: int, width: int, n_layers: int, spectral_norm: bool) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1)
            return parametrizations.spectral_norm(layer) if spectral_norm else layer

        widths = [width * min(2**i, 8) for i in range(n_layers)]
        self.first = conv(in_channels, width, stride=2)
        self.scales = nn.ModuleList(conv(widths[i - 1], widths[i] + 1, stride=2) for i in range(1, n_layers))
        self.last = conv(widths[-1], 1, stride=1)
        self.activations = nn.ModuleList(nn.PReLU() for _ in range(n_layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps ``(B, 1, h, w)``, fine to coarse."""
        maps: list[Tensor] = []
        x = self.activations[0](self.first(x))
        for layer, activation in zip(self.scales, self.activations[1:], strict=True):
            x, prediction = layer(x).tensor_split([-1], 1)
            maps.append(prediction)
            x = activation(x)
        maps.append(self.last(x))
        return maps


class Discriminator(nn.Module):
    """Three patch discriminators, for :class:`morn_losses.RelativisticLSGANLoss`.

    They look at the image blurred by a 5x5 Gaussian of sigma 3, at its gray version, and at the two central
    differences of the gray image at every second pixel. With spectral norm a forward pass in training mode moves its
    power iteration on by a step: the buffers are part of the state dict.

    Choice: the blur reflects and the differences repeat the border, so that it shows neither a frame nor an edge.

    Args:
        width: channels of the first layer, doubled by each layer up to eight times.
        n_layers: stride-2 layers, and thereby maps, of the three.
        views: ``three``, or ``color``: a single patch discriminator (the first) on the image as it is.
        spectral_norm: of every convolution.
    """

    kernel: Tensor

    def __init__(
        self,
        width: int = 64,
        n_layers: tuple[int, int, int] = (4, 4, 3),
        *,
        views: Literal["three", "color"] = "three",
        spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        if len(n_layers) != 3 or min(n_layers) < 1:
            raise ValueError(f"n_layers: expected three numbers of at least 1, got {n_layers}")
        self.views = views
        self.color = PatchDiscriminator(3, width, n_layers[0], spectral_norm)
        # every layer halves, and the last convolution needs two pixels
        self.minimum_size = 2 ** (n_layers[0] + 1)
        if views == "color":
            return
        self.gray = PatchDiscriminator(1, width, n_layers[1], spectral_norm)
        self.gradient = PatchDiscriminator(2, width, n_layers[2], spectral_norm)
        # the gradients start from half the image
        self.minimum_size = max(self.minimum_size, 2 ** (n_layers[1] + 1), 2 ** (n_layers[2] + 2) - 1)
        self.pad = ReflectionPad(2)
        line = torch.exp(-torch.arange(-2.0, 3.0).square() / (2 * 3.0**2))
        kernel = torch.outer(line, line)
        self.register_buffer("kernel", (kernel / kernel.sum()).expand(3, 1, 5, 5).clone(), persistent=False)

    def blur(self, x: Tensor) -> Tensor:
        """Return ``x`` after the Gaussian."""
        return F.conv2d(self.pad(x), self.kernel, groups=3)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return the maps of the three discriminators (or the one), each ``(B, 1, h, w)`` from fine to coarse.

        Args:
            x: ``(B, 3, H, W)`` with H and W at least ``minimum_size``.
        """
        check_images(x, 3, minimum=self.minimum_size, multiple=1)
        # under autocast too: spectral norm iterates on its weights, and relativistic scores are small differences
        with torch.autocast(x.device.type, enabled=False):
            if self.views == "color":
                return [self.color(x)]
            gray = to_gray(x).to(x.dtype)
            differences = torch.cat(central_differences(gray, "replicate"), 1)[..., ::2, ::2]
            return [self.color(self.blur(x)), self.gray(gray), self.gradient(differences)]
