"""Adaptive collaborative attention (section 3.4.2): a class looks in the translation as it does in the real image."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, overload

import numpy as np
import torch
from torch import Tensor, nn

from morn_losses._checks import (
    as_classes,
    check_bool,
    check_choice,
    check_generator,
    check_image,
    check_labels,
    check_number,
    check_shape,
)
from morn_losses._clustering import Init, KMeansOptions, Metric, as_integer
from morn_losses._eager import outside_compile
from morn_losses._host.positions import image_by_image
from morn_losses._idle import SEEN, count, found_ids, idle_message
from morn_losses._masked import class_masks, nearest, safe_divide
from morn_losses._options import hold, show_options
from morn_losses._points import refuse_nested
from morn_losses._precision import full_precision, on_host, promote, unit_vectors
from morn_losses._reduction import Reduction, check_reduction, reduce
from morn_losses.kmeans import cluster
from morn_losses.label_spaces import LabelSpace

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    WithTerms = TypeVar("WithTerms", Literal[False], Literal[True], bool, default=Literal[False])
else:
    from typing import TypeVar

    WithTerms = TypeVar("WithTerms")

Average = Literal["all", "present"]
Classes: TypeAlias = Sequence[int | tuple[int, ...]]


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


@dataclass(frozen=True)
class _Options:
    """The options of :func:`aca_loss`, in range."""

    classes: Classes
    n_clusters: int
    phi_local: float
    phi_global: float
    metric: Metric
    init: Init | Tensor
    average: Average
    min_positions: int | None
    max_iter: int
    tol: float
    n_init: int
    reduction: Reduction
    return_terms: bool

    def __post_init__(self) -> None:
        """Refuse what is out of range, in the words of the argument."""
        object.__setattr__(self, "classes", _plain(self.classes))
        as_classes(self.classes, overlap=True)
        object.__setattr__(self, "n_clusters", self.kmeans.n_clusters)
        check_number(self.phi_local, "phi_local", minimum=0)
        check_number(self.phi_global, "phi_global", minimum=0)
        check_choice(self.average, "average", ("all", "present"))
        if self.min_positions is not None:
            object.__setattr__(self, "min_positions", as_integer(self.min_positions, "min_positions", minimum=1))
        check_reduction(self.reduction)
        check_bool(self.return_terms, "return_terms")

    @property
    def kmeans(self) -> KMeansOptions:
        """Those of the clustering."""
        return KMeansOptions(self.n_clusters, self.metric, self.init, self.n_init, self.max_iter, self.tol)

    @property
    def least(self) -> int:
        """Positions that a class needs in both images."""
        return self.min_positions or self.n_clusters

    def starts(self, image: int | None) -> KMeansOptions:
        """Return the options of the clustering of one image, or of all."""
        options = self.kmeans
        if isinstance(self.init, Tensor):
            return replace(options, init=(self.init if image is None else self.init[image][None]).flatten(0, 1))
        return options

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The ids of each class."""
        return as_classes(self.classes, overlap=True)


@overload
def aca_loss(features_real: Tensor, features_fake: Tensor, labels_real: Tensor, labels_fake: Tensor,
             classes: Classes, *, n_clusters: int = 4, phi_local: float = 0.9, phi_global: float = 0.9,
             metric: Metric = "euclidean", init: Init | Tensor = "k-means++", average: Average = "all",
             min_positions: int | None = None, max_iter: int = 100, tol: float = 1e-4, n_init: int = 1,
             reduction: Reduction = "mean", generator: torch.Generator | None = None,
             return_terms: Literal[False] = False) -> Tensor: ...  # fmt: skip
@overload
def aca_loss(features_real: Tensor, features_fake: Tensor, labels_real: Tensor, labels_fake: Tensor,
             classes: Classes, *, n_clusters: int = 4, phi_local: float = 0.9, phi_global: float = 0.9,
             metric: Metric = "euclidean", init: Init | Tensor = "k-means++", average: Average = "all",
             min_positions: int | None = None, max_iter: int = 100, tol: float = 1e-4, n_init: int = 1,
             reduction: Reduction = "mean", generator: torch.Generator | None = None,
             return_terms: Literal[True]) -> tuple[Tensor, ACATerms]: ...  # fmt: skip
