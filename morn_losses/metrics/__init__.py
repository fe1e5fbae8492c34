"""Metrics that torchmetrics lacks. ``APCE`` and ``EdgeScores`` need the extra ``metrics``: loaded on first use."""

from typing import TYPE_CHECKING, Any

from morn_losses.metrics.apce import APCEResult, EdgeScoresResult, apce, edge_scores

if TYPE_CHECKING:
    from morn_losses.metrics.streaming import APCE, EdgeScores

__all__ = ["APCE", "APCEResult", "EdgeScores", "EdgeScoresResult", "apce", "edge_scores"]


def __getattr__(name: str) -> Any:
    if name in ("APCE", "EdgeScores"):
        from morn_losses.metrics import streaming

        return getattr(streaming, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
