from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from morn_losses.label_spaces import CITYSCAPES, LabelSpace


def space(**changes: Any) -> LabelSpace:
    options: dict[str, Any] = {
        "names": ("road", "sky", "person", "car"),
        "small_sample": (2,),
        "foreground": (2, 3),
        "stuff": (0, 1),
        "palette": ((0, 0, 0), (0, 0, 255), (255, 0, 0), (9, 8, 7)),
    }
    return LabelSpace(**{**options, **changes})


def test_ids_are_positions() -> None:
    made = space()
    assert [made.index(name) for name in made.names] == [0, 1, 2, 3]
    assert made.ids("car", "road") == (3, 0)
    assert made.ids() == ()
    assert len(made) == 4
    assert made.ignore_index == 255


def test_an_unknown_name_is_answered_with_close_matches() -> None:
    with pytest.raises(KeyError, match="no class named 'persn'; did you mean 'person'"):
        space().index("persn")
    with pytest.raises(KeyError, match="no class named 'zzz'; known: road, sky, person, car"):
        space().index("zzz")
    with pytest.raises(KeyError, match="did you mean 'traffic"):
        CITYSCAPES.ids("road", "trafic light")


def test_mask_equals_loops() -> None:
    labels = torch.randint(0, 4, (2, 5, 6))
    labels[0, 0, 0], labels[1, 2, 3] = 255, 2
    for ids in ((), (2,), (0, 3), (255, 1), iter((2, 3))):
        wanted = tuple(ids)
        mask = space().mask(labels, wanted)
        assert mask.dtype == torch.bool
        assert mask.tolist() == [[[int(v) in wanted for v in row] for row in image] for image in labels]
    assert space().mask(labels, iter((2, 3))).equal((labels == 2) | (labels == 3))


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 4, 4), (0, 4)])
def test_mask_takes_any_shape_and_integer_dtype(shape: tuple[int, ...]) -> None:
    labels = torch.full(shape, 3, dtype=torch.uint8)
    assert space().mask(labels, (3,)).shape == shape
    assert space().mask(labels, (3,)).all()
    assert not space().mask(labels, (2,)).any()


def test_mask_compiles_as_one_graph() -> None:
    labels = torch.randint(0, 4, (2, 3, 3))
    compiled = torch.compile(lambda x: CITYSCAPES.mask(x, (1, 2)), fullgraph=True, backend="aot_eager")
    assert compiled(labels).equal(CITYSCAPES.mask(labels, (1, 2)))


def test_it_is_frozen_hashable_and_comparable() -> None:
    made = space()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.names = ()  # type: ignore[misc]
    assert made == space()
    assert hash(made) == hash(space())
    assert made != space(stuff=(0,))
    assert pickle.loads(pickle.dumps(made)) == made == copy.deepcopy(made)
    assert dataclasses.replace(made, ignore_index=-1).ignore_index == -1


def test_lists_and_numpy_integers_become_tuples_of_ints() -> None:
    made = LabelSpace(
        names=["a", "b"],  # type: ignore[arg-type]
        small_sample=np.array([1]),  # type: ignore[arg-type]
        foreground=[1],  # type: ignore[arg-type]
        stuff=range(1),  # type: ignore[arg-type]
        palette=np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8),  # type: ignore[arg-type]
        ignore_index=np.int64(7),  # type: ignore[arg-type]
    )
    assert made == LabelSpace(("a", "b"), (1,), (1,), (0,), ((1, 2, 3), (4, 5, 6)), 7)
    assert type(made.small_sample[0]) is type(made.ignore_index) is int
    assert hash(made)


def test_a_space_of_ones_own_needs_no_palette_and_may_have_empty_groups() -> None:
    made = LabelSpace(("a", "b"), (), (), ())
    assert (made.palette, made.small_sample, made.foreground, made.stuff) == (None, (), (), ())


@pytest.mark.parametrize("group", ["small_sample", "foreground", "stuff"])
def test_errors_of_the_groups(group: str) -> None:
    for ids in ((4,), (-1,), (0, 255)):
        with pytest.raises(ValueError, match=rf"{group}: expected ids in \[0, 4\)"):
            space(**{group: ids})
    with pytest.raises(ValueError, match=f"{group}: expected every id once"):
        space(**{group: (1, 1)})
    for ids in ((1.5,), ("sky",), (1.0,)):
        with pytest.raises(TypeError, match=f"{group}: expected integers"):
            space(**{group: ids})
    with pytest.raises(TypeError, match=f"{group}: expected integers"):
        space(**{group: 2})
    assert getattr(space(**{group: (0, 3)}), group) == (0, 3)


def test_errors_name_the_argument() -> None:
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "names: expected at least one name and no repeats", {"names": ("a", "b", "a", "c")}),
        (ValueError, "names: expected at least one name", {"names": ()}),
        (TypeError, "names: expected a sequence of class names, got a str", {"names": "road"}),
        (TypeError, r"names: expected class names, got \[3\]", {"names": ("a", "b", "c", 3)}),
        (ValueError, "palette: expected 4 colors, got 1", {"palette": ((0, 0, 0),)}),
        (ValueError, r"palette: expected triples of 0\.\.255, got \(0, 0, 256\)", {"palette": ((0, 0, 256),) * 4}),
        (ValueError, r"palette: expected triples of 0\.\.255, got \(-1, 0, 0\)", {"palette": ((-1, 0, 0),) * 4}),
        (ValueError, r"palette: expected triples of 0\.\.255, got \(0, 0\)", {"palette": ((0, 0),) * 4}),
        (TypeError, "palette: expected integers", {"palette": ((0.5, 0, 0),) * 4}),
        (ValueError, "ignore_index: expected an id that no class has, got 3", {"ignore_index": 3}),
        (ValueError, "ignore_index: expected an id that no class has, got 0", {"ignore_index": 0}),
        (TypeError, "ignore_index: expected integers", {"ignore_index": None}),
    ]
    for error, message, changes in cases:
        with pytest.raises(error, match=message):
            space(**changes)
    assert space(ignore_index=4).ignore_index == 4
    assert space(ignore_index=-100).ignore_index == -100


class TestCityscapes:
    def test_the_19_train_ids_in_order(self) -> None:
        assert CITYSCAPES.names == (
            *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
            *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
        )
        assert len(CITYSCAPES) == 19
        assert CITYSCAPES.ignore_index == 255

    def test_groups(self) -> None:
        ids = CITYSCAPES.ids
        small = ids("traffic light", "traffic sign", "person", "truck", "bus", "motorcycle")
        foreground = ids(
            *("building", "traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "train"),
            *("motorcycle", "bicycle"),
        )
        assert CITYSCAPES.small_sample == small == (6, 7, 11, 14, 15, 17)
        assert CITYSCAPES.foreground == foreground
        assert CITYSCAPES.stuff == tuple(range(11))

    def test_palette(self) -> None:
        assert CITYSCAPES.palette is not None
        color = dict(zip(CITYSCAPES.names, CITYSCAPES.palette, strict=True))
        assert color["road"] == (128, 64, 128)
        assert color["sky"] == (70, 130, 180)
        assert color["person"] == (220, 20, 60)
        assert color["bicycle"] == (119, 11, 32)
        assert len(set(CITYSCAPES.palette)) == 19


def test_background_is_stuff_and_what_is_unlabeled() -> None:
    labels = torch.tensor([[[0, 1, 2, 3, 255]]])
    assert space().background(labels).tolist() == [[[True, True, False, False, True]]]
