"""The figure of a study (every seed, means, intervals) and its panels (what the rows make of the test images)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ntir2dc.data.images import OWN_TONES, to_image
from ntir2dc.data.thermal import Tones
from ntir2dc.evaluation import Translate, list_cases, read_case, run_network
from ntir2dc.run.contact_sheet import contact_sheet
from ntir2dc.run.weights import load_translator
from studies.ablations.tables import Compared, Line, column_of, mean_and_spread

FIGURES = ("miou_a", "miou_s", "apce", "edge_f1")
INK, GRAY, LIGHT, BLUE, RED = "#202020", "#707070", "#d8d8d8", "#2b6cb0", "#b83232"
PANEL_IMAGES = 5


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from ``low`` to ``high`` over the pixels from ``left`` to ``right``."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.left + (value - self.low) / (self.high - self.low) * (self.right - self.left)

    def ticks(self) -> list[float]:
        """Return three to six round values inside."""
        step = 10.0 ** math.floor(math.log10(self.high - self.low))
        while (self.high - self.low) / step < 3:
            step /= 2
        while (self.high - self.low) / step > 6:
            step *= 2
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def make_axis(values: Sequence[float], left: float, right: float) -> Axis:
    """Return an axis over all values with a margin."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - margin, high + margin, left, right)


