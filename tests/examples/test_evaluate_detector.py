"""A detector of scenes that looks at every row of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evaluate as command
from ntir2dc.data.images import DataError, read_color
from ntir2dc.detector import CLASSES, Detector, detect, load_detector
from ntir2dc.evaluation.boxes import scene_boxes
from ntir2dc.evaluation.faithfulness import match_class
from ntir2dc.files import write_atomically
from ntir2dc.judge.shipped import to_half
from scenes import write_scenes

SIZE = (48, 64)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    write_scenes(folder, seed=3, n_train_a=0, n_train_b=0, n_val=3, n_judge=0, size=SIZE)
    (folder / "valB_labels").rename(folder / "unused")  # no judge is needed here
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that has learned nothing and sees objects everywhere."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    write_atomically(path, to_half(Detector().state_dict()))
    return path


def run_command(data: Path, out: Path, **options: Any) -> int:
    return command.main(data=data, results=[f"day={data / 'valB_day'}"], out=out, device="cpu", **options)


def test_the_table_is_that_of_its_detections(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(scenes, tmp_path, detector=str(weights), detection_score=0.3, detection_iou=0.2, limit=2) == 0
    objects = json.loads((tmp_path / "metrics.json").read_text())["objects"]
    rows = {row["name"]: row for row in objects["rows"]}
    assert list(rows) == ["input", "tinted input", "day", "true day image"]
    assert rows["day"]["figures"] == rows["true day image"]["figures"]
    boxes, detector = scene_boxes(scenes), load_detector(weights)
    names = sorted(boxes)[:2]
    truths = [boxes[name] for name in names]
    found = [detect(detector, read_color(scenes / "valB_day" / name)) for name in names]
    assert sum(len(frame.scores) for frame in found) > 10
    for label, title in enumerate(CLASSES):
        matches = match_class(truths, found, label, iou=0.2)
        value = rows["day"]["figures"][f"ap {title}"]["value"]
        expected = matches.average_precision(np.ones(2))
        assert value is None if np.isnan(expected) else value == pytest.approx(expected)
        totals = matches.by_frame(0.3).sum(0).astype(int).tolist()
        assert rows["day"]["classes"][title] == dict(zip(("objects", "kept", "invented"), totals, strict=True))
    assert objects["frames"] == 2
    printed = capsys.readouterr().out
    assert "by valB_boxes.json, found by the detector" in printed.replace("\n", " ")
    assert "IoU of at least 0.2" in printed.replace("\n", " ")


def test_only_scenes_that_it_knows_are_searched(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in scenes.iterdir():
        (other / path.name).symlink_to(path)
    held = json.loads((scenes / "scenes.json").read_text())
    (other / "scenes.json").unlink()
    (other / "scenes.json").write_text(json.dumps(held | {"world": "b"}))
    assert run_command(other, tmp_path / "out", detector=str(weights)) == 1
    assert "detector: knows procedural scenes of world a as they look now, and" in capsys.readouterr().err
    empty = {name: [] for name in scene_boxes(scenes)}
    (other / "scenes.json").write_text(json.dumps(held))
    (other / "valB_boxes.json").unlink()
    (other / "valB_boxes.json").write_text(json.dumps(empty))
    assert run_command(other, tmp_path / "out", detector=str(weights)) == 1
    assert "valB_boxes.json: holds no person and no car that is large enough" in capsys.readouterr().err


@pytest.mark.parametrize("option", [{"boxes": Path("truth.json")}, {"detections": ["day=found.json"]}])
def test_a_detector_takes_the_place_of_files(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: dict[str, Any]
) -> None:
    assert run_command(scenes, tmp_path / "out", detector=str(weights), **option) == 1
    assert "leave out --boxes and --detections" in capsys.readouterr().err


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: cannot be read .*examples/studies/detector\.py trains a detector"):
        load_detector(tmp_path / "gone")
    for content in (b"nothing", to_half({"x": torch.zeros(3)})):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(DataError, match=r"other: holds no detector of examples/studies/detector\.py"):
            load_detector(tmp_path / "other")
