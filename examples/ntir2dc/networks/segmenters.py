"""The segmenter of a domain: coordinates as input channels, residual blocks, and an ASPP head at full size."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ntir2dc.networks.blocks import MakeNorm, ResidualBlock, check_images, check_width, doubling, group_norm, run, stem

Norm = Literal["instance", "group", "batch"]
Variant = Literal["paper", "published"]


def add_coordinates(x: Tensor, window: Tensor | None = None) -> Tensor:
    """Append the column's and the row's coordinate in [-1, 1] as two channels: ``(B, C + 2, H, W)``.

    Args:
        x: ``(B, C, H, W)``.
        window: ``(B, 4)``, where each image was cut out of its frame: first row and column, height and width of the
            frame, in pixels. The coordinates are then those in the frame; None takes the image for the whole frame.
    """
    B, _, H, W = x.shape
    if window is None:
        columns, rows = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device).expand(B, n) for n in (W, H))
    else:
        top, left, height, width = window.to(x.dtype).view(B, 4, 1).unbind(1)
        columns, rows = (
            (start + torch.arange(n, dtype=x.dtype, device=x.device)) / (size - 1) * 2 - 1
            for start, n, size in ((left, W, width), (top, H, height))
        )
    return torch.cat((x, columns.view(B, 1, 1, W).expand(B, 1, H, W), rows.view(B, 1, H, 1).expand(B, 1, H, W)), 1)


class ASPP(nn.Module):
    """Atrous spatial pyramid: a 1x1 and three dilated 3x3 convolutions and the global mean, concatenated and merged.

    ``norm`` is that of the four branches, ``merge_norm`` that after the merge. None follows the pooling, where one
    pixel is left.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        merged_channels: int,
        *,
        norm: MakeNorm,
        merge_norm: MakeNorm,
        bias: bool,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, bias=bias)
                if dilation == 1
                else nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation, bias=bias),
                norm(channels),
                nn.PReLU(),
            )
            for dilation in (1, 6, 12, 18)
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, channels, 1, bias=bias), nn.PReLU())
        self.merge = nn.Sequential(
            nn.Conv2d(5 * channels, merged_channels, 1, bias=bias), merge_norm(merged_channels), nn.PReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, merged_channels, H, W)``."""
        maps = [branch(x) for branch in self.branches]
        maps.append(self.pooled(x).expand_as(maps[0]))
        merged: Tensor = self.merge(torch.cat(maps, 1))
        return merged


class Segmenter(nn.Module):
    """Image to logits of its full size.

    Choice: instance norm without affine parameters and PReLU, as in the generator. Instance norm takes each image's
    mean color out of every layer; ``"group"`` keeps it, and so does ``"batch"`` once it no longer learns; it needs
    several images a step.

    Choice: after the merge of the pyramid group norm in place of instance norm, which is the published code's and takes
    the pooled branch, one value a channel, out again.

    Args:
        n_classes: channels of the logits.
        width: channels after the first convolution, a multiple of 4.
        n_blocks: residual blocks, with zero padding.
        aspp_channels: channels of each of the five branches of the head.
        merged_channels: channels they are merged to.
        dropout: probability of the dropout before the last convolution.
        norm: ``"instance"``, ``"group"`` or ``"batch"``.
        variant: ``"paper"``, or ``"published"``: ``norm`` after the merge too, and no biases but the last layer's.
        checkpointing: run layers again in the backward pass instead of keeping all that they made; without effect on
            batch norm, whose running statistics would move twice.
    """

    def __init__(
        self,
        n_classes: int = 19,
        width: int = 64,
        n_blocks: int = 4,
        aspp_channels: int = 64,
        merged_channels: int = 256,
        dropout: float = 0.5,
        norm: Norm = "instance",
        variant: Variant = "paper",
        *,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_width(width)
        if norm not in get_args(Norm):
            raise ValueError(f"norm: expected one of {', '.join(get_args(Norm))}, got {norm!r}")
        if variant not in get_args(Variant):
            raise ValueError(f"variant: expected one of {', '.join(get_args(Variant))}, got {variant!r}")
        norms: dict[Norm, MakeNorm] = {
            "instance": nn.InstanceNorm2d,
            "group": group_norm,
            "batch": nn.BatchNorm2d,
        }
        layer_norm, bias = norms[norm], variant == "paper"
        head = ASPP(
            width,
            aspp_channels,
            merged_channels,
            norm=layer_norm,
            merge_norm=group_norm if (norm, variant) == ("instance", "paper") else layer_norm,
            bias=bias,
        )
        self.by_batch = norm == "batch"
        self.checkpointing = checkpointing and not self.by_batch
        self.layers = nn.Sequential(
            *stem(5, width, layer_norm, bias=bias),
            *(ResidualBlock(4 * width, pad=nn.ZeroPad2d, norm=layer_norm, bias=bias) for _ in range(n_blocks)),
            *doubling(4 * width, 2 * width, layer_norm, bias=bias),
            *doubling(2 * width, width, layer_norm, bias=bias),
            head,
            nn.Dropout(dropout),
            nn.Conv2d(merged_channels, n_classes, 1),
        )

    def forward(
        self, x: Tensor, window: Tensor | None = None, *, also_without_dropout: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Map ``(B, 3, H, W)``, H and W at least 8 and divisible by 4, to logits ``(B, n_classes, H, W)``.

        Args:
            x: the images.
            window: where they lie in their frames, see :func:`add_coordinates`.
            also_without_dropout: return two tensors, the second one without dropout and without grad: what eval mode
                gives from a second pass, unless the norm is ``"batch"``.
        """
        check_images(x, 3)
        *body, dropout, last = self.layers
        features = run(nn.Sequential(*body), add_coordinates(x, window), self.checkpointing)
        logits: Tensor = last(dropout(features))
        if not also_without_dropout:
            return logits
        with torch.no_grad():
            return logits, last(features)
