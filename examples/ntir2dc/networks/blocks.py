"""What the networks share: reflection padding, the residual block, norms for any width and the size check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

MINIMUM_SIZE = 8
"""Smallest height and width: two pixels are left at a quarter of it, which reflection by one needs."""


def check_images(x: Tensor, channels: int, minimum: int = MINIMUM_SIZE, multiple: int = 4) -> None:
    """Raise ``ValueError`` unless ``x`` is ``(B, channels, H, W)`` of a size the network can take."""
    if x.ndim != 4 or x.shape[1] != channels or x.shape[0] < 1:
        raise ValueError(f"x: expected (B, {channels}, H, W), got {tuple(x.shape)}")
    H, W = x.shape[-2:]
    if min(H, W) < minimum or H % multiple or W % multiple:
        rule = f"at least {minimum}" + (f" and divisible by {multiple}" if multiple > 1 else "")
        raise ValueError(f"x: expected height and width {rule}, got {H} x {W}")


def check_width(width: int) -> None:
    """Raise ``ValueError`` unless ``width`` is a positive multiple of 4."""
    if width < 4 or width % 4:
        raise ValueError(f"width: expected a positive multiple of 4, got {width}")


class ReflectionPad(nn.Module):
    """Reflection of ``padding`` pixels at each side."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H + 2p, W + 2p)``."""
        # torch's own has no deterministic backward on CUDA
        if torch.are_deterministic_algorithms_enabled():
            return self.by_slices(x)
        p = self.padding
        return F.pad(x, (p, p, p, p), mode="reflect")

    def by_slices(self, x: Tensor) -> Tensor:
        """Return the same from slices alone, whose backward is deterministic everywhere."""
        p = self.padding
        for dim in (-1, -2):
            size = x.shape[dim]
            before, after = x.narrow(dim, 1, p).flip(dim), x.narrow(dim, size - 1 - p, p).flip(dim)
            x = torch.cat((before, x, after), dim)
        return x

    def extra_repr(self) -> str:
        """Return the padding, as ``repr`` shows it."""
        return str(self.padding)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups; of fewer where they would not divide ``channels`` or hold a single one.

    A group of one channel is an instance norm, which takes out the channel's mean: what group norm is here to keep.
    """
    groups = next((n for n in range(min(32, channels // 2), 0, -1) if channels % n == 0), 1)
    return nn.GroupNorm(groups, channels)


class LayerNorm(nn.Module):
    """UNIT's layer norm: each sample by its mean and its unbiased standard deviation over channels and pixels.

    The gain of a channel starts anywhere in [0, 1), as published (:func:`ntir2dc.networks.init_weights` draws it).

    Args:
        channels: of ``x``.
        eps: added to the standard deviation.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``, in the parameters' precision: a bfloat16 sum over an image would be too coarse."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.gain.dtype)
            x = (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + self.eps)
            return x * self.gain[:, None, None] + self.bias[:, None, None]


class Blur(nn.Module):
    """The binomial filter (1, 4, 6, 4, 1) / 16 in both directions, of which little is left at every other pixel.

    It has no state, which files of weights would hold.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = ReflectionPad(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``."""
        channels = x.shape[1]
        line = x.new_tensor([1, 4, 6, 4, 1]) / 16
        return F.conv2d(self.pad(x), torch.outer(line, line).expand(channels, 1, 5, 5), groups=channels)


MakeNorm = Callable[[int], nn.Module]
"""Makes the norm of so many channels."""

MakeActivation = Callable[[], nn.Module]
"""Makes an activation."""


class ResidualBlock(nn.Module):
    """``x + norm(conv(activation(norm(conv(x)))))`` with 3x3 convolutions.

    Args:
        channels: of ``x``.
        pad: makes the padding before each convolution.
        norm: makes the norm after each.
        activation: makes the activation between them.
        bias: of the convolutions.
    """

    def __init__(
        self,
        channels: int,
        pad: Callable[[int], nn.Module] = ReflectionPad,
        norm: MakeNorm = nn.InstanceNorm2d,
        activation: MakeActivation = nn.PReLU,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            pad(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(channels),
            activation(),
            pad(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``."""
        residual: Tensor = self.layers(x)
        return x + residual


def stem(
    in_channels: int,
    width: int,
    norm: MakeNorm = nn.InstanceNorm2d,
    activation: MakeActivation = nn.PReLU,
    bias: bool = True,
    antialias: bool = False,
) -> nn.Sequential:
    """Image to ``4 * width`` channels at a quarter of its size: a 7x7 convolution and two 3x3 ones of stride 2.

    With ``antialias`` a :class:`Blur` is before each of stride 2.
    """
    blur = [Blur()] if antialias else []
    return nn.Sequential(
        ReflectionPad(3),
        nn.Conv2d(in_channels, width, 7, bias=bias),
        norm(width),
        activation(),
        *blur,
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias),
        norm(2 * width),
        activation(),
        *blur,
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1, bias=bias),
        norm(4 * width),
        activation(),
    )


def doubling(
    inputs: int,
    outputs: int,
    norm: MakeNorm,
    activation: MakeActivation = nn.PReLU,
    kernel: Literal[3, 4] = 4,
    bias: bool = True,
    antialias: bool = False,
) -> nn.Sequential:
    """A transposed convolution that gives exactly twice the height and the width, its norm and its activation.

    With ``antialias`` a :class:`Blur` follows the convolution.
    """
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=1, output_padding=4 - kernel, bias=bias),
        *([Blur()] if antialias else []),
        norm(outputs),
        activation(),
    )


def run(layers: nn.Sequential, x: Tensor, checkpointing: bool) -> Tensor:
    """Return ``layers(x)``.

    With ``checkpointing`` only what passes from stage to stage is kept for the backward pass, which runs each stage
    once more: less memory for a third more time, the same gradients. No layer may draw at random or keep statistics.
    """
    if not (checkpointing and torch.is_grad_enabled()):
        result: Tensor = layers(x)
        return result
    for stage in stages(layers):
        x = checkpoint(stage, x, use_reentrant=False, preserve_rng_state=False)
    return x


def stages(layers: nn.Sequential) -> Iterator[nn.Sequential]:
    """Cut layers after each activation and each residual block."""
    stage: list[nn.Module] = []
    for layer in layers:
        stage.append(layer)
        if isinstance(layer, nn.PReLU | nn.ReLU | ResidualBlock):
            yield nn.Sequential(*stage)
            stage = []
    if stage:
        yield nn.Sequential(*stage)
