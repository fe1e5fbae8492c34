from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.thermal import (
    MonochromaticRegularization,
    TemperatureRegularization,
    monochromatic_regularization,
    temperature_regularization,
)


def largest_spread_by_loops(image: np.ndarray) -> float:
    """Eq. 2 for one sample, pixel by pixel."""
    C, H, W = image.shape
    spreads = []
    for i in range(H):
        for j in range(W):
            values = [float(image[c, i, j]) for c in range(C)]
            spreads.append(max(values) - min(values))
    return max(spreads)


def temperature_by_loops(image: np.ndarray, labels: np.ndarray, road: int, person: int, eps: float) -> float:
    """Eq. 3 for one sample of three channels in [0, 1], pixel by pixel."""
    H, W = labels.shape
    on_road, on_person = [], []
    for i in range(H):
        for j in range(W):
            gray = 0.299 * image[0, i, j] + 0.587 * image[1, i, j] + 0.114 * image[2, i, j]
            if labels[i, j] == road:
                on_road.append(float(gray))
            if labels[i, j] == person:
                on_person.append(float(gray))
    if not on_road or not on_person:
        return 0.0
    mean = sum(on_road) / len(on_road)
    return max((mean - min(on_person)) / (mean + eps), 0.0)


class TestMonochromaticContract(LossContract):
    function = staticmethod(monochromatic_regularization)
    module = MonochromaticRegularization()

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor]:
        return (torch.rand(batch, 3, 4, 5, dtype=dtype) * 2 - 1,)


class TestTemperatureContract(LossContract):
    function = staticmethod(temperature_regularization)
    module = TemperatureRegularization()
    grad_options = {"detach_road": False}

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        labels = torch.tensor([[0, 0, 0, 11, 11, 13], [0, 0, 255, 11, 11, 1]]).repeat(1, 2).expand(batch, 2, 12)
        return torch.rand(batch, 3, 2, 12, dtype=dtype) * 2 - 1, labels


def test_monochromatic_equals_the_equation_written_with_loops() -> None:
    x = torch.randn(3, 3, 4, 5, dtype=torch.float64)
    expected = torch.tensor([largest_spread_by_loops(image) for image in x.numpy()], dtype=torch.float64)
    torch.testing.assert_close(monochromatic_regularization(x, reduction="none"), expected)


def test_monochromatic_is_taken_within_pixels_on_the_values_as_given() -> None:
    """Eq. 2: a value worked out by hand."""
    x = torch.zeros(1, 3, 1, 2)
    x[0, :, 0, 0] = torch.tensor([-1.0, -0.5, -0.75])
    x[0, :, 0, 1] = torch.tensor([1.0, 1.0, 0.875])
    assert monochromatic_regularization(x).item() == 0.5  # not 2, as between pixels, nor 0.25, as on [0, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gray_image_has_no_monochromatic_penalty_nor_gradient(channels: int) -> None:
    x = torch.rand(2, 1, 4, 4).repeat(1, channels, 1, 1).requires_grad_()
    value = monochromatic_regularization(x)
    value.backward()
    assert value.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_temperature_equals_the_equation_written_with_loops() -> None:
    image = torch.rand(5, 3, 6, 7, dtype=torch.float64)
    labels = torch.tensor([2, 5, 255])[torch.randint(3, (5, 6, 7))]
    labels[3][labels[3] == 2] = 7
    labels[4][labels[4] == 5] = 7
    expected = [temperature_by_loops(image[b].numpy(), labels[b].numpy(), 2, 5, 1e-2) for b in range(5)]
    value = temperature_regularization(image, labels, road=2, person=5, value_range=(0, 1), eps=1e-2, reduction="none")
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))
    assert min(expected[:3]) > 0
    assert expected[3:] == [0, 0]


def test_temperature_by_hand() -> None:
    labels = torch.tensor([[[0, 0, 11, 11, 13]]])
    image = torch.tensor([[[[0.2, 0.6, 0.1, 0.9, 0.0]]]], dtype=torch.float64)
    # road 0.4, coldest person 0.1
    value = temperature_regularization(image, labels, value_range=(0, 1))
    assert value.item() == pytest.approx(0.3 / 0.4001, rel=1e-12)
    assert temperature_regularization(2 * image - 1, labels).item() == pytest.approx(0.3 / 0.4001, rel=1e-9)
    assert temperature_regularization(255 * image, labels, value_range=(0, 255)).item() == pytest.approx(0.3 / 0.4001)
    assert temperature_regularization(image, labels, value_range=(0, 1), eps=0.1).item() == pytest.approx(0.6)
    # people warmer than the road cost nothing
    warm = torch.tensor([[[[0.2, 0.6, 0.5, 0.9, 0.0]]]])
    assert temperature_regularization(warm, labels, value_range=(0, 1)).item() == 0


