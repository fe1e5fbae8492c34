from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.segmentation import (
    BoundaryLoss,
    ClassBalancedCrossEntropy,
    SegmentationLoss,
    boundary_loss,
    class_balanced_cross_entropy,
    segmentation_loss,
)

EVERY = pytest.mark.parametrize("function", [class_balanced_cross_entropy, boundary_loss, segmentation_loss])


def softmax(z: np.ndarray) -> np.ndarray:
    exponentials = np.exp(z - z.max())
    return np.asarray(exponentials / exponentials.sum())


def cross_entropy_by_loops(z: np.ndarray, y: np.ndarray, small_area: float, small_weight: float, ignore: int) -> float:
    """Class-balanced cross-entropy of one sample, logits ``(K, H, W)`` and labels ``(H, W)``, pixel by pixel."""
    K, H, W = z.shape
    count = [sum(int(label == k) for label in y.flat if label != ignore) for k in range(K)]
    total, weights = 0.0, 0.0
    for i in range(H):
        for j in range(W):
            if y[i, j] != ignore:
                weight = small_weight if count[y[i, j]] < small_area * H * W else 1.0
                total -= weight * math.log(softmax(z[:, i, j])[y[i, j]])
                weights += weight
    return total / weights if weights else 0.0


def boundary_by_loops(z: np.ndarray, y: np.ndarray, ignore: int) -> float:
    """Boundary loss of one sample, class by class and pixel by pixel."""
    K, H, W = z.shape
    target, predicted = np.zeros((K, H, W)), np.zeros((K, H, W))
    for i in range(H):
        for j in range(W):
            if y[i, j] != ignore:
                target[y[i, j], i, j] = 1
                predicted[:, i, j] = softmax(z[:, i, j])

    def edge(x: np.ndarray, k: int, i: int, j: int) -> float:
        around = [(a, b) for a in range(i - 1, i + 2) for b in range(j - 1, j + 2) if 0 <= a < H and 0 <= b < W]
        return abs(float(x[k, i, j]) - sum(float(x[k, a, b]) for a, b in around) / 9)

    everywhere = [(k, i, j) for k in range(K) for i in range(H) for j in range(W)]
    missed = sum(abs(edge(target, *at) - edge(predicted, *at)) for at in everywhere)
    total = sum(edge(target, *at) for at in everywhere)
    return missed / total if total else 0.0


def random_inputs(
    batch: int, K: int = 4, dtype: torch.dtype = torch.float64, ignore: int = 255
) -> tuple[Tensor, Tensor]:
    logits = torch.randn(batch, K, 5, 6, dtype=dtype)
    labels = torch.randint(0, K, (batch, 5, 6))
    labels[labels == K - 1] = torch.where(torch.rand(labels.shape) < 0.3, K - 1, 0)[labels == K - 1]  # a small class
    labels[torch.rand(labels.shape) < 0.2] = ignore
    return logits, labels


class SegmentationContract(LossContract):
    maps = False

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return random_inputs(batch, dtype=dtype)


class TestCrossEntropyContract(SegmentationContract):
    function = staticmethod(class_balanced_cross_entropy)
    module = ClassBalancedCrossEntropy()


class TestBoundaryContract(SegmentationContract):
    function = staticmethod(boundary_loss)
    module = BoundaryLoss()


class TestSegmentationContract(SegmentationContract):
    function = staticmethod(segmentation_loss)
    module = SegmentationLoss()


class TestOptionsReachTheModules(SegmentationContract):
    function = staticmethod(segmentation_loss)
    options = {"boundary_weight": 2.0, "small_area": 0.2, "small_weight": 3.5, "ignore_index": -1}
    module = SegmentationLoss(boundary_weight=2.0, small_area=0.2, small_weight=3.5, ignore_index=-1)

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        for option in ("boundary_weight=2.0", "small_area=0.2", "small_weight=3.5", "ignore_index=-1"):
            assert option in repr(self.module)

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return random_inputs(batch, dtype=dtype, ignore=-1)


