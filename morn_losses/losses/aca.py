"""Adaptive collaborative attention (section 3.4.2): a class looks in the translation as it does in the real image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morn_losses._checks import (
    as_classes,
    check_bool,
    check_choice,
    check_generator,
    check_image,
    check_integer,
    check_labels,
    check_number,
    check_same_shape,
    check_shape,
)
from morn_losses._lloyd import Init, Metric, Options, cluster, common, unit_vectors
from morn_losses._masked import safe_divide
from morn_losses._precision import full_precision, promote
from morn_losses._reduction import Reduction, check_reduction, reduce
from morn_losses.kmeans import check_centers, check_kmeans_options

Average = Literal["all", "present"]


class ACATerms(NamedTuple):
    """What :func:`morn_losses.functional.aca_loss` is made of, each ``(B, n_classes)``; 0 where a class is absent."""

    loss: Tensor
    """Eq. 16."""
    mu_real: Tensor
    """Eq. 14 of the real image."""
    mu_fake: Tensor
    """Eq. 14 of the translation."""
    tau_real: Tensor
    """Eq. 15 of the real image."""
    tau_fake: Tensor
    """Eq. 15 of the translation."""
    present: Tensor
    """bool: the class takes part."""


def _check_options(
    classes: Sequence[int | tuple[int, ...]],
    n_clusters: int,
    phi_local: float,
    phi_global: float,
    metric: str,
    init: object,
    average: str,
    min_positions: int | None,
    max_iter: int,
    tol: float,
    n_init: int,
    reduction: str,
    return_terms: bool,
) -> tuple[tuple[int, ...], ...]:
    """Check the options; return the ids of each class."""
    groups = as_classes(classes, overlap=True)
    check_kmeans_options(n_clusters, metric, init, n_init, max_iter, tol)
    check_number(phi_local, "phi_local", minimum=0)
    check_number(phi_global, "phi_global", minimum=0)
    check_choice(average, "average", ("all", "present"))
    if min_positions is not None:
        check_integer(min_positions, "min_positions", minimum=1)
    check_reduction(reduction)
    check_bool(return_terms, "return_terms")
    return groups


def aca_loss(
    features_real: Tensor,
    features_fake: Tensor,
    labels_real: Tensor,
    labels_fake: Tensor,
    classes: Sequence[int | tuple[int, ...]],
    *,
    n_clusters: int = 4,
    phi_local: float = 0.9,
    phi_global: float = 0.9,
    metric: Metric = "euclidean",
    init: Init | Tensor = "k-means++",
    average: Average = "all",
    min_positions: int | None = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    n_init: int = 1,
    reduction: Reduction = "mean",
    generator: torch.Generator | None = None,
    return_terms: bool = False,
) -> Tensor | tuple[Tensor, ACATerms]:
    r"""Adaptive collaborative attention, Eq. 12-17: features of a class answer to its parts as they do in a real image.

    .. math::
        \mathcal{L}_{aca} = \frac{1}{N_{ssc}} \sum_{c} \mathrm{relu}(\varphi_l \mu_c^{ra} - \mu_c^{fa})
                          + \mathrm{relu}(\varphi_g \tau_c^{ra} - \tau_c^{fa})

    where k-means finds the :math:`N_u` centroids of the class's features in the real image, :math:`Y_c` (Eq. 13) is the
    cosine similarity of every centroid with the feature of every position of the class, :math:`\mu_c` (Eq. 14) is the
    mean over the positions of the largest response among the centroids, and :math:`\tau_c` (Eq. 15) the mean over the
    centroids of the largest response among the positions. Real and translated image answer to the same centroids.

    Positions whose feature is all zero belong to no class (Eq. 12). Clusters that hold no point take no part in
    :math:`\tau`. The real features, the centroids and the real image's :math:`\mu` and :math:`\tau` carry no grad.

    Choice: a class takes part in a sample when both images hold at least ``min_positions`` positions of it, counted
    after those of zero features are dropped; the paper does not say what happens to the others, which contribute 0.

    Not for ``torch.compile(fullgraph=True)``: the host waits for the device once to size the batch of clusterings, and
    every few iterations of k-means.

    Args:
        features_real: encoder features of the real image ``(B, C, h, w)``.
        features_fake: encoder features of the translation, same shape.
        labels_real: class ids of the real image, int64 ``(B, H, W)``, resized to ``(h, w)`` by nearest. An id that is
            not in ``classes`` counts as ignored.
        labels_fake: the same for the translation; its H and W may differ.
        classes: ids, or tuples of ids to be merged into one class. Classes may overlap, but none occurs twice.
        n_clusters: :math:`N_u`.
        phi_local: :math:`\varphi_l`, at least 0.
        phi_global: :math:`\varphi_g`, at least 0.
        metric: distance of k-means, ``"euclidean"`` or ``"cosine"`` (published code).
        init: how k-means starts, see :func:`~morn_losses.functional.kmeans` (published code: ``"random"``), or starting
            centers ``(B, n_classes, n_clusters, C)``.
        average: ``"all"`` divides by the number of classes (Eq. 17), ``"present"`` by the number that takes part
            (published code), 0 if none.
        min_positions: see above; None is ``n_clusters``.
        max_iter: of k-means.
        tol: of k-means.
        n_init: of k-means.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        generator: source of the random start of k-means; None is torch's global one.
        return_terms: also return the terms of each class.

    Returns:
        The loss, at least 0; ``(B,)`` for ``reduction="none"``; with ``return_terms`` a pair ``(loss, ACATerms)``.

    Raises:
        ValueError: shapes that differ, options out of range; NaN or inf at a real position of a class (CPU only,
            elsewhere the sample's loss is NaN).
        TypeError: features that are not floating-point, labels that are not int64, classes that are not ids.

    Example:
        >>> real = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])  # both positions look along the first axis
        >>> fake = torch.tensor([[[[0.6, 0.6]], [[0.8, 0.8]]]])
        >>> person = torch.full((1, 1, 2), 11)
        >>> aca_loss(real, fake, person, person, [11], n_clusters=1)  # (0.9 - 0.6) + (0.9 - 0.6)
        tensor(0.6000)

    Source: Eq. 12-17, section 3.4.2.
    """
    check_image(features_real, "features_real", channels=None)
    check_image(features_fake, "features_fake", channels=None)
    check_same_shape(features_fake, "features_fake", features_real, "features_real")
    B, C, h, w = features_real.shape
    for labels, name in ((labels_real, "labels_real"), (labels_fake, "labels_fake")):
        check_labels(labels, name)
        check_shape(labels, name, "(B, H, W)", (B, *labels.shape[1:]))
    groups = _check_options(
        classes,
        n_clusters,
        phi_local,
        phi_global,
        metric,
        init,
        average,
        min_positions,
        max_iter,
        tol,
        n_init,
        reduction,
        return_terms,
    )
    check_centers(init, "(B, n_classes, n_clusters, C)", (B, len(groups), n_clusters, C))
    check_generator(generator)
    if min_positions is None:
        min_positions = n_clusters

    terms_of = functools.partial(
        _terms,
        n_clusters=n_clusters,
        phi_local=phi_local,
        phi_global=phi_global,
        metric=metric,
        min_positions=min_positions,
        max_iter=max_iter,
        tol=tol,
        n_init=n_init,
        generator=generator,
    )
    real, fake = features_real.detach().flatten(2), features_fake.flatten(2)
    in_real, in_fake = _class_masks(labels_real, groups, (h, w)), _class_masks(labels_fake, groups, (h, w))
    if common.on_host(real):
        # image by image, without the positions of no class: what is left stays in cache
        parts = []
        # split, since the backward of every slice would fill a tensor of the whole batch
        for i, (one_real, one_fake) in enumerate(zip(torch.split(real, 1), torch.split(fake, 1), strict=True)):
            of_real, of_fake = in_real[i : i + 1], in_fake[i : i + 1]
            both = ((of_real.sum(2) >= min_positions) & (of_fake.sum(2) >= min_positions))[..., None]
            start = init if isinstance(init, str) else init[i : i + 1]
            parts.append(terms_of(*_compact(one_real, of_real & both), *_compact(one_fake, of_fake & both), start))
        terms = ACATerms(*(torch.cat(values) for values in zip(*parts, strict=True)))
    else:
        terms = terms_of(real, in_real, fake, in_fake, init)

    total = terms.loss.sum(1)
    mean = safe_divide(total, terms.present.sum(1).to(total.dtype)) if average == "present" else total / len(groups)
    loss = reduce(mean, reduction)
    if return_terms:
        return loss, terms
    return loss


def _compact(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the positions of one image that belong to a class, at least one so that no axis is empty."""
    positions = masks[0].any(0).nonzero().flatten()
    if len(positions) == 0:
        positions = positions.new_zeros(1)
    # by gather, whose backward is faster along the last axis than that of an index
    return features.gather(2, positions.expand(1, features.shape[1], -1)), masks[:, :, positions]


