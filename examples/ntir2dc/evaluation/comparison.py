r"""Two runs on the same frames: the difference in every figure, taken frame by frame.

The standard error of a figure leaves out each of the n frames in turn (jackknife),

.. math:: s^2 = \frac{n - 1}{n} \sum_i (f_{-i} - \bar f)^2

which for a mean over the frames is the usual one, standard deviation over root n, and also serves mIoU, which is taken
from the confusion of the whole set. The 95% interval is the difference :math:`\pm t_{n-1} s`, over the frames and for
these two trainings as they are: what another seed would give, no spread over frames can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from morn_losses import LabelSpace
from ntir2dc.evaluation import COLUMNS, Column, Figure, Scores, weighted_figures

Floats = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The first minus the second in one figure; NaN where undefined, as errors and interval of a single frame are.

    Args:
        column: the figure.
        first: the figure of the first, with its standard error over the frames.
        second: that of the second.
        value: the difference, with its standard error.
        low: end of the 95% interval.
        high: the other one.
        ahead: in how many frames the first has more.
        even: in how many both have the same, as mIoU has where neither finds a class.
        frames: in how many the figure is defined for both.
    """

    column: Column
    first: Figure
    second: Figure
    value: Figure
    low: float
    high: float
    ahead: int
    even: int
    frames: int


def over_frames(scores: Sequence[Scores], space: LabelSpace) -> dict[str, Floats]:
    """Return every figure of the N frames, then without each in turn, then of each alone: ``(1 + 2 N,)``.

    A single frame cannot be left out: ``(2,)``.
    """
    n = len(scores)
    alone = np.eye(n)
    without = 1 - alone if n > 1 else np.zeros((0, 1))
    return weighted_figures(scores, np.concatenate((np.ones((1, n)), without, alone)), space)


def with_error(values: Floats, n: int) -> Figure:
    """Return a figure with its standard error: that of n frames, followed by those without each of them."""
    without = values[1 : n + 1]
    known = n > 1 and bool(np.isfinite(without).all())
    return Figure(float(values[0]), math.sqrt((n - 1) * float(without.var())) if known else math.nan)


def compare(first: Sequence[Scores], second: Sequence[Scores], space: LabelSpace) -> tuple[Difference, ...]:
    """Compare two ways of translating the same frames, in every figure that is defined (and finite) for both.

    Args:
        first: scores of the frames.
        second: of the same frames in the same order.
        space: the label space of the judge.

    Raises:
        ValueError: other numbers of frames, or none.
    """
    n = len(first)
    if n != len(second) or not n:
        raise ValueError(f"first, second: expected the scores of the same frames, got {n} and {len(second)}")
    a, b = over_frames(first, space), over_frames(second, space)
    differences = []
    for column in COLUMNS:
        x, y = a[column.key], b[column.key]
        if not (math.isfinite(x[0]) and math.isfinite(y[0])):
            continue
        value = with_error(x - y, n)
        reach = value.error * float(student.ppf((1 + LEVEL) / 2, n - 1)) if n > 1 else math.nan
        alone = (x - y)[-n:]
        counts = (int(those.sum()) for those in (alone > 0, alone == 0, ~np.isnan(alone)))
        low, high = value.value - reach, value.value + reach
        differences.append(Difference(column, with_error(x, n), with_error(y, n), value, low, high, *counts))
    return tuple(differences)


# ---- showing ---------------------------------------------------------------------------------------------------------


def format_figure(figure: Figure, column: Column, sign: str = "") -> str:
    """Return "value ±standard error" as the column rounds it, ``-`` where undefined."""
    value, error = figure.value * column.scale, figure.error * column.scale
    if not math.isfinite(value):
        return "-"
    text = f"{value:{sign}.{column.digits}f}"
    return f"{text} ±{error:.{column.digits}f}" if math.isfinite(error) else text


def cells(
    differences: Sequence[Difference], names: tuple[str, str], others: Mapping[str, Sequence[Scores]], space: LabelSpace
) -> list[list[str]]:
    """Return head and rows as text: a figure in each row, ``others`` before the two that are compared.

    Args:
        differences: what :func:`compare` returned.
        names: how the first and the second are called.
        others: scores of further ways of translating the same frames, by name.
        space: the label space of the judge.
    """
    first, second = names
    figures = {name: over_frames(scores, space) for name, scores in others.items()}
    table = [["", *others, second, first, f"{first} minus {second}", f"{LEVEL:.0%} interval", f"{first} is ahead in"]]
    for one in differences:
        column = one.column
        low, high = (f"{x * column.scale:+.{column.digits}f}" for x in (one.low, one.high))
        table.append(
            [
                column.title,
                *(format_figure(with_error(figures[n][column.key], len(others[n])), column) for n in others),
                format_figure(one.second, column),
                format_figure(one.first, column),
                format_figure(one.value, column, "+"),
                f"{low} to {high}" if math.isfinite(one.low) else "-",
                f"{one.ahead} of {one.frames}" + (f", {one.even} even" if one.even else ""),
            ]
        )
    return table


def to_json(differences: Sequence[Difference]) -> dict[str, Any]:
    """Return the differences as plain values by the key of their figure; NaN becomes None."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    def figure(it: Figure) -> dict[str, float | None]:
        return {"value": plain(it.value), "error": plain(it.error)}

    return {
        one.column.key: {
            "first": figure(one.first),
            "second": figure(one.second),
            "difference": {**figure(one.value), "low": plain(one.low), "high": plain(one.high)},
            "ahead": one.ahead,
            "even": one.even,
            "frames": one.frames,
        }
        for one in differences
    }
