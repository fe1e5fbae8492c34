from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.loss_contract import LossContract
from morn_losses.losses.adversarial import RelativisticLSGANLoss, relativistic_lsgan_loss


def by_loops(
    real: list[list[np.ndarray]], fake: list[list[np.ndarray]], sign: int, weights: list[list[float]]
) -> float:
    """The loss of one sample, score by score; ``sign`` is -1 for the discriminator's side."""
    total = 0.0
    for d in range(len(real)):
        weighted, weight = 0.0, 0.0
        for s in range(len(real[d])):
            errors = [(r - f + sign) ** 2 for r, f in zip(real[d][s].flat, fake[d][s].flat, strict=True)]
            weighted += weights[d][s] * sum(errors) / len(errors)
            weight += weights[d][s]
        total += weighted / weight
    return total / len(real)


def scores(batch: int, dtype: torch.dtype) -> list[list[Tensor]]:
    """Two discriminators of 3 and 2 scales, the maps from fine to coarse."""
    sides = [[(4, 5), (2, 3), (1, 1)], [(3, 3), (2, 2)]]
    return [[torch.randn(batch, 1, h, w, dtype=dtype) for h, w in sizes] for sizes in sides]


class TestDiscriminatorContract(LossContract):
    function = staticmethod(relativistic_lsgan_loss)
    module = RelativisticLSGANLoss()
    differentiable = (0, 1)

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        return scores(batch, dtype), scores(batch, dtype), "discriminator"


class TestGeneratorContract(LossContract):
    function = staticmethod(relativistic_lsgan_loss)
    module = RelativisticLSGANLoss(scale_weights=[1.0, 3.0])
    options = {"scale_weights": [1.0, 3.0]}
    differentiable = (1,)

    def test_module_holds_the_functions_options_and_defaults(self) -> None:
        assert RelativisticLSGANLoss().scale_weights is None
        assert repr(self.module) == "RelativisticLSGANLoss(scale_weights=[1.0, 3.0], reduction='mean')"

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        real, fake = scores(batch, dtype)[1], scores(batch, dtype)[1]
        return real, fake, "generator"


class TestTensorContract(LossContract):
    function = staticmethod(relativistic_lsgan_loss)
    module = RelativisticLSGANLoss()
    differentiable = (0, 1)

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[Any, ...]:
        return torch.randn(batch, 1, 3, 4, dtype=dtype), torch.randn(batch, 1, 3, 4, dtype=dtype), "discriminator"


@pytest.mark.parametrize(("side", "sign"), [("discriminator", -1), ("generator", 1)])
@pytest.mark.parametrize("weights", [None, [[1.0, 2.0, 4.0], [1, 3]]])
def test_equals_the_definition_written_with_loops(side: Any, sign: int, weights: Any) -> None:
    real, fake = scores(3, torch.float64), scores(3, torch.float64)
    value = relativistic_lsgan_loss(real, fake, side, scale_weights=weights, reduction="none")
    for b in range(3):
        of_sample = [[[x[b].numpy() for x in maps] for maps in structure] for structure in (real, fake)]
        expected = by_loops(*of_sample, sign, weights or [[1, 1, 1], [1, 1]])
        assert value[b].item() == pytest.approx(expected, rel=1e-12)


def test_value_by_hand() -> None:
    real, fake = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 0.0]])
    assert relativistic_lsgan_loss(real, fake, "discriminator").item() == 0.5  # (1^2 + 0^2) / 2
    assert relativistic_lsgan_loss(real, fake, "generator").item() == 6.5  # (3^2 + 2^2) / 2
    # a discriminator that tells them apart by 1 is content; a generator that is ahead by 1 is
    assert relativistic_lsgan_loss(fake + 1, fake, "discriminator").item() == 0
    assert relativistic_lsgan_loss(fake, fake + 1, "generator").item() == 0


def test_weights_are_normalised_and_discriminators_averaged() -> None:
    zero, two = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 1, 1), 2.0)
    # on the discriminator's side equal scores cost 1, and being ahead by 2 costs 1, by 4 costs 9
    real, fake = [[zero, two + 2], [two, zero[..., :1]]], [[zero, two - 2], [two - 2, zero[..., :1]]]
    assert relativistic_lsgan_loss(real[0], fake[0], "discriminator").item() == 5  # (1 + 9) / 2
    assert relativistic_lsgan_loss(real[0], fake[0], "discriminator", scale_weights=[3, 1]).item() == 3
    assert relativistic_lsgan_loss(real[0], fake[0], "discriminator", scale_weights=[30, 10]).item() == 3
    assert relativistic_lsgan_loss(real, fake, "discriminator", scale_weights=(3, 1)).item() == 2  # (3 + 1) / 2
    per_discriminator = relativistic_lsgan_loss(real, fake, "discriminator", scale_weights=[[1, 3], [5, 1]])
    assert per_discriminator.item() == 4  # (7 + 1) / 2


def test_large_weights_do_not_overflow() -> None:
    real, fake = [torch.full((1, 4), 1e4)] * 2, [torch.zeros(1, 4)] * 2
    plain = relativistic_lsgan_loss(real, fake, "generator")
    torch.testing.assert_close(relativistic_lsgan_loss(real, fake, "generator", scale_weights=[1e35, 1e35]), plain)