def test_only_the_coldest_person_pixel_and_not_the_road_is_moved_by_default() -> None:
    image = torch.tensor([[[[0.2, 0.6, 0.1, 0.9]]]], dtype=torch.float64)
    labels = torch.tensor([[[0, 0, 11, 11]]])
    for detach, road in ((True, 0.0), (False, (1 / 0.4001 - 0.3 / 0.4001**2) / 2)):
        x = image.clone().requires_grad_()
        temperature_regularization(x, labels, value_range=(0, 1), detach_road=detach).backward()
        assert x.grad is not None
        assert x.grad.flatten().tolist() == pytest.approx([road, road, -1 / 0.4001, 0], rel=1e-9)


@pytest.mark.parametrize("absent", [0, 11])
@pytest.mark.parametrize("detach", [True, False])
def test_an_absent_class_gives_an_exact_zero_with_a_graph(absent: int, detach: bool) -> None:
    image = (torch.rand(2, 3, 4, 4) * 2 - 1).requires_grad_()
    labels = torch.tensor([0, 11]).repeat(2, 4, 2)
    labels[0][labels[0] == absent] = 3
    value = temperature_regularization(image, labels, reduction="none", detach_road=detach)
    value.sum().backward()
    assert value[0].item() == 0
    assert value[1].item() > 0
    assert image.grad is not None
    assert image.grad[0].abs().max() == 0
    assert image.grad[1].isfinite().all()


def test_an_absent_road_is_no_road_of_temperature_zero() -> None:
    image = torch.full((1, 1, 2, 2), -1.25, requires_grad=True)  # below the value range
    value = temperature_regularization(image, torch.full((1, 2, 2), 11))
    value.backward()
    assert value.item() == 0
    assert image.grad is not None
    assert image.grad.abs().max() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_pixels_of_other_classes_do_not_leak(bad: float) -> None:
    image = torch.rand(1, 3, 4, 4) * 2 - 1
    labels = torch.tensor([0, 11, 13, 255]).expand(1, 4, 4)
    clean = temperature_regularization(image, labels, detach_road=False)
    assert clean.item() > 0
    image[..., 2:] = bad
    image.requires_grad_()
    value = temperature_regularization(image, labels, detach_road=False)
    value.backward()
    assert value.item() == clean.item()
    assert image.grad is not None
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("detach_road", [True, False])
@pytest.mark.parametrize("present", [0, 11])
def test_without_the_other_class_nothing_takes_part(present: int, detach_road: bool) -> None:
    image = torch.rand(1, 3, 4, 4)
    image[..., 1] = math.nan
    image.requires_grad_()
    labels = torch.full((1, 4, 4), present)
    value = temperature_regularization(image, labels, detach_road=detach_road)
    value.backward()
    assert value.item() == 0
    assert image.grad is not None
    assert (image.grad == 0).all()


def test_a_nan_of_the_network_is_not_hidden() -> None:
    labels = torch.tensor([0, 11]).repeat(1, 4, 2)
    assert temperature_regularization(torch.full((1, 3, 4, 4), math.nan), labels).isnan()


def test_errors_name_the_argument() -> None:
    x, labels = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="x: .*C = 1 or 3"):
        monochromatic_regularization(torch.rand(2, 2, 4, 4))
    with pytest.raises(ValueError, match="fake_thermal: .*C = 1 or 3"):
        temperature_regularization(torch.rand(2, 2, 4, 4), labels)
    with pytest.raises(ValueError, match=r"labels: expected \(B, H, W\) = \(2, 4, 4\), got \(1, 4, 4\)"):
        temperature_regularization(x, labels[:1])
    with pytest.raises(TypeError, match="labels: expected an integer dtype, got torch.float32"):
        temperature_regularization(x, labels.float())
    with pytest.raises(ValueError, match="road"):
        temperature_regularization(x, labels, road=-1)
    with pytest.raises(TypeError, match="person"):
        temperature_regularization(x, labels, person=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eps"):
        temperature_regularization(x, labels, eps=0.0)
    with pytest.raises(ValueError, match="value_range"):
        temperature_regularization(x, labels, value_range=(1, 1))
    with pytest.raises(TypeError, match="detach_road"):
        temperature_regularization(x, labels, detach_road=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("road", "person"), [(0.5, math.inf), (-0.5, -math.inf)])  # the second is out of range
def test_an_infinite_person_of_no_cost_leaves_no_nan(road: float, person: float) -> None:
    image = torch.tensor([[[[road, person, 0.2]]]], requires_grad=True)
    labels = torch.tensor([[[0, 11, 255]]])
    loss = temperature_regularization(image, labels, value_range=(0, 1), detach_road=False)
    loss.backward()
    assert loss == 0
    assert image.grad is not None
    assert torch.equal(image.grad, torch.zeros_like(image))
