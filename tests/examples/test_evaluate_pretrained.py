"""Pretrained networks that look at every row of an evaluation: an object detector, and a segmentation network."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate as command
from helpers.pretrained_networks import installed, write_segformer, write_yolos
from morn_losses import CITYSCAPES
from ntir2dc.data.images import DataError, read_color, to_image
from ntir2dc.data.maps import read_labels
from ntir2dc.evaluation.objects import ObjectsAsked
from ntir2dc.judge import class_iou, confusion_matrix
from ntir2dc.pretrained.detector import load_pretrained_detector, match_categories
from ntir2dc.pretrained.teacher import load_teacher
from scenes import write_scenes

Capture = pytest.CaptureFixture[str]

SIZE = (48, 64)
SEEN = {0: "Pedestrian", 1: "cat", 2: "bike", 3: "car"}
LABELS = {0: "road", 1: "sky", 2: "house", 3: "cat", 4: "building", 5: "tree", 6: "car"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    write_scenes(folder, seed=3, n_train_a=0, n_train_b=0, n_val=2, n_judge=0, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def unlabeled(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes without their labels, so that no judge reads them."""
    folder = tmp_path_factory.mktemp("unlabeled")
    for path in scenes.iterdir():
        if path.name != "valB_labels":
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_yolos(tmp_path_factory.mktemp("networks") / "yolos", SEEN)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_segformer(tmp_path_factory.mktemp("networks") / "segformer", LABELS)


def run_command(data: Path, out: Path, **options: Any) -> int:
    return command.main(data=data, results=[f"day={data / 'valB_day'}"], out=out, device="cpu", **options)


def result_of(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return result


# ---- a detector ------------------------------------------------------------------------------------------------------


def write_truth(path: Path, names: list[str], found: list[dict[str, Any]]) -> None:
    """Write as COCO has it that every second thing found is there, and in each frame a person and a tree."""
    there = [(entry["image_id"], entry["category_id"], entry["bbox"]) for entry in found[::2]]
    there += [(i, category, [2, 2, 20, 30]) for i in range(len(names)) for category in (1, 7)]
    truth = {
        "images": [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": box}
            for n, (image, category, box) in enumerate(there)
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 7, "name": "tree"}],
    }
    path.write_text(json.dumps(truth))


def results_by_hand(folder: Path, pictures: Path, names: list[str]) -> list[dict[str, Any]]:
    """Return what a YOLOS finds in pictures as COCO results: its output turned into boxes one by one."""
    transformers = installed()
    model = transformers.YolosForObjectDetection.from_pretrained(folder).eval()
    prepare = transformers.AutoImageProcessor.from_pretrained(folder)
    entries = []
    for i, name in enumerate(names):
        image = Image.open(pictures / name).convert("RGB")
        with torch.inference_mode():
            output = model(**prepare(images=image, return_tensors="pt"))
        for logits, box in zip(output.logits[0], output.pred_boxes[0], strict=True):
            score, label = logits.softmax(0)[:-1].max(0)
            category = {0: 1, 3: 3}.get(int(label))
            if category is not None:
                x, y, w, h = (box * torch.tensor([64.0, 48.0, 64.0, 48.0])).tolist()
                entries.append(
                    {"image_id": i, "category_id": category, "bbox": [x - w / 2, y - h / 2, w, h],
                     "score": float(score)}
                )  # fmt: skip
    return entries


def test_figures_are_those_of_a_file_of_its_detections(
    unlabeled: Path, yolos: Path, tmp_path: Path, capsys: Capture
) -> None:
    names = sorted(path.name for path in (unlabeled / "valB").iterdir())
    detections = []
    for row, folder in (("day", "valB_day"), ("input", "valB")):
        found = results_by_hand(yolos, unlabeled / folder, names)
        assert found
        (tmp_path / f"{row}.json").write_text(json.dumps(found))
        detections.append(f"{row}={tmp_path / row}.json")
        write_truth(tmp_path / "truth.json", names, found)
    options: dict[str, Any] = {"boxes": tmp_path / "truth.json", "detection_score": 0.3}
    assert run_command(unlabeled, tmp_path / "file", detections=detections, **options) == 0
    assert run_command(unlabeled, tmp_path / "net", detector=str(yolos), offline=True, **options) == 0
    expected = {row["name"]: row for row in result_of(tmp_path / "file")["objects"]["rows"]}
    objects = result_of(tmp_path / "net")["objects"]
    rows = {row["name"]: row for row in objects["rows"]}
    assert list(rows) == ["input", "tinted input", "day", "true day image"]
    for name, row in expected.items():
        assert rows[name]["classes"] == row["classes"]
        for key, figure in row["figures"].items():
            assert rows[name]["figures"][key] == pytest.approx(figure, abs=1e-6)
    assert rows["true day image"]["figures"] == rows["day"]["figures"]
    totals = [sum(of_class[key] for of_class in expected["input"]["classes"].values()) for key in ("kept", "invented")]
    assert min(totals) > 0
    assert expected["input"]["figures"]["ap all"]["value"] > 0
    assert f"{yolos} does not know tree; these objects count as missed." in objects["notes"]
    assert "found by the detector" in capsys.readouterr().out.replace("\n", " ")


