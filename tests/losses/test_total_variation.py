from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.total_variation import TotalVariationLoss, total_variation_loss


def by_loops(x: np.ndarray) -> float:
    """``2 * (mean(dh^2) + mean(dw^2))`` of one sample ``(C, H, W)``, pair by pair."""
    C, H, W = x.shape
    down = [(x[c, i + 1, j] - x[c, i, j]) ** 2 for c in range(C) for i in range(H - 1) for j in range(W)]
    right = [(x[c, i, j + 1] - x[c, i, j]) ** 2 for c in range(C) for i in range(H) for j in range(W - 1)]
    return 2 * (sum(down) / max(len(down), 1) + sum(right) / max(len(right), 1))


class TestContract(LossContract):
    function = staticmethod(total_variation_loss)
    module = TotalVariationLoss()

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Tensor]:
        return (torch.rand(batch, 3, 5, 4, dtype=dtype) * 2 - 1,)


@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (2, 3, 4, 2), (2, 3, 1, 6), (2, 1, 6, 1)])
def test_equals_the_definition_written_with_loops(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    expected = torch.tensor([by_loops(sample.numpy()) for sample in x], dtype=torch.float64)
    torch.testing.assert_close(total_variation_loss(x, reduction="none"), expected)


def test_value_by_hand() -> None:
    # one step of 3 between the rows of a 2 x 2 image: 2 * (9 + 0); the same between its columns
    step = torch.tensor([[0.0, 0.0], [3.0, 3.0]]).expand(1, 3, 2, 2)
    assert total_variation_loss(step).item() == 18
    assert total_variation_loss(step.mT).item() == 18
    assert total_variation_loss(torch.full((2, 3, 4, 4), 0.7)).item() == 0


def test_single_pixel_is_an_exact_zero_with_a_graph() -> None:
    x = torch.rand(2, 3, 1, 1, requires_grad=True)
    value = total_variation_loss(x, reduction="none")
    value.sum().backward()
    assert value.tolist() == [0, 0]
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"x: expected \(B, C, H, W\), got \(3, 4, 4\)"):
        total_variation_loss(torch.rand(3, 4, 4))
    with pytest.raises(ValueError, match="x: .*C = 1 or 3"):
        total_variation_loss(torch.rand(1, 2, 4, 4))
    with pytest.raises(ValueError, match="x: .*without an empty axis"):
        total_variation_loss(torch.rand(1, 3, 0, 4))
    with pytest.raises(TypeError, match="x: expected a floating-point dtype"):
        total_variation_loss(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_the_module_passes_its_reduction_on() -> None:
    x = torch.rand(3, 3, 4, 4)
    assert TotalVariationLoss(reduction="sum")(x).item() == total_variation_loss(x, reduction="sum").item()
