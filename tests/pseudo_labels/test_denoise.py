from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from morn_losses.label_spaces import CITYSCAPES, LabelSpace
from morn_losses.pseudo_labels.denoise import SemanticDenoiser, denoise_labels

RULES = ((4, (2, 7)), (2, (4,)), (5, (7, 9)), (7, (5, 4)))


def by_loops(labels: np.ndarray, image: np.ndarray, rules: Sequence[tuple[int, Sequence[int]]]) -> np.ndarray:
    """Eq. 5-7 for one sample in order of the rules, pixel by pixel."""
    H, W = labels.shape
    labels, image = labels.copy(), image.astype(np.float64)

    def mean(class_id: int) -> list[float] | None:
        pixels = [image[:, i, j] for i in range(H) for j in range(W) if labels[i, j] == class_id]
        return [sum(p[c] for p in pixels) / len(pixels) for c in range(image.shape[0])] if pixels else None

    means = {class_id: mean(class_id) for class_id in range(20)}

    def distance(i: int, j: int, class_id: int) -> float:
        return sum((float(image[c, i, j]) - means[class_id][c]) ** 2 for c in range(image.shape[0]))

    for label, confusions in rules:
        drop = []
        for i in range(H):
            for j in range(W):
                if labels[i, j] != label:
                    continue
                rivals = [other for other in confusions if means[other] is not None]
                if any(distance(i, j, label) - distance(i, j, other) > 0 for other in rivals):
                    drop.append((i, j))
        for i, j in drop:
            labels[i, j] = 255
        retaken = mean(label)
        means[label] = means[label] if retaken is None else retaken
    return labels


