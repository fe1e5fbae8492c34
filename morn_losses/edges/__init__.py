"""Edge maps."""

from morn_losses.edges.canny import canny_edges

__all__ = ["canny_edges"]
