from __future__ import annotations

import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from morn_losses._host import mining as host
from morn_losses.label_spaces import CITYSCAPES, LabelSpace
from morn_losses.pseudo_labels import mine
from morn_losses.pseudo_labels.mine import LabelMiner, fill_unlabeled, mine_labels

THRESHOLDS = (0.6, 0.35, 0.2, 0.45)


def softmax_by_loops(logits: Tensor, b: int, i: int, j: int) -> list[float]:
    exponentials = [math.exp(float(logits[b, c, i, j])) for c in range(logits.shape[1])]
    return [e / sum(exponentials) for e in exponentials]


def mined_by_loops(real: Tensor, translated: Tensor, thresholds: tuple[float, ...]) -> Tensor:
    """Eq. 8, pixel by pixel; of several classes the one with the largest smaller probability."""
    B, K, H, W = real.shape
    labels = torch.full((B, H, W), 255)
    for b in range(B):
        for i in range(H):
            for j in range(W):
                p, q = softmax_by_loops(real, b, i, j), softmax_by_loops(translated, b, i, j)
                smaller = {c: min(p[c], q[c]) for c in range(K) if p[c] >= thresholds[c] and q[c] >= thresholds[c]}
                if smaller:
                    labels[b, i, j] = max(smaller, key=lambda c: smaller[c])
    return labels


def filled_by_loops(labels: Tensor, logits: Tensor, threshold: float) -> Tensor:
    filled = labels.clone()
    B, _, H, W = logits.shape
    for b in range(B):
        for i in range(H):
            for j in range(W):
                p = softmax_by_loops(logits, b, i, j)
                if int(labels[b, i, j]) == 255 and max(p) > threshold:
                    filled[b, i, j] = p.index(max(p))
    return filled


