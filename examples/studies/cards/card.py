"""What an experiment says: tables of numbers with their spread over sets, claims that hold or do not, a picture."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ntir2dc.files import attempt, write_text

Values = tuple[float, ...]
"""One number a set; NaN where it is undefined there."""


@dataclass(frozen=True)
class Table:
    """Numbers in rows and columns; a cell holds one value a set.

    Args:
        title: what the numbers are, with their unit.
        columns: heads, without that of the first column, which names the rows.
        rows: name of the row, and as many cells as there are columns.
        scale: the numbers are multiplied by it when they are shown.
        digits: after the point.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Values, ...]], ...]
    scale: float = 1.0
    digits: int = 3


@dataclass(frozen=True)
class Claim:
    """Something that either holds in a set or does not.

    Args:
        text: what should hold.
        margins: by how much it does in each set; it holds where the margin is above 0. NaN where nothing was compared.
        unit: of the margin, after it is multiplied by ``scale``.
        scale: the margins are multiplied by it when they are shown.
        digits: after the point.
    """

    text: str
    margins: Values
    unit: str = ""
    scale: float = 1.0
    digits: int = 3

    def verdict(self) -> str:
        """Return "yes" if it holds in every set in which it was compared, "no" if in none, else "mixed"."""
        known = _known(self.margins)
        held = sum(m > 0 for m in known)
        if not known:
            return "not measured"
        return "yes" if held == len(known) else "no" if held == 0 else "mixed"


@dataclass(frozen=True)
class Card:
    """The outcome of one experiment; ``key`` is its file name and its name in the JSON."""

    key: str
    title: str
    how: str
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    picture: Image.Image


def share(part: float, whole: float) -> float:
    """Return ``part / whole``, NaN where the whole is 0."""
    return float(part / whole) if whole else math.nan


def _known(values: Sequence[float]) -> list[float]:
    return [v for v in values if math.isfinite(v)]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation over the sets where the value is known; NaN where there are too few."""
    known = _known(values)
    mean = statistics.fmean(known) if known else math.nan
    return mean, statistics.stdev(known) if len(known) > 1 else math.nan


def format_values(values: Sequence[float], scale: float, digits: int, *, sign: bool = False) -> str:
    """Return "mean ±standard deviation" over the sets; "-" where the value is nowhere known."""
    mean, deviation = (x * scale for x in spread(values))
    if math.isnan(mean):
        return "-"
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(deviation) else f"{text} ±{deviation:.{digits}f}"


def to_markdown(card: Card) -> str:
    """Return the claims and the tables of a card as Markdown, without its title."""
    parts = []
    if card.claims:
        lines = ["| claim | holds | in sets | margin |", "|---|---|---:|---:|"]
        for claim in card.claims:
            known = _known(claim.margins)
            margin = format_values(claim.margins, claim.scale, claim.digits, sign=True)
            margin = f"{margin} {claim.unit}".strip() if known else margin
            cells = (
                claim.text,
                claim.verdict(),
                f"{sum(m > 0 for m in known)} of {len(known)}",
                margin,
            )
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    parts += [table_to_markdown(table) for table in card.tables]
    return "\n\n".join(parts) + "\n"


def table_to_markdown(table: Table) -> str:
    """Return a table as Markdown."""
    lines = [f"| {' | '.join((table.title, *table.columns))} |", "|---|" + "---:|" * len(table.columns)]
    for name, row in table.rows:
        values = (format_values(cell, table.scale, table.digits) for cell in row)
        lines.append(f"| {' | '.join((name, *values))} |")
    return "\n".join(lines)


def to_json(card: Card) -> dict[str, Any]:
    """Return a card as plain values, every number of every set included; NaN becomes None."""
    return {
        "title": card.title,
        "how": card.how,
        "claims": [{"text": c.text, "verdict": c.verdict(), "margin": _plain(c.margins)} for c in card.claims],
        "tables": [table_to_json(table) for table in card.tables],
    }


def table_to_json(table: Table) -> dict[str, Any]:
    """Return a table as plain values."""
    rows = {n: {c: _plain(cell) for c, cell in zip(table.columns, row, strict=True)} for n, row in table.rows}
    return {"title": table.title, "rows": rows}


def save_tables(folder: Path, name: str, tables: Sequence[Table], facts: Mapping[str, Any], problems: list[str]) -> str:
    """Write tables as ``NAME.md`` and, with ``facts`` about them and every number, ``NAME.json``; return the former.

    What cannot be written is added to ``problems``.
    """
    page = "\n\n".join(table_to_markdown(table) for table in tables) + "\n"
    result = {**facts, "tables": [table_to_json(table) for table in tables]}
    texts = {"json": json.dumps(result, indent=1, allow_nan=False) + "\n", "md": page}
    for kind, text in texts.items():
        path = folder / f"{name}.{kind}"
        attempt(partial(write_text, path, text), path, problems)
    return page


def _plain(values: Values) -> dict[str, Any]:
    mean, deviation = spread(values)
    return {"mean": _finite(mean), "sd": _finite(deviation), "sets": [_finite(v) for v in values]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
