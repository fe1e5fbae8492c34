"""Objects: average precision, what is kept and invented, and files that are not as they should be."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import evaluate as command
from ntir2dc.data.images import DataError, list_images
from ntir2dc.detector import FrameBoxes, average_precision, frame_boxes, match
from ntir2dc.evaluation import INPUT, choose_subject
from ntir2dc.evaluation.boxes import read_detections, read_objects, scene_boxes
from ntir2dc.evaluation.faithfulness import match_class, object_figures
from scenes import write_scenes

H, W = 48, 64
NAMES = ("person", "car")


def random_frames(seed: int) -> tuple[list[FrameBoxes], list[FrameBoxes]]:
    """Objects, some of them crowds, and detections around them, doubled, of other classes, and of nothing."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(4):
        n = int(rng.integers(0, 9))
        corner, size = rng.integers(0, 40, (n, 2)), rng.integers(4, 20, (n, 2))
        classes = rng.integers(0, 2, n)
        truths.append(frame_boxes(np.hstack((corner, corner + size)), classes, None, rng.random(n) < 0.25))
        which = rng.integers(0, max(n, 1), 2 * n)
        near = np.hstack((corner, corner + size))[which] + rng.normal(0, 2, (2 * n, 4)) if n else np.empty((0, 4))
        far = np.hstack((left := rng.uniform(0, 40, (3, 2)), left + rng.uniform(2, 20, (3, 2))))
        labels = np.concatenate((classes[which] if n else np.empty(0, np.int64), rng.integers(0, 2, 3)))
        boxes = np.vstack((near, far))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        found.append(frame_boxes(boxes, labels, rng.integers(1, 40, len(boxes)) / 40))
    return truths, found


def precision_of(truths: list[FrameBoxes], found: list[FrameBoxes], label: int) -> float:
    classes = match_class(truths, found, label)
    return classes.average_precision(np.ones(len(truths)))


