"""What the edge scores are made of: images of any layout in pairs, and sums of quotients at every threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morn_losses._checks import check_integer, check_real
from morn_losses.edges.canny import as_gray, edge_levels, from_array, on_host

Images: TypeAlias = "NDArray[Any] | Tensor | Iterable[NDArray[Any] | Tensor]"


def edge_statistics(source: Images, translated: Images, thresholds: int) -> tuple[Tensor, Tensor]:
    """Return sums over the images and the numbers of images they run over, each ``(3, thresholds)``.

    The rows are APCE (the recall of edges), precision and F1; an image takes part where its quotient is defined. What
    is not finite makes the sums NaN, on the CPU it is a ``ValueError``. The images' device computes and the host waits
    for nothing but Canny's hysteresis.
    """
    check_integer(thresholds, "thresholds", minimum=1)
    total: tuple[Tensor, Tensor] | None = None
    for s, t in _pairs(source, translated):
        in_source, in_translated = (edge_levels(x, thresholds) for x in (s, t))
        both = torch.minimum(in_source, in_translated)
        kept, of_source, of_translated = (_pixels_above(x, thresholds).to(s) for x in (both, in_source, in_translated))
        parts = torch.stack((kept, kept, 2 * kept))
        wholes = torch.stack((of_source, of_translated, of_source + of_translated))
        quotients = torch.where(wholes > 0, parts, 0) / torch.where(wholes > 0, wholes, 1)
        defined = wholes > 0
        if not on_host(s):  # where as_gray has looked already
            bad = ~(s.isfinite() & t.isfinite()).flatten(1).all(1)[:, None]
            quotients, defined = torch.where(bad, torch.nan, quotients), defined | bad
        sums, counts = quotients.sum(1), defined.sum(1)
        total = (sums, counts) if total is None else (total[0] + sums.to(total[0]), total[1] + counts.to(total[1]))
    if total is None:
        raise ValueError("source: expected at least one image, got none")
    return total


def _pixels_above(levels: Tensor, count: int) -> Tensor:
    """Return, for each image and j = 0 ... count - 1, how many pixels have a level over j: ``(B, count)``."""
    flat = levels.flatten(1)
    if on_host(flat):  # few are not 0
        counts = (np.bincount(x.take(np.flatnonzero(x != 0)), minlength=count + 1) for x in flat.numpy())
        return torch.from_numpy(np.stack([histogram[:0:-1].cumsum()[::-1] for histogram in counts]))
    histogram = flat.new_zeros(len(flat), count + 1).scatter_add_(1, flat.long(), torch.ones_like(flat))
    return histogram.flip(1).cumsum(1).flip(1)[:, 1:]


def _pairs(source: Images, translated: Images) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield gray images of both sides, as many at a time as either has in one piece, on the device of the source."""
    streams = _batches(source, "source"), _batches(translated, "translated")
    s, t, index = next(streams[0], None), next(streams[1], None), 0
    while s is not None and t is not None:
        if s.shape[2:] != t.shape[2:]:
            expected, got = tuple(s.shape[2:]), tuple(t.shape[2:])
            raise ValueError(f"translated: expected image {index} of (H, W) = {expected}, got {got}")
        n = min(len(s), len(t))
        yield s[:n], t[:n].to(s)
        index += n
        s = s[n:] if len(s) > n else next(streams[0], None)
        t = t[n:] if len(t) > n else next(streams[1], None)
    if s is not None or t is not None:
        fewer, more = ("source", "translated") if s is None else ("translated", "source")
        raise ValueError(f"{fewer}: expected as many images as {more}, got only {index}")


def _batches(images: Images, name: str) -> Iterator[Tensor]:
    """Yield the gray values ``(B, 1, H, W)`` of images in every layout that is allowed."""
    if isinstance(images, Tensor | np.ndarray):
        batch = _as_batch(images, name)
        if len(batch):
            yield as_gray(batch, name)
    elif isinstance(images, Iterable) and not isinstance(images, str | bytes):
        for image in images:
            if not isinstance(image, Tensor | np.ndarray):
                raise TypeError(f"{name}: expected numpy arrays or torch tensors, got {type(image).__name__}")
            yield from _batches(image, name)
    else:
        raise TypeError(f"{name}: expected a numpy array, a torch tensor or several, got {type(images).__name__}")


def _as_batch(image: NDArray[Any] | Tensor, name: str) -> Tensor:
    """Return ``(B, C, H, W)`` with C = 1 or 3."""
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "biuf":
            raise TypeError(f"{name}: expected a real dtype, got {image.dtype}")
        image = from_array(image)
    check_real(image, name)
    batch = image[None] if image.ndim == 3 else image[None, None] if image.ndim == 2 else image
    if batch.ndim == 4 and batch.shape[1] not in (1, 3):
        batch = batch.movedim(-1, 1)
    if batch.ndim != 4 or batch.shape[1] not in (1, 3) or min(batch.shape[1:]) < 1:
        layouts = "(H, W), (C, H, W) or (H, W, C) with C = 1 or 3, or a batch of the latter two"
        raise ValueError(f"{name}: expected {layouts}, got {tuple(image.shape)}")
    return batch
