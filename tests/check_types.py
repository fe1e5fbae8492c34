"""What type checkers see of the public names; mypy reads this file, nothing runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

import morn_losses
from morn_losses import CITYSCAPES, ACALoss, ACATerms, KMeans, KMeansResult
from morn_losses.functional import aca_loss, kmeans

if TYPE_CHECKING:
    from typing_extensions import assert_type


def of_kmeans(points: Tensor, mask: Tensor) -> None:
    assert_type(kmeans(points, 2), KMeansResult)
    assert_type(KMeans(2)(points), KMeansResult)
    assert_type(KMeans(2)(points, mask=mask).assignments, Tensor)
    assert_type(KMeans(2).predict(points, points), Tensor)


def of_aca(x: Tensor, labels: Tensor, flag: bool) -> None:
    assert_type(aca_loss(x, x, labels, labels, [11], n_clusters=2), Tensor)
    assert_type(aca_loss(x, x, labels, labels, [11], return_terms=False), Tensor)
    assert_type(aca_loss(x, x, labels, labels, [11], return_terms=True), tuple[Tensor, ACATerms])
    assert_type(aca_loss(x, x, labels, labels, [11], return_terms=flag), Tensor | tuple[Tensor, ACATerms])
    assert_type(ACALoss([11, (12, 13)], n_clusters=2)(x, x, labels, labels), Tensor)
    assert_type(ACALoss([11], return_terms=True)(x, x, labels, labels), tuple[Tensor, ACATerms])
    assert_type(ACALoss([11], return_terms=flag)(x, x, labels, labels), Any)
    assert_type(ACALoss.from_label_space(CITYSCAPES)(x, x, labels, labels), Tensor)
    _, terms = ACALoss.from_label_space(CITYSCAPES, return_terms=True)(x, x, labels, labels)
    assert_type(terms.present, Tensor)


def of_names_on_first_use(image: Tensor) -> None:
    assert_type(morn_losses.estimators.BatchKMeans(2).fit(image), morn_losses.estimators.BatchKMeans)
    assert_type(morn_losses.metrics.apce(image, image).value, float)
    assert_type(morn_losses.edges.canny_edges(image), Tensor)
    morn_losses.nosuch  # type: ignore[attr-defined]  # noqa: B018
