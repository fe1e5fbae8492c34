"""A run as one self-contained HTML page: facts, metrics, curves and pictures. What is missing is named on the page."""

from ntir2dc.report.curves import MAX_POINTS, Series, moving_average, phase_starts, series, svg_curve
from ntir2dc.report.page import make_report, write_report
from ntir2dc.report.pictures import embed

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
