"""Losses under fire: a finite value with finite gradients, or what is not finite shows, or what is wrong is named.

For every sample of every call:
- values that take no part may be anything, NaN too: neither the result nor a gradient changes, theirs is 0;
- without NaN or infinity among the values that take part (nor one so large that its square is out of range) the result
  is finite;
- a NaN that takes part shows in the result of its sample and in no other;
- a finite result has finite gradients, whatever went in; except a gradient that the input's dtype cannot hold.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fuzz.call import Call
from fuzz.calls import LOSSES
from fuzz.counts import COUNTS, examples, no_hang
from fuzz.drawing import LAYOUTS, arrange, one_of


def run(
    call: Call, tensors: dict[str, Any], layout: str, autocast: bool, as_module: bool, seed: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the result ``(B, ...)`` and the tensors that went in, whose gradients are retained."""
    inputs = {}
    for name, x in tensors.items():
        if isinstance(x, Tensor):
            x = x.clone().requires_grad_(name in call.differentiable)
            x = arrange(x, layout)
            if name in call.differentiable:
                x.retain_grad()
        inputs[name] = x
    options = {**call.options, "reduction": "none"} if call.reduction else call.options
    torch.manual_seed(seed)
    context = torch.autocast("cpu", dtype=torch.bfloat16) if autocast else contextlib.nullcontext()
    with context:
        if as_module and call.module is not None:
            return call.module(**options)(*inputs.values()), inputs
        return call.function(*inputs.values(), **options), inputs


def backward(result: Tensor, finite: Tensor, call: Call, inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Return the gradients of the finite samples' sum."""
    result.reshape(len(finite), -1)[finite].sum().backward()
    found = {name: inputs[name].grad for name in call.differentiable}
    # no gradient at all is one of 0
    return {name: torch.zeros_like(inputs[name]) if g is None else g for name, g in found.items()}


def too_large(call: Call, finite: Tensor, how: tuple[Any, ...]) -> dict[str, Tensor]:
    """Return which gradients the inputs' dtypes cannot hold, by the gradients in float64."""
    wide = {
        name: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for name, x in call.tensors.items()
    }
    result, inputs = run(call, wide, *how)
    gradients = backward(result, finite, call, inputs)
    limits = {name: torch.finfo(call.tensors[name].dtype).max / 100 for name in gradients}
    return {name: gradient.abs() >= limits[name] for name, gradient in gradients.items()}


def check(call: Call, name: str, how: tuple[Any, ...]) -> str:
    """Check one call; return how it ended."""
    complaint = None
    try:
        result, inputs = run(call, call.tensors, *how)
    except (ValueError, TypeError) as error:
        complaint = str(error)
    if complaint is not None:
        assert call.refused is not None, f"refused without need: {complaint}"
        assert re.search(rf"\b{call.refused}\b.*: ", complaint), complaint
        return "refused"
    assert call.refused is None, f"expected a complaint about {call.refused}"
    floats = {n: x for n, x in call.tensors.items() if n in call.takes_part}
    if not call.keeps_dtype:
        wide = any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in call.tensors.values())
        assert result.dtype == (torch.float64 if wide else torch.float32)

    B = len(next(iter(floats.values())))
    finite = result.reshape(B, -1).isfinite().all(1)
    limit = call.limit[torch.float64 if all(x.dtype == torch.float64 for x in floats.values()) else torch.float32]
    clean, shown = torch.ones(B, dtype=torch.bool), torch.zeros(B, dtype=torch.bool)
    for n, x in floats.items():
        used = call.takes_part[n]
        shows = call.shows.get(n, used)
        clean &= ~(used & ~(x.double().abs() <= limit)).flatten(1).any(1)
        shown |= (shows & (~x.isfinite() if call.inf_shows else x.isnan())).flatten(1).any(1)
    assert finite[clean].all(), "not finite, though all that takes part is"
    assert not finite[shown].any(), "hides what is not finite"

    assert result.requires_grad
    gradients = backward(result, finite, call, inputs)
    for n, gradient in gradients.items():
        fine = gradient[finite].isfinite()
        if not fine.all():
            fine |= too_large(call, finite, how)[n][finite]
        assert fine.all(), f"{n}: a finite result with a gradient that is not"
        assert (gradient[finite][~call.takes_part[n][finite]] == 0).all(), f"{n}: gradient where nothing takes part"

    inert = {n: call.inert.get(n, ~used) for n, used in call.takes_part.items()}
    if any(where.any() for where in inert.values()):
        poisoned = {n: torch.where(inert[n], torch.nan, x) if n in inert else x for n, x in call.tensors.items()}
        again, inputs = run(call, poisoned, *how)
        assert torch.equal(again.nan_to_num(7.0), result.nan_to_num(7.0)), "depends on what takes no part"
        for n, gradient in backward(again, finite, call, inputs).items():
            assert torch.equal(gradient[finite], gradients[n][finite]), f"{n}: gradient depends on what takes no part"
    if finite.all():
        return "finite"
    return "not finite, as what went in" if not clean[~finite].any() else "unexpected"


@pytest.mark.parametrize("name", LOSSES)
def test_losses_under_fire(name: str) -> None:
    @examples(short=12, full=1200)
    @given(st.data())
    def fire(data: st.DataObject) -> None:
        call = LOSSES[name](data.draw)
        how = (
            one_of(data.draw, LAYOUTS),
            data.draw(st.integers(0, 3)) == 0,
            data.draw(st.booleans()),
            data.draw(st.integers(0, 9)),
        )
        with no_hang():
            ended = check(call, name, how)
        COUNTS[name][ended] += 1

    fire()
