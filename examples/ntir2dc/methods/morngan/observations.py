"""What the log of a run shows: its columns, and of each step what the losses do not tell."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from morn_losses import LabelSpace, MemoryBank
from ntir2dc.methods.morngan.objective import Objective
from ntir2dc.methods.morngan.step import Step, term_names


def log_columns(objective: Objective) -> list[str]:
    """Return the columns of the log."""
    present = [f"aca_present_{name}" for name in _aca_names(objective)]
    return [
        *("step", "epoch", "phase", *term_names(), "total", "disc_a", "disc_b"),
        *("mined", "pair_shared", "pair_random", *present, "seconds"),
    ]


def observe(
    step: Step, batch: Mapping[str, Tensor], objective: Objective, memory: MemoryBank | None
) -> dict[str, float]:
    """Return the share of mined pixels, the classes that ACA found, and the luck of the pairing, as far as there are.

    Args:
        step: a step that has been taken.
        batch: as the loader gave it.
        objective: of the run.
        memory: what the batch was paired by; None where it was not.
    """
    space = objective.space
    seen: dict[str, float] = {}
    if step.labels_b is not None:
        seen["mined"] = float((step.labels_b != space.ignore_index).float().mean())
    if step.aca_present is not None:
        found = step.aca_present.sum(0).tolist()
        seen |= {f"aca_present_{name}": int(n) for name, n in zip(_aca_names(objective), found, strict=True)}
    if memory is not None:
        seen |= _luck(batch, memory, space)
    return seen


def _luck(batch: Mapping[str, Tensor], memory: MemoryBank, space: LabelSpace) -> dict[str, float]:
    """How many color images seek a partner, how many found one of their classes, and how many would by chance."""
    held = torch.stack([(batch["labels_a"] == c).flatten(1).any(1) for c in space.small_sample], 1)
    seeks = held.any(1)  # a color image without small-sample classes has nothing to share
    if not bool(seeks.any()):
        return {}
    # a class that is absent has the smallest value of its descriptor, minus the mean
    entries = memory.descriptors > memory.descriptors.amin(1, keepdim=True)
    held, drawn = held[seeks], entries[batch["index_b"][seeks]]
    return {
        "pair_shared": float((held & drawn).any(1).float().mean()),
        "pair_seeking": int(seeks.sum()),
        "pair_random": float((held[:, None] & entries[None]).any(2).float().mean()),
    }


def _aca_names(objective: Objective) -> list[str]:
    """Return a name for each class of ACA."""
    groups = [c if isinstance(c, tuple) else (c,) for c in objective.aca.classes]
    return ["+".join(objective.space.names[c] for c in group).replace(" ", "_") for group in groups]
