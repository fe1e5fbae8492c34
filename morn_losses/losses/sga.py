"""Structured gradient alignment (section 3.2.2): edges of the source stay edges, relative to their surroundings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morn_losses._checks import (
    as_map,
    check_choice,
    check_generator,
    check_image,
    check_integer,
    check_number,
    check_unit_interval,
    check_value_range,
)
from morn_losses._masked import masked_mean
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import unit
from morn_losses._reduction import Reduction, check_reduction, reduce
from morn_losses.image import PaddingMode, central_differences, check_gradient_options, magnitude, to_gray
from morn_losses.losses.thermal import (
    check_temperature_options,
    monochromatic_regularization,
    temperature_regularization,
)

Patches = Literal["all", "random"]


def _check_options(
    threshold: float,
    grid: int,
    patches: str,
    padding_mode: str,
    eps: float,
    value_range: tuple[float, float],
    reduction: str,
) -> tuple[float, int, float, tuple[float, float]]:
    """Check the options; return the numbers."""
    threshold = check_number(threshold, "threshold", minimum=0, maximum=1)
    grid = check_integer(grid, "grid", minimum=1)
    check_choice(patches, "patches", ("all", "random"))
    eps, value_range = check_gradient_options(padding_mode, eps), check_value_range(value_range)
    check_reduction(reduction)
    return threshold, grid, eps, value_range


def _check_plus_options(
    threshold: float,
    grid: int,
    patches: str,
    padding_mode: str,
    eps: float,
    road: int,
    person: int,
    temperature_eps: float,
    detach_road: bool,
    value_range: tuple[float, float],
    reduction: str,
) -> tuple[float, int, float, int, int, float, tuple[float, float]]:
    """Check the options; return the numbers."""
    threshold, grid, eps, _ = _check_options(threshold, grid, patches, padding_mode, eps, value_range, reduction)
    # before the term itself, to which it is eps
    temperature_eps = check_number(temperature_eps, "temperature_eps", minimum=0, exclusive=True)
    temperature = check_temperature_options(road, person, value_range, temperature_eps, detach_road, reduction)
    return threshold, grid, eps, *temperature


def _cut(x: Tensor, grid: int) -> Tensor:
    """Cut ``(B, 1, H, W)`` into patches ``(B, rows, h, columns, w)``, the last ones filled up with zeros."""
    B, _, H, W = x.shape
    h, w = -(-H // grid), -(-W // grid)
    rows, columns = -(-H // h), -(-W // w)  # fewer than the grid where it is fine or does not divide the side
    return F.pad(x, (0, columns * w - W, 0, rows * h - H)).reshape(B, rows, h, columns, w)


def _draw(candidates: Tensor, generator: torch.Generator | None) -> Tensor:
    """Mark one of the marked patches of each sample, ``(B, N) -> (B, N)``; any one where none is marked."""
    device = candidates.device if generator is None else generator.device
    lots = torch.rand(candidates.shape, generator=generator, device=device).to(candidates.device)
    drawn = torch.where(candidates, lots, -1).argmax(1, keepdim=True)
    return torch.arange(candidates.shape[1], device=candidates.device) == drawn


def sga_loss(
    fake: Tensor,
    edges: Tensor,
    *,
    threshold: float = 0.8,
    grid: int = 8,
    patches: Patches = "all",
    padding_mode: PaddingMode = "replicate",
    eps: float = 1e-6,
    value_range: tuple[float, float] = (-1.0, 1.0),
    generator: torch.Generator | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Structured gradient alignment: at the source's edges the gradient is a given share of its patch's largest.

    .. math::
        \mathcal{L}_{sga}^{ori} = \frac{1}{|P|} \sum_{p \in P}
            \frac{\sum_{u \in p} \mathrm{relu}\left(\theta\, e_u - g_u / \max_{v \in p} g_v\right)}
                 {\sum_{u \in p} e_u + 1}

    over the patches ``P`` that hold an edge, with the gradient magnitude ``g`` of the image mapped to [0, 1],
    taken before cutting. The image is cut into at most ``grid x grid`` patches of ``ceil(H / grid) x ceil(W / grid)``,
    the last ones smaller.

    Choice: a patch without any gradient has ratio 0, so that an erased edge costs the full ``theta * e``; in the
    published code it costs nothing. Choice: the maximum is part of the graph, so that lowering the strongest gradient
    of a patch counts as well as raising that of the edge.

    Args:
        fake: translated image ``(B, C, H, W)``, C = 1 or 3, in ``value_range``.
        edges: edges of the source image, bool or float in [0, 1], ``(B, H, W)`` or ``(B, 1, H, W)``.
        threshold: share ``theta`` of the largest gradient that an edge has to keep, in [0, 1].
        grid: patches along each side.
        patches: ``"all"``: mean over the patches that hold an edge; ``"random"``: one of them, drawn uniformly for
            each sample (published code), which ``"all"`` is the expectation of.
        padding_mode: border of the gradient, ``"replicate"`` or ``"zeros"`` (published code).
        eps: of `morn_losses.functional.gradient_magnitude`, larger than 0.
        value_range: ``(low, high)`` of the image.
        generator: where ``"random"`` draws from; None is torch's global RNG.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value in [0, ``threshold``) per sample; ``(B,)`` for ``reduction="none"``. 0 where there are no edges.

    Raises:
        ValueError: shapes that differ, an empty axis, options out of range, edges outside [0, 1] (eager CPU tensors
            only, and NaN is let through).
        TypeError: an image that is not floating-point, complex edges, a generator of another type.

    Example:
        >>> edges = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
        >>> image = torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]])
        >>> sga_loss(image, edges, grid=1, value_range=(0, 1))
        tensor(0.)
        >>> sga_loss(torch.zeros(1, 1, 1, 4), edges, grid=1, value_range=(0, 1)).round(decimals=4)
        tensor(0.5333)

    Source: Eq. 4 (first term), section 3.2.2, after PearlGAN (reference 9 of the paper).
    """
    check_image(fake, "fake")
    B, _, H, W = fake.shape
    edges = as_map(edges, "edges", (B, H, W))
    threshold, grid, eps, value_range = _check_options(
        threshold, grid, patches, padding_mode, eps, value_range, reduction
    )
    check_generator(generator)

    gray = to_gray(unit(fake, value_range))
    e = edges.to(gray.dtype)
    if edges.dtype != torch.bool:
        check_unit_interval(e, "edges")
    e = _cut(e, grid)
    counts = e.amax((2, 4), keepdim=True) > 0
    if patches == "random":
        # without any edge the patch drawn is as empty as the others
        counts = counts & _draw(counts.flatten(1), generator).view_as(counts)
    gx, gy = (_cut(d, grid) for d in central_differences(gray, padding_mode))
    # masked before the root: its backward would turn a NaN in a patch that does not count into a NaN gradient
    g = magnitude(torch.where(counts, gx, 0), torch.where(counts, gy, 0), eps)
    largest = g.amax((2, 4), keepdim=True)
    flat = largest == 0
    ratio = torch.where(flat, 0, g) / torch.where(flat, 1, largest)
    per_patch = (threshold * e - ratio).relu().sum((2, 4)) / (e.sum((2, 4)) + 1)

    return reduce(masked_mean(per_patch.flatten(1), counts.flatten(1)), reduction)


