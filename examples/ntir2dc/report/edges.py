"""The edges that translations keep, as curves over the thresholds of Canny."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from ntir2dc.evaluation import INPUT, TINTED

COLORS = ("#1d5fa7", "#d9772b", "#2e8b57", "#a23b72", "#6b5b95", "#8a6d3b", "#3aa6b9", "#444444")
KINDS = {
    "apce": ("APCE", "share of the input's edges that the translation keeps"),
    "precision": ("edge precision", "share of the translation's edges that the input has"),
    "f1": ("edge F1", "of both"),
}

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 340, 190, 30, 8, 8, 20


def edge_charts(result: Mapping[str, Any], missing: list[str]) -> dict[str, Any] | None:
    """Return the curves of ``metrics.json`` and their legend; what is wrong is added to ``missing``.

    The input and its tinted copy are left out: they keep every edge.
    """
    if "edges" not in result:
        return None
    try:
        thresholds = [float(threshold) for threshold in result["edges"]["thresholds"]]
        rows = {name: curves for name, curves in result["edges"]["rows"].items() if name not in (INPUT, TINTED)}
        colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(rows)}
        charts = [
            {"name": title, "about": about,
             "svg": svg_edges(thresholds, {colors[name]: curves[kind] for name, curves in rows.items()})}
            for kind, (title, about) in KINDS.items()
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing.append(f"The edge curves of metrics.json cannot be used ({type(error).__name__}: {error}).")
        return None
    return {"charts": charts, "legend": list(colors.items())}


def svg_edges(thresholds: Sequence[float], curves: Mapping[str, Sequence[float | None]]) -> Markup:
    """Draw curves from 0 to 1 by their colors; where one is undefined, it has a gap."""

    def x(threshold: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * threshold

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line class="grid" x1="{x(0)}" x2="{x(1)}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 4}" y="{y(share) + 3.5:.1f}" text-anchor="end">{share:g}</text>')
        parts.append(f'<text x="{x(share):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{share:g}</text>')
    for color, values in curves.items():
        for piece in _pieces(thresholds, values):
            points = " ".join(f"{x(threshold):.1f},{y(min(max(value, 0), 1)):.1f}" for threshold, value in piece)
            parts.append(f'<polyline class="edges" stroke="{escape(color)}" points="{points}"/>')
    return Markup("".join([*parts, "</svg>"]))  # numbers and colors only


def _pieces(thresholds: Sequence[float], values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for threshold, value in zip(thresholds, values, strict=True):
        if value is not None:
            pieces[-1].append((threshold, float(value)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
