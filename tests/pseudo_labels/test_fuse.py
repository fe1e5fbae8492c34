from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from morn_losses.label_spaces import CITYSCAPES, LabelSpace
from morn_losses.pseudo_labels.fuse import LabelFusion, fuse_labels

AGREE = (3, 1, 6)
ALIASES = {2: 1, 5: 2}
OVERRIDES = {(3, 4): 4, (0, 6): 5, (255, 3): 3}


def by_loops(
    primary: Tensor,
    secondary: Tensor,
    agree: tuple[int, ...],
    aliases: dict[int, int],
    overrides: dict[tuple[int, int], int],
    alias_secondary: bool = True,
) -> Tensor:
    """The rule of section 3.3.2, pixel by pixel."""
    fused = torch.empty_like(primary)
    for b, i, j in ((b, i, j) for b in range(len(fused)) for i in range(fused.shape[1]) for j in range(fused.shape[2])):
        p, s = int(primary[b, i, j]), int(secondary[b, i, j])
        p, s = aliases.get(p, p), aliases.get(s, s) if alias_secondary else s
        if (p, s) in overrides:
            fused[b, i, j] = overrides[p, s]
        elif p in agree and p != s:
            fused[b, i, j] = 255
        else:
            fused[b, i, j] = p
    return fused


def maps(batch: int = 3) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6, 255])
    return ids[torch.randint(8, (batch, 12, 11))], ids[torch.randint(8, (batch, 12, 11))]


def test_equals_the_rule_written_with_loops() -> None:
    primary, secondary = maps()
    for aliases, overrides in (({}, {}), (ALIASES, {}), ({}, OVERRIDES), (ALIASES, OVERRIDES)):
        expected = by_loops(primary, secondary, AGREE, aliases, overrides)
        value = fuse_labels(primary, secondary, AGREE, aliases=aliases, overrides=overrides)
        assert torch.equal(value, expected)
        assert value.dtype == torch.int64
    assert torch.equal(fuse_labels(primary, secondary, AGREE), by_loops(primary, secondary, AGREE, {}, {}))


def test_the_second_map_may_keep_its_ids() -> None:
    primary, secondary = maps()
    options = {"aliases": ALIASES, "overrides": OVERRIDES, "alias_secondary": False}
    expected = by_loops(primary, secondary, AGREE, ALIASES, OVERRIDES, alias_secondary=False)
    assert not torch.equal(expected, by_loops(primary, secondary, AGREE, ALIASES, OVERRIDES))
    assert torch.equal(fuse_labels(primary, secondary, AGREE, **options), expected)
    assert torch.equal(LabelFusion(AGREE, **options)(primary, secondary), expected)
    # a rider of the second map is no person then
    fusion = LabelFusion.visible(CITYSCAPES, published=True, alias_secondary=False)
    riders = torch.tensor([[[11, 12, 12]]])
    assert fusion(riders, torch.tensor([[[12, 12, 11]]])).tolist() == [[[255, 255, 11]]]


def test_only_the_classes_in_agree_need_the_second_map() -> None:
    primary = torch.tensor([[[0, 1, 1, 255, 1]]])
    secondary = torch.tensor([[[1, 1, 0, 1, 255]]])
    assert fuse_labels(primary, secondary, (1,)).tolist() == [[[0, 1, 255, 255, 255]]]
    assert fuse_labels(primary, secondary, ()).tolist() == primary.tolist()


def test_aliases_are_applied_once_to_both_maps() -> None:
    primary = torch.tensor([[[1, 2, 5, 1, 2]]])
    secondary = torch.tensor([[[2, 1, 5, 5, 2]]])
    # 5 becomes 2 and does not go on to 1
    assert fuse_labels(primary, secondary, (1, 2), aliases={5: 2, 2: 1}).tolist() == [[[1, 1, 2, 255, 1]]]
    assert fuse_labels(primary, secondary, (1, 2), aliases={2: 1, 5: 2}).tolist() == [[[1, 1, 2, 255, 1]]]
    # two classes may change places
    assert fuse_labels(primary, primary, (1,), aliases={1: 2, 2: 1}).tolist() == [[[2, 1, 5, 2, 1]]]


def test_overrides_speak_of_ids_after_aliases_and_go_before_agree() -> None:
    primary = torch.tensor([[[3, 3, 4]]])
    secondary = torch.tensor([[[4, 7, 3]]])
    value = fuse_labels(primary, secondary, (3,), aliases={7: 4}, overrides={(3, 4): 4})
    assert value.tolist() == [[[4, 4, 4]]]
    assert fuse_labels(primary, secondary, (3,), overrides={(3, 4): 4}).tolist() == [[[4, 255, 4]]]


def test_overrides_may_give_and_take_the_ignore_index() -> None:
    primary, secondary = torch.tensor([[[-1, 0, 1]]]), torch.tensor([[[3, 3, -1]]])
    overrides = {(-1, 3): 3, (0, 3): -1}
    value = fuse_labels(primary, secondary, (1,), overrides=overrides, ignore_index=-1)
    assert value.tolist() == [[[3, -1, -1]]]


