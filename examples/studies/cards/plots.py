"""Line plots with nothing but Pillow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

COLORS = ("#1f5fa8", "#c8442c", "#2e8b57", "#8a5aa8", "#b07a10", "#444444", "#d0609a")
Line = tuple[Sequence[float], Sequence[float]]


def line_plot(
    lines: Mapping[str, Line],
    x_label: str,
    y_label: str,
    *,
    size: tuple[int, int] = (460, 300),
    log_x: bool = False,
) -> Image.Image:
    """Draw lines with their points, named in a legend below; points that are not finite are left out.

    Args:
        lines: name to (x values, y values).
        x_label: below the x axis.
        y_label: above the y axis.
        size: (width, height) without the legend.
        log_x: whether x is spaced by its logarithm; all x are above 0 then.
    """
    width, height = size
    legend = 16 * len(lines)
    left, right, top, bottom = 52, 14, 22, 36
    image = Image.new("RGB", (width, height + legend), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default()

    kept = {n: [p for p in zip(*line, strict=True) if all(map(math.isfinite, p))] for n, line in lines.items()}
    points = [p for line in kept.values() for p in line]
    if not points:
        draw.text((left, top), "no finite point", fill="black", font=font)
        return image
    x_low, x_high = _span([p[0] for p in points], 0.0)
    y_low, y_high = _span([p[1] for p in points], 0.06)

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / x_low) / math.log(x_high / x_low) if log_x else (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    draw.rectangle((left, top, width - right, height - bottom), outline="#999999")
    for value in ticks(y_low, y_high):
        y = place(x_low, value)[1]
        draw.line((left + 1, y, width - right - 1, y), fill="#e4e4e4")
        draw.text((left - 5, y), f"{value:.4g}", fill="black", font=font, anchor="rm")
    xs = sorted({p[0] for p in points})
    round_numbers = log_ticks if log_x else ticks
    for x in xs if len(xs) <= 9 else round_numbers(x_low, x_high):
        at = place(x, y_low)[0]
        draw.line((at, height - bottom, at, height - bottom + 4), fill="#999999")
        draw.text((at, height - bottom + 6), f"{x:.3g}", fill="black", font=font, anchor="ma")
    draw.text(((left + width - right) / 2, height - 14), x_label, fill="black", font=font, anchor="ma")
    draw.text((left, 5), y_label, fill="black", font=font)

    for number, (name, line) in enumerate(kept.items()):
        color = COLORS[number % len(COLORS)]
        places = [place(*p) for p in line]
        if len(places) > 1:
            draw.line(places, fill=color, width=2)
        for x, y in places:
            draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=color)
        y = height + 16 * number + 6
        draw.line((left, y, left + 22, y), fill=color, width=3)
        draw.text((left + 30, y), name, fill="black", font=font, anchor="lm")
    return image


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers within ``[low, high]``, evenly spaced."""
    rough = (high - low) / 4
    magnitude = 10 ** math.floor(math.log10(rough))
    step = magnitude * max(m for m in (1, 2, 5) if m * magnitude <= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # from whole numbers, so that no rounding error is shown
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten within ``[low, high]``, or the powers alone over three decades."""
    steps = (1, 2, 5) if high / low < 1e3 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    return [x for x in ticks if low <= x <= high]


def stack(pictures: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """Put pictures below one another on white."""
    size = max(p.width for p in pictures), sum(p.height + gap for p in pictures) - gap
    sheet = Image.new("RGB", size, "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height + gap
    return sheet


def beside(pictures: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """Put pictures beside one another on white."""
    size = sum(p.width + gap for p in pictures) - gap, max(p.height for p in pictures)
    sheet = Image.new("RGB", size, "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet


def _span(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * margin if high > low else max(abs(low), 1.0) * 0.1
    return low - room, high + room