def _terms(
    real: Tensor,
    in_real: Tensor,
    fake: Tensor,
    in_fake: Tensor,
    init: Init | Tensor,
    *,
    n_clusters: int,
    phi_local: float,
    phi_global: float,
    metric: Metric,
    min_positions: int,
    max_iter: int,
    tol: float,
    n_init: int,
    generator: torch.Generator | None,
) -> ACATerms:
    """Return the terms of features ``(B, C, P)``, of which ``(B, n_classes, P)`` belong to the classes."""
    real, fake = promote(real), promote(fake)
    # by the largest, several times faster on the CPU than by any()
    in_real = in_real & (real.abs().amax(1, keepdim=True) != 0)
    in_fake = in_fake & (fake.detach().abs().amax(1, keepdim=True) != 0)
    present = (in_real.sum(2) >= min_positions) & (in_fake.sum(2) >= min_positions)
    in_real, in_fake = in_real & present[..., None], in_fake & present[..., None]
    starts = init.flatten(0, 1) if isinstance(init, Tensor) else init
    options = Options(n_clusters, metric, starts, n_init, max_iter, tol, generator, name="features_real")
    clusters = cluster(real.mT, in_real, options)
    centroids = clusters.centroids.view(*present.shape, n_clusters, -1)
    occupied = clusters.counts.view(*present.shape, n_clusters) > 0
    mu_real, tau_real = _responses(real, in_real, centroids, occupied)
    mu_fake, tau_fake = _responses(fake, in_fake, centroids.to(fake.dtype), occupied)
    loss = (phi_local * mu_real - mu_fake).relu() + (phi_global * tau_real - tau_fake).relu()
    return ACATerms(loss, mu_real, mu_fake, tau_real, tau_fake, present)


