"""Label mining in place, with 0 and 1 as numbers: memory from the system and bools would take most of the time."""

from __future__ import annotations

import torch
from torch import Tensor


def surest(real: Tensor, translated: Tensor, levels: float | Tensor, ignore_index: int, *, softmaxed: bool) -> Tensor:
    """Return what the equation of ``pseudo_labels/mine.py`` says.

    What is ``softmaxed`` adds up to 1 and is written to.
    """
    if not softmaxed:  # a NaN stays with its class, and the caller's tensors are not written to
        real, translated = (p.nan_to_num(nan=-1, neginf=-1) for p in (real, translated))
    smaller = torch.minimum(real, translated, out=real)
    if softmaxed and bool(torch.as_tensor(levels).min() > 0.5):  # two classes cannot qualify
        qualifies = smaller.ge_(levels)
    else:
        qualifies = torch.ge(smaller, levels, out=translated)
        smaller.mul_(qualifies)
        qualifies.mul_(smaller.eq_(smaller.amax(1, keepdim=True)))
    # the first class left, counted from the last; argmax takes several times longer
    K = qualifies.shape[1]
    rank = torch.arange(K, 0, -1, dtype=qualifies.dtype)[:, None, None]
    first = qualifies.mul_(rank).amax(1)
    return torch.where(first > 0, K - first.long(), ignore_index)
