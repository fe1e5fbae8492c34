from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.segmentation_inputs import SegmentationContract, random_inputs, softmax
from morn_losses._host import cross_entropy as host
from morn_losses.losses import class_balanced
from morn_losses.losses.class_balanced import ClassBalancedCrossEntropy, class_balanced_cross_entropy


def cross_entropy_by_loops(z: np.ndarray, y: np.ndarray, bound: float, small_weight: float, ignore: int) -> float:
    """Class-balanced cross-entropy of one sample, logits ``(K, H, W)`` and labels ``(H, W)``, pixel by pixel."""
    K, H, W = z.shape
    count = [sum(int(label == k) for label in y.flat if label != ignore) for k in range(K)]
    total, weights = 0.0, 0.0
    for i in range(H):
        for j in range(W):
            if y[i, j] != ignore:
                weight = small_weight if count[y[i, j]] < bound else 1.0
                total -= weight * math.log(softmax(z[:, i, j])[y[i, j]])
                weights += weight
    return total / weights if weights else 0.0


class TestCrossEntropyContract(SegmentationContract):
    function = staticmethod(class_balanced_cross_entropy)
    module = ClassBalancedCrossEntropy()


@pytest.mark.parametrize(("small_area", "small_weight"), [(1 / 64, 7.0), (0.15, 7.1), (0.3, 0.5), (0.0, 7.0)])
@pytest.mark.parametrize("ignore", [255, -1, 0])
def test_cross_entropy_equals_its_equation_written_with_loops(
    small_area: float, small_weight: float, ignore: int
) -> None:
    logits, labels = random_inputs(4, ignore=ignore)
    labels[3] = ignore
    value = class_balanced_cross_entropy(
        logits, labels, small_area=small_area, small_weight=small_weight, ignore_index=ignore, reduction="none"
    )
    for b in range(4):
        expected = cross_entropy_by_loops(logits[b].numpy(), labels[b].numpy(), small_area * 30, small_weight, ignore)
        assert value[b].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("small_pixels", [0, 1, 5, 9, 1000])
def test_a_number_of_pixels_takes_the_place_of_the_share(small_pixels: int) -> None:
    logits, labels = random_inputs(4)
    options = {"small_pixels": small_pixels, "small_area": 0.5, "reduction": "none"}
    value = class_balanced_cross_entropy(logits, labels, **options)
    for b in range(4):
        expected = cross_entropy_by_loops(logits[b].numpy(), labels[b].numpy(), small_pixels, 7, 255)
        assert value[b].item() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(ClassBalancedCrossEntropy(**options)(logits, labels), value)
    # one of 4 pixels, whatever the size of the image around them
    y = torch.full((1, 40, 40), 255)
    y[0, 0, :4] = torch.tensor([0, 0, 0, 1])
    z = torch.randn(1, 2, 40, 40, dtype=torch.float64)
    of_four = class_balanced_cross_entropy(z[:, :, :1, :4], y[:, :1, :4], small_pixels=2)
    torch.testing.assert_close(class_balanced_cross_entropy(z, y, small_pixels=2), of_four)


def test_cross_entropy_equals_torchs_weighted_mean_of_each_sample() -> None:
    logits, labels = random_inputs(3)
    value = class_balanced_cross_entropy(logits, labels, small_area=0.15, reduction="none")
    weighted = False
    for b in range(3):
        count = torch.bincount(labels[b][labels[b] != 255], minlength=4)
        weight = torch.where(count < 0.15 * 30, 7.0, 1.0).double()
        weighted |= bool(weight[count > 0].unique().numel() > 1)
        expected = F.cross_entropy(logits[b : b + 1], labels[b : b + 1], weight=weight, ignore_index=255)
        torch.testing.assert_close(value[b], expected)
    assert weighted, "no sample mixes small and large classes"


def test_cross_entropy_has_the_gradient_of_torchs() -> None:
    logits, labels = random_inputs(3)
    logits[:, 1] += 500  # exponentials of the others vanish
    ours, torchs = (logits.clone().requires_grad_() for _ in range(2))
    class_balanced_cross_entropy(ours, labels, small_area=0.15, reduction="none").square().sum().backward()
    total = torch.zeros((), dtype=torch.float64)
    for b in range(3):
        count = torch.bincount(labels[b][labels[b] != 255], minlength=4)
        weight = torch.where(count < 0.15 * 30, 7.0, 1.0).double()
        total += F.cross_entropy(torchs[b : b + 1], labels[b : b + 1], weight=weight, ignore_index=255).square()
    total.backward()
    torch.testing.assert_close(ours.grad, torchs.grad)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_cross_entropy_shows_a_labeled_pixel_that_is_not_finite_and_spoils_no_other(bad: float) -> None:
    logits, labels = random_inputs(2)
    labels[0, 2, 3] = 1
    clean, dirty = (logits.clone().requires_grad_() for _ in range(2))
    with torch.no_grad():
        dirty[0, 0, 2, 3] = bad
    values = class_balanced_cross_entropy(dirty, labels, reduction="none")
    expected = class_balanced_cross_entropy(clean, labels, reduction="none")
    assert values[0].isnan()
    assert values[1].item() == expected[1].item()
    values.sum().backward()
    expected.sum().backward()
    assert dirty.grad is not None
    assert clean.grad is not None
    assert dirty.grad[0, :, 2, 3].isnan().all()
    dirty.grad[0, :, 2, 3] = clean.grad[0, :, 2, 3] = 0
    assert torch.equal(dirty.grad, clean.grad)


