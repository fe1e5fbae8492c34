"""K-means with scikit-learn's interface; nothing else of this package imports scikit-learn."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.metrics import pairwise_distances
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from morn_losses._clustering import Init, Metric
from morn_losses.kmeans import KMeans

__all__ = ["BatchKMeans"]

Array = NDArray[Any]


class BatchKMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """K-means with scikit-learn's interface, numpy in and out: what ``sklearn.cluster.KMeans`` is asked for.

    One problem ``(N, D)`` a fit, by the engine of :class:`morn_losses.KMeans`, which is for many problems at once.

    Args:
        n_clusters: number of clusters; not more than there are points.
        metric: ``"euclidean"`` or ``"cosine"``; centers are plain means in both cases.
        init: ``"k-means++"``, ``"random"``, or centers ``(n_clusters, D)``.
        n_init: number of starts, of which the one of smallest inertia is kept; given centers start once.
        max_iter: iterations at most.
        tol: the squared shifts of the centers, relative to the points' mean variance, that end a fit.
        random_state: None, a seed or a ``numpy.random.RandomState``.
        device: where it computes, None is the CPU.

    Attributes:
        cluster_centers_: ``(n_clusters, D)``; with fewer distinct points than clusters some occur twice.
        labels_: ``(N,)``: the cluster of each point.
        inertia_: sum of the squared Euclidean, or of the cosine, distances of the points to their centers.
        n_iter_: iterations.
        n_features_in_: D.

    Example:
        >>> import numpy as np
        >>> points = np.array([[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0]])
        >>> model = BatchKMeans(2, random_state=0).fit(points)
        >>> sorted(model.cluster_centers_.tolist()), model.inertia_
        ([[0.0, 0.5], [8.0, 0.5]], 1.0)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        metric: Metric = "euclidean",
        init: Init | Array = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.metric = metric
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: object = None) -> BatchKMeans:
        """Cluster the points ``(N, D)``; ``y`` is ignored."""
        points = self._points(X, reset=True)
        module = self._module(points)
        if len(points) < module.options.n_clusters:
            raise ValueError(f"n_samples={len(points)} should be >= n_clusters={self.n_clusters}.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        result = module(points, generator=torch.Generator().manual_seed(seed))
        self.cluster_centers_: Array = result.centroids.cpu().numpy()
        self.labels_: Array = result.assignments.cpu().numpy()
        self.inertia_ = float(result.inertia)
        self.n_iter_ = int(result.n_iter)
        return self

    def predict(self, X: Any) -> Array:
        """Return the cluster of the nearest center for each point, ``(N,)``."""
        check_is_fitted(self)
        points = self._points(X, reset=False)
        centers = torch.as_tensor(self.cluster_centers_, dtype=points.dtype, device=points.device)
        return self._module(points).predict(points, centers).cpu().numpy()

    def transform(self, X: Any) -> Array:
        """Return the distances, not squared, of the points to all centers, ``(N, n_clusters)``."""
        check_is_fitted(self)
        points = self._points(X, reset=False).cpu().numpy()
        return cast(Array, pairwise_distances(points, self.cluster_centers_.astype(points.dtype), metric=self.metric))

    def score(self, X: Any, y: object = None) -> float:
        """Return the inertia that the points would have, with a minus; ``y`` is ignored."""
        nearest = self.transform(X).min(1).astype(np.float64)
        return -float((nearest**2 if self.metric == "euclidean" else nearest).sum())

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _points(self, X: Any, *, reset: bool) -> torch.Tensor:
        """Check the points as scikit-learn does, and return them on the device."""
        try:
            from sklearn.utils.validation import validate_data
        except ImportError:  # scikit-learn before 1.6
            validate_data = type(self)._validate_data
        X = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        return torch.from_numpy(np.require(X, requirements=["C", "W"])).to(self.device)

    def _module(self, points: torch.Tensor) -> KMeans:
        """Return the engine, which checks the options."""
        init = self.init if isinstance(self.init, str) else torch.as_tensor(np.asarray(self.init), device=points.device)
        return KMeans(
            self.n_clusters,
            metric=self.metric,
            init=init if isinstance(init, str) else init.to(points.dtype),
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
        )
