"""Scores of every test image, kept as a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ntir2dc.evaluation import Scores
from ntir2dc.files import write_atomically


def save_scores(path: Path, scores: Sequence[Scores]) -> None:
    """Write the scores of all images as one ``.npz``, whole or not at all."""
    content = io.BytesIO()
    # empty without a second judge
    again = [s.second for s in scores if s.second is not None]
    np.savez(
        content,
        second=np.array(again),
        edges=np.stack([s.edges for s in scores]),
        psnr=np.array([s.psnr for s in scores]),
        ssim=np.array([s.ssim for s in scores]),
        confusion=np.stack([s.confusion for s in scores]),
    )
    write_atomically(path, content.getvalue())


def load_scores(path: Path) -> list[Scores]:
    """Return what :func:`save_scores` wrote."""
    with np.load(path, allow_pickle=False) as held:
        edges, psnr, ssim, confusion = (held[name] for name in ("edges", "psnr", "ssim", "confusion"))
        second = held["second"] if len(held["second"]) else [None] * len(psnr)
    parts = zip(edges, psnr, ssim, confusion, second, strict=True)
    return [Scores(e, float(p), float(s), c, again) for e, p, s, c, again in parts]
