"""A call for the fuzz tests, and what several calls draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fuzz.drawing import DTYPES, Draw, one_of, values

IDS = (0, 1, 2, 11)
STRANGE = (-1, -7, 19, 254, 256, 2**40, -(2**63))


@dataclass
class Call:
    """A call with tensors by parameter name, in order.

    ``takes_part`` says of each float tensor which values may enter the result of their sample; of those, a NaN has to
    show in the result where ``shows`` is True (everywhere, if it is left out), and so has an infinity if
    ``inf_shows``. Values of more than ``limit`` may leave the range of the dtype on the way. Where ``inert`` is True
    (by default wherever nothing takes part) any other value gives the same result.
    """

    function: Callable[..., Any]
    module: Callable[..., nn.Module] | None
    tensors: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    takes_part: dict[str, Tensor] = field(default_factory=dict)
    shows: dict[str, Tensor] = field(default_factory=dict)
    differentiable: tuple[str, ...] = ()
    refused: str | None = None
    inf_shows: bool = True
    limit: dict[torch.dtype, float] = field(default_factory=lambda: {torch.float32: 1e15, torch.float64: 1e150})
    reduction: bool = True
    keeps_dtype: bool = False
    inert: dict[str, Tensor] = field(default_factory=dict)


def everywhere(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def image(draw: Draw, B: int, H: int, W: int, channels: tuple[int, ...] = (1, 3)) -> Tensor:
    return values(draw, (B, one_of(draw, channels), H, W), one_of(draw, DTYPES))


def on_image(region: Tensor, x: Tensor) -> Tensor:
    """A ``(B, H, W)`` region as a mask of every channel of ``x``."""
    return region[:, None].expand(x.shape)


def value_range(draw: Draw) -> tuple[float, float]:
    return one_of(draw, ((-1.0, 1.0), (0.0, 1.0), (0, 255)))


def draw_bool(draw: Draw) -> bool:
    return bool(one_of(draw, (False, True)))
