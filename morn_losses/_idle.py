"""What a loss over classes has seen in calls that found no class: for a warning that says why it stays 0."""

from __future__ import annotations

import torch
from torch import Tensor

IDS = 256
OTHERS = IDS  # the place of all ids but 0 to 255
WANTED = IDS + 1  # of the classes' own
SEEN = IDS + 2


def count(idle: Tensor, seen: Tensor, enough: int, present: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Return the calls in a row without a class in both images, and what these calls held; no value is looked at.

    Args:
        idle: the number until now, ``()``.
        seen: what these calls held until now, ``(2, SEEN)``: the real images and the translations.
        enough: the number of calls from which on both stay as they are.
        present: the classes that took part in this call.
        held: what this call holds, as ``seen``.
    """
    idle, seen = idle.to(held.device), seen.to(held.device)
    now = torch.where(present.any(), 0, idle + 1)
    return torch.where(idle >= enough, idle, now), torch.where(idle >= enough, seen, held | seen & (now > 1))


def found_ids(labels: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Return which ids the labels, int64, hold: bool ``(SEEN,)``."""
    places = torch.where((labels >= 0) & (labels < IDS), labels, OTHERS).flatten()
    ids = torch.zeros(SEEN, dtype=torch.bool, device=labels.device).index_fill(0, places, True)
    ids[WANTED] = torch.stack([(labels == i).any() for i in wanted]).any()
    return ids


def idle_message(classes: object, calls: int, least: int, seen: Tensor) -> str:
    """Return the warning."""
    ids_by_side = dict(zip(("labels_real", "labels_fake"), seen.tolist(), strict=True))
    lacking = [name for name, ids in ids_by_side.items() if not ids[WANTED]]
    if lacking:
        why = f"{' and '.join(lacking)} held none of them"
    else:
        why = f"both images held some, but never {least} positions of the same class, with features other than 0"
    held = [
        f"{name} held {[i for i in range(IDS) if ids[i]]}" + (" and ids beyond 0 to 255" if ids[OTHERS] else "")
        for name, ids in ids_by_side.items()
    ]
    return (
        f"ACALoss: in {calls} calls in a row none of the classes {classes} took part and the loss was 0, since {why}. "
        f"At the size of the features {', '.join(held)}. warn_after=None never warns."
    )
