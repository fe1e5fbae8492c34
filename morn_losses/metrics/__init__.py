"""Metrics that torchmetrics lacks. ``APCE`` is loaded on first use, since it needs the extra ``metrics``."""

from typing import TYPE_CHECKING, Any

from morn_losses.metrics.apce import APCEResult, EdgeScores, apce, edge_scores

if TYPE_CHECKING:
    from morn_losses.metrics.streaming import APCE

__all__ = ["APCE", "APCEResult", "EdgeScores", "apce", "edge_scores"]


def __getattr__(name: str) -> Any:
    if name == "APCE":
        from morn_losses.metrics.streaming import APCE

        return APCE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
