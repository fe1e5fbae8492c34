from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.segmentation_inputs import SegmentationContract, random_inputs, softmax
from morn_losses._host import boundary as host
from morn_losses.losses import boundary
from morn_losses.losses.boundary import BoundaryLoss, boundary_loss


def boundary_by_loops(z: np.ndarray, y: np.ndarray, ignore: int, clear: bool = True) -> float:
    """Boundary loss of one sample, class by class and pixel by pixel."""
    K, H, W = z.shape
    target, predicted = np.zeros((K, H, W)), np.zeros((K, H, W))
    for i in range(H):
        for j in range(W):
            if y[i, j] != ignore:
                target[y[i, j], i, j] = 1
            if y[i, j] != ignore or not clear:
                predicted[:, i, j] = softmax(z[:, i, j])

    def edge(x: np.ndarray, k: int, i: int, j: int) -> float:
        around = [(a, b) for a in range(i - 1, i + 2) for b in range(j - 1, j + 2) if 0 <= a < H and 0 <= b < W]
        return abs(float(x[k, i, j]) - sum(float(x[k, a, b]) for a, b in around) / 9)

    everywhere = [(k, i, j) for k in range(K) for i in range(H) for j in range(W)]
    missed = sum(abs(edge(target, *at) - edge(predicted, *at)) for at in everywhere)
    total = sum(edge(target, *at) for at in everywhere)
    return missed / total if total else 0.0


class TestBoundaryContract(SegmentationContract):
    function = staticmethod(boundary_loss)
    module = BoundaryLoss()


class TestUnclearedContract(SegmentationContract):
    function = staticmethod(boundary_loss)
    options = {"clear_ignored": False}
    module = BoundaryLoss(clear_ignored=False)

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        assert repr(self.module) == "BoundaryLoss(clear_ignored=False, ignore_index=255, reduction='mean')"


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("ignore", [255, -1, 0])
def test_boundary_equals_its_equation_written_with_loops(ignore: int, clear: bool) -> None:
    logits, labels = random_inputs(4, ignore=ignore)
    labels[2] = 1  # one class: the zero padding alone makes a boundary
    labels[3] = ignore
    value = boundary_loss(logits, labels, clear_ignored=clear, ignore_index=ignore, reduction="none")
    for b in range(4):
        expected = boundary_by_loops(logits[b].numpy(), labels[b].numpy(), ignore, clear)
        assert value[b].item() == pytest.approx(expected, rel=1e-12)


def test_boundary_is_the_same_for_any_number_of_classes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = random_inputs(4)
    found = []
    for cached in (1, 3 * 2 * 30, 2**17):  # one class at a time, two of four, all
        monkeypatch.setattr("morn_losses._host.boundary.CACHED", cached)
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


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_uncleared_predictions_count_but_in_a_sample_without_labels(bad: float) -> None:
    logits, labels = random_inputs(3)
    labels[:, 0, 0] = 255
    labels[2] = 255
    clean, dirty = logits.clone().requires_grad_(), logits.clone()
    expected = boundary_loss(clean, labels, clear_ignored=False, reduction="none")
    assert expected[2].item() == 0
    expected.sum().backward()
    assert clean.grad is not None
    assert clean.grad[0, :, 0, 0].abs().max() > 0
    assert clean.grad[2].abs().max() == 0
    dirty[1, 0, 0, 0] = dirty[2, 0, 0, 0] = bad
    dirty.requires_grad_()
    value = boundary_loss(dirty, labels, clear_ignored=False, reduction="none")
    assert value.isnan().tolist() == [False, True, False]
    value[[0, 2]].sum().backward()
    assert dirty.grad is not None
    assert torch.equal(dirty.grad[[0, 2]], clean.grad[[0, 2]])


@pytest.mark.parametrize("cleared", [True, False])
def test_the_kernel_is_the_equation(cleared: bool) -> None:
    logits, labels = random_inputs(3)
    labels[2] = 255
    ids = torch.where(labels == 255, 4, labels)
    counted = ids < 4 if cleared else (torch.arange(3) < 2)[:, None, None].expand_as(ids)
    logits[:, :, 0, 0] = torch.where(counted[:, None, 0, 0], logits[:, :, 0, 0], math.nan)
    found = []
    for function in (boundary._mismatch, host.mismatch):
        x = logits.clone().requires_grad_()
        values = function(x, ids, counted)
        found.append((values, *torch.autograd.grad(values.square().sum(), x)))
    torch.testing.assert_close(found[1], found[0])
    assert found[0][0].tolist()[2] == 0
    assert found[0][1].abs().sum() > 0