def as_coco(boxes: list[FrameBoxes]) -> list[dict[str, Any]]:
    return [
        {"id": 100 * image + i + 1, "image_id": image, "category_id": int(label), "score": float(score),
         "bbox": [*map(float, corners[:2]), *map(float, corners[2:] - corners[:2])],
         "area": float((corners[2:] - corners[:2]).prod()), "iscrowd": int(passed)}
        for image, frame in enumerate(boxes)
        for i, (corners, label, score, passed) in enumerate(
            zip(frame.corners, frame.classes, frame.scores, frame.passed, strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_is_that_of_coco(seed: int) -> None:
    truths, found = random_frames(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": i, "width": W, "height": H} for i in range(len(truths))],
            "annotations": as_coco(truths), "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)],
        }  # fmt: skip
        known.createIndex()
        oracle = COCOeval(known, known.loadRes(as_coco(found)) if as_coco(found) else known, "bbox")
        oracle.params.iouThrs = np.array([0.5])
        oracle.evaluate()
        oracle.accumulate()
    for label in range(2):
        expected = float(oracle.eval["precision"][0, :, label, 0, 2].mean())
        value = precision_of(truths, found, label)
        assert value == pytest.approx(expected, abs=1e-9) if expected >= 0 else math.isnan(value)


def precision_with_loops(hits: list[bool], objects: int) -> float:
    total = 0.0
    for step in range(101):
        best = 0.0
        for k in range(1, len(hits) + 1):
            if sum(hits[:k]) / objects >= step / 100 - 1e-12:
                best = max(best, sum(hits[:k]) / k)
        total += best
    return total / 101


def test_average_precision_equals_the_definition_written_with_loops() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        hits = rng.random(int(rng.integers(0, 15))) < 0.5
        objects = int(hits.sum() + rng.integers(1, 4))
        assert average_precision(hits, objects) == pytest.approx(precision_with_loops(hits.tolist(), objects))


def test_value_by_hand() -> None:
    # right, wrong, right of 4: precision 1 up to a recall of 1/4, 2/3 up to 1/2, then nothing
    assert average_precision(np.array([True, False, True]), 4) == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert average_precision(np.array([], np.bool_), 3) == 0
    assert math.isnan(average_precision(np.array([False]), 0))


def test_the_surest_takes_the_object_and_a_crowd_forgives() -> None:
    truth = frame_boxes([[0, 0, 10, 10], [20, 0, 40, 20]], [0, 0], None, [False, True])
    found = frame_boxes(
        [[0, 0, 10, 8], [0, 0, 10, 10], [25, 5, 30, 10], [21, 1, 25, 9], [0, 30, 9, 40], [0, 0, 10, 10]],
        [0, 0, 0, 0, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5, 0.99],
    )  # fmt: skip
    matches = match(truth, found, 0)
    assert matches.scores.tolist() == [0.9, 0.8, 0.5]
    assert matches.hits.tolist() == [True, False, False]
    assert matches.objects == 1
    assert match(truth, found, 0, iou=0.9).hits.tolist() == [False, True, False]


def test_kept_and_invented_by_hand() -> None:
    there = frame_boxes([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0])
    found = frame_boxes([[0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 0], [0.9, 0.3, 0.6])
    classes = {"person": match_class([there, frame_boxes()], [found, found], 0)}
    figures = object_figures(classes, np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]]), 0.5)
    assert figures["kept"].tolist()[:2] == [0.5, 0.5]
    assert math.isnan(figures["kept"][2])
    # the second frame holds nothing, and all that is found there is invented
    assert figures["missed"].tolist() == [0.5, 1, 0]
    assert figures["invented"].tolist() == [1.5, 1, 2]
    sure = object_figures(classes, np.array([[1.0, 0.0]]), 0.2)
    assert (sure["kept"][0], sure["missed"][0], sure["invented"][0]) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_frames_taken_more_than_once_give_what_copies_of_them_would(seed: int) -> None:
    truths, found = random_frames(seed)
    counts = np.array([2.0, 0, 1, 3])
    taken = [i for i, count in enumerate(counts) for _ in range(int(count))]
    for label in range(2):
        weighted = match_class(truths, found, label).average_precision(counts)
        copied = precision_of([truths[i] for i in taken], [found[i] for i in taken], label)
        # equal scores come in another order among copies
        assert weighted == pytest.approx(copied, abs=0.06, nan_ok=True)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with their boxes as COCO JSON, and their day pictures as somebody's result."""
    path = tmp_path_factory.mktemp("objects") / "data"
    write_scenes(path, seed=3, n_train_a=0, n_train_b=0, n_val=3, n_judge=0, size=(H, W))
    (path / "valB_labels").rename(path / "unused")  # no judge is needed here
    held = json.loads((path / "valB_boxes.json").read_text())
    images = [{"id": i, "file_name": f"images/{n}", "width": W, "height": H} for i, n in enumerate(held, 10)]
    marks = [
        {"id": len(images), "image_id": i, "category_id": box["class_id"], "iscrowd": 0,
         "bbox": [box["left"], box["top"], box["right"] - box["left"], box["bottom"] - box["top"]]}
        for i, boxes in enumerate(held.values(), 10) for box in boxes if box["class_id"] in (11, 13)
    ]  # fmt: skip
    categories = [{"id": 11, "name": "person"}, {"id": 13, "name": "car"}, {"id": 14, "name": "truck"}]
    (path / "truth.json").write_text(json.dumps({"images": images, "annotations": marks, "categories": categories}))
    found = [{k: m[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for m in marks]
    (path / "found.json").write_text(json.dumps(found))
    return path


def edited(source: Path, target: Path, change: Any) -> Path:
    content = json.loads(source.read_text())
    target.write_text(json.dumps(change(content) or content))
    return target


def run_command(folder: Path, out: Path, boxes: Path, *detections: str) -> int:
    return command.main(
        data=folder, results=[f"theirs={folder / 'valB_day'}"], out=out, boxes=boxes, detections=list(detections),
        device="cpu",
    )  # fmt: skip


def test_a_perfect_detector_keeps_all_and_invents_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = edited(folder / "found.json", tmp_path / "half.json", lambda found: found[::2])
    assert run_command(
        folder, tmp_path / "out", folder / "truth.json",
        f"theirs={folder / 'found.json'}", f"{INPUT}={half}",
    ) == 0  # fmt: skip
    objects = json.loads((tmp_path / "out" / "metrics.json").read_text())["objects"]
    rows = {row["name"]: {k: v["value"] for k, v in row["figures"].items()} for row in objects["rows"]}
    assert rows["theirs"]["kept"] == 1
    assert rows["theirs"]["missed"] == rows["theirs"]["invented"] == 0
    assert rows["theirs"]["ap all"] == pytest.approx(1)
    total = len(json.loads((folder / "found.json").read_text()))
    assert objects["objects"] == total
    assert rows[INPUT]["kept"] == pytest.approx(math.ceil(total / 2) / total)
    assert rows[INPUT]["missed"] == pytest.approx((total - math.ceil(total / 2)) / 3)
    printed = capsys.readouterr().out
    for text in ("AP person %", "objects kept %", "invented a frame", "IoU of at least 0.5", "score of at least 0.5"):
        assert text in printed
    page = (tmp_path / "out" / "metrics.md").read_text()
    assert "| kept of those there, invented | theirs | input |" in page
    assert "objects kept %" in page


def _truth_without_frame(content: dict[str, Any]) -> None:
    content["images"][0]["file_name"] = "elsewhere.png"


def _truth_of_other_size(content: dict[str, Any]) -> None:
    content["images"][1]["width"] = 640


def _truth_of_other_frames(content: dict[str, Any]) -> None:
    for index, image in enumerate(content["images"]):
        image["file_name"] = f"other_{index}.png"


def _truth_without_boxes(content: dict[str, Any]) -> None:
    content["annotations"].clear()


def _box_outside(content: dict[str, Any]) -> None:
    content["images"][0].pop("width")
    content["annotations"][0]["bbox"] = [W + 3, 2, 5, 5]


def _box_of_unknown_category(content: dict[str, Any]) -> None:
    content["annotations"][0]["category_id"] = 77


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_truth_of_other_size, "is 64 x 48, its boxes in .* were drawn on 640 x 48; prepare_data.py --boxes"),
        (_truth_of_other_frames, "lists none of the test images, such as scene_00000.png"),
        (_truth_without_boxes, "holds no box that can be used in any of the 3 test images"),
        (lambda _: [1], "expected COCO JSON with images, annotations and categories"),
    ],
)
def test_a_truth_that_cannot_be_used_is_refused(folder: Path, tmp_path: Path, change: Any, message: str) -> None:
    path = edited(folder / "truth.json", tmp_path / "truth.json", change)
    with pytest.raises(DataError, match=message):
        read_objects(path, list_images(folder / "valB"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_box_outside, "1 boxes left out, outside their frame"),
        (_box_of_unknown_category, "1 boxes left out, of category 77, which the file does not name"),
    ],
)
def test_boxes_that_cannot_be_used_are_named(folder: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    nights = list_images(folder / "valB")
    whole = read_objects(folder / "truth.json", nights)
    less = read_objects(edited(folder / "truth.json", tmp_path / "truth.json", change), nights)
    assert any(sentence in problem for problem in less.problems)
    count = [sum(len(f.scores) for f in known.frames.values()) for known in (whole, less)]
    assert count[0] == count[1] + 1
    assert whole.problems == []
    assert whole.names == NAMES  # no truck occurs


def test_frames_without_boxes_are_told_from_frames_that_nobody_looked_at(folder: Path, tmp_path: Path) -> None:
    nights = list_images(folder / "valB")
    known = read_objects(edited(folder / "truth.json", tmp_path / "a.json", _truth_without_frame), nights)
    assert "does not list 1 of 3 test images, such as scene_00000.png" in known.notes[-1]
    assert list(known.frames) == ["scene_00001", "scene_00002"]

    def emptied(content: dict[str, Any]) -> None:
        content["annotations"] = [m for m in content["annotations"] if m["image_id"] != 10]

    known = read_objects(edited(folder / "truth.json", tmp_path / "b.json", emptied), nights)
    assert "1 of 3 test images hold no object" in known.notes[0]
    assert len(known.frames["scene_00000"].scores) == 0


def changed(**values: Any) -> Any:
    return lambda found: found[0].update(values)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed(image_id=99), "of images that truth.json does not list"),
        (changed(image_id=None), "without an image_id"),
        (changed(category_id=3), "of category 3, which truth.json does not name"),
        (changed(score=math.nan), "without a score"),
        (changed(bbox=[1, 2, 0, 4]), "whose bbox is not left, top, and a width and height above 0"),
        (changed(bbox=[500, 2, 3, 4]), "outside their frame"),
        (lambda found: found.__setitem__(0, 7), "without an image_id"),
    ],
)
def test_detections_that_cannot_be_used_are_named_and_the_others_taken(
    folder: Path, tmp_path: Path, change: Any, sentence: str
) -> None:
    known = read_objects(folder / "truth.json", list_images(folder / "valB"))
    problems: list[str] = []
    path = edited(folder / "found.json", tmp_path / "found.json", change)
    found = read_detections(path, known, problems)
    total = len(json.loads(path.read_text()))
    assert problems == [f"{path}: 1 of {total} detections left out, {sentence}"]
    assert sum(len(frame.scores) for frame in found.values()) == total - 1


