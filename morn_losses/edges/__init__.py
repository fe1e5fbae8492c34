"""Edge maps: Canny's, and a soft one in its manner that has a gradient."""

from morn_losses.edges.canny import canny_edges
from morn_losses.edges.soft import soft_edges

__all__ = ["canny_edges", "soft_edges"]