def test_modules_pass_their_options_on() -> None:
    logits, labels = random_inputs(2, ignore=-1)
    options: dict[str, Any] = {"small_area": 0.2, "small_weight": 3.5, "ignore_index": -1, "reduction": "sum"}
    value = ClassBalancedCrossEntropy(**options)(logits, labels)
    assert value.item() == class_balanced_cross_entropy(logits, labels, **options).item()
    value = BoundaryLoss(ignore_index=-1, reduction="sum")(logits, labels)
    assert value.item() == boundary_loss(logits, labels, ignore_index=-1, reduction="sum").item()
    value = SegmentationLoss(**options)(logits, labels)
    assert value.item() == segmentation_loss(logits, labels, **options).item()


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
        expected = cross_entropy_by_loops(logits[b].numpy(), labels[b].numpy(), small_area, small_weight, ignore)
        assert value[b].item() == pytest.approx(expected, rel=1e-12)


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


@pytest.mark.parametrize("ignore", [255, -1, 0])
def test_boundary_equals_its_equation_written_with_loops(ignore: int) -> None:
    logits, labels = random_inputs(4, ignore=ignore)
    labels[2] = 1  # one class: the zero padding alone makes a boundary
    labels[3] = ignore
    value = boundary_loss(logits, labels, ignore_index=ignore, reduction="none")
    for b in range(4):
        expected = boundary_by_loops(logits[b].numpy(), labels[b].numpy(), ignore)
        assert value[b].item() == pytest.approx(expected, rel=1e-12)


def test_boundary_is_the_same_for_any_number_of_classes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = random_inputs(4)
    found = []
    for cached in (1, 3 * 2 * 30, 2**17):  # one class at a time, two of four, all
        monkeypatch.setattr("morn_losses.losses.segmentation.CACHED", cached)
        x = logits.clone().requires_grad_()
        values = boundary_loss(x, labels, reduction="none")
        found.append((values, *torch.autograd.grad(values.square().sum(), x)))
    for value, grad in found[1:]:
        torch.testing.assert_close(value, found[0][0])
        torch.testing.assert_close(grad, found[0][1])


def test_boundary_by_hand() -> None:
    # a single pixel: e(y) is 8/9 for its class and 0 else; e(p) is 8/9 of each probability
    logits = torch.tensor([3.0, 1.0], dtype=torch.float64).log().view(1, 2, 1, 1)
    assert boundary_loss(logits, torch.tensor([[[0]]])).item() == pytest.approx(0.25 + 0.25)
    assert boundary_loss(logits, torch.tensor([[[1]]])).item() == pytest.approx(0.75 + 0.75)


def test_a_perfect_prediction_has_no_boundary_loss() -> None:
    _, labels = random_inputs(2)
    logits = 100 * F.one_hot(torch.where(labels == 255, 0, labels), 4).permute(0, 3, 1, 2).double()
    assert boundary_loss(logits, labels).item() == pytest.approx(0, abs=1e-12)


def test_segmentation_is_the_weighted_sum_and_defaults_to_a_half() -> None:
    """Eq. 10: the weight of the boundary loss."""
    logits, labels = random_inputs(3)
    entropy = class_balanced_cross_entropy(logits, labels, small_area=0.2, small_weight=3.0, reduction="none")
    boundary = boundary_loss(logits, labels, reduction="none")
    options: dict[str, Any] = {"small_area": 0.2, "small_weight": 3.0, "reduction": "none"}
    torch.testing.assert_close(segmentation_loss(logits, labels, **options), entropy + 0.5 * boundary)
    torch.testing.assert_close(
        segmentation_loss(logits, labels, boundary_weight=2.0, **options), entropy + 2.0 * boundary
    )


def test_weight_zero_drops_the_boundary_term(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = random_inputs(3)
    expected = class_balanced_cross_entropy(logits, labels)
    monkeypatch.setattr("morn_losses.losses.segmentation.boundary_loss", None)
    assert segmentation_loss(logits, labels, boundary_weight=0).item() == expected.item()


@EVERY
def test_all_ignored_is_an_exact_zero_with_a_graph(function: Callable[..., Tensor]) -> None:
    logits, labels = random_inputs(2, dtype=torch.float32)
    labels[0] = 255
    logits.requires_grad_()
    value = function(logits, labels, reduction="none")
    value.sum().backward()
    assert value[0].item() == 0
    assert value[1].item() > 0
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].isfinite().all()