def test_other_images_are_no_mistake_and_nothing_found_is_a_result(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = edited(folder / "found.json", tmp_path / "nothing.json", lambda found: found.clear())
    arguments = {"data": folder, "results": [f"theirs={folder / 'valB_day'}"], "boxes": folder / "truth.json"}
    found = [f"theirs={folder / 'found.json'}", f"{INPUT}={nothing}"]
    assert command.main(**arguments, detections=found, out=tmp_path / "out", limit=2, device="cpu") == 0
    objects = json.loads((tmp_path / "out" / "metrics.json").read_text())["objects"]
    assert objects["frames"] == 2
    assert [row["figures"]["kept"]["value"] for row in objects["rows"]] == [1, 0]
    assert objects["rows"][1]["figures"]["ap all"]["value"] == 0
    capsys.readouterr()
    assert command.main(**arguments, detections=found, out=tmp_path / "out", detection_iou=0.0) == 1
    assert "detection_iou: expected more than 0 and at most 1, got 0" in capsys.readouterr().err


def test_a_category_that_occurs_nowhere_is_no_mistake(folder: Path, tmp_path: Path) -> None:
    known = read_objects(folder / "truth.json", list_images(folder / "valB"))
    problems: list[str] = []
    read_detections(edited(folder / "found.json", tmp_path / "f.json", changed(category_id=14)), known, problems)
    assert problems == []


@pytest.mark.parametrize(
    ("boxes", "detections", "message"),
    [
        (None, ["theirs=found.json"], "detections: expected --boxes as well"),
        ("truth.json", [], "boxes: expected --detections, a detector"),
        ("truth.json", ["mine=found.json"], "detections: mine is no row; expected one of input, tinted input, theirs"),
        ("truth.json", ["theirs=truth.json"], "expected COCO results, a list of image_id"),
        ("truth.json", ["theirs=gone.json"], "gone.json: cannot be read"),
        ("gone.json", ["theirs=found.json"], "gone.json: cannot be read"),
        ("truth.json", ["theirs="], "detections: expected NAME=PATH, got theirs="),
        ("truth.json", ["theirs=found.json", "theirs=found.json"], "detections: theirs is given twice"),
    ],
)
def test_what_is_asked_for_has_to_be_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    boxes: str | None, detections: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    assert run_command(folder, tmp_path / "out", Path(boxes) if boxes else None, *detections) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_left_out_detections_end_in_an_error_after_the_table(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(folder / "found.json", tmp_path / "found.json", changed(category_id=3))
    assert run_command(folder, tmp_path / "out", folder / "truth.json", f"theirs={path}") == 1
    captured = capsys.readouterr()
    assert "error:" in captured.err
    assert "detections left out, of category 3" in captured.err
    assert "objects kept %" in captured.out
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_boxes_of_scenes_are_those_seen_and_small_ones_are_passed_over(folder: Path) -> None:
    boxes = scene_boxes(folder)
    held = json.loads((folder / "valB_boxes.json").read_text())
    for name, frame in boxes.items():
        mine = [box for box in held[name] if box["class_id"] in (11, 13)]
        assert frame.classes.tolist() == [(11, 13).index(box["class_id"]) for box in mine]
        for (left, top, right, bottom), passed in zip(frame.corners.tolist(), frame.passed, strict=True):
            assert passed == (right - left < 4 or bottom - top < 10)
    with pytest.raises(DataError, match=r"valB_boxes\.json: expected the boxes of procedural scenes"):
        scene_boxes(folder / "valB")


# ---- several results -------------------------------------------------------------------------------------------------


def test_folders_of_pictures_are_rows(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gray = tmp_path / "gray"
    gray.mkdir()
    for path in list_images(folder / "valB_day"):
        Image.open(path).convert("L").save(gray / path.name)
    assert command.main(data=folder, results=[f"day={folder / 'valB_day'}", f"gray={gray}"], out=tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["name"] for row in result["rows"]] == [INPUT, "tinted input", "day", "gray", "true day image"]
    day, grayed, truth = (result["rows"][i]["figures"] for i in (2, 3, 4))
    assert day == truth
    assert grayed["ssim"]["value"] < 1
    assert grayed["apce"]["value"] == pytest.approx(
        day["apce"]["value"], abs=0.02
    )  # edges are those of the gray values
    curves = result["edges"]["rows"]["day"]
    assert len(result["edges"]["thresholds"]) == len(curves["apce"]) == 99
    defined = [v for v in curves["apce"] if v is not None]
    assert np.mean(defined) == pytest.approx(day["apce"]["value"], abs=1e-4)
    assert "preset" not in result
    assert "written: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"results": {}}, "nothing to evaluate"),
        ({"results": {"a": Path("x")}}, "without --run, expected --data"),
        ({"results": {"input": Path("x")}}, "results: input is the name of another row"),
    ],
)
def test_a_subject_has_to_be_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose_subject(None, **arguments)


def test_pictures_have_to_be_there_and_of_the_size(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one"
    one.mkdir()
    names = [path.name for path in list_images(folder / "valB")]
    for name in names:
        Image.new("RGB", (W, H)).save(one / name)
    Image.new("RGB", (W, 2 * H)).save(one / names[1])
    for place, message in (
        (one, f"{names[1]}: is 64 x 96, its night image 64 x 48"),
        (tmp_path / "gone", "gone: no such folder; expected pictures by the names of the night images"),
    ):
        assert command.main(data=folder, results=[f"x={place}"], out=tmp_path / "out", device="cpu") == 1
        assert message in capsys.readouterr().err
    (one / names[0]).unlink()
    assert command.main(data=folder, results=[f"x={one}"], out=tmp_path / "out", device="cpu") == 1
    assert f"{names[0]}: has no picture of its name in" in capsys.readouterr().err
