"""Unit noise on latents, the same however a batch is cut into parts."""

from __future__ import annotations

import torch
from torch import Tensor

from ntir2dc.methods.method import Part
from ntir2dc.seeds import Stream, seeded


def unit_noise(like: Tensor, seed: int, part: Part, use: int) -> Tensor:
    """Return N(0, I) in the shape of latents ``(B, C, h, w)``; each image's depends on seed, step and its place alone.

    Drawn on the device, and outside what checkpointing runs twice.

    Args:
        like: the latents.
        seed: of the run.
        part: of the batch, whose images these are.
        use: tells apart what a method draws in one step.
    """
    images = []
    for place in range(part.first, part.first + len(like)):
        key = seeded(seed, Stream.NOISE, part.step, place, use).initial_seed()
        draws = torch.Generator(like.device).manual_seed(key)
        # in single precision, so that a run in double has the same
        images.append(torch.randn(like.shape[1:], generator=draws, device=like.device, dtype=torch.float32))
    return torch.stack(images).to(like)
