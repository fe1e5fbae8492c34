from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from morn_losses import label_spaces
from morn_losses.functional import aca_loss
from morn_losses.label_spaces import (
    ADE20K_TO_CITYSCAPES,
    CITYSCAPES,
    COCO_TO_CITYSCAPES,
    MFNET,
    PERSONS,
    LabelSpace,
)


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


@pytest.mark.parametrize("ignore_index", [255, -1])
def test_background_counts_unknown_ids_as_unlabeled_where_it_cannot_look(ignore_index: int) -> None:
    some = space(ignore_index=ignore_index)
    labels = torch.tensor([[[0, 2, 3, ignore_index, 300], [1, 2, 3, -7, 4]]])
    expected = rf"labels: expected class ids in \[0, 4\) or {ignore_index}, got \[-7, 4, 300\]"
    with pytest.raises(ValueError, match=expected):
        some.background(labels)
    torch.compiler.reset()
    compiled = torch.compile(some.background, fullgraph=True, backend="aot_eager")
    assert compiled(labels).tolist() == [[[True, False, False, True, True], [True, False, False, True, True]]]
    assert not some.mask(labels, some.stuff)[0, :, 3:].any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_background_of_labels_of_any_integer_dtype(dtype: torch.dtype) -> None:
    labels = torch.tensor([0, 1, 2, 3, 255]).to(dtype)
    assert space().background(labels).tolist() == [True, True, False, False, True]


class TestFromNames:
    NAMES = ("road", "sky", "person", "car")

    def test_groups_by_name(self) -> None:
        made = LabelSpace.from_names(
            list(self.NAMES),
            small_sample=["person"],
            foreground=["car", "person"],
            stuff=["sky", "road"],
            palette=[(0, 0, 0), (0, 0, 255), (255, 0, 0), (9, 8, 7)],
            ignore_index=9,
        )
        assert made == space(foreground=(3, 2), stuff=(1, 0), ignore_index=9)

    def test_defaults(self) -> None:
        made = LabelSpace.from_names(self.NAMES, small_sample=["person"])
        assert (made.foreground, made.stuff) == ((2,), (0, 1, 3))
        made = LabelSpace.from_names(self.NAMES, small_sample=["person"], foreground=["car"])
        assert (made.foreground, made.stuff) == ((3,), (0, 1, 2))
        assert LabelSpace.from_names(self.NAMES, small_sample=[], stuff=[]).stuff == ()

    def test_cityscapes_can_be_written_so(self) -> None:
        made = LabelSpace.from_names(
            CITYSCAPES.names,
            small_sample=["traffic light", "traffic sign", "person", "truck", "bus", "motorcycle"],
            foreground=[CITYSCAPES.names[i] for i in CITYSCAPES.foreground],
            stuff=CITYSCAPES.names[:11],
            palette=CITYSCAPES.palette,
        )
        assert made == CITYSCAPES

    @pytest.mark.parametrize("group", ["small_sample", "foreground", "stuff"])
    def test_errors(self, group: str) -> None:
        options: dict[str, Any] = {"small_sample": ["person"]}
        with pytest.raises(KeyError, match="no class named 'cars'; did you mean 'car'"):
            LabelSpace.from_names(self.NAMES, **{**options, group: ["cars"]})
        with pytest.raises(ValueError, match=f"{group}: expected every id once"):
            LabelSpace.from_names(self.NAMES, **{**options, group: ["car", "car"]})
        with pytest.raises(TypeError, match=f"{group}: expected a sequence of class names, got a str"):
            LabelSpace.from_names(self.NAMES, **{**options, group: "person"})
        with pytest.raises(TypeError, match="names: expected a sequence of class names, got a str"):
            LabelSpace.from_names("road", **options)


class TestRemap:
    def test_equals_loops(self) -> None:
        ids = {0: 2, 7: 0, 3: 255, 200: 3}
        labels = torch.randint(0, 256, (2, 9, 9), dtype=torch.uint8)
        labels[0, 0, :4] = torch.tensor([0, 7, 3, 200])
        mapped = space().remap(labels, ids)
        assert mapped.dtype == torch.int64
        assert mapped.tolist() == [[[ids.get(int(v), 255) for v in row] for row in image] for image in labels]

    @pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
    def test_ids_beyond_the_table_are_unlabeled(self, dtype: torch.dtype) -> None:
        labels = torch.tensor([-1, 0, 1, 2, 3, 30000], dtype=dtype)
        assert space().remap(labels, {2: 1}).tolist() == [255, 255, 255, 1, 255, 255]
        assert space(ignore_index=-1).remap(labels, {0: 3}).tolist() == [-1, 3, -1, -1, -1, -1]
        assert space().remap(labels, {}).eq(255).all()
        assert labels.tolist() == [-1, 0, 1, 2, 3, 30000]

    def test_any_shape(self) -> None:
        for shape in ((), (3,), (0, 4), (2, 1, 4, 4)):
            assert space().remap(torch.zeros(shape, dtype=torch.long), {0: 1}).eq(1).all()

    def test_errors(self) -> None:
        labels = torch.zeros(2, 2, dtype=torch.long)
        with pytest.raises(ValueError, match=r"ids: expected ids from 0 on to ids in \[0, 4\) or 255, got \[4\]"):
            space().remap(labels, {0: 4})
        with pytest.raises(ValueError, match=r"ids: .* got \[-3\]"):
            space().remap(labels, {-3: 0})
        with pytest.raises(TypeError, match="ids: expected integers"):
            space().remap(labels, {"road": 0})  # type: ignore[dict-item]
        with pytest.raises(TypeError, match="labels: expected an integer dtype, got torch.float32"):
            space().remap(labels.float(), {0: 0})
        with pytest.raises(TypeError, match="labels: expected a torch.Tensor, got ndarray"):
            space().remap(labels.numpy(), {0: 0})  # type: ignore[arg-type]