def test_scenes_need_no_boxes_and_other_data_does(
    unlabeled: Path, yolos: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert run_command(unlabeled, tmp_path / "out", detector=str(yolos)) == 0
    assert result_of(tmp_path / "out")["objects"]["truth"].endswith("valB_boxes.json")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("valB", "valB_day"):
        (other / name).symlink_to(unlabeled / name)
    assert run_command(other, tmp_path / "out", detector=str(yolos)) == 1
    assert "detector: expected --boxes as well" in capsys.readouterr().err
    assert run_command(unlabeled, tmp_path / "out", detector=str(yolos), detections=["day=x.json"]) == 1
    assert "detector: takes the place of --detections" in capsys.readouterr().err


def test_pictures_found_together_are_found_as_one_by_one(yolos: Path) -> None:
    detector = load_pretrained_detector(str(yolos), "cpu")
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)) for _ in range(3)]
    for together, image in zip(detector.find(images), images, strict=True):
        (alone,) = detector.find([image])
        assert together.corners.shape == (8, 4)
        np.testing.assert_array_equal(together.classes, alone.classes)
        np.testing.assert_allclose(together.corners, alone.corners, atol=1e-3)
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)


def test_categories_are_matched_by_what_they_mean() -> None:
    detector: Any = SimpleNamespace(name="net", names={0: "N/A", 1: "Pedestrian", 2: "stop-sign", 3: "motorcycle"})
    assert match_categories(("motor", "person", "sign", "dog"), detector) == {1: 1, 2: 2, 3: 0}
    with pytest.raises(DataError, match=r"net: none of its 4 classes \(N/A, .*\) is a category of the boxes \(dog\)"):
        match_categories(("dog",), detector)


def test_a_segmentation_network_is_no_detector(segformer: Path) -> None:
    with pytest.raises(DataError, match=r"is of the kind segformer, expected an object detector such as YOLOS"):
        load_pretrained_detector(str(segformer), "cpu")


def test_a_file_is_a_detector_of_scenes(tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    assert ObjectsAsked(detector=str(tmp_path / "weights")).of_scenes
    assert ObjectsAsked(detector="gone.safetensors").of_scenes
    assert not ObjectsAsked(detector=str(tmp_path)).of_scenes


# ---- a segmentation network ------------------------------------------------------------------------------------------


def test_iou_is_that_of_what_the_network_says(scenes: Path, segformer: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run_command(scenes, tmp_path, teacher=str(segformer), offline=True) == 0
    result = result_of(tmp_path)
    teacher = load_teacher(str(segformer), torch.device("cpu"))
    total = np.zeros((19, 19), np.int64)
    for path in sorted((scenes / "valB_day").iterdir()):
        scores = teacher.scores([to_image(read_color(path))])[0]
        own = torch.zeros(19, *SIZE)
        for i, name in LABELS.items():
            meant = {"house": "building", "tree": "vegetation"}.get(name, name)
            if meant in CITYSCAPES.names:
                own[CITYSCAPES.index(meant)] += scores[i]
        truth = read_labels(scenes / "valB_labels" / path.name)
        total += confusion_matrix(own.argmax(0), truth, CITYSCAPES)
    (row,) = (row for row in result["rows"] if row["name"] == "day")
    expected = dict(zip(CITYSCAPES.names, class_iou(total).tolist(), strict=True))
    assert row["iou"] == pytest.approx({k: None if np.isnan(v) else v for k, v in expected.items()})
    assert max(value for value in row["iou"].values() if value is not None) > 0
    assert result["judge"]["teacher"] == str(segformer)
    assert [c["key"] for c in result["columns"] if "second" in c["key"]] == []
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "the pretrained network" in printed
    assert any(note.startswith(f"{segformer} does not know sidewalk, wall") for note in result["notes"])


def test_a_teacher_needs_labels_and_no_judge(scenes: Path, unlabeled: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run_command(unlabeled, tmp_path / "out", teacher="net") == 1
    assert "teacher: expected label maps to compare with in" in capsys.readouterr().err
    assert run_command(scenes, tmp_path / "out", teacher="net", judge="shipped") == 1
    assert "teacher: takes the place of the judges; leave out --judge" in capsys.readouterr().err
