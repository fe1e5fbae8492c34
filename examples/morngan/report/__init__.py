"""A run as one self-contained HTML page: facts, metrics, curves and pictures. What is missing is named on the page."""

from morngan.report.curves import MAX_POINTS, Series, moving_average, phase_starts, series, svg_curve
from morngan.report.page import make_report, write_report
from morngan.report.pictures import embed

__all__ = [
    "MAX_POINTS",
    "Series",
    "embed",
    "make_report",
    "moving_average",
    "phase_starts",
    "series",
    "svg_curve",
    "write_report",
]
