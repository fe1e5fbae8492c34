from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.cgr import CGRLoss, cgr_loss


def by_loops(real: np.ndarray, fake: np.ndarray, mask: np.ndarray, padding: str, eps: float) -> float:
    """Eq. 18-19 for one sample of gray images in [0, 1], pixel by pixel."""
    H, W = real.shape

    def pixel(image: np.ndarray, i: int, j: int) -> float:
        if padding == "zeros" and not (0 <= i < H and 0 <= j < W):
            return 0.0
        return float(image[min(max(i, 0), H - 1), min(max(j, 0), W - 1)])

    def gradient(image: np.ndarray, i: int, j: int) -> float:
        gx = pixel(image, i, j + 1) - pixel(image, i, j - 1)
        gy = pixel(image, i + 1, j) - pixel(image, i - 1, j)
        return math.sqrt(gx * gx + gy * gy + eps) - math.sqrt(eps)

    inside = [(i, j) for i in range(H) for j in range(W) if mask[i, j]]
    if not inside:
        return 0.0
    rho = sum(gradient(real, i, j) for i, j in inside) / len(inside)
    strong = [(i, j) for i, j in inside if gradient(real, i, j) > rho]
    total = sum(gradient(real, i, j) for i, j in strong)
    lost = sum(max(gradient(real, i, j) - gradient(fake, i, j), 0) for i, j in strong)
    return lost / total if total > 0 else 0.0


class TestContract(LossContract):
    function = staticmethod(cgr_loss)
    module = CGRLoss()
    differentiable = (1,)

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        real = torch.rand(batch, 3, 7, 6, dtype=dtype) * 2 - 1
        fake = torch.rand(batch, 3, 7, 6, dtype=dtype) * 2 - 1
        return real, fake, torch.rand(batch, 7, 6) > 0.3


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_equals_the_equation_written_with_loops(padding: str) -> None:
    real, fake = torch.rand(4, 1, 6, 9, dtype=torch.float64), torch.rand(4, 1, 6, 9, dtype=torch.float64)
    mask = torch.rand(4, 6, 9) > 0.4
    mask[3] = False
    expected = [by_loops(real[b, 0].numpy(), fake[b, 0].numpy(), mask[b].numpy(), padding, 1e-3) for b in range(4)]
    value = cgr_loss(real, fake, mask, padding_mode=padding, eps=1e-3, value_range=(0, 1), reduction="none")
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_value_by_hand() -> None:
    # a step of 1 between columns 1 and 2: gradient 1 there, 0 elsewhere; half of it is left
    real = torch.tensor([0.0, 0, 1, 1], dtype=torch.float64).expand(1, 1, 4, 4)
    assert cgr_loss(real, 0.5 * real, eps=1e-12, value_range=(0, 1)).item() == pytest.approx(0.5, abs=1e-5)
    assert cgr_loss(real, 2 * real, eps=1e-12, value_range=(0, 1)).item() == 0  # stronger edges cost nothing
    assert cgr_loss(real, torch.zeros_like(real), value_range=(0, 1)).item() == 1
    # a mask without the step has no strong gradient
    mask = torch.tensor([True, False, False, True]).expand(1, 4, 4)
    assert cgr_loss(real, torch.zeros_like(real), mask, value_range=(0, 1)).item() == 0


def test_rho_is_the_mean_over_the_background_and_strictly_exceeded() -> None:
    """Eq. 18: by hand."""
    # gradients by column: 0, 1, 1, 0.2, 0.2, 0; over all their mean is 0.4, over columns 3..5 it is 2/15
    real = torch.tensor([0.0, 0, 1, 1, 1.2, 1.2], dtype=torch.float64).expand(1, 1, 3, 6)
    fake = torch.zeros_like(real)
    fake[..., 4:] = 0.1  # half of the weak step
    weak = torch.tensor([0, 0, 0, 1, 1, 1]).expand(1, 3, 6)
    assert cgr_loss(real, fake, weak, eps=1e-14, value_range=(0, 1)).item() == pytest.approx(0.5, abs=1e-5)
    assert cgr_loss(real, fake, eps=1e-14, value_range=(0, 1)).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [3, 8, 17, 64, 255])
@pytest.mark.parametrize("height", [1, 3, 64])
def test_a_uniform_ramp_has_no_gradient_above_its_mean(width: int, height: int, dtype: torch.dtype) -> None:
    """Eq. 18: the bar has to be exceeded."""
    mask = torch.ones(1, height, width)
    mask[:, :, [0, -1]] = 0  # the border's gradients are halved
    for ramp in (torch.arange(width, dtype=dtype) / 256, torch.linspace(-1, 1, width, dtype=dtype)):
        real = ramp.expand(1, 3, height, width)
        assert cgr_loss(real, torch.zeros_like(real), mask).item() == 0
    # a step in it is
    real = torch.cat((real, real + 1), -1)
    assert cgr_loss(real, torch.zeros_like(real)).item() == 1