def random_case(channels: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    labels = torch.tensor([2, 4, 5, 7, 9, 11, 255])[torch.randint(7, (6, 9, 8))]
    colors = torch.rand(256, channels, dtype=dtype)
    image = colors[labels].permute(0, 3, 1, 2) + 0.5 * torch.randn(6, channels, 9, 8, dtype=dtype)
    labels[4][labels[4] == 7] = 11  # a confusion class is absent
    labels[5][labels[5] == 4] = 11  # the first rule's class is absent
    return labels, image


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_equation_written_with_loops(channels: int) -> None:
    labels, image = random_case(channels)
    expected = torch.stack(
        [torch.from_numpy(by_loops(y.numpy(), x.numpy(), RULES)) for y, x in zip(labels, image, strict=True)]
    )
    value = denoise_labels(labels, image, RULES)
    assert torch.equal(value, expected)
    assert value.dtype == torch.int64
    for class_id in (2, 4, 5, 7):
        removed = (labels == class_id) & (value == 255)
        assert 0 < int(removed.sum()) < int((labels == class_id).sum())
    assert torch.equal(value[labels == 9], labels[labels == 9])


def test_value_by_hand() -> None:
    # means 0.3 of class 1 and 0.8 of class 2: the middle is 0.55
    image = torch.tensor([0.0, 0.2, 0.7, 0.9, 0.7], dtype=torch.float64).view(1, 1, 1, 5)
    labels = torch.tensor([[[1, 1, 1, 2, 2]]])
    assert denoise_labels(labels, image, [(1, (2,))]).tolist() == [[[1, 1, 255, 2, 2]]]
    assert denoise_labels(labels, image, [(2, (1,))]).tolist() == [[[1, 1, 1, 2, 2]]]


def test_a_pixel_as_near_to_both_means_stays() -> None:
    # means 1 and 3, a pixel of class 1 at 2
    image = torch.tensor([0.0, 2.0, 1.0, 3.0]).view(1, 1, 1, 4)
    labels = torch.tensor([[[1, 1, 1, 2]]])
    assert torch.equal(denoise_labels(labels, image, [(1, (2,))]), labels)
    # nor does a class without any contrast lose a pixel
    flat = torch.ones(1, 3, 1, 4)
    assert torch.equal(denoise_labels(labels, flat, [(1, (2,)), (2, (1,))]), labels)


def test_one_confusion_class_is_enough() -> None:
    image = torch.tensor([0.0, 0.0, 0.9, 1.0, 9.0]).view(1, 1, 1, 5)
    labels = torch.tensor([[[1, 1, 1, 2, 3]]])
    for confusions in ((2, 3), (3, 2), (2,)):
        assert denoise_labels(labels, image, [(1, confusions)]).tolist() == [[[1, 1, 255, 2, 3]]]
    assert torch.equal(denoise_labels(labels, image, [(1, (3,))]), labels)


def test_distances_are_summed_over_the_channels() -> None:
    # class 1 at the origin, class 2 at (4, 4, 0); the pixel is nearer to 2 in the first channel alone
    image = torch.zeros(1, 3, 1, 8)
    image[0, :, 0, 7] = torch.tensor([4.0, 4.0, 0.0])
    image[0, :, 0, 6] = torch.tensor([4.0, 0.0, -2.0])
    labels = torch.tensor([[[1, 1, 1, 1, 1, 1, 1, 2]]])
    assert torch.equal(denoise_labels(labels, image, [(1, (2,))]), labels)
    assert denoise_labels(labels, image[:, :1], [(1, (2,))])[0, 0, 6] == 255


def test_later_rules_use_the_retaken_mean() -> None:
    # class 1 holds 0, 0 and 10, its mean 10/3 becomes 0; class 2 holds 6, 10, 10, its mean is 26/3
    image = torch.tensor([0.0, 0, 10, 6, 10, 10]).view(1, 1, 1, 6)
    labels = torch.tensor([[[1, 1, 1, 2, 2, 2]]])
    kept = [1, 1, 255, 2, 2, 2]
    assert denoise_labels(labels, image, [(1, (2,)), (2, (1,))]).tolist() == [[kept]]
    # in the other order the pixel at 6 is 8/3 from its own mean and from 10/3, that of class 1; at 5.9 it goes
    image[..., 3] = 5.9
    assert denoise_labels(labels, image, [(2, (1,)), (1, (2,))]).tolist() == [[[1, 1, 255, 255, 2, 2]]]
    assert denoise_labels(labels, image, [(1, (2,)), (2, (1,))]).tolist() == [[kept]]


def test_a_class_of_which_nothing_is_left_keeps_its_mean() -> None:
    # both pixels of class 1 are nearer to a class on their side than to their mean, 5
    image = torch.tensor([0.0, 10.0, 0.0, 10.0, 5.0, 6.0, 9.0, 9.0]).view(1, 1, 1, 8)
    labels = torch.tensor([[[1, 1, 2, 3, 4, 4, 4, 4]]])
    # class 4 has mean 7.25; 5 and 6 are nearer to the kept mean of class 1
    value = denoise_labels(labels, image, [(1, (2, 3)), (4, (1,))])
    assert value.tolist() == [[[255, 255, 2, 3, 255, 255, 4, 4]]]


def test_a_rule_may_come_twice_and_goes_on_from_the_first() -> None:
    # mean of class 1: 4, without 12 it is 4/3, with which 4 is nearer to 6 as well
    image = torch.tensor([0.0, 0.0, 4.0, 12.0, 6.0]).view(1, 1, 1, 5)
    labels = torch.tensor([[[1, 1, 1, 1, 2]]])
    assert denoise_labels(labels, image, [(1, (2,))]).tolist() == [[[1, 1, 1, 255, 2]]]
    assert denoise_labels(labels, image, [(1, (2,)), (1, (2,))]).tolist() == [[[1, 1, 255, 255, 2]]]


def test_an_absent_confusion_class_is_skipped() -> None:
    # an absent class has no mean; were it 0, the first pixel would be nearer to it
    image = torch.tensor([0.1, 0.9, 0.9]).view(1, 1, 1, 3)
    labels = torch.tensor([[[1, 1, 1]]])
    assert torch.equal(denoise_labels(labels, image, [(1, (2,))]), labels)
    assert torch.equal(denoise_labels(labels, image, [(2, (1,))]), labels)


def test_presence_is_a_matter_of_each_sample() -> None:
    image = torch.tensor([[0.1, 0.9, 0.9, 0.0], [0.1, 0.9, 0.9, 0.0]]).view(2, 1, 1, 4)
    labels = torch.tensor([[[1, 1, 1, 2]], [[1, 1, 1, 3]]])
    assert denoise_labels(labels, image, [(1, (2,))]).tolist() == [[[255, 1, 1, 2]], [[1, 1, 1, 3]]]


def test_batch_equals_one_by_one() -> None:
    labels, image = random_case(3)
    whole = denoise_labels(labels, image, RULES)
    for b in range(len(labels)):
        assert torch.equal(denoise_labels(labels[b : b + 1], image[b : b + 1], RULES)[0], whole[b])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_pixels_of_classes_in_no_rule_do_not_leak(bad: float) -> None:
    labels, image = random_case(3)
    clean = denoise_labels(labels, image, RULES)
    outside = (labels == 11) | (labels == 255)
    image = torch.where(outside[:, None], bad, image)
    assert torch.equal(denoise_labels(labels, image, RULES), clean)


def test_the_input_is_left_alone_and_no_graph_is_built() -> None:
    labels, image = random_case(3)
    before = labels.clone()
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        value = denoise_labels(labels, image.requires_grad_(), RULES)
    assert not saved
    assert torch.equal(labels, before)
    assert not value.requires_grad
    assert torch.is_grad_enabled()
    unchanged = denoise_labels(labels, image, ())
    assert torch.equal(unchanged, labels)
    assert unchanged.data_ptr() != labels.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    labels, image = random_case(3, torch.float32)
    half = image.to(dtype)
    assert torch.equal(denoise_labels(labels, half, RULES), denoise_labels(labels, half.float(), RULES))
    # 5000 pixels of 100 overflow a sum in float16
    labels = torch.ones(1, 50, 101, dtype=torch.long)
    labels[:, :, 100] = 2
    image = torch.full((1, 1, 50, 101), 100.0)
    image[..., 100] = 300.0
    image[:, :, 0, 0] = 290.0
    expected = denoise_labels(labels, image, [(1, (2,))])
    assert (expected == 255).sum() == 1
    assert torch.equal(denoise_labels(labels, image.to(dtype), [(1, (2,))]), expected)


def test_memory_layout_does_not_matter() -> None:
    labels, image = random_case(3)
    expected = denoise_labels(labels, image, RULES)
    assert torch.equal(denoise_labels(labels, image.contiguous(memory_format=torch.channels_last), RULES), expected)
    turned = labels.mT.contiguous().mT, image.mT.contiguous().mT
    assert not turned[0].is_contiguous()
    assert torch.equal(denoise_labels(*turned, RULES), expected)


def test_compiles_as_one_graph() -> None:
    torch.compiler.reset()
    labels, image = random_case(3, torch.float32)
    compiled = torch.compile(functools.partial(denoise_labels, rules=RULES), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(labels, image), denoise_labels(labels, image, RULES))


def test_another_ignore_index() -> None:
    labels, image = random_case(3)
    expected = denoise_labels(labels, image, RULES)
    labels = torch.where(labels == 255, -1, labels)
    value = denoise_labels(labels, image, RULES, ignore_index=-1)
    assert torch.equal(value, torch.where(expected == 255, -1, expected))
    assert torch.equal(SemanticDenoiser(RULES, ignore_index=-1)(labels, image), value)


def test_module_equals_function() -> None:
    labels, image = random_case(3)
    module = SemanticDenoiser([[c, list(others)] for c, others in RULES])
    assert torch.equal(module(labels, image), denoise_labels(labels, image, RULES))
    assert module.rules == RULES
    assert module.ignore_index == 255
    assert not module.state_dict()
    assert not list(module.parameters())
    assert repr(module) == f"SemanticDenoiser(rules={RULES}, ignore_index=255)"


def test_visible_rules_are_those_of_the_paper() -> None:
    tree, pole, sky = 8, 5, 10
    rules = SemanticDenoiser.visible(CITYSCAPES).rules
    assert rules[:2] == ((tree, (sky,)), (pole, (sky,)))
    assert rules[2][0] == sky
    assert set(rules[2][1]) == {tree, pole}
    assert len(rules) == 3


def test_thermal_rules_are_those_of_the_paper() -> None:
    tree, pole, sky, person = 8, 5, 10, 11
    rules = SemanticDenoiser.thermal(CITYSCAPES).rules
    assert [(c, set(others)) for c, others in rules] == [
        (sky, {tree, pole}),
        (pole, {sky}),
        (person, {tree}),
        (tree, {sky, person}),
    ]


def test_presets_look_names_up_in_the_space() -> None:
    names = ("person", "sky", "pole", "vegetation")
    space = LabelSpace(names, small_sample=(0,), foreground=(0,), stuff=(1, 2, 3), ignore_index=-1)
    assert SemanticDenoiser.visible(space).rules == ((3, (1,)), (2, (1,)), (1, (3, 2)))
    assert SemanticDenoiser.thermal(space).rules[2] == (0, (3,))
    assert SemanticDenoiser.visible(space).ignore_index == SemanticDenoiser.thermal(space).ignore_index == -1
    without = LabelSpace(("tree", "sky"), small_sample=(), foreground=(), stuff=())
    with pytest.raises(KeyError, match="vegetation"):
        SemanticDenoiser.visible(without)


def test_errors_name_the_argument() -> None:
    labels, image = torch.zeros(2, 4, 5, dtype=torch.long), torch.rand(2, 3, 4, 5)
    with pytest.raises(TypeError, match="labels: expected an integer dtype, got torch.float32"):
        denoise_labels(labels.float(), image, RULES)
    with pytest.raises(ValueError, match=r"image: expected \(B, C, H, W\) = \(2, 3, 4, 5\), got \(2, 3, 5, 4\)"):
        denoise_labels(labels, image.mT, RULES)
    with pytest.raises(ValueError, match=r"image: expected \(B, C, H, W\) = \(2, 3, 4, 5\), got \(1, 3, 4, 5\)"):
        denoise_labels(labels, image[:1], RULES)
    with pytest.raises(TypeError, match="image: expected a floating-point dtype"):
        denoise_labels(labels, image.long(), RULES)
    with pytest.raises(TypeError, match="rules: .*got 8"):
        denoise_labels(labels, image, (8, (10,)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rules: .*got dict"):
        denoise_labels(labels, image, {8: (10,)})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rules"):
        SemanticDenoiser([(8, 10)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="rules: expected an int"):
        SemanticDenoiser([("sky", (8,))])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="rules: .*one or more confusion classes"):
        SemanticDenoiser([(8, ())])
    with pytest.raises(ValueError, match="rules: .*other than 8"):
        SemanticDenoiser([(8, (10, 8))])
    with pytest.raises(ValueError, match="rules: .*ignore_index"):
        SemanticDenoiser([(8, (255,))])
    with pytest.raises(ValueError, match="rules: .*-1"):
        SemanticDenoiser([(8, (-1,))])
    with pytest.raises(TypeError, match="ignore_index"):
        denoise_labels(labels, image, RULES, ignore_index=255.0)  # type: ignore[arg-type]
