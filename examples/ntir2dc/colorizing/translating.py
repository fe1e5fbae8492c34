"""The network as it is asked for: in which precision, at which scale, in tiles, averaged over shifts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntir2dc.colorizing.sizes import resized, translate
from ntir2dc.colorizing.tiles import check_tile, translate_in_tiles
from ntir2dc.data.samples import DataError

Precision = Literal["float32", "bfloat16", "float16"]

Shifts = Literal[1, 2, 4, 16]

SMALLEST_SCALE, LARGEST_SCALE = 0.1, 4.0


SHIFTS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 0),),
    2: ((0, 0), (2, 2)),
    4: ((0, 0), (0, 2), (2, 0), (2, 2)),
    16: tuple((down, right) for down in range(4) for right in range(4)),
}
"""The places in the stride of 4 that are averaged over, by their number."""


def translate_shifted(translate: Callable[[Tensor], Tensor], x: Tensor, count: int) -> Tensor:
    """Return the mean of the translations of ``count`` shifted copies, shifted back.

    The network treats a pixel by its place in its stride; less of that is left in the mean.
    """
    H, W = x.shape[-2:]
    total = torch.zeros_like(x, dtype=torch.float32)
    for down, right in SHIFTS[count]:
        mode = "reflect" if down < H and right < W else "replicate"
        moved = F.pad(x, (right, 0, down, 0), mode=mode)
        total += translate(moved)[..., down:, right:].float()
    return total / count


@dataclass(frozen=True)
class Translating:
    """A translator and how it is run.

    Args:
        translator: night thermal to day color, on its device.
        device: where it is.
        precision: of convolutions; the rest, and what comes back, is float32.
        scale: what frames are resized by before they are translated; the result has the frame's size again.
        tile: side of what the network sees at once, 0: all of a frame.
        shifts: copies that are averaged over (:func:`translate_shifted`).
    """

    translator: nn.Module
    device: torch.device
    precision: Precision = "float32"
    scale: float = 1.0
    tile: int = 0
    shifts: Shifts = 1

    def __post_init__(self) -> None:
        if self.precision == "float16" and self.device.type != "cuda":
            raise DataError(f"precision: float16 needs a CUDA device, and this is {self.device}; take bfloat16")
        if not SMALLEST_SCALE <= self.scale <= LARGEST_SCALE:
            raise DataError(f"scale: expected {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, got {self.scale:g}")
        check_tile(self.tile)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Return the translation of ``(B, 3, H, W)`` of any size, in [-1, 1]."""
        x = x.to(self.device)
        H, W = x.shape[-2:]
        if self.scale != 1:
            x = resized(x, (max(1, round(H * self.scale)), max(1, round(W * self.scale))))
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.precision)
        with torch.autocast(self.device.type, half, enabled=half is not None):
            translated = translate_shifted(self._whole_or_in_tiles, x, self.shifts)
        return resized(translated, (H, W)).clamp(-1, 1) if self.scale != 1 else translated

    def _whole_or_in_tiles(self, x: Tensor) -> Tensor:
        return translate_in_tiles(self.translator, x, self.tile) if self.tile else translate(self.translator, x)