def test_value_range_is_mapped_to_unit() -> None:
    real, fake = torch.rand(1, 3, 5, 5, dtype=torch.float64), torch.rand(1, 3, 5, 5, dtype=torch.float64)
    in_unit = cgr_loss(real, fake, value_range=(0, 1))
    torch.testing.assert_close(cgr_loss(real * 2 - 1, fake * 2 - 1), in_unit)
    torch.testing.assert_close(cgr_loss(real * 255, fake * 255, value_range=(0, 255)), in_unit)


@pytest.mark.parametrize("case", ["empty mask", "flat source"])
def test_undefined_is_an_exact_zero_with_a_graph(case: str) -> None:
    real = torch.rand(2, 1, 5, 5)
    fake = torch.rand(2, 1, 5, 5, requires_grad=True)
    mask = torch.ones(2, 1, 5, 5)
    if case == "empty mask":
        mask[0] = 0
    else:
        real[0] = 0.3
    value = cgr_loss(real, fake, mask, reduction="none")
    value.sum().backward()
    assert value[0].item() == 0
    assert value[1].item() > 0
    assert fake.grad is not None
    assert fake.grad[0].abs().max() == 0
    assert fake.grad[1].isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_inside_the_mask_shows(bad: float) -> None:
    real, fake = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    real[..., 4:] += 5  # the strong gradients are those of columns 3 and 4
    for broken in (real.clone(), fake.clone()):
        broken[0, :, 4, 4] = bad
        pair = (broken, fake) if torch.equal(broken[1], real[1]) else (real, broken)
        value = cgr_loss(*pair, reduction="none")
        assert not value[0].isfinite()
        assert value[1] == cgr_loss(real, fake, reduction="none")[1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_translation_counts_at_strong_gradients_only(bad: float) -> None:
    real, fake = torch.zeros(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    real[..., 4:] = 1
    clean = cgr_loss(real, fake)
    fake[..., 7] = bad
    fake.requires_grad_()
    value = cgr_loss(real, fake)
    value.backward()
    assert value.item() == clean.item()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_outside_the_mask_do_not_leak(bad: float) -> None:
    real, fake = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    mask[:, :, 4:] = False
    clean = cgr_loss(real, fake, mask)
    # column 4 is a neighbour of the region and takes part; from 5 on nothing does
    real[..., 5:], fake[..., 5:] = bad, bad
    fake.requires_grad_()
    value = cgr_loss(real, fake, mask)
    value.backward()
    assert value.item() == clean.item()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


def test_the_source_carries_no_grad() -> None:
    real = torch.rand(1, 1, 5, 5, requires_grad=True)
    fake = torch.rand(1, 1, 5, 5, requires_grad=True)
    cgr_loss(real, fake).backward()
    assert real.grad is None


def test_channels_may_differ() -> None:
    gray = torch.rand(1, 1, 5, 5)
    fake = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(cgr_loss(gray, fake), cgr_loss(gray.expand(-1, 3, -1, -1), fake))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.float16])
def test_a_mask_of_other_values_than_0_and_1_is_refused(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, 4, 4)
    mask = torch.tensor([0, 1, 1, 0]).repeat(2, 4, 1).to(dtype)
    assert cgr_loss(x, x.flip(0), mask) == cgr_loss(x, x.flip(0), mask.bool())
    mask[0, 0], mask[1, 2, 3] = 11, 2  # as in a label map
    for wrong in (mask, mask[:, None]):
        with pytest.raises(ValueError, match=r"^mask: expected bool or values 0 and 1, got \[2(\.0)?, 11(\.0)?\]"):
            CGRLoss()(x, x, wrong)
    for bad in (-1.0, 0.5, math.nan, math.inf) if dtype.is_floating_point else ():
        mask[:] = 1
        mask[1, 1, 1] = bad
        with pytest.raises(ValueError, match=r"mask: expected bool or values 0 and 1, got "):
            cgr_loss(x, x, mask)


def test_elsewhere_any_value_of_the_mask_but_0_counts() -> None:
    x, labels = torch.rand(2, 3, 4, 4), torch.tensor([0, 2, 11, 0]).repeat(2, 4, 1)
    compiled = torch.compile(cgr_loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, x.flip(0), labels), cgr_loss(x, x.flip(0), labels > 0))
    assert cgr_loss(*(y.to("meta") for y in (x, x, labels))).device.type == "meta"


def test_errors_name_the_argument() -> None:
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"fake: expected \(B, C, H, W\) = \(2, 3, 4, 4\), got \(2, 3, 4, 5\)"):
        cgr_loss(x, torch.rand(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"mask: expected \(B, H, W\) = \(2, 4, 4\), got \(1, 4, 4\)"):
        cgr_loss(x, x, torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match="real: .*C = 1 or 3"):
        cgr_loss(torch.rand(2, 2, 4, 4), x)
    with pytest.raises(TypeError, match="real: expected a floating-point dtype"):
        cgr_loss(torch.zeros(2, 3, 4, 4, dtype=torch.long), x)
    with pytest.raises(ValueError, match="padding_mode"):
        cgr_loss(x, x, padding_mode="reflect")
    with pytest.raises(ValueError, match="eps"):
        cgr_loss(x, x, eps=0.0)
    with pytest.raises(ValueError, match="value_range"):
        cgr_loss(x, x, value_range=(1, -1))