@overload
def aca_loss(features_real: Tensor, features_fake: Tensor, labels_real: Tensor, labels_fake: Tensor,
             classes: Classes, *, n_clusters: int = 4, phi_local: float = 0.9, phi_global: float = 0.9,
             metric: Metric = "euclidean", init: Init | Tensor = "k-means++", average: Average = "all",
             min_positions: int | None = None, max_iter: int = 100, tol: float = 1e-4, n_init: int = 1,
             reduction: Reduction = "mean", generator: torch.Generator | None = None,
             return_terms: bool) -> Tensor | tuple[Tensor, ACATerms]: ...  # fmt: skip


@outside_compile
def aca_loss(
    features_real: Tensor,
    features_fake: Tensor,
    labels_real: Tensor,
    labels_fake: Tensor,
    classes: Classes,
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

    Runs outside ``torch.compile``, of whose graph it is one break: the host waits for the device once to size the batch
    of clusterings, and every few iterations of k-means.

    Args:
        features_real: encoder features of the real image ``(B, C, h, w)``.
        features_fake: encoder features of the translation, same B and C; h and w may differ.
        labels_real: class ids of the real image, of any integer dtype, ``(B, H, W)``, resized to ``(h, w)`` by nearest.
            An id that is not in ``classes`` counts as ignored.
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
        TypeError: features that are not floating-point, labels that are not integers, nested tensors, classes that are
            not ids.

    Example:
        >>> real = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])  # both positions look along the first axis
        >>> fake = torch.tensor([[[[0.6, 0.6]], [[0.8, 0.8]]]])
        >>> person = torch.full((1, 1, 2), 11)
        >>> aca_loss(real, fake, person, person, [11], n_clusters=1)  # (0.9 - 0.6) + (0.9 - 0.6)
        tensor(0.6000)

    Source: Eq. 12-17, section 3.4.2.
    """
    options = _Options(classes, n_clusters, phi_local, phi_global, metric, init, average, min_positions, max_iter, tol,
                       n_init, reduction, return_terms)  # fmt: skip
    loss, terms, _ = _aca(features_real, features_fake, labels_real, labels_fake, options, generator)
    return (loss, terms) if return_terms else loss


__test__ = {"aca_loss": aca_loss}  # doctest does not look behind a decorator


def _aca(
    features_real: Tensor,
    features_fake: Tensor,
    labels_real: Tensor,
    labels_fake: Tensor,
    options: _Options,
    generator: torch.Generator | None,
) -> tuple[Tensor, ACATerms, tuple[Tensor, Tensor]]:
    """Return the loss, its terms, and both label maps at the size of their features."""
    refuse_nested(features_real, "features_real")
    refuse_nested(features_fake, "features_fake")
    check_image(features_real, "features_real", channels=None)
    check_image(features_fake, "features_fake", channels=None)
    B, C = features_real.shape[:2]
    check_shape(features_fake, "features_fake", "(B, C, h, w)", (B, C, *features_fake.shape[2:]))
    small_real = _small_labels(labels_real, "labels_real", features_real)
    small_fake = _small_labels(labels_fake, "labels_fake", features_fake)
    if isinstance(options.init, Tensor):
        expected = (B, len(options.groups), options.n_clusters, C)
        check_shape(options.init, "init", "(B, n_classes, n_clusters, C)", expected)
    check_generator(generator)

    real, fake = promote(features_real.detach()).flatten(2), promote(features_fake).flatten(2)
    in_real, in_fake = class_masks(small_real, options.groups), class_masks(small_fake, options.groups)
    terms_of = functools.partial(_terms, options, generator)
    terms_from = functools.partial(image_by_image, terms_of, options.least) if on_host(real) else terms_of
    terms = terms_from(real, in_real, fake, in_fake)
    # Eq. 17
    total = terms.loss.sum(1)
    present = terms.present.sum(1).to(total.dtype)
    mean = safe_divide(total, present) if options.average == "present" else total / len(options.groups)
    return reduce(mean, options.reduction), terms, (small_real, small_fake)


def _terms(
    options: _Options,
    generator: torch.Generator | None,
    real: Tensor,
    in_real: Tensor,
    fake: Tensor,
    in_fake: Tensor,
    image: int | None = None,
) -> ACATerms:
    """Return the terms of features ``(B, C, P)``, of which ``(B, n_classes, P)`` belong to the classes."""
    # Eq. 12: positions of zero features belong to no class
    peak_real, peak_fake = _peak(real), _peak(fake)
    in_real, in_fake = in_real & (peak_real != 0), in_fake & (peak_fake != 0)
    present = (in_real.sum(2) >= options.least) & (in_fake.sum(2) >= options.least)
    in_real, in_fake = in_real & present[..., None], in_fake & present[..., None]

    clusters = cluster(real.mT, in_real, options.starts(image), generator, "features_real")
    units = unit_vectors(clusters.centroids, 2).view(*present.shape, options.n_clusters, -1)
    occupied = clusters.counts.view(*present.shape, -1) > 0

    # Eq. 13
    y_real, y_fake = _cosines(units, real, peak_real, in_real), _cosines(units, fake, peak_fake, in_fake)
    # Eq. 14
    mu_real, mu_fake = _mean(y_real.amax(2), in_real), _mean(y_fake.amax(2), in_fake)
    # Eq. 15
    tau_real, tau_fake = _mean(_largest(y_real, in_real), occupied), _mean(_largest(y_fake, in_fake), occupied)
    # Eq. 16
    loss = (options.phi_local * mu_real - mu_fake).relu() + (options.phi_global * tau_real - tau_fake).relu()
    return ACATerms(loss, mu_real, mu_fake, tau_real, tau_fake, present)


def _small_labels(labels: Tensor, name: str, features: Tensor) -> Tensor:
    """Check labels of any integer dtype; return them as int64 at the size of the features, ``(B, h, w)``."""
    refuse_nested(labels, name)
    labels = check_labels(labels, name)
    check_shape(labels, name, "(B, H, W)", (len(features), *labels.shape[1:]))
    return nearest(labels, features.shape[2:])


def _peak(features: Tensor) -> Tensor:
    return features.detach().abs().amax(1, keepdim=True)


def _cosines(units: Tensor, features: Tensor, peak: Tensor, masks: Tensor) -> Tensor:
    """Return the cosines ``(B, n_classes, K, P)`` of unit vectors ``(B, n_classes, K, C)`` with ``(B, C, P)``."""
    taken = masks.any(1, keepdim=True)
    # cleared before the norm: its backward would turn a NaN at a position of no class into a NaN gradient
    features = torch.where(taken, features, 0)
    # a cosine does not depend on the peak, which therefore may be a constant, and squares stay in range
    features = features / torch.where(taken, peak, 1)
    lengths = torch.where(taken, features.square().sum(1, keepdim=True), 1).sqrt()
    # the product is divided, and not the features, of which there are more
    with full_precision(features):
        return (units.to(features.dtype).flatten(1, 2) @ features / lengths).view(*units.shape[:3], -1)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last axis of what the mask selects; 0 where that is nothing."""
    return safe_divide(torch.where(mask, x, 0).sum(-1), mask.sum(-1).to(x.dtype))