def test_visible_fusion_is_that_of_the_paper() -> None:
    building, person, rider, car, truck, road = 2, 11, 12, 13, 14, 0
    primary = torch.tensor([[[building, building, person, person, car, car, rider, truck, road, person, car]]])
    secondary = torch.tensor([[[building, road, person, car, car, truck, person, car, building, rider, 255]]])
    fusion = LabelFusion.visible(CITYSCAPES)
    expected = [building, 255, person, 255, car, 255, rider, truck, road, 255, 255]
    assert fusion(primary, secondary).tolist() == [[expected]]
    assert sorted(fusion.agree) == [building, person, car]
    assert LabelFusion.visible(CITYSCAPES, published=False)(primary, secondary).tolist() == [[expected]]


def test_published_fusion_merges_riders_and_trusts_trucks() -> None:
    building, person, rider, car, truck, road = 2, 11, 12, 13, 14, 0
    primary = torch.tensor([[[building, person, car, rider, rider, truck, person, rider, car]]])
    secondary = torch.tensor([[[road, car, truck, person, road, car, rider, rider, car]]])
    fusion = LabelFusion.visible(CITYSCAPES, published=True)
    expected = [255, 255, truck, person, 255, truck, person, person, car]
    assert fusion(primary, secondary).tolist() == [[expected]]


def test_visible_looks_names_up_in_the_space() -> None:
    names = ("truck", "car", "rider", "person", "building")
    space = LabelSpace(names, small_sample=(), foreground=(), stuff=(), ignore_index=-1)
    fusion = LabelFusion.visible(space, published=True)
    assert set(fusion.agree) == {1, 3, 4}
    assert fusion.aliases == {2: 3}
    assert fusion.overrides == {(1, 0): 0}
    assert fusion.ignore_index == -1
    two = LabelSpace(("person", "car", "building"), small_sample=(), foreground=(), stuff=())
    assert set(LabelFusion.visible(two).agree) == {0, 1, 2}
    with pytest.raises(KeyError, match="rider"):
        LabelFusion.visible(two, published=True)


def test_module_equals_function() -> None:
    primary, secondary = maps()
    module = LabelFusion(AGREE, aliases=ALIASES, overrides=OVERRIDES)
    expected = fuse_labels(primary, secondary, AGREE, aliases=ALIASES, overrides=OVERRIDES)
    assert torch.equal(module(primary, secondary), expected)
    assert torch.equal(LabelFusion({3, 1, 6})(primary, secondary), fuse_labels(primary, secondary, AGREE))
    assert module.ignore_index == 255
    assert not module.state_dict()
    held = f"agree={AGREE}, aliases={ALIASES}, overrides={OVERRIDES}, alias_secondary=True, ignore_index=255"
    assert repr(module) == f"LabelFusion({held})"
    other = LabelFusion(AGREE, ignore_index=77)
    assert torch.equal(other(primary, secondary), fuse_labels(primary, secondary, AGREE, ignore_index=77))


def test_the_input_is_left_alone() -> None:
    primary, secondary = maps()
    before = primary.clone(), secondary.clone()
    value = fuse_labels(primary, secondary, ())
    value.fill_(0)
    fuse_labels(primary, secondary, AGREE, aliases=ALIASES, overrides=OVERRIDES)
    assert torch.equal(primary, before[0])
    assert torch.equal(secondary, before[1])


def test_batch_layout_and_compilation_do_not_matter() -> None:
    primary, secondary = maps()
    function = functools.partial(fuse_labels, agree=AGREE, aliases=ALIASES, overrides=OVERRIDES)
    whole = function(primary, secondary)
    for b in range(3):
        assert torch.equal(function(primary[b : b + 1], secondary[b : b + 1])[0], whole[b])
    assert torch.equal(function(primary.mT.contiguous().mT, secondary), whole)
    torch.compiler.reset()
    assert torch.equal(torch.compile(function, fullgraph=True, backend="aot_eager")(primary, secondary), whole)
    module = LabelFusion.visible(CITYSCAPES, published=True)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(primary, secondary), module(primary, secondary))


def test_errors_name_the_argument() -> None:
    primary = torch.zeros(2, 4, 5, dtype=torch.long)
    with pytest.raises(TypeError, match="primary: expected an integer dtype, got torch.float32"):
        fuse_labels(primary.float(), primary, AGREE)
    with pytest.raises(TypeError, match="secondary: expected an integer dtype, got torch.float32"):
        fuse_labels(primary, primary.float(), AGREE)
    with pytest.raises(ValueError, match=r"secondary: expected the shape of primary = \(2, 4, 5\), got \(1, 4, 5\)"):
        fuse_labels(primary, primary[:1], AGREE)
    with pytest.raises(TypeError, match="agree: expected a collection"):
        fuse_labels(primary, primary, 11)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="agree"):
        LabelFusion((-1,))
    with pytest.raises(TypeError, match="agree"):
        LabelFusion(("person",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="aliases: expected a mapping"):
        LabelFusion((1,), aliases=[(1, 2)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aliases"):
        LabelFusion((1,), aliases={1: -1})
    with pytest.raises(TypeError, match=r"overrides: expected pairs .* got 1"):
        LabelFusion((1,), overrides={1: 2})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="overrides"):
        LabelFusion((1,), overrides={(1, 2): -3})
    with pytest.raises(TypeError, match="ignore_index"):
        LabelFusion((1,), ignore_index=None)  # type: ignore[arg-type]
