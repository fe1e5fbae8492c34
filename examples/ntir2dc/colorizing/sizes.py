"""Frames of any size, though the network takes multiples of 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pad(x: Tensor) -> Tensor:
    """Extend ``(B, C, H, W)`` right and down to multiples of 4, at least 8, by reflection where it fits."""
    H, W = x.shape[-2:]
    bottom, right = max(8, -(-H // 4) * 4) - H, max(8, -(-W // 4) * 4) - W
    mode = "reflect" if bottom < H and right < W else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)


@torch.inference_mode()
def translate(translator: nn.Module, x: Tensor) -> Tensor:
    """Return the translation of ``(B, 3, H, W)`` of any size."""
    translated: Tensor = translator(pad(x))
    return translated[..., : x.shape[-2], : x.shape[-1]]


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(B, C, H, W)`` in another size, without aliasing."""
    return F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True)