def _class_masks(labels: Tensor, groups: tuple[tuple[int, ...], ...], size: tuple[int, int]) -> Tensor:
    """Return which positions belong to which class, ``(B, n_classes, h * w)``."""
    # interpolate takes no int64, and float32 holds every id up to 2^24
    resized = F.interpolate(labels[:, None].float(), size=size, mode="nearest").flatten(2)
    return torch.cat([functools.reduce(torch.logical_or, [resized == i for i in group]) for group in groups], 1)


def _responses(features: Tensor, masks: Tensor, centroids: Tensor, occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu (Eq. 14) and tau (Eq. 15) of the classes whose positions are ``masks`` ``(B, n_classes, h * w)``."""
    units = unit_vectors(centroids, 3).flatten(1, 2)
    similarity = _cosines(units, features) if common.on_host(features) else None
    if similarity is None or not bool(similarity.isfinite().all()):
        # cleared before the norm: its backward would turn a NaN at a position of no class into a NaN gradient
        similarity = _cosines(units, torch.where(masks.any(1, keepdim=True), features, 0))
    similarity = similarity.view(*occupied.shape, -1)
    n_positions = masks.sum(2).to(features.dtype)
    mu = safe_divide(torch.where(masks, similarity.amax(2), 0).sum(2), n_positions)
    strongest = torch.where(masks[:, :, None], similarity, -2).amax(3)  # below any cosine
    tau = safe_divide(torch.where(occupied, strongest, 0).sum(2), occupied.sum(2).to(features.dtype))
    return mu, tau


def _cosines(units: Tensor, features: Tensor) -> Tensor:
    """Return the cosines ``(B, K, P)`` of vectors of length 1 ``(B, K, C)`` with features ``(B, C, P)``; 0 for zeros.

    The product is divided by the lengths, and not the features, of which there are more.
    """
    with full_precision(features):
        largest = features.detach().abs().amax(1, keepdim=True)
        # a cosine does not depend on it, which therefore may be a constant, and squares stay in range
        features = features / torch.where(largest == 0, 1, largest)
        lengths = features.square().sum(1, keepdim=True)
        return units @ features / torch.where(largest == 0, 1, lengths).sqrt()


class ACALoss(nn.Module):
    """Module of :func:`morn_losses.functional.aca_loss`.

    ``forward(features_real, features_fake, labels_real, labels_fake, generator=None)``.
    """

    init: Init | Tensor

    def __init__(
        self,
        classes: Sequence[int | tuple[int, ...]],
        *,
        n_clusters: int = 4,
        phi_local: float = 0.9,
        phi_global: float = 0.9,
        metric: Metric = "euclidean",
        init: Init | Tensor = "k-means++",
        average: Average = "all",
        min_positions: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-4,
        n_init: int = 1,
        reduction: Reduction = "mean",
        return_terms: bool = False,
    ) -> None:
        super().__init__()
        _check_options(
            classes,
            n_clusters,
            phi_local,
            phi_global,
            metric,
            init,
            average,
            min_positions,
            max_iter,
            tol,
            n_init,
            reduction,
            return_terms,
        )
        self.classes = classes
        self.n_clusters = n_clusters
        self.phi_local = phi_local
        self.phi_global = phi_global
        self.metric: Metric = metric
        if isinstance(init, Tensor):
            self.register_buffer("init", init, persistent=False)
        else:
            self.init = init
        self.average: Average = average
        self.min_positions = min_positions
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.reduction: Reduction = reduction
        self.return_terms = return_terms

    def forward(
        self,
        features_real: Tensor,
        features_fake: Tensor,
        labels_real: Tensor,
        labels_fake: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor | tuple[Tensor, ACATerms]:
        """Return the loss; see :func:`morn_losses.functional.aca_loss`."""
        return aca_loss(
            features_real,
            features_fake,
            labels_real,
            labels_fake,
            self.classes,
            n_clusters=self.n_clusters,
            phi_local=self.phi_local,
            phi_global=self.phi_global,
            metric=self.metric,
            init=self.init,
            average=self.average,
            min_positions=self.min_positions,
            max_iter=self.max_iter,
            tol=self.tol,
            n_init=self.n_init,
            reduction=self.reduction,
            generator=generator,
            return_terms=self.return_terms,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        init = f"centers {tuple(self.init.shape)}" if isinstance(self.init, Tensor) else repr(self.init)
        return (
            f"{self.classes}, n_clusters={self.n_clusters}, phi_local={self.phi_local}, phi_global={self.phi_global}, "
            f"metric={self.metric!r}, init={init}, average={self.average!r}, min_positions={self.min_positions}, "
            f"max_iter={self.max_iter}, tol={self.tol}, n_init={self.n_init}, reduction={self.reduction!r}, "
            f"return_terms={self.return_terms}"
        )
