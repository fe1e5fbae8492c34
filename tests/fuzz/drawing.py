"""What hypothesis draws for the fuzz tests: tensors of any dtype, layout and size of value, label maps, masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

Draw = Callable[[st.SearchStrategy[Any]], Any]

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SIDES = (1, 2, 3, 5, 8, 13)
STYLES = ("plain", "constant", "steps", "zero", "tiny", "huge", "spread")
EXTREMES = (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-30, 0.0, 65000.0, 6e-8)
LAYOUTS = ("contiguous", "channels_last", "strided", "transposed", "expanded")


def generator(draw: Draw) -> torch.Generator:
    return torch.Generator().manual_seed(draw(st.integers(0, 10**6)))


def one_of(draw: Draw, choices: Sequence[Any]) -> Any:
    return draw(st.sampled_from(list(choices)))


def size(draw: Draw) -> tuple[int, int, int]:
    """B, H and W: also odd ones, one row, one pixel."""
    return draw(st.integers(1, 4)), one_of(draw, SIDES), one_of(draw, SIDES)


def values(draw: Draw, shape: Sequence[int], dtype: torch.dtype, *, extremes: bool = True) -> Tensor:
    """A tensor of one style with up to four extreme values anywhere; in half precision 1e30 is inf."""
    source = generator(draw)
    x = torch.rand(*shape, generator=source, dtype=torch.float64) * 2 - 1
    style = one_of(draw, STYLES) if extremes else "plain"
    if style == "constant":
        x = x.flatten()[:1].expand(x.numel()).view(x.shape).clone()
    elif style == "steps":
        x = (x * 2).round() / 2  # ties and flat parts
    elif style == "zero":
        x = torch.zeros_like(x)
    elif style in ("tiny", "huge"):
        x = x * (1e-30 if style == "tiny" else 1e30)
    elif style == "spread":
        x = x * 10 ** (torch.rand(x.shape, generator=source, dtype=torch.float64) * 60 - 30)
    flat = x.flatten()
    for _ in range(draw(st.integers(0, 4)) if extremes else 0):
        flat[draw(st.integers(0, flat.numel() - 1))] = one_of(draw, EXTREMES)
    x = flat.view(x.shape)
    if draw(st.integers(0, 3)) == 0:
        x = x[:1].expand(x.shape).clone()
    return x.to(dtype)


def arrange(x: Tensor, layout: str) -> Tensor:
    """Return the values of ``x`` in another memory layout, as a view of a graph."""
    if layout == "channels_last" and x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "strided":
        return torch.stack([x, torch.zeros_like(x)], -1)[..., 0]
    if layout == "transposed" and x.ndim >= 2:
        return x.mT.contiguous().mT
    first = x[:1].expand(x.shape)
    if layout == "expanded" and bool(((x == first) | (x.isnan() & first.isnan())).all()):
        return first
    return x.contiguous()


def labels(draw: Draw, shape: Sequence[int], ids: Sequence[int], strange: Sequence[int] = ()) -> Tensor:
    """A label map: ids at random, of one class, in halves, all ignored; now and then with a strange id somewhere."""
    source = generator(draw)
    known = torch.tensor([*ids, 255])
    style = one_of(draw, ("random", "one", "halves", "ignored"))
    if style == "ignored":
        y = torch.full(tuple(shape), 255)
    elif style == "one":
        y = known[draw(st.integers(0, len(ids) - 1))].expand(tuple(shape)).clone()
    elif style == "halves":
        y = known[torch.randint(len(known), (2,), generator=source)]
        y = y[(torch.arange(shape[-1]) * 2 // shape[-1]).expand(tuple(shape))]
    else:
        y = known[torch.randint(len(known), tuple(shape), generator=source)]
    if strange and draw(st.integers(0, 4)) == 0:
        y = y.clone()
        y.view(-1)[draw(st.integers(0, y.numel() - 1))] = one_of(draw, strange)
    return y


def mask(draw: Draw, size: tuple[int, int, int]) -> Tensor:
    """A mask of any allowed form: empty, full, random; bool, integer or float; with or without a channel axis."""
    share = one_of(draw, (0.0, 0.3, 0.7, 1.0))
    m = torch.rand(size, generator=generator(draw)) < share
    if draw(st.booleans()):
        m = m[:, None]
    return m.to(one_of(draw, (torch.bool, torch.bool, torch.uint8, torch.int64, torch.float32, torch.float16)))


def gradient_support(region: Tensor, padding_mode: str) -> Tensor:
    """Which pixels enter the central differences at the positions of ``region``, bool ``(B, H, W)``."""
    used = torch.zeros_like(region)
    for dim in (1, 2):
        n = region.shape[dim]
        at = torch.arange(n)
        for step in (-1, 1):
            neighbour = at + step
            inside = (neighbour >= 0) & (neighbour < n)
            if padding_mode == "replicate":
                neighbour, inside = neighbour.clamp(0, n - 1), torch.ones_like(inside)
            for p in at[inside].tolist():
                used.select(dim, int(neighbour[p])).logical_or_(region.select(dim, p))
    return used
