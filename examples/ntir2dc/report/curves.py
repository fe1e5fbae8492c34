"""The log of a run as curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

MAX_POINTS = 400

ABOUT = {
    "total": "L_all, the sum of the weighted terms",
    "adv": "adversarial, generators",
    "cyc": "cycle: distance, and SSIM from phase 2 on",
    "tv": "total variation",
    "sga": "structured gradient alignment",
    "mono": "monochromatic regularization",
    "temp": "temperature regularization",
    "seg_ra": "segmentation, real day images",
    "seg_fb": "segmentation, fake thermal images",
    "seg_rb": "segmentation, real thermal images",
    "seg_fa": "segmentation, fake day images",
    "aca": "adaptive collaborative attention",
    "cgr": "conditional gradient repair",
    "sr": "scale robustness",
    "disc_a": "discriminators of day images",
    "disc_b": "discriminators of thermal images",
    "mined": "share of thermal pixels with a mined label",
    "seconds": "wall time of a step",
}
_NO_CURVE = ("step", "epoch", "phase", "pair_shared", "pair_random")
PRESENT = "aca_present_"


@dataclass(frozen=True)
class Series:
    """The defined values of a column of the log."""

    steps: np.ndarray
    values: np.ndarray


def series(rows: Sequence[Mapping[str, str]], column: str) -> Series:
    """Return the finite values of a column; a phase that does not compute it leaves its cells empty."""
    steps, values = [], []
    for row in rows:
        try:
            step, value = int(row["step"]), float(row[column])
        except (KeyError, TypeError, ValueError):
            continue  # an empty cell, or a line that was cut off
        if math.isfinite(value):
            steps.append(step)
            values.append(value)
    return Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the last ``window`` values at each position; of fewer at the start."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    averages: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return averages


def phase_starts(rows: Sequence[Mapping[str, str]]) -> list[tuple[int, int]]:
    """Return (first step, phase) of each phase, as the log shows them."""
    phases = series(rows, "phase")
    starts: list[tuple[int, int]] = []
    for step, phase in zip(phases.steps.tolist(), phases.values.tolist(), strict=True):
        if not starts or starts[-1][1] != int(phase):
            starts.append((step, int(phase)))
    return starts


def svg_curve(curve: Series, span: tuple[int, int], starts: Sequence[tuple[int, int]], window: int) -> Markup:
    """Draw a curve with its moving average over the steps of ``span``, with the phases marked.

    At most 400 points are drawn of each line. Values beyond the 1st and 99th percentile are drawn at the border, since
    a single spike would flatten everything else.
    """
    width, height, left, right, top, bottom = 340, 150, 46, 6, 14, 18
    first, last = span
    low, high = (float(v) for v in np.percentile(curve.values, (1, 99)))
    if high - low <= 1e-9 * max(abs(high), abs(low)):
        low, high = low - max(abs(low), 1) * 0.1, high + max(abs(high), 1) * 0.1

    def x(step: float) -> float:
        return left + (width - left - right) * (step - first) / max(1, last - first)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return height - bottom - (height - top - bottom) * share

    kept = np.unique(np.linspace(0, len(curve.steps) - 1, min(MAX_POINTS, len(curve.steps))).round().astype(int))

    def line(values: np.ndarray, kind: str) -> str:
        points = " ".join(f"{x(curve.steps[i]):.1f},{y(values[i]):.1f}" for i in kept)
        return f'<polyline class="{kind}" points="{points}"/>'

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img">']
    ends = [step for step, _ in starts[1:]] + [last]
    for (start, phase), end in zip(starts, ends, strict=True):
        begin, length = x(start), x(end) - x(start)
        if phase % 2 == 0:
            parts.append(
                f'<rect class="band" x="{begin:.1f}" y="{top}" width="{length:.1f}" height="{height - top - bottom}"/>'
            )
        if start > first:
            parts.append(f'<line class="phase" x1="{begin:.1f}" x2="{begin:.1f}" y1="{top}" y2="{height - bottom}"/>')
        if length > 8:
            parts.append(f'<text x="{begin + length / 2:.1f}" y="{top - 4}" text-anchor="middle">{phase}</text>')
    parts.append(
        f'<rect class="frame" x="{left}" y="{top}" width="{width - left - right}" height="{height - top - bottom}"/>'
    )
    for value in (low, (low + high) / 2, high):
        parts.append(f'<text x="{left - 5}" y="{y(value) + 3.5:.1f}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{left}" y="{height - 5}">{first}</text>')
    parts.append(f'<text x="{width - right}" y="{height - 5}" text-anchor="end">{last}</text>')
    parts += [line(curve.values, "raw"), line(moving_average(curve.values, window), "mean"), "</svg>"]
    return Markup("".join(parts))  # numbers only


def charts(rows: Sequence[Mapping[str, str]], window: int) -> list[dict[str, Any]]:
    """Return name, meaning and curve of every column that has values, the sum of all terms first."""
    steps = series(rows, "step").steps
    columns = [c for c in rows[0] if c is not None and c not in _NO_CURVE and not c.startswith(PRESENT)]
    columns.sort(key=lambda c: (c != "total", c == "seconds"))  # the sum first, the time last
    starts = phase_starts(rows)
    drawn = []
    for column in columns:
        curve = series(rows, column)
        if len(curve.values):
            svg = svg_curve(curve, (int(steps[0]), int(steps[-1])), starts, window)
            drawn.append({"name": column, "about": ABOUT.get(column, ""), "svg": svg})
    return drawn