def test_a_tensor_is_a_list_of_one_scale_of_one_discriminator() -> None:
    real, fake = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    plain = relativistic_lsgan_loss(real, fake, "generator", scale_weights=[7.0])
    assert relativistic_lsgan_loss([real], (fake,), "generator").item() == plain.item()
    assert relativistic_lsgan_loss([[real]], [(fake,)], "generator").item() == plain.item()


def test_one_score_per_sample_is_enough() -> None:
    value = relativistic_lsgan_loss(torch.tensor([1.0, 3.0]), torch.zeros(2), "discriminator", reduction="none")
    assert value.tolist() == [0, 4]


def test_the_generators_side_leaves_the_real_scores_alone() -> None:
    real, fake = torch.randn(2, 1, 3, 3, requires_grad=True), torch.randn(2, 1, 3, 3, requires_grad=True)
    relativistic_lsgan_loss(real, fake, "generator").backward()
    assert real.grad is None
    assert fake.grad is not None


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        ("A", ["A"], r"fake: expected a tensor, as real is one"),
        (["A"], "A", r"fake\[0\]: expected a tensor, as real\[0\] is one"),
        (["A", "B"], ["A"], r"fake\[1\]: expected a tensor, as real\[1\] is one"),
        (["A"], ["A", "B"], r"fake\[1\]: expected no tensor, as real\[1\] is none"),
        ([["A"], ["A", "B"]], [["A"], ["A"]], r"fake\[1\]\[1\]: expected a tensor"),
        ([["A"], ["A"]], [["A"], ["A"], ["A"]], r"fake\[2\]\[0\]: expected no tensor"),
        ([["A"], ["A", "A"]], [["A"], ["A", "B"]], r"fake\[1\]\[1\]: expected the shape of real\[1\]\[1\] = \(2, 4\)"),
        (["A", ["A"]], ["A", ["A"]], r"real\[0\]: expected a list of scales"),
        ([["A"], [["A"]]], [["A"], [["A"]]], r"real\[1\]\[0\]: expected a tensor, got a list of 1"),
        ([], [], r"real: expected at least one score map"),
        ([["A"], []], [["A"], []], r"real\[1\]: expected at least one score map"),
        (["A", "C"], ["A", "C"], r"real\[1\]: expected B = 2 as the first score map, got 3"),
        ("E", "E", r"real: expected \(B, \.\.\.\) without an empty axis, got \(2, 0\)"),
        ("S", "S", r"real: expected \(B, \.\.\.\) without an empty axis, got \(\)"),
    ],
)
def test_structures_that_do_not_fit_name_the_position(real: Any, fake: Any, message: str) -> None:
    shapes = {"A": (2, 4), "B": (2, 3), "C": (3, 4), "E": (2, 0), "S": ()}

    def tensors(x: Any) -> Any:
        return torch.zeros(shapes[x]) if isinstance(x, str) else [tensors(entry) for entry in x]

    with pytest.raises(ValueError, match=message):
        relativistic_lsgan_loss(tensors(real), tensors(fake), "generator")


def test_wrong_types_and_options_name_the_argument() -> None:
    x = torch.zeros(2, 4)
    with pytest.raises(TypeError, match="fake: expected a tensor or a list, got ndarray"):
        relativistic_lsgan_loss(x, np.zeros((2, 4)), "generator")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"real\[1\]: expected a tensor or a list, got float"):
        relativistic_lsgan_loss([x, 0.5], [x, x], "generator")  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"real\[1\]: expected a tensor or a list, got float"):
        relativistic_lsgan_loss([[x], 0.5], [[x], [x]], "generator")  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"fake\[0\]: expected a floating-point dtype"):
        relativistic_lsgan_loss([x], [x.long()], "generator")
    with pytest.raises(ValueError, match="side: expected one of 'discriminator', 'generator', got 'critic'"):
        relativistic_lsgan_loss(x, x, "critic")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0], ValueError, "scale_weights: expected 2 for discriminator 0, one per scale, got 1"),
        ([], ValueError, r"scale_weights: expected at least one for each discriminator, got \[\]"),
        ([1.0, 1.0], ValueError, "scale_weights: expected 3 for discriminator 1, one per scale, got 2"),
        ([[1.0, 1.0, 1.0]] * 2, ValueError, "scale_weights: expected 2 for discriminator 0, one per scale, got 3"),
        ([[1.0, 1.0]], ValueError, "scale_weights: expected one sequence per discriminator = 2, got 1"),
        ([[1.0, 1.0], [1.0]], ValueError, "scale_weights: expected 3 for discriminator 1, one per scale, got 1"),
        ([[1.0, 1.0], [1.0, 0.0, 1.0]], ValueError, "scale_weights: expected a number in"),
        ([[1.0, -1.0], [1.0, 1.0, 1.0]], ValueError, "scale_weights: expected a number in"),
        ([1.0, [1.0]], TypeError, "scale_weights: expected a number, got list"),
        (2.0, TypeError, "scale_weights: expected a sequence of numbers, got float"),
    ],
)
def test_weights_that_do_not_fit_are_named(weights: Any, error: type[Exception], message: str) -> None:
    x = torch.zeros(1, 4)
    maps = [[x, x], [x, x, x]]
    with pytest.raises(error, match=message):
        relativistic_lsgan_loss(maps, maps, "generator", scale_weights=weights)


def test_the_module_passes_its_reduction_on() -> None:
    real, fake = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    value = RelativisticLSGANLoss(reduction="none")(real, fake, "generator")
    assert torch.equal(value, relativistic_lsgan_loss(real, fake, "generator", reduction="none"))