def test_cross_entropy_of_a_class_that_is_impossible_is_infinite() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 2, 0, 0] = -math.inf
    assert class_balanced_cross_entropy(logits, torch.tensor([[[2, 0]]])).item() == math.inf
    value = class_balanced_cross_entropy(logits, torch.tensor([[[1, 0]]])).item()
    assert value == pytest.approx((math.log(2) + math.log(3)) / 2)


def test_cross_entropy_can_be_differentiated_again() -> None:
    logits, labels = random_inputs(2)
    logits[:, :, 0, 0] = torch.where(labels[:, None, 0, 0] == 255, math.nan, logits[:, :, 0, 0])
    logits.requires_grad_()
    value = class_balanced_cross_entropy(logits, labels)
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    (third,) = torch.autograd.grad(value, logits, create_graph=True)
    torch.testing.assert_close(third, first)
    logits, labels = random_inputs(2)
    function = functools.partial(class_balanced_cross_entropy, labels=labels, small_area=0.15, reduction="none")
    assert torch.autograd.gradgradcheck(function, logits.requires_grad_())


def test_cross_entropy_by_hand() -> None:
    # class 1 holds 1 pixel of 64 * 2: small; class 0 the rest: -log p is log 2 for it and log 4 for class 1
    labels = torch.zeros(1, 8, 16, dtype=torch.long)
    labels[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 8, 16, dtype=torch.float64)
    logits[0, 0, 0, 0] = math.log(3)
    value = class_balanced_cross_entropy(logits, labels).item()
    assert value == pytest.approx((127 * math.log(2) + 7 * math.log(4)) / (127 + 7))


@pytest.mark.parametrize(
    ("size", "count", "small_area", "small"),
    [
        ((8, 8), 1, 1 / 64, False),  # exactly at the bound is not small
        ((8, 16), 1, 1 / 64, True),
        ((8, 16), 2, 1 / 64, False),
        ((10, 10), 7, 0.07, True),  # 0.07 * 100 is a little above 7
        ((10, 10), 7, 0.0701, True),
        ((10, 10), 7, 0.0699, False),
        ((4, 4), 8, 1.0, True),
    ],
)
def test_a_class_is_small_strictly_below_the_share(
    size: tuple[int, int], count: int, small_area: float, small: bool
) -> None:
    labels = torch.full((1, *size), 255)
    labels.view(-1)[:count] = 1
    labels.view(-1)[-1] = 0
    logits = torch.zeros(1, 2, *size, dtype=torch.float64)
    logits[:, 1] = 2  # class 1 is predicted, class 0 missed
    hit, miss = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    of_one = 7 if small else 1
    of_zero = 7 if small_area * size[0] * size[1] > 1 else 1
    expected = (of_one * count * hit + of_zero * miss) / (of_one * count + of_zero)
    value = class_balanced_cross_entropy(logits, labels, small_area=small_area)
    assert value.item() == pytest.approx(expected)


def test_ignored_pixels_make_no_class_larger() -> None:
    # class 0 is labeled at 1 pixel of 128; the ignored ones must not count as its area
    labels = torch.full((1, 8, 16), 255)
    labels[0, 0, 0], labels[0, 1:3] = 0, 1
    logits = torch.randn(1, 2, 8, 16, dtype=torch.float64)
    expected = F.cross_entropy(logits, labels, weight=torch.tensor([7.0, 1.0]).double(), ignore_index=255)
    torch.testing.assert_close(class_balanced_cross_entropy(logits, labels), expected)


def test_a_small_weight_beyond_float32_is_named() -> None:
    logits, labels = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="small_weight: expected a number"):
        class_balanced_cross_entropy(logits, labels, small_weight=1e300)


def test_the_kernel_is_the_equation() -> None:
    logits, labels = random_inputs(3)
    labels[2] = 255
    ids = torch.where(labels == 255, 4, labels)
    weights = torch.where(ids < 4, torch.rand(ids.shape, dtype=torch.float64) + 0.5, 0)
    logits[:, :, 0, 0] = torch.where(labels[:, None, 0, 0] == 255, math.nan, logits[:, :, 0, 0])
    found = []
    for function in (class_balanced._mean_log_loss, host.mean_log_loss):
        x = logits.clone().requires_grad_()
        values = function(x, ids, weights)
        found.append((values, *torch.autograd.grad(values.square().sum(), x)))
    torch.testing.assert_close(found[1], found[0])
    assert found[0][0].tolist()[2] == 0
    assert found[0][1].abs().sum() > 0
