"""What a fake thermal image has to look like (section 3.2.2): one gray value per pixel, people warmer than the road."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morn_losses._checks import (
    check_bool,
    check_image,
    check_integer,
    check_labels,
    check_number,
    check_value_range,
)
from morn_losses._masked import masked_mean, masked_min
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote, unit
from morn_losses._reduction import Reduction, check_reduction, reduce
from morn_losses.image import channel_max, channel_min, to_gray


def check_temperature_options(
    road: int, person: int, value_range: tuple[float, float], eps: float, detach_road: bool, reduction: str
) -> tuple[int, int, float, tuple[float, float]]:
    """Check the options of the temperature term, for itself and for the sum that holds it; return the numbers."""
    road, person = check_integer(road, "road", minimum=0), check_integer(person, "person", minimum=0)
    value_range, eps = check_value_range(value_range), check_number(eps, "eps", minimum=0, exclusive=True)
    check_bool(detach_road, "detach_road")
    check_reduction(reduction)
    return road, person, eps, value_range


def monochromatic_regularization(x: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Monochromatic regularization, Eq. 2: the largest difference between the channels of one pixel.

    .. math:: T_{mr} = \max\left(cmax(x) - cmin(x)\right)

    Args:
        x: fake thermal image ``(B, C, H, W)``, C = 1 or 3; the values are taken as given, whatever their range.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        At least 0 per sample, 0 for a gray image (C = 1 always); ``(B,)`` for ``reduction="none"``.

    Raises:
        ValueError: another number of axes or channels, an empty axis, another reduction.
        TypeError: an image that is not floating-point.

    Example:
        >>> monochromatic_regularization(torch.tensor([[[[0.5]], [[-0.5]], [[0.0]]]]))
        tensor(1.)

    Source: Eq. 2, section 3.2.2.
    """
    check_image(x, "x")
    check_reduction(reduction)
    x = promote(x)
    return reduce((channel_max(x) - channel_min(x)).flatten(1).amax(1), reduction)


def temperature_regularization(
    fake_thermal: Tensor,
    labels: Tensor,
    *,
    road: int = 0,
    person: int = 11,
    value_range: tuple[float, float] = (-1.0, 1.0),
    eps: float = 1e-4,
    detach_road: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Temperature regularization, Eq. 3: the coldest pixel of the people is no colder than the mean of the road.

    .. math::
        T_{tr} = \max\left(\frac{\bar v_{road} - \tilde v_{ped}}{\bar v_{road} + \varepsilon}, 0\right)

    with the mean ``v_road`` over the road and the minimum ``v_ped`` over the people, of gray
    values mapped to [0, 1].

    Choice: the mean of the road carries no grad by default, so that people are made warmer and not the road colder;
    the paper does not say.

    Args:
        fake_thermal: ``(B, C, H, W)``, C = 1 or 3, in ``value_range``.
        labels: class ids of the source image, integers ``(B, H, W)``.
        road: id of the road.
        person: id of the people.
        value_range: ``(low, high)`` of the image.
        eps: keeps the denominator away from 0 where the road is black; larger than 0.
        detach_road: whether the mean of the road, wherever it occurs, is a constant.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value in [0, 1) per sample; ``(B,)`` for ``reduction="none"``. 0 where either class is absent.

    Raises:
        ValueError: shapes that differ, an empty axis, options out of range.
        TypeError: an image that is not floating-point, labels that are not integers.

    Example:
        >>> image = torch.tensor([[[[0.5, 0.5, 0.25, 1.0]]]])
        >>> labels = torch.tensor([[[0, 0, 11, 11]]])
        >>> temperature_regularization(image, labels, value_range=(0, 1)).round(decimals=3)
        tensor(0.5000)

    Source: Eq. 3, section 3.2.2.
    """
    check_image(fake_thermal, "fake_thermal")
    B, _, H, W = fake_thermal.shape
    labels = check_labels(labels, "labels", (B, H, W))
    road, person, eps, value_range = check_temperature_options(road, person, value_range, eps, detach_road, reduction)

    gray = to_gray(unit(fake_thermal, value_range))[:, 0]
    on_road, on_person = labels == road, labels == person
    both = on_road.flatten(1).any(1) & on_person.flatten(1).any(1)
    # cleared of samples that lack the other class: what they hold would reach the gradient as 0 * NaN
    on_road, on_person = on_road & both[:, None, None], on_person & both[:, None, None]
    mean_road = masked_mean(gray, on_road)
    if detach_road:
        mean_road = mean_road.detach()
    colder = torch.where(both, mean_road - masked_min(gray, on_person), 0)
    denominator = torch.where(both, mean_road + eps, 1)
    # cleared before the division, where an infinity would reach the gradient as 0 * inf
    none_colder = colder / denominator <= 0
    ratio = torch.where(none_colder, 0, colder) / torch.where(none_colder, 1, denominator)
    return reduce(ratio, reduction)


@takes_options_of(monochromatic_regularization)
class MonochromaticRegularization(nn.Module):
    """Module of `morn_losses.functional.monochromatic_regularization`; ``forward(x)``."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def forward(self, x: Tensor) -> Tensor:
        """Return the regularization; see `morn_losses.functional.monochromatic_regularization`."""
        return monochromatic_regularization(x, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)


@takes_options_of(temperature_regularization)
class TemperatureRegularization(nn.Module):
    """Module of `morn_losses.functional.temperature_regularization`; ``forward(fake_thermal, labels)``."""

    def __init__(
        self,
        *,
        road: int = 0,
        person: int = 11,
        value_range: tuple[float, float] = (-1.0, 1.0),
        eps: float = 1e-4,
        detach_road: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        numbers = check_temperature_options(road, person, value_range, eps, detach_road, reduction)
        self.road, self.person, self.eps, self.value_range = numbers
        self.detach_road = detach_road
        self.reduction: Reduction = reduction

    def forward(self, fake_thermal: Tensor, labels: Tensor) -> Tensor:
        """Return the regularization; see `morn_losses.functional.temperature_regularization`."""
        return temperature_regularization(
            fake_thermal,
            labels,
            road=self.road,
            person=self.person,
            value_range=self.value_range,
            eps=self.eps,
            detach_road=self.detach_road,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
