"""How much a translation changes where its input only moves by whole pixels, or stands still in noise.

Of a perfect translator the output of a moved input is the moved output: what differs is flicker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Translate = Callable[[Tensor], Tensor]
"""Maps ``(B, 3, H, W)`` to the same shape."""

REACH = 4
"""Pixels that are left for moving at each side of a frame."""

BORDER = 16
"""Pixels at each side of the output that are not compared: what lies beyond a border differs."""


def shift_changes(translate: Translate, frame: Tensor, shifts: Iterable[tuple[int, int]]) -> list[float]:
    """Return the mean change of the output for each move of the input, divided by the output's standard deviation.

    The window that is translated moves over the frame, as a camera's does over a scene.

    Args:
        translate: the translator.
        frame: ``(3, H, W)`` in [-1, 1].
        shifts: pixels down and right, 0 to ``REACH``.
    """
    H, W = frame.shape[-2:]
    h, w = (H - 2 * REACH) // 4 * 4, (W - 2 * REACH) // 4 * 4
    still = translate(frame[None, :, REACH : REACH + h, REACH : REACH + w])
    compared = still[..., BORDER : h - BORDER, BORDER : w - BORDER]
    changes = []
    for down, right in shifts:
        moved = translate(frame[None, :, REACH - down : REACH - down + h, REACH - right : REACH - right + w])
        back = moved[..., BORDER + down : h - BORDER + down, BORDER + right : w - BORDER + right]
        changes.append(_change(compared, back))
    return changes


def noise_change(translate: Translate, frame: Tensor, levels: float, seed: int) -> float:
    """Return the same for a frame ``(3, H, W)`` that stands still, with noise of so many gray levels of 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (
        frame + torch.randn(1, *frame.shape[-2:], generator=generator) * (levels / 127.5) for _ in range(2)
    )
    return _change(translate(first[None].clamp(-1, 1)), translate(second[None].clamp(-1, 1)))


def sharpness(output: Tensor) -> float:
    """Return the mean difference of neighbors: a blurred translation is steady, and worth nothing."""
    return float(output.diff(dim=-1).abs().mean() + output.diff(dim=-2).abs().mean())


def _change(output: Tensor, other: Tensor) -> float:
    return float((output - other).abs().mean() / output.std())
