from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.segmentation_inputs import SegmentationContract, random_inputs
from morn_losses._host import boundary, cross_entropy
from morn_losses.losses.boundary import BoundaryLoss, boundary_loss
from morn_losses.losses.class_balanced import ClassBalancedCrossEntropy, class_balanced_cross_entropy
from morn_losses.losses.segmentation import SegmentationLoss, segmentation_loss

EVERY = pytest.mark.parametrize("function", [class_balanced_cross_entropy, boundary_loss, segmentation_loss])


class TestSegmentationContract(SegmentationContract):
    function = staticmethod(segmentation_loss)
    module = SegmentationLoss()


class TestOptionsReachTheModules(SegmentationContract):
    function = staticmethod(segmentation_loss)
    options = {
        "boundary_weight": 2.0, "small_pixels": 6, "small_weight": 3.5, "clear_ignored": False, "ignore_index": -1
    }  # fmt: skip
    module = SegmentationLoss(
        boundary_weight=2.0, small_pixels=6, small_weight=3.5, clear_ignored=False, ignore_index=-1
    )

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        for name, value in self.options.items():
            assert f"{name}={value}" in repr(self.module)

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


def test_segmentation_is_the_weighted_sum_and_defaults_to_a_half() -> None:
    """Eq. 10: the weight of the boundary loss."""
    logits, labels = random_inputs(3)
    entropy = class_balanced_cross_entropy(logits, labels, small_area=0.2, small_weight=3.0, reduction="none")
    boundary = boundary_loss(logits, labels, reduction="none")
    options: dict[str, Any] = {"small_area": 0.2, "small_weight": 3.0, "reduction": "none"}
    torch.testing.assert_close(segmentation_loss(logits, labels, **options), entropy + 0.5 * boundary)
    uncleared = boundary_loss(logits, labels, clear_ignored=False, reduction="none")
    absolute = class_balanced_cross_entropy(logits, labels, small_pixels=6, small_weight=3.0, reduction="none")
    found = segmentation_loss(logits, labels, **options, small_pixels=6, clear_ignored=False)
    torch.testing.assert_close(found, absolute + 0.5 * uncleared)
    torch.testing.assert_close(
        segmentation_loss(logits, labels, boundary_weight=2.0, **options), entropy + 2.0 * boundary
    )


def test_weight_zero_drops_the_boundary_term(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = random_inputs(3)
    expected = class_balanced_cross_entropy(logits, labels)
    monkeypatch.setattr("morn_losses.losses.segmentation.boundary_loss", None)
    assert segmentation_loss(logits, labels, boundary_weight=0).item() == expected.item()


@pytest.mark.parametrize(
    ("function", "host", "kernel"),
    [(class_balanced_cross_entropy, cross_entropy, "mean_log_loss"), (boundary_loss, boundary, "mismatch")],
)
def test_eager_mode_on_the_cpu_runs_the_kernel_and_transforms_the_equation(
    function: Callable[..., Tensor], host: Any, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels = random_inputs(1)
    x = logits.clone().requires_grad_()
    function(x, labels).backward()
    monkeypatch.setattr(host, kernel, lambda logits, *_: logits.new_full((1,), 7))
    assert function(logits, labels).item() == 7
    torch.testing.assert_close(torch.func.grad(lambda x: function(x, labels))(logits), x.grad)


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
    with pytest.raises(TypeError, match=r"labels: expected an integer dtype, got torch.bool"):
        function(logits, labels.bool())
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