def _largest(y: Tensor, masks: Tensor) -> Tensor:
    """Return for every cluster the largest cosine among the positions of its class, ``(B, n_classes, K)``."""
    return torch.where(masks[:, :, None], y, -2).amax(3)  # below any cosine


def _plain(ids: Any) -> Any:
    """Return ids of numpy, alone or in arrays, as Python's; the rest as it is."""
    if isinstance(ids, (np.ndarray, np.integer)):
        return ids.tolist()
    return type(ids)(_plain(i) for i in ids) if type(ids) in (list, tuple) else ids


class ACALoss(nn.Module, Generic[WithTerms]):
    """Module of :func:`morn_losses.functional.aca_loss`: features of a class answer to its parts as in a real image.

    ``forward(features_real, features_fake, labels_real, labels_fake, generator=None)``, of encoder features
    ``(B, C, h, w)`` and labels ``(B, H, W)``, returns the loss, or ``(loss, ACATerms)``.

    Args:
        classes: ids, or tuples of ids to be merged into one class.
        n_clusters: parts of a class.
        phi_local: share of the real image's local response that is asked for, at least 0.
        phi_global: the same of the global response.
        metric: distance of k-means, ``"euclidean"`` or ``"cosine"``.
        init: how k-means starts, ``"k-means++"``, ``"random"`` or centers ``(B, n_classes, n_clusters, C)``.
        average: ``"all"`` divides by the number of classes, ``"present"`` by the number that takes part.
        min_positions: positions that a class needs in both images to take part; None is ``n_clusters``.
        max_iter: of k-means.
        tol: of k-means.
        n_init: of k-means.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        return_terms: also return the terms of each class.
        warn_after: warn, once, when no class was in both images in so many calls in a row, so that the loss was 0;
            None never.
    """

    classes: Classes
    idle: Tensor
    seen: Tensor

    def __init__(
        self,
        classes: Classes,
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
        return_terms: WithTerms = False,  # type: ignore[assignment]
        warn_after: int | None = 200,
    ) -> None:
        super().__init__()
        hold(self, _Options(classes, n_clusters, phi_local, phi_global, metric, init, average, min_positions, max_iter,
                            tol, n_init, reduction, return_terms))  # fmt: skip
        self.warn_after = None if warn_after is None else as_integer(warn_after, "warn_after", minimum=1)
        self.calls = 0
        self.register_buffer("idle", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("seen", torch.zeros(2, SEEN, dtype=torch.bool), persistent=False)
        self.watching = warn_after is not None

    @classmethod
    def from_label_space(
        cls, space: LabelSpace, *, merge: Sequence[Sequence[str]] = (), n_clusters: int = 4, phi_local: float = 0.9,
        phi_global: float = 0.9, metric: Metric = "euclidean", init: Init | Tensor = "k-means++",
        average: Average = "all", min_positions: int | None = None, max_iter: int = 100, tol: float = 1e-4,
        n_init: int = 1, reduction: Reduction = "mean",
        return_terms: WithTerms = False,  # type: ignore[assignment]
        warn_after: int | None = 200,
    ) -> ACALoss[WithTerms]:  # fmt: skip
        """Return the loss over the small-sample classes of a label space; options are those of the class.

        With ``merge`` each group of names counts as one class, after the others; a name need not be of a small-sample
        class: ``[("car", "truck", "bus", "train")]``.
        """
        classes = _merged(space, merge)
        return cls(classes, n_clusters=n_clusters, phi_local=phi_local, phi_global=phi_global, metric=metric, init=init,
                   average=average, min_positions=min_positions, max_iter=max_iter, tol=tol, n_init=n_init,
                   reduction=reduction, return_terms=return_terms, warn_after=warn_after)  # fmt: skip

    @property
    def options(self) -> _Options:
        """The options that the module holds."""
        return _Options(*(getattr(self, field.name) for field in fields(_Options)))

    if TYPE_CHECKING:

        @overload
        def __call__(self: ACALoss[Literal[False]], *args: Any, **kwargs: Any) -> Tensor: ...
        @overload
        def __call__(self: ACALoss[Literal[True]], *args: Any, **kwargs: Any) -> tuple[Tensor, ACATerms]: ...
        @overload
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call :meth:`forward`."""

    @outside_compile
    def forward(
        self,
        features_real: Tensor,
        features_fake: Tensor,
        labels_real: Tensor,
        labels_fake: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor | tuple[Tensor, ACATerms]:
        """Return the loss; see :func:`morn_losses.functional.aca_loss`."""
        options = self.options
        loss, terms, labels = _aca(features_real, features_fake, labels_real, labels_fake, options, generator)
        if self.watching:
            self._watch(terms.present, labels, options)
        return (loss, terms) if options.return_terms else loss

    def _watch(self, present: Tensor, labels: tuple[Tensor, Tensor], options: _Options) -> None:
        """Count calls without a class in both images; look at the count once every ``warn_after`` calls."""
        assert self.warn_after is not None
        wanted = tuple({i for group in options.groups for i in group})
        ids = torch.stack([found_ids(x, wanted) for x in labels])
        self.idle, self.seen = count(self.idle, self.seen, self.warn_after, present, ids)
        self.calls += 1
        if self.calls % self.warn_after == 0 and int(self.idle) >= self.warn_after:
            self.watching = False
            message = idle_message(options.classes, self.warn_after, options.least, self.seen)
            warnings.warn(message, UserWarning, stacklevel=2)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)


def _merged(space: LabelSpace, merge: Sequence[Sequence[str]]) -> Classes:
    """Return the small-sample classes that are in no group of names, then the groups."""
    if isinstance(merge, str) or any(isinstance(group, str) for group in merge):
        raise TypeError(f"merge: expected groups of names, got {merge!r}")
    groups = [space.ids(*group) for group in merge]
    ids = [i for group in groups for i in group]
    if len(set(ids)) < len(ids) or not all(groups):
        raise ValueError(f"merge: expected every name once and no group without one, got {merge!r}")
    return (*(i for i in space.small_sample if i not in ids), *groups)