def agreeing_logits(batch: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    common = 1.5 * torch.randn(batch, 4, 9, 8, dtype=dtype)
    return common + torch.randn_like(common), common + torch.randn_like(common)


def test_mining_equals_the_equation_written_with_loops() -> None:
    real, translated = agreeing_logits()
    expected = mined_by_loops(real, translated, THRESHOLDS)
    value = mine_labels(real, translated, THRESHOLDS)
    assert torch.equal(value, expected)
    assert value.dtype == torch.int64
    assert set(value.unique().tolist()) == {0, 1, 2, 3, 255}
    assert torch.equal(mine_labels(real, translated, torch.tensor(THRESHOLDS)), expected)
    assert torch.equal(mine_labels(real.softmax(1), translated.softmax(1), THRESHOLDS, from_logits=False), expected)
    high = mined_by_loops(real, translated, (0.55,) * 4)
    for thresholds in (0.55, (0.55,) * 4, torch.full((4,), 0.55)):
        assert torch.equal(mine_labels(real, translated, thresholds), high)


def mined_class_by_class(real: Tensor, translated: Tensor, thresholds: tuple[float, ...]) -> Tensor:
    """The same of probabilities, for one class after another: exactly what the thresholds and ties say."""
    best, labels = torch.full_like(real[:, 0], -1), torch.full(real[:, 0].shape, 255)
    for c, threshold in enumerate(thresholds):
        smaller = torch.minimum(real[:, c], translated[:, c])
        better = (smaller >= threshold) & (smaller > best)
        best, labels = torch.where(better, smaller, best), torch.where(better, c, labels)
    return labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mining_equals_a_loop_over_the_classes_to_the_last_bit(dtype: torch.dtype) -> None:
    real = (3 * torch.randn(2, 19, 32, 32, dtype=dtype)).round()  # whole numbers: many ties
    translated = real + torch.randint(-1, 2, real.shape)
    p, q = real.softmax(1), translated.softmax(1)
    # thresholds that some probabilities equal, and zeros, which every class reaches
    for thresholds in (p[0, :, 3, 4], p[1, :, 8, 9] / 4, torch.zeros(19, dtype=dtype)):
        expected = mined_class_by_class(p, q, tuple(thresholds.tolist()))
        assert torch.equal(mine_labels(real, translated, thresholds), expected)
        assert torch.equal(mine_labels(p, q, tuple(thresholds.tolist()), from_logits=False), expected)


def test_probabilities_that_are_nan_or_below_zero_qualify_for_nothing_and_stay() -> None:
    good = [0.6, 0.4]
    real, fake = (
        of_classes([math.nan, 0.7], [0.7, math.nan], [-math.inf, 0.0], [-1.0, 0.0], good),
        of_classes(*[good] * 5),
    )
    before = real.clone(), fake.clone()
    for given in ((real, fake), (fake, real)):
        assert mine_labels(*given, (0.5, 0.0), from_logits=False).tolist() == [[[1, 0, 1, 1, 0]]]
    assert torch.equal(real.nan_to_num(9), before[0].nan_to_num(9))
    assert torch.equal(fake, before[1])


def test_two_precisions_are_compared_in_the_higher_one() -> None:
    exact = of_classes([0.7, 0.3])
    # the nearest float32 to 0.7 is below it
    assert mine_labels(exact, exact, 0.7, from_logits=False).item() == 0
    for given in ((exact.float(), exact), (exact, exact.float())):
        assert mine_labels(*given, 0.7, from_logits=False).item() == 255


def of_classes(*probabilities: list[float]) -> Tensor:
    """One pixel for each list."""
    return torch.tensor(probabilities, dtype=torch.float64).T[None, :, None, :]


def test_mining_by_hand() -> None:
    real = of_classes([0.95, 0.05], [0.95, 0.05], [0.94, 0.06], [0.01, 0.99], [0.02, 0.98], [0.99, 0.01])
    fake = of_classes([0.96, 0.04], [0.94, 0.06], [0.97, 0.03], [0.01, 0.99], [0.01, 0.99], [0.01, 0.99])
    value = mine_labels(real, fake, (0.95, 0.99), from_logits=False)
    # reached exactly, missed by either, reached exactly by the second class, missed there, no agreement
    assert value.tolist() == [[[0, 255, 255, 1, 255, 255]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_threshold_is_reached_by_an_equal_probability(dtype: torch.dtype) -> None:
    for threshold in (0.95, 0.99):
        exact = torch.tensor([threshold, 1 - threshold], dtype=dtype).view(1, 2, 1, 1)
        for given in (threshold, (threshold, 1.0), torch.tensor((threshold, 1.0), dtype=torch.float64)):
            assert mine_labels(exact, exact, given, from_logits=False).item() == 0
        below = torch.nextafter(exact, torch.zeros_like(exact))
        assert mine_labels(exact, below, (threshold, 1.0), from_logits=False).item() == 255
        assert mine_labels(below, exact, (threshold, 1.0), from_logits=False).item() == 255
        assert LabelMiner((threshold, 1.0), from_logits=False)(exact, exact).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_threshold_is_reached_by_logits_whose_probability_equals_it(dtype: torch.dtype) -> None:
    """Eq. 8: at least the threshold."""
    logits = torch.tensor([3.0, 0.25, -1.0], dtype=dtype).view(1, 3, 1, 1)
    exact = logits.softmax(1)[0, 0].item()
    above = (
        math.nextafter(exact, 1) if dtype == torch.float64 else float(np.nextafter(np.float32(exact), np.float32(1)))
    )
    assert exact > 0.5
    for function in (mine_labels, lambda *given: LabelMiner(given[2])(*given[:2])):
        for thresholds in (exact, (exact, 1.0, 1.0), torch.tensor((exact, 1.0, 1.0), dtype=dtype)):
            assert function(logits, logits, thresholds).item() == 0
        for thresholds in (above, (above, 1.0, 1.0), torch.tensor((above, 1.0, 1.0), dtype=dtype)):
            assert function(logits, logits, thresholds).item() == 255
    half = torch.zeros(1, 2, 1, 1, dtype=dtype)
    assert mine_labels(half, half, 0.5).item() == 0
    assert mine_labels(half, half, math.nextafter(0.5, 1) if dtype == torch.float64 else 0.5000001).item() == 255
    # what filling has to exceed is the same number
    unlabeled = torch.full((1, 1, 1), 255)
    assert fill_unlabeled(unlabeled, logits, exact).item() == 255
    assert fill_unlabeled(unlabeled, logits, exact - 1e-6).item() == 0


def test_of_several_classes_the_largest_smaller_probability_wins() -> None:
    real = of_classes([0.5, 0.3, 0.2], [0.2, 0.5, 0.3])
    fake = of_classes([0.2, 0.3, 0.5], [0.3, 0.35, 0.35])
    # smaller ones: 0.2, 0.3, 0.2 and 0.2, 0.35, 0.3
    assert mine_labels(real, fake, 0.1, from_logits=False).tolist() == [[[1, 1]]]
    # a class that does not qualify does not win
    assert mine_labels(real, fake, (0.1, 0.4, 0.1), from_logits=False)[0, 0, 1].item() == 2
    assert mine_labels(real, fake, (0.1, 0.4, 0.4), from_logits=False).tolist() == [[[0, 0]]]


def test_the_extreme_thresholds() -> None:
    certain = of_classes([1.0, 0.0], [0.0, 1.0])
    assert mine_labels(certain, certain, 1.0, from_logits=False).tolist() == [[[0, 1]]]
    assert mine_labels(certain, certain.flip(-1), 0.0, from_logits=False).max().item() < 2  # every class qualifies


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_a_pixel_whose_logits_are_not_finite_is_unlabeled_alone(bad: float, which: int) -> None:
    logits = agreeing_logits()
    expected = mine_labels(*logits, 0.3)
    expected[1, 2, 3] = 255
    logits[which][1, 2, 2, 3] = bad
    assert torch.equal(mine_labels(*logits, 0.3), expected)
    assert torch.equal(mine_labels(*logits, 0.0)[1, 2, 3], torch.tensor(255))


def test_filling_equals_the_rule_written_with_loops() -> None:
    logits, _ = agreeing_logits()
    labels = torch.tensor([0, 3, 255, 255, 255])[torch.randint(5, (3, 9, 8))]
    expected = filled_by_loops(labels, logits, 0.6)
    value = fill_unlabeled(labels, logits, 0.6)
    assert torch.equal(value, expected)
    assert (value == 255).any()
    assert (value != labels).any()
    assert torch.equal(fill_unlabeled(labels, logits.softmax(1), 0.6, from_logits=False), expected)
    assert torch.equal(fill_unlabeled(labels, logits), filled_by_loops(labels, logits, 0.95))
    assert torch.equal(labels[labels != 255], value[labels != 255])


def test_filling_has_to_exceed_the_threshold() -> None:
    """Section 3.3.4: by hand."""
    labels = torch.tensor([[[255, 255, 0, 1]]])
    probabilities = of_classes([0.05, 0.95], [0.04, 0.96], [0.0, 1.0], [1.0, 0.0])
    assert fill_unlabeled(labels, probabilities, from_logits=False).tolist() == [[[255, 1, 0, 1]]]


def test_a_nan_is_not_filled_in() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1] = 50
    logits[0, 0, 0, 0] = math.nan
    assert fill_unlabeled(torch.full((1, 1, 2), 255), logits).tolist() == [[[255, 1]]]


def test_unknown_ids_are_refused_in_eager_mode_and_count_as_unlabeled_when_compiled() -> None:
    torch.compiler.reset()
    logits = torch.zeros(1, 3, 1, 5)
    logits[0, 1, 0, :4] = 50
    labels = torch.tensor([[[2, 3, -4, 255, 7]]])
    with pytest.raises(ValueError, match=r"labels: expected class ids in \[0, 3\) or 255, got \[-4, 3, 7\]"):
        fill_unlabeled(labels, logits)
    compiled = torch.compile(fill_unlabeled, fullgraph=True, backend="aot_eager")
    assert compiled(labels, logits).tolist() == [[[2, 1, 1, 1, 255]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_softmax_of_half_precision_is_in_float32(dtype: torch.dtype) -> None:
    real, translated = (x.to(dtype) for x in agreeing_logits(dtype=torch.float32))
    labels = torch.full((3, 9, 8), 255)
    expected = mine_labels(real.float(), translated.float(), THRESHOLDS)
    assert torch.equal(mine_labels(real, translated, THRESHOLDS), expected)
    filled = fill_unlabeled(labels, real.float(), 0.6)
    assert torch.equal(fill_unlabeled(labels, real, 0.6), filled)
    # half precision could not tell the probability from thresholds this near
    logits = torch.tensor([3.0, 0.0], dtype=dtype).view(1, 2, 1, 1)
    exact = math.exp(3) / (math.exp(3) + 1)
    assert mine_labels(logits, logits, exact + 1e-5).item() == 255
    assert mine_labels(logits, logits, exact - 1e-5).item() == 0
    assert fill_unlabeled(torch.full((1, 1, 1), 255), logits, exact + 1e-5).item() == 255
    assert fill_unlabeled(torch.full((1, 1, 1), 255), logits, exact - 1e-5).item() == 0


def test_autocast_does_not_change_the_labels() -> None:
    real, translated = agreeing_logits(dtype=torch.float32)
    expected = mine_labels(real, translated, THRESHOLDS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mine_labels(real, translated, THRESHOLDS), expected)


def test_batch_layout_and_compilation_do_not_matter() -> None:
    real, translated = agreeing_logits(dtype=torch.float32)
    mine = functools.partial(mine_labels, thresholds=THRESHOLDS)
    whole = mine(real, translated)
    for b in range(3):
        assert torch.equal(mine(real[b : b + 1], translated[b : b + 1])[0], whole[b])
    assert torch.equal(mine(real.contiguous(memory_format=torch.channels_last), translated.mT.contiguous().mT), whole)
    torch.compiler.reset()
    for thresholds in (THRESHOLDS, torch.tensor(THRESHOLDS), 0.5):
        given = functools.partial(mine_labels, thresholds=thresholds)
        compiled = torch.compile(given, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(real, translated), given(real, translated))
    labels = torch.full((3, 9, 8), 255)
    filled = fill_unlabeled(labels, real, 0.6)
    turned = labels.mT.contiguous().mT, real.mT.contiguous().mT
    assert torch.equal(fill_unlabeled(*turned, 0.6), filled)
    for b in range(3):
        assert torch.equal(fill_unlabeled(labels[b : b + 1], real[b : b + 1], 0.6)[0], filled[b])


def test_no_graph_is_built_and_the_input_is_left_alone() -> None:
    real, translated = agreeing_logits()
    real.requires_grad_()
    labels = torch.full((3, 9, 8), 255)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        assert not mine_labels(real, translated, 0.5).requires_grad
        assert not fill_unlabeled(labels, real, 0.1).requires_grad
    assert not saved
    assert (labels == 255).all()
    assert torch.is_grad_enabled()


def test_the_space_gives_its_foreground_the_lower_threshold() -> None:
    """Eq. 9: which classes have which threshold."""
    miner = LabelMiner.from_label_space(CITYSCAPES)
    foreground = {"building", "traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "train"}
    foreground |= {"motorcycle", "bicycle"}
    assert miner.thresholds == tuple(0.95 if name in foreground else 0.99 for name in CITYSCAPES.names)
    space = LabelSpace(("a", "b", "c"), small_sample=(), foreground=(1,), stuff=(), ignore_index=-1)
    miner = LabelMiner.from_label_space(space, 0.7, background=0.8)
    assert miner.thresholds == (0.8, 0.7, 0.8)
    assert miner.ignore_index == -1
    probabilities = of_classes([0.75, 0.1, 0.15], [0.1, 0.75, 0.15])
    assert miner(probabilities.log(), probabilities.log()).tolist() == [[[-1, 1]]]


def test_module_equals_function() -> None:
    real, translated = agreeing_logits()
    expected = mine_labels(real, translated, THRESHOLDS)
    for given in (THRESHOLDS, list(THRESHOLDS), torch.tensor(THRESHOLDS)):
        module = LabelMiner(given)
        assert torch.equal(module(real, translated), expected)
        assert not module.state_dict()
        assert not list(module.parameters())
    assert torch.equal(LabelMiner(0.5)(real, translated), mine_labels(real, translated, 0.5))
    probable = LabelMiner(THRESHOLDS, from_logits=False, ignore_index=77)
    value = probable(real.softmax(1), translated.softmax(1))
    assert torch.equal(value, torch.where(expected == 255, 77, expected))
    assert repr(LabelMiner(0.5)) == "LabelMiner(thresholds=0.5, from_logits=True, ignore_index=255)"


def test_a_cast_of_the_model_does_not_round_the_thresholds() -> None:
    exact = torch.tensor([0.99, 0.01]).view(1, 2, 1, 1)
    below = torch.tensor([0.9895, 0.0105]).view(1, 2, 1, 1)
    miner = copy.deepcopy(LabelMiner((0.99, 1.0), from_logits=False)).bfloat16()
    assert miner(exact, exact).item() == 0
    assert miner(below, exact).item() == 255


def test_errors_name_the_argument() -> None:
    logits = torch.rand(2, 4, 5, 6)
    labels = torch.zeros(2, 5, 6, dtype=torch.long)
    with pytest.raises(ValueError, match=r"logits_translated: expected the shape of logits_real = \(2, 4, 5, 6\)"):
        mine_labels(logits, logits[:1], 0.5)
    with pytest.raises(TypeError, match="logits_real: expected a floating-point dtype"):
        mine_labels(logits.long(), logits, 0.5)
    with pytest.raises(ValueError, match=r"logits_translated: expected \(B, C, H, W\)"):
        mine_labels(logits, logits[0], 0.5)
    with pytest.raises(ValueError, match="thresholds: expected one number or K = 4 of them, got 3"):
        mine_labels(logits, logits, (0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"thresholds: expected \(K,\) = \(4,\), got \(5,\)"):
        mine_labels(logits, logits, torch.rand(5))
    with pytest.raises(ValueError, match=r"thresholds: expected a number in \[0, 1\]"):
        LabelMiner(1.5)
    with pytest.raises(ValueError, match=r"thresholds: expected a number in \[0, 1\]"):
        LabelMiner(torch.tensor([0.5, -0.5]))
    with pytest.raises(TypeError, match="thresholds"):
        LabelMiner("0.95")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="thresholds: expected a floating-point dtype"):
        mine_labels(logits, logits, torch.ones(4, dtype=torch.long))
    with pytest.raises(TypeError, match="from_logits"):
        mine_labels(logits, logits, 0.5, from_logits=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ignore_index: expected an id that none of the K = 4 classes has, got 3"):
        mine_labels(logits, logits, 0.5, ignore_index=3)
    with pytest.raises(ValueError, match="ignore_index: .*got 0"):
        fill_unlabeled(labels, logits, ignore_index=0)
    with pytest.raises(ValueError, match=r"labels: expected \(B, H, W\) = \(2, 5, 6\), got \(1, 5, 6\)"):
        fill_unlabeled(labels[:1], logits)
    with pytest.raises(TypeError, match="labels: expected an integer dtype, got torch.float32"):
        fill_unlabeled(labels.float(), logits)
    with pytest.raises(ValueError, match="threshold"):
        fill_unlabeled(labels, logits, 1.01)
    with pytest.raises(TypeError, match="from_logits"):
        fill_unlabeled(labels, logits, from_logits=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [0.6, 0.3, 0.0])
def test_the_kernel_is_the_equation(levels: float) -> None:
    real, translated = (x.softmax(1) for x in agreeing_logits())
    real[0, :, 0, 0] = math.nan
    real[0, :, 0, 1] = translated[0, :, 0, 1] = 0.25  # a tie
    for given in (levels, torch.tensor([levels, 0.9, 0.5, 0.2], dtype=torch.float64)[:, None, None]):
        expected = mine._surest(real, translated, given, 255)
        assert expected.unique().numel() > 2
        for softmaxed in (True, False):
            assert torch.equal(host.surest(real.clone(), translated.clone(), given, 255, softmaxed=softmaxed), expected)
    before = real.clone(), translated.clone()
    host.surest(real, translated, levels, 255, softmaxed=False)
    assert torch.equal(real.nan_to_num(9), before[0].nan_to_num(9))
    assert torch.equal(translated, before[1])


def test_the_kernel_is_what_eager_mode_on_the_cpu_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    real, translated = agreeing_logits()
    expected = mine_labels(real, translated, 0.5)
    one_by_one = torch.func.vmap(lambda a, b: mine_labels(a[None], b[None], 0.5)[0])(real, translated)
    assert torch.equal(one_by_one, expected)
    monkeypatch.setattr(host, "surest", lambda real, *_, softmaxed: real.new_full((1,), 7 if softmaxed else 8))
    assert mine_labels(real, translated, 0.5).item() == 7
    assert mine_labels(real, translated, 0.5, from_logits=False).item() == 8
