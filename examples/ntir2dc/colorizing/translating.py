"""The network on frames of any size, in the precision and at the scale that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.data.samples import DataError

Precision = Literal["float32", "bfloat16", "float16"]

SMALLEST_SCALE, LARGEST_SCALE = 0.1, 4.0


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


@dataclass(frozen=True)
class Translating:
    """A translator and how it is run.

    Args:
        translator: night thermal to day color, on its device.
        device: where it is.
        precision: of convolutions; the rest, and what comes back, is float32.
        scale: what frames are resized by before they are translated; the result has the frame's size again.
    """

    translator: nn.Module
    device: torch.device
    precision: Precision = "float32"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.precision == "float16" and self.device.type != "cuda":
            raise DataError(f"precision: float16 needs a CUDA device, and this is {self.device}; take bfloat16")
        if not SMALLEST_SCALE <= self.scale <= LARGEST_SCALE:
            raise DataError(f"scale: expected {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, got {self.scale:g}")

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Return the translation of ``(B, 3, H, W)`` of any size, in [-1, 1]."""
        x = x.to(self.device)
        H, W = x.shape[-2:]
        if self.scale != 1:
            x = resized(x, (max(1, round(H * self.scale)), max(1, round(W * self.scale))))
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.precision)
        with torch.autocast(self.device.type, half, enabled=half is not None):
            translated = translate(self.translator, x)
        translated = translated.float()
        return resized(translated, (H, W)).clamp(-1, 1) if self.scale != 1 else translated


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(B, C, H, W)`` in another size, without aliasing."""
    return F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True)