def sga_plus_loss(
    fake_thermal: Tensor,
    edges: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.8,
    grid: int = 8,
    patches: Patches = "all",
    padding_mode: PaddingMode = "replicate",
    eps: float = 1e-6,
    road: int = 0,
    person: int = 11,
    temperature_eps: float = 1e-4,
    detach_road: bool = True,
    value_range: tuple[float, float] = (-1.0, 1.0),
    generator: torch.Generator | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Structured gradient alignment of a fake thermal image, Eq. 4.

    .. math:: \mathcal{L}_{sga} = \mathcal{L}_{sga}^{ori} + T_{mr} + T_{tr}

    the sum of `morn_losses.functional.sga_loss`, `morn_losses.functional.monochromatic_regularization`
    and `morn_losses.functional.temperature_regularization`, which say what each option means.

    Args:
        fake_thermal: translation of a daytime image, ``(B, C, H, W)``, C = 1 or 3, in ``value_range``.
        edges: edges of the daytime image, bool or float in [0, 1], ``(B, H, W)`` or ``(B, 1, H, W)``.
        labels: class ids of the daytime image, integers ``(B, H, W)``.
        threshold: share of a patch's largest gradient that an edge has to keep, in [0, 1].
        grid: patches along each side.
        patches: ``"all"`` that hold an edge, or a ``"random"`` one of them (published code).
        padding_mode: border of the gradient, ``"replicate"`` or ``"zeros"`` (published code).
        eps: of the gradient magnitude, larger than 0.
        road: id of the road.
        person: id of the people.
        temperature_eps: keeps the denominator of Eq. 3 away from 0 where the road is black; larger than 0.
        detach_road: whether the mean of the road, wherever it occurs, is a constant.
        value_range: ``(low, high)`` of the image; the monochromatic term takes the values as given.
        generator: where ``"random"`` draws from; None is torch's global RNG.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        At least 0 per sample; ``(B,)`` for ``reduction="none"``.

    Raises:
        ValueError: shapes that differ, an empty axis, options out of range, edges outside [0, 1] (eager CPU tensors
            only, and NaN is let through).
        TypeError: an image that is not floating-point, complex edges, labels that are not integers.

    Example:
        >>> image = torch.tensor([0.5, 0.5, 0.25, 1.0]).expand(1, 3, 1, 4)
        >>> labels = torch.tensor([[[0, 0, 11, 11]]])
        >>> sga_plus_loss(image, torch.zeros(1, 1, 4), labels, value_range=(0, 1)).round(decimals=3)
        tensor(0.5000)

    Source: Eq. 4, section 3.2.2.
    """
    check_image(fake_thermal, "fake_thermal")
    _check_plus_options(
        threshold,
        grid,
        patches,
        padding_mode,
        eps,
        road,
        person,
        temperature_eps,
        detach_road,
        value_range,
        reduction,
    )
    alignment = sga_loss(
        fake_thermal,
        edges,
        threshold=threshold,
        grid=grid,
        patches=patches,
        padding_mode=padding_mode,
        eps=eps,
        value_range=value_range,
        generator=generator,
        reduction=reduction,
    )
    temperature = temperature_regularization(
        fake_thermal,
        labels,
        road=road,
        person=person,
        value_range=value_range,
        eps=temperature_eps,
        detach_road=detach_road,
        reduction=reduction,
    )
    return alignment + monochromatic_regularization(fake_thermal, reduction=reduction) + temperature


@takes_options_of(sga_loss)
class SGALoss(nn.Module):
    """Module of `morn_losses.functional.sga_loss`; ``forward(fake, edges, generator=None)``."""

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        grid: int = 8,
        patches: Patches = "all",
        padding_mode: PaddingMode = "replicate",
        eps: float = 1e-6,
        value_range: tuple[float, float] = (-1.0, 1.0),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        numbers = _check_options(threshold, grid, patches, padding_mode, eps, value_range, reduction)
        self.threshold, self.grid, self.eps, self.value_range = numbers
        self.patches: Patches = patches
        self.padding_mode: PaddingMode = padding_mode
        self.reduction: Reduction = reduction

    def forward(self, fake: Tensor, edges: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the loss; see `morn_losses.functional.sga_loss`."""
        return sga_loss(
            fake,
            edges,
            threshold=self.threshold,
            grid=self.grid,
            patches=self.patches,
            padding_mode=self.padding_mode,
            eps=self.eps,
            value_range=self.value_range,
            generator=generator,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)


@takes_options_of(sga_plus_loss)
class SGAPlusLoss(nn.Module):
    """Module of `morn_losses.functional.sga_plus_loss`.

    ``forward(fake_thermal, edges, labels, generator=None)``.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        grid: int = 8,
        patches: Patches = "all",
        padding_mode: PaddingMode = "replicate",
        eps: float = 1e-6,
        road: int = 0,
        person: int = 11,
        temperature_eps: float = 1e-4,
        detach_road: bool = True,
        value_range: tuple[float, float] = (-1.0, 1.0),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        numbers = _check_plus_options(
            threshold,
            grid,
            patches,
            padding_mode,
            eps,
            road,
            person,
            temperature_eps,
            detach_road,
            value_range,
            reduction,
        )
        self.threshold, self.grid, self.eps, self.road, self.person, self.temperature_eps, self.value_range = numbers
        self.patches: Patches = patches
        self.padding_mode: PaddingMode = padding_mode
        self.detach_road = detach_road
        self.reduction: Reduction = reduction

    def forward(
        self, fake_thermal: Tensor, edges: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the loss; see `morn_losses.functional.sga_plus_loss`."""
        return sga_plus_loss(
            fake_thermal,
            edges,
            labels,
            threshold=self.threshold,
            grid=self.grid,
            patches=self.patches,
            padding_mode=self.padding_mode,
            eps=self.eps,
            road=self.road,
            person=self.person,
            temperature_eps=self.temperature_eps,
            detach_road=self.detach_road,
            value_range=self.value_range,
            generator=generator,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