@EVERY
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_of_ignored_pixels_do_not_leak(function: Callable[..., Tensor], bad: float) -> None:
    logits, labels = random_inputs(2)
    clean = logits.clone().requires_grad_()
    expected = function(clean, labels)
    expected.backward()
    dirty = torch.where((labels == 255)[:, None], bad, logits).requires_grad_()
    value = function(dirty, labels)
    value.backward()
    assert value.item() == expected.item()
    assert clean.grad is not None
    assert dirty.grad is not None
    assert torch.equal(dirty.grad, clean.grad)
    assert dirty.grad[(labels == 255)[:, None].expand_as(logits)].abs().max() == 0


@EVERY
@pytest.mark.parametrize("K", [1, 3])
def test_a_nan_of_a_sample_without_labels_reaches_no_gradient(function: Callable[..., Tensor], K: int) -> None:
    logits = torch.randn(2, K, 3, 4)
    labels = torch.randint(0, K, (2, 3, 4))
    labels[0] = 255
    gradients = []
    for value in (0.0, math.nan):
        logits[0] = value
        leaf = logits.clone().requires_grad_()
        values = function(leaf, labels, reduction="none")
        values.sum().backward()
        assert values[0].item() == 0
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0)
    assert gradients[1][0].abs().max() == 0


@EVERY
@pytest.mark.parametrize("bad", [4, 254, -1])
def test_an_unknown_id_is_an_error_in_eager_mode_and_ignored_when_compiled(
    function: Callable[..., Tensor], bad: int
) -> None:
    logits, labels = random_inputs(2)
    unknown, ignored = labels.clone(), labels.clone()
    unknown[:, 1, 1:3], ignored[:, 1, 1:3] = bad, 255
    with pytest.raises(ValueError, match=rf"labels: expected class ids in \[0, 4\) or 255, got \[{bad}\]"):
        function(logits, unknown)
    torch.compiler.reset()
    compiled = torch.compile(functools.partial(function, reduction="none"), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, unknown), function(logits, ignored, reduction="none"))


@EVERY
def test_compiles_with_dynamic_sizes(function: Callable[..., Tensor]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    for H, W in ((5, 6), (9, 7), (16, 12)):
        logits, labels = torch.randn(2, 4, H, W), torch.randint(0, 4, (2, H, W))
        torch.testing.assert_close(compiled(logits, labels), function(logits, labels))


@EVERY
@pytest.mark.gpu
def test_on_cuda_it_never_waits_and_ignores_unknown_ids(function: Callable[..., Tensor]) -> None:
    logits, labels = random_inputs(2, dtype=torch.float32)
    expected = function(logits, labels)
    on_device = torch.where(labels == 255, 77, labels).cuda()
    logits = logits.cuda().requires_grad_()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        value = function(logits, on_device)
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    torch.testing.assert_close(value.cpu(), expected)


@EVERY
def test_errors_name_the_argument(function: Callable[..., Tensor]) -> None:
    logits, labels = torch.randn(2, 4, 5, 6), torch.zeros(2, 5, 6, dtype=torch.long)
    with pytest.raises(ValueError, match=r"labels: expected \(B, H, W\) = \(2, 5, 6\), got \(1, 5, 6\)"):
        function(logits, labels[:1])
    with pytest.raises(ValueError, match=r"labels: expected \(B, H, W\), got \(2, 1, 5, 6\)"):
        function(logits, labels[:, None])
    with pytest.raises(TypeError, match=r"labels: expected dtype torch.int64, got torch.int32"):
        function(logits, labels.int())
    with pytest.raises(ValueError, match=r"logits: expected \(B, C, H, W\), got \(4, 5, 6\)"):
        function(logits[0], labels)
    with pytest.raises(TypeError, match="logits: expected a floating-point dtype"):
        function(logits.long(), labels)
    with pytest.raises(TypeError, match="ignore_index: expected an int, got float"):
        function(logits, labels, ignore_index=255.0)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"small_area": -0.1}, "small_area"),
        ({"small_area": 1.1}, "small_area"),
        ({"small_weight": 0.0}, "small_weight"),
        ({"boundary_weight": -0.5}, "boundary_weight"),
    ],
)
def test_options_out_of_range_are_named(options: Any, name: str) -> None:
    logits, labels = random_inputs(1)
    with pytest.raises(ValueError, match=f"{name}: expected a number in"):
        segmentation_loss(logits, labels, **options)


def test_a_small_weight_beyond_float32_is_named() -> None:
    logits, labels = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="small_weight: expected a number"):
        class_balanced_cross_entropy(logits, labels, small_weight=1e300)
