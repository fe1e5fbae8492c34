"""Losses and weights have to be finite: a run stops before a bad value can touch a weight or a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn


class NonFiniteLossError(RuntimeError):
    """A loss is NaN or infinite; the message names it."""


def check_terms(values: Mapping[str, float], step: int, out: Path, updated: Sequence[str] = ()) -> None:
    """Raise :class:`NonFiniteLossError` if a value of a step is not finite, in the words of the run in ``out``.

    ``updated`` names the optimizers that have taken this step already.
    """
    done = f"{' and '.join(updated)} were updated in it already" if updated else "nothing was updated"
    for name, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteLossError(f"step {step}: the loss term {name!r} is {value}; {done}. {_last_good_state(out)}")


def check_weights(model: nn.Module, step: int, out: Path) -> None:
    """Raise :class:`NonFiniteLossError` if a value of the networks is not finite."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise NonFiniteLossError(
                f"step {step}: {name} holds non-finite values, so this state is not saved. {_last_good_state(out)}"
            )


def _last_good_state(out: Path) -> str:
    return f"The last good state is in {out / 'checkpoints'}"
