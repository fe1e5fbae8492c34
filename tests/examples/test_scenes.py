from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morn_losses.label_spaces import CITYSCAPES
from scenes import Scene, folder, predict_labels, predictions, render, render_scene, write_scenes
from scenes.canvas import (
    PERSON,
    POLE,
    RIDER,
    ROAD,
    SKY,
    TRAFFIC_LIGHT,
    VEGETATION,
    Camera,
    _hull,
    _majority,
    noise,
)
from scenes.street import _Queue

SIZE = (64, 80)
NUMBERS = {"n_train_a": 2, "n_train_b": 2, "n_val": 2, "n_judge": 1}


def same(a: Scene, b: Scene) -> bool:
    pictures = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("color", "thermal", "labels"))
    return pictures and a.boxes == b.boxes


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(11, i, (80, 96)) for i in range(24)]


@pytest.fixture(scope="module")
def predicted(scenes: list[Scene]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [predict_labels(scene, 11, i) for i, scene in enumerate(scenes)]


def iou(a: list[np.ndarray], b: list[np.ndarray], class_id: int) -> float:
    first, second = np.stack(a) == class_id, np.stack(b) == class_id
    return float((first & second).sum() / max(1, (first | second).sum()))


# the scene


def test_a_scene_depends_on_its_seed_and_index_only() -> None:
    first = render_scene(3, 5, SIZE)
    np.random.default_rng().random()
    others = [render_scene(3, 6, SIZE), render_scene(4, 5, SIZE)]
    assert same(first, render_scene(3, 5, SIZE))
    assert not any(np.array_equal(first.labels, other.labels) for other in others)


def test_every_aspect_of_a_scene_has_random_numbers_of_its_own() -> None:
    numbers = [render.PLAN, render.THINGS, render.SHAPES, render.PAINT, render.WARMTH, render.OUTLINES]
    numbers += [render.DAY, render.NIGHT, predictions.PRIMARY, predictions.SECONDARY]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", ["DAY", "NIGHT", "PAINT", "WARMTH"])
def test_other_numbers_for_one_aspect_leave_the_geometry_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = render_scene(3, 5, SIZE)
    monkeypatch.setattr(render, name, 99)
    after = render_scene(3, 5, SIZE)
    assert np.array_equal(before.labels, after.labels)
    assert before.boxes == after.boxes
    assert np.array_equal(before.color, after.color) == (name in ("NIGHT", "WARMTH"))
    assert np.array_equal(before.thermal, after.thermal) == (name in ("DAY", "PAINT"))


@pytest.mark.parametrize("size", [(48, 48), (49, 61), (97, 63)])
def test_pictures_have_the_size_asked_for(size: tuple[int, int]) -> None:
    scene = render_scene(0, 1, size)
    assert scene.color.shape == (*size, 3)
    assert scene.thermal.shape == scene.labels.shape == size
    assert scene.color.dtype == scene.thermal.dtype == scene.labels.dtype == np.uint8
    for labels in predict_labels(scene, 0, 1):
        assert labels.shape == size
        assert labels.dtype == np.uint8
        assert labels.max() < len(CITYSCAPES)


def test_another_size_shows_the_same_street() -> None:
    small, large = render_scene(2, 0, (80, 96)), render_scene(2, 0, (160, 192))
    assert (small.labels == large.labels[::2, ::2]).mean() > 0.9
    means = large.color.reshape(80, 2, 96, 2, 3).mean((1, 3))
    assert np.corrcoef(small.color.ravel(), means.ravel())[0, 1] > 0.85


def test_every_pixel_has_a_class(scenes: list[Scene]) -> None:
    assert max(int(scene.labels.max()) for scene in scenes) < len(CITYSCAPES)


@pytest.mark.parametrize(
    ("name", "index"), [("person", PERSON), ("traffic light", TRAFFIC_LIGHT), ("sky", SKY), ("rider", RIDER)]
)
def test_ids_are_those_of_cityscapes(name: str, index: int) -> None:
    assert CITYSCAPES.index(name) == index


@pytest.mark.slow
def test_all_classes_occur_and_the_rare_ones_are_rare() -> None:
    counts = np.zeros(len(CITYSCAPES), np.int64)
    for i in range(300):
        counts += np.bincount(render_scene(0, i, SIZE).labels.ravel(), minlength=len(CITYSCAPES))
    share = dict(zip(CITYSCAPES.names, counts / counts.sum(), strict=True))
    assert min(share.values()) > 0
    for name, low, high in (
        ("road", 0.2, 0.42), ("building", 0.06, 0.2), ("vegetation", 0.12, 0.28), ("sky", 0.1, 0.25),
        ("car", 0.07, 0.16), ("person", 0.004, 0.02), ("traffic light", 2e-4, 2e-3), ("traffic sign", 1e-3, 1e-2),
        ("truck", 5e-3, 2.5e-2), ("bus", 3e-3, 2e-2), ("train", 1e-5, 3e-3), ("motorcycle", 2e-3, 1e-2),
    ):  # fmt: skip
        assert low < share[name] < high, name


@pytest.mark.parametrize(
    ("size", "seed", "index", "message"),
    [((47, 80), 0, 0, "size"), ((80, 47), 0, 0, "size"), (SIZE, -1, 0, "seed"), (SIZE, 0, -1, "index")],
)
def test_impossible_arguments_are_named(size: tuple[int, int], seed: int, index: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_scene(seed, index, size)


def test_boxes_are_the_extents_of_what_is_seen(scenes: list[Scene]) -> None:
    found = 0
    for scene in scenes:
        covered = np.zeros(scene.labels.shape, bool)
        for box in scene.boxes:
            part = scene.labels[box.top : box.bottom, box.left : box.right] == box.class_id
            assert part.size
            for side in (part[0], part[-1], part[:, 0], part[:, -1]):
                assert side.any()
            covered[box.top : box.bottom, box.left : box.right] |= part
            found += 1
        assert np.array_equal(covered, np.isin(scene.labels, render.BOXED))
    assert found > 50


def test_persons_riders_and_vehicles_have_boxes() -> None:
    names = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    assert sorted(render.BOXED) == sorted(CITYSCAPES.ids(*names))


def test_what_is_near_is_drawn_last() -> None:
    drawn: list[float] = []
    queue = _Queue()
    for distance in (5.0, 40.0, 12.0):
        queue.add(distance, lambda canvas, distance: drawn.append(distance), distance)
    queue.draw(None)
    assert drawn == [40.0, 12.0, 5.0]


def test_a_pixel_has_the_label_of_most_of_its_samples() -> None:
    # surfaces 0 and 1 are of one class, 2 and 3 of two others
    labels = np.array([4, 4, 7, 9], np.uint8)
    samples = {(2, 0, 3, 1): 0, (0, 1, 2, 3): 0, (2, 3, 0, 1): 0, (0, 2, 3, 2): 2, (3, 2, 2, 2): 2, (2, 3, 3, 0): 3}
    for (a, b, c, d), expected in samples.items():
        assert _majority(np.array([[a, b], [c, d]], np.int32), labels).tolist() == [[expected]]


# the two cameras


def test_at_night_persons_are_the_warmest_and_the_sky_is_the_coldest(scenes: list[Scene]) -> None:
    labels, thermal = (np.stack([getattr(s, name) for s in scenes]) for name in ("labels", "thermal"))
    mean = {c: float(thermal[labels == c].mean()) for c in np.unique(labels).tolist() if (labels == c).sum() > 200}
    assert max(mean, key=mean.__getitem__) in (PERSON, RIDER)
    assert min(mean, key=mean.__getitem__) == SKY
    assert mean[PERSON] > mean[ROAD] + 25
    each = [
        s.thermal[s.labels == SKY].mean() < s.thermal[s.labels != SKY].mean() for s in scenes if (s.labels == SKY).any()
    ]
    assert np.mean(each) > 0.9


def test_gain_and_offset_drift_from_frame_to_frame(scenes: list[Scene]) -> None:
    deviations = [float(scene.thermal.std()) for scene in scenes]
    means = [float(scene.thermal.mean()) for scene in scenes]
    assert min(deviations) < 32 < 45 < max(deviations)
    assert np.std(means) > 5


def test_paint_on_the_road_is_seen_by_day_and_hardly_at_night(scenes: list[Scene]) -> None:
    paint = contrast = 0
    for scene in scenes:
        road = scene.labels == ROAD
        gray = scene.color.mean(2)
        marked = road & (gray > np.median(gray[road]) + 60)
        if marked.sum() < 20:
            continue
        paint += 1
        contrast += abs(scene.thermal[marked].mean() - scene.thermal[road & ~marked].mean()) / scene.thermal.std()
    assert paint > 5
    assert contrast / paint < 0.3


def test_day_and_night_share_their_shapes_but_not_their_grays(scenes: list[Scene]) -> None:
    # sky is bright by day and dark at night
    sky = [
        (s.color[s.labels == SKY].mean(), s.thermal[s.labels == SKY].mean()) for s in scenes if (s.labels == SKY).any()
    ]
    day, night = np.mean(sky, axis=0)
    assert day > 150
    assert night < 90


def test_noise_repeats_for_the_same_numbers_and_covers_any_size() -> None:
    first, second = (noise((300, 17), 2.0, np.random.default_rng(1), (1.5, 0.5)) for _ in range(2))
    assert first.shape == (300, 17)
    assert np.array_equal(first, second)
    assert abs(float(noise((256, 256), 2.0, np.random.default_rng(0)).mean())) < 1e-3


def test_things_shrink_with_distance_towards_the_horizon() -> None:
    camera = Camera(focal=200.0, height=1.5, horizon=60.0, center=80.0, x=0.0, bend=0.0)
    assert camera.project(0.0, 1.5, 10.0) == (80.0, 60.0)
    assert camera.project(2.0, 0.0, 10.0) == (120.0, 90.0)
    assert camera.project(2.0, 0.0, 20.0) == (100.0, 75.0)
    assert camera.project(2.0, 0.0, -5.0) == camera.project(2.0, 0.0, 1.0)


def test_a_road_bends_with_the_square_of_the_distance() -> None:
    camera = Camera(focal=200.0, height=1.5, horizon=60.0, center=80.0, x=1.0, bend=0.01)
    assert camera.project(0.0, 1.5, 10.0) == (80.0, 60.0)
    assert camera.project(0.0, 1.5, 20.0) == (110.0, 60.0)


def test_a_hull_drops_what_lies_inside() -> None:
    assert set(_hull([(0, 0), (2, 0), (2, 2), (0, 2), (1, 1), (1, 0)])) == {(0, 0), (2, 0), (2, 2), (0, 2)}


# predictions


def test_predictions_are_deterministic_and_leave_the_scene_alone(scenes: list[Scene]) -> None:
    truth = scenes[0].labels.copy()
    first, second = predict_labels(scenes[0], 1, 2), predict_labels(scenes[0], 1, 2)
    other = predict_labels(scenes[0], 1, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert np.array_equal(scenes[0].labels, truth)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("road", 0.8, 0.96), ("sky", 0.65, 0.94), ("car", 0.6, 0.9), ("building", 0.25, 0.7), ("vegetation", 0.5, 0.85),
        ("pole", 0.2, 0.6), ("person", 0.2, 0.65), ("sidewalk", 0.1, 0.6),
    ],
)  # fmt: skip
def test_predictors_agree_as_much_as_real_ones(
    name: str, low: float, high: float, predicted: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    primary, secondary = zip(*predicted, strict=True)
    assert low < iou(primary, secondary, CITYSCAPES.index(name)) < high


@pytest.mark.parametrize("which", [0, 1])
def test_no_prediction_is_the_truth_and_none_is_far_off(
    which: int, scenes: list[Scene], predicted: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    right = np.mean([p[which] == s.labels for s, p in zip(scenes, predicted, strict=True)])
    assert 0.75 < right < 0.97


def test_trees_and_poles_grow_into_the_sky(
    scenes: list[Scene], predicted: list[tuple[np.ndarray, np.ndarray]]
) -> None:  # fmt: skip
    truth, primary = np.stack([s.labels for s in scenes]), np.stack([p[0] for p in predicted])
    for class_id in (VEGETATION, POLE):
        into = ((truth == SKY) & (primary == class_id)).sum()
        back = ((truth == class_id) & (primary == SKY)).sum()
        assert into > 3 * back, CITYSCAPES.names[class_id]


def test_the_secondary_has_the_better_contours(
    scenes: list[Scene], predicted: list[tuple[np.ndarray, np.ndarray]]
) -> None:  # fmt: skip
    wrong = np.zeros(2)
    for scene, maps in zip(scenes, predicted, strict=True):
        sky = scene.labels == SKY
        edge = np.zeros_like(sky)
        edge[1:] |= sky[1:] != sky[:-1]
        edge[:-1] |= sky[1:] != sky[:-1]
        wrong += [((labels == SKY) != sky)[edge].sum() for labels in maps]
    assert wrong[1] < 0.75 * wrong[0]


def test_the_secondary_mixes_up_riders_and_persons_more(
    scenes: list[Scene], predicted: list[tuple[np.ndarray, np.ndarray]]
) -> None:  # fmt: skip
    rider = np.stack([s.labels for s in scenes]) == RIDER
    lost = [(np.stack([p[which] for p in predicted])[rider] == PERSON).mean() for which in (0, 1)]
    assert lost[0] < lost[1]


def test_the_secondary_sees_persons_in_trees_and_poles(
    scenes: list[Scene], predicted: list[tuple[np.ndarray, np.ndarray]]
) -> None:  # fmt: skip
    upright = np.isin(np.stack([s.labels for s in scenes]), (POLE, VEGETATION))
    false = [(np.stack([p[which] for p in predicted])[upright] == PERSON).mean() for which in (0, 1)]
    assert false[1] > 2 * false[0]


def test_small_things_are_overlooked_and_large_ones_are_not() -> None:
    labels = np.zeros((100, 400), np.uint8)
    boxes = [render.Box(PERSON, 8 * i + 2, 20, 8 * i + 5, 20 + (5 if i % 2 else 30)) for i in range(48)]
    for box in boxes:
        labels[box.top : box.bottom, box.left : box.right] = PERSON
    scene = Scene(np.zeros((100, 400, 3), np.uint8), labels, labels, tuple(boxes))
    seen = predictions._mistake(scene, (), (), np.random.default_rng(0))
    kept = [bool((seen[b.top : b.bottom, b.left : b.right] == PERSON).all()) for b in boxes]
    assert all(kept[::2])
    assert 2 <= kept[1::2].count(False) <= 12
    assert set(np.unique(seen).tolist()) == {ROAD, PERSON}


# the folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(path, seed=7, **NUMBERS, size=SIZE)
    return path


def test_a_folder_is_laid_out_as_one_of_real_frames(written: Path) -> None:
    expected = {
        "trainA": ("RGB", 2), "labels_pred1": ("L", 2), "labels_pred2": ("L", 2), "trainB": ("L", 2), "valB": ("L", 2),
        "valB_day": ("RGB", 2), "valB_labels": ("L", 2), "judgeA": ("RGB", 1), "judgeA_labels": ("L", 1),
    }  # fmt: skip
    for name, (mode, number) in expected.items():
        files = sorted((written / name).iterdir())
        assert [file.name for file in files] == [f"scene_{i:05d}.png" for i in range(number)]
        for file in files:
            with Image.open(file) as picture:
                assert picture.mode == mode
                assert picture.size == SIZE[::-1]
    assert {p.name for p in written.iterdir()} == {*expected, "valB_boxes.json", "scenes.json"}


def test_the_truth_beside_valb_is_that_of_its_scenes(written: Path) -> None:
    boxes = json.loads((written / "valB_boxes.json").read_text())
    for i in range(2):
        scene = render_scene(7, folder.FIRST_INDEX["valB"] + i, SIZE)
        file = f"scene_{i:05d}.png"
        for name, picture in (("valB", scene.thermal), ("valB_day", scene.color), ("valB_labels", scene.labels)):
            assert np.array_equal(np.asarray(Image.open(written / name / file)), picture)
        assert [tuple(box.values()) for box in boxes[file]] == [
            (b.class_id, b.left, b.top, b.right, b.bottom) for b in scene.boxes
        ]


def test_labels_beside_traina_are_predictions_and_those_beside_judgea_the_truth(written: Path) -> None:
    scene = render_scene(7, folder.FIRST_INDEX["trainA"], SIZE)
    for name, labels in zip(("labels_pred1", "labels_pred2"), predict_labels(scene, 7, 0), strict=True):
        assert np.array_equal(np.asarray(Image.open(written / name / "scene_00000.png")), labels)
    scene = render_scene(7, folder.FIRST_INDEX["judgeA"], SIZE)
    assert np.array_equal(np.asarray(Image.open(written / "judgeA_labels" / "scene_00000.png")), scene.labels)


def test_no_street_is_in_two_halves() -> None:
    starts = sorted(folder.FIRST_INDEX.values())
    assert len(starts) == 4
    assert min(np.diff(starts)) >= 1_000_000
    with pytest.raises(ValueError, match="trainB"):
        write_scenes(Path("nowhere"), seed=0, n_train_a=1, n_train_b=1_000_001, n_val=0, n_judge=0, size=SIZE)


def test_writing_again_does_nothing(written: Path) -> None:
    file = written / "trainA" / "scene_00000.png"
    before = file.stat().st_mtime_ns
    write_scenes(written, seed=7, **NUMBERS, size=SIZE)
    assert file.stat().st_mtime_ns == before


def test_other_parameters_are_named(written: Path) -> None:
    with pytest.raises(ValueError, match=r"n_val = 2 instead of 3, seed = 7 instead of 8"):
        write_scenes(written, seed=8, **{**NUMBERS, "n_val": 3}, size=SIZE)


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="scenes.json"):
        write_scenes(tmp_path, seed=0, **NUMBERS, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_folder_does_not_appear_and_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    path = tmp_path / "scenes"

    def interrupted(*arguments: object) -> Scene:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder, "render_scene", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_scenes(path, seed=7, **NUMBERS, size=SIZE)
    assert not path.exists()
    (tmp_path / "scenes.tmp" / "trainA" / "left_over.png").write_text("")
    write_scenes(path, seed=7, **NUMBERS, size=SIZE)
    assert len(list((path / "trainA").iterdir())) == 2
    assert not (tmp_path / "scenes.tmp").exists()


def test_two_worlds_differ_and_repeat_themselves() -> None:
    one, other = (render_scene(3, 5, SIZE, world) for world in ("a", "b"))
    again = render_scene(3, 5, SIZE, "b")
    assert not np.array_equal(one.color, other.color)
    assert not np.array_equal(one.thermal, other.thermal)
    for name in ("color", "thermal", "labels"):
        assert np.array_equal(getattr(other, name), getattr(again, name))
    assert np.array_equal(render_scene(3, 5, SIZE).color, one.color)
    with pytest.raises(ValueError, match="world"):
        render_scene(3, 5, SIZE, "c")  # type: ignore[arg-type]