# the order of panopticapi's panoptic_coco_categories.json, which networks predict by position
COCO = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard,
cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier,
toothbrush, banner, blanket, bridge, cardboard, counter, curtain, door-stuff, floor-wood, flower, fruit, gravel, house,
light, mirror-stuff, net, pillow, platform, playingfield, railroad, river, road, roof, sand, sea, shelf, snow, stairs,
tent, towel, wall-brick, wall-stone, wall-tile, wall-wood, water-other, window-blind, window-other, tree-merged,
fence-merged, ceiling-merged, sky-other-merged, cabinet-merged, table-merged, floor-other-merged, pavement-merged,
mountain-merged, grass-merged, dirt-merged, paper-merged, food-other-merged, building-other-merged, rock-merged,
wall-other-merged, rug-merged
"""
# the order of the MIT scene parsing benchmark
ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, table,
mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair, seat,
fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter,
sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop,
stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower,
chandelier, awning, streetlight, booth, television receiver, airplane, dirt track, apparel, pole, land, bannister,
escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name,
microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""


def classes(text: str) -> list[str]:
    return [name.strip() for name in text.replace("\n", " ").split(",")]


@pytest.mark.parametrize(
    ("ids", "names", "wanted"),
    [
        (
            COCO_TO_CITYSCAPES,
            classes(COCO),
            {
                **{name: name for name in ("road", "traffic light", "person", "car", "truck", "bus", "train")},
                "motorcycle": "motorcycle",
                "bicycle": "bicycle",
                "stop sign": "traffic sign",
                "house": "building",
                "pavement-merged": "sidewalk",
                "building-other-merged": "building",
                "roof": "building",
                "fence-merged": "fence",
                "tree-merged": "vegetation",
                "sky-other-merged": "sky",
                "grass-merged": "terrain",
                "dirt-merged": "terrain",
                "sand": "terrain",
            },
        ),
        (
            ADE20K_TO_CITYSCAPES,
            classes(ADE20K),
            {
                **{name: name for name in ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light")},
                **{name: name for name in ("sky", "person", "car", "truck", "bus", "bicycle")},
                "house": "building",
                "skyscraper": "building",
                "hovel": "building",
                "streetlight": "pole",
                "tree": "vegetation",
                "plant": "vegetation",
                "palm": "vegetation",
                "van": "car",
                "grass": "terrain",
                "earth": "terrain",
                "field": "terrain",
                "sand": "terrain",
                "land": "terrain",
                "minibike": "motorcycle",
            },
        ),
    ],
    ids=["coco", "ade20k"],
)
def test_mappings_by_name(ids: dict[int, int], names: list[str], wanted: dict[str, str]) -> None:
    assert len(names) == len(set(names)) == (133 if ids is COCO_TO_CITYSCAPES else 150)
    assert {names[i]: CITYSCAPES.names[target] for i, target in ids.items()} == wanted
    labels = torch.arange(len(names), dtype=torch.uint8)
    expected = [CITYSCAPES.index(wanted[name]) if name in wanted else 255 for name in names]
    assert CITYSCAPES.remap(labels, ids).tolist() == expected


class TestOtherPresets:
    def test_mfnet(self) -> None:
        assert MFNET.names == (
            *("background", "car", "person", "bike", "curve", "car stop", "guardrail", "color cone", "bump"),
        )
        assert MFNET.small_sample == MFNET.ids("person", "bike", "car stop", "color cone", "bump")
        assert set(MFNET.foreground) == {*MFNET.small_sample, MFNET.index("car")}
        assert MFNET.palette is not None
        assert MFNET.palette[MFNET.index("person")] == (64, 64, 0)

    def test_persons(self) -> None:
        labels = torch.tensor([[[0, 1, 255]]])
        assert PERSONS.names == ("background", "person")
        assert PERSONS.mask(labels, PERSONS.small_sample).tolist() == [[[False, True, False]]]
        assert PERSONS.background(labels).tolist() == [[[True, False, True]]]

    @pytest.mark.parametrize("preset", [CITYSCAPES, MFNET, PERSONS], ids=["cityscapes", "mfnet", "persons"])
    def test_stuff_and_small_sample_do_what_the_losses_need(self, preset: LabelSpace) -> None:
        assert set(preset.stuff) | set(preset.foreground) == set(range(len(preset)))
        labels = torch.randint(0, len(preset), (2, 16, 16))
        features = torch.randn(2, 8, 16, 16)
        fake = torch.randn(2, 8, 16, 16, requires_grad=True)
        aca_loss(features, fake, labels, labels, preset.small_sample).backward()
        assert fake.grad is not None
        assert fake.grad.abs().sum() > 0
        assert preset.background(labels).any()
        assert not preset.background(labels).all()


def test_public_names() -> None:
    wanted = "ADE20K_TO_CITYSCAPES CITYSCAPES COCO_TO_CITYSCAPES LABEL_IDS_TO_CITYSCAPES LabelSpace MFNET PERSONS"
    assert label_spaces.__all__ == wanted.split()