class Sheet:
    """A picture drawn twice as large and then halved, which smooths its lines."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (2 * width, 2 * height), "white")
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, *, size: int = 12, fill: str = INK, anchor: str = "lm") -> None:
        """Write text; the anchor is Pillow's."""
        self._draw.text((2 * x, 2 * y), text, fill=fill, anchor=anchor, font=ImageFont.load_default(2 * size))

    def line(self, x0: float, y0: float, x1: float, y1: float, *, fill: str = INK, width: float = 1) -> None:
        """Draw a line."""
        self._draw.line((2 * x0, 2 * y0, 2 * x1, 2 * y1), fill=fill, width=round(2 * width))

    def dot(self, x: float, y: float, radius: float, *, fill: str | None, outline: str | None = None) -> None:
        """Draw a disk, or a ring."""
        box = (2 * (x - radius), 2 * (y - radius), 2 * (x + radius), 2 * (y + radius))
        self._draw.ellipse(box, fill=fill, outline=outline, width=2)

    def finish(self) -> Image.Image:
        """Return the picture at its size."""
        return self.image.resize((self.image.width // 2, self.image.height // 2), Image.Resampling.LANCZOS)


def _axis_lines(sheet: Sheet, axis: Axis, top: float, bottom: float) -> None:
    sheet.line(axis.left, bottom, axis.right, bottom, fill=GRAY)
    for tick in axis.ticks():
        sheet.line(axis(tick), top, axis(tick), bottom, fill=LIGHT)
        sheet.text(axis(tick), bottom + 10, f"{tick:.4g}", size=10, fill=GRAY, anchor="mm")


def draw_figure(
    lines: Sequence[Line], compared: Sequence[Compared], names: Mapping[str, str], title: str, notes: Sequence[str]
) -> Image.Image:
    """Draw rows against figures (a dot a seed, a bar of mean ± spread), and below them the contrasts.

    Args:
        lines: rows of a table.
        compared: contrasts; those without an interval are named only. None are drawn if it is empty.
        names: titles of the rows that the contrasts compare.
        title: above all.
        notes: small lines at the foot.
    """
    labels, wide, step = 190, 215, 26
    shown = [key for key in FIGURES if any(math.isfinite(v) for line in lines for v in line.figures[key])]
    width = labels + wide * max(2, len(shown)) + 20
    top = 70
    bottom = top + step * len(lines)
    below = bottom + 75
    end = below + (step * len(compared) + 50 if compared else -30)
    sheet = Sheet(width, end + 16 * len(notes) + 10)
    sheet.text(14, 20, title, size=15)

    for index, key in enumerate(shown):
        column = column_of(key)
        left = labels + wide * index
        points = [(mean_and_spread(line.figures[key]), line.figures[key]) for line in lines]
        reach = [v for (m, sd), values in points for v in (*values, m - sd, m + sd)]
        values = [v * column.scale for v in reach if math.isfinite(v)]
        axis = make_axis(values, left, left + wide - 25)
        _axis_lines(sheet, axis, top - 8, bottom)
        sheet.text((axis.left + axis.right) / 2, top - 20, column.title, anchor="mm")
        for i, line in enumerate(lines):
            y = top + step * (i + 0.5)
            mean, spread = (x * column.scale for x in mean_and_spread(line.figures[key]))
            if math.isfinite(mean):
                spread = spread if math.isfinite(spread) else 0.0
                sheet.line(axis(mean - spread), y, axis(mean + spread), y, fill=BLUE, width=2)
                sheet.line(axis(mean), y - 6, axis(mean), y + 6, fill=BLUE, width=2.5)
            for value in line.figures[key]:
                if math.isfinite(value):
                    sheet.dot(axis(value * column.scale), y, 3.5, fill=None, outline=INK)
    for i, line in enumerate(lines):
        sheet.text(14, top + step * (i + 0.5), line.title)

    if compared:
        _draw_contrasts(sheet, compared, names, below, step, (labels + 130, width - 45))
    for i, note in enumerate(notes):
        sheet.text(14, end + 16 * i, note, size=10, fill=GRAY)
    return sheet.finish()


def _draw_contrasts(
    sheet: Sheet,
    compared: Sequence[Compared],
    names: Mapping[str, str],
    top: float,
    step: int,
    span: tuple[float, float],
) -> None:
    """Draw each difference times 100 with its interval; a tick is the bound that it must lie above."""
    bottom = top + step * len(compared)
    sheet.text(
        14, top - 24, "contrasts: 100 times the difference and its 95% interval, which must lie right of the tick"
    )
    known = [c.estimate for c in compared if c.estimate is not None and math.isfinite(c.estimate.value)]
    reach = [v * 100 for e in known for v in (e.low, e.high, e.value) if math.isfinite(v)]
    axis = make_axis([*reach, -1.0, 1.0], *span)
    _axis_lines(sheet, axis, top - 8, bottom)
    sheet.line(axis(0), top - 8, axis(0), bottom, fill=GRAY)
    for i, one in enumerate(compared):
        y = top + step * (i + 0.5)
        contrast = one.contrast
        figure = column_of(contrast.key).title.removesuffix(" %")
        sheet.text(14, y, f"{figure}: {names[contrast.row]} against {names[contrast.against]}")
        bound = -(contrast.margin or 0.0)
        sheet.line(axis(100 * bound), y - 9, axis(100 * bound), y + 9, fill=INK, width=1.5)
        if one.estimate is None or not math.isfinite(one.estimate.value):
            sheet.text(axis.left + 4, y, "not run", fill=GRAY)
            continue
        color = RED if one.estimate.high < bound else BLUE
        if math.isfinite(one.estimate.low):
            sheet.line(axis(100 * one.estimate.low), y, axis(100 * one.estimate.high), y, fill=color, width=2)
        sheet.dot(axis(100 * one.estimate.value), y, 4, fill=color)


def draw_panels(data: Path, weights: Mapping[str, Path], *, images: int = PANEL_IMAGES) -> Image.Image:
    """Draw what each row makes of test images.

    Args:
        data: holds ``valB`` and maybe ``valB_day``.
        weights: the run of each column, by title.
        images: rows of the picture, at most.
    """
    translators = {title: run_network(load_translator(run)) for title, run in weights.items()}
    return draw_translations(data, translators, images=images)


def draw_translations(
    data: Path, translators: Mapping[str, Translate], *, images: int = PANEL_IMAGES, tones: Tones = OWN_TONES
) -> Image.Image:
    """Draw the input, its translations, and the true day image where there is one.

    Test images are taken at equal distances over the set, none is chosen by its looks.

    Args:
        data: holds ``valB`` and maybe ``valB_day``.
        translators: by the title of their column.
        images: rows of the picture, at most.
        tones: what becomes black and white in the night images.
    """
    files = list_cases(data)
    chosen = [files[i * len(files) // min(images, len(files))] for i in range(min(images, len(files)))]
    rows = []
    for case in (read_case(c, tones=tones) for c in chosen):
        shown: list[Tensor] = [case.night, *(translate(case) for translate in translators.values())]
        rows.append([_enlarged(to_image(x)) for x in (*shown, *([] if case.day is None else [case.day]))])
    titles = ["night input", *translators, *(["true day image"] if "day" in files[0] else [])]
    return contact_sheet(rows, titles)


def _enlarged(picture: Image.Image) -> Image.Image:
    """Return a small picture with every pixel repeated, so that titles fit above it."""
    factor = -(-190 // picture.width)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
