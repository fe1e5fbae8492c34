from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.small_folder import write_folder
from morn_losses import CITYSCAPES, LabelFusion, LabelSpace, SemanticDenoiser
from morn_losses.edges import canny_edges
from morn_losses.functional import to_gray
from ntir2dc.data.folders import TrainingData, prepare_training_data, read_edges
from ntir2dc.data.images import DataError, read_color, read_labels


def prepare(folder: Path, cache: Path, **options: object) -> TrainingData:
    return prepare_training_data(folder, cache, CITYSCAPES, crop=32, **options)  # type: ignore[arg-type]


def test_finds_images_and_derives_edges_and_labels(data_folder: Path, tmp_path: Path) -> None:
    before = sorted(data_folder.rglob("*"))
    told: list[str] = []
    data = prepare(data_folder, tmp_path / "cache", report=told.append)
    assert [f.image.name for f in data.a] == ["a0.png", "a1.png", "a2.png"]
    assert [len(data.b), len(data.val_b)] == [4, 1]
    assert sorted(data_folder.rglob("*")) == before, "the data folder was written to"
    assert len(told) == 3

    frame = data.a[1]
    image = read_color(frame.image)
    expected = canny_edges(to_gray(image[None])[0, 0].numpy(), 0.1, 0.2)
    np.testing.assert_array_equal(read_edges(frame.edges).numpy(), expected.astype(np.float32))
    first, second = (read_labels(data_folder / name / "a1.png")[None] for name in ("labels_pred1", "labels_pred2"))
    fused = LabelFusion.visible(CITYSCAPES)(first, second)
    assert frame.labels is not None
    assert torch.equal(read_labels(frame.labels)[None], SemanticDenoiser.visible(CITYSCAPES)(fused, image[None]))
    assert (read_labels(frame.labels) == 255).any()


def test_derived_files_are_cached_and_renewed(data_folder: Path, tmp_path: Path) -> None:
    first = prepare(data_folder, tmp_path / "cache")
    told: list[str] = []
    assert prepare(data_folder, tmp_path / "cache", report=told.append) == first
    assert told == []
    later = first.a[0].edges.stat().st_mtime + 10
    import os

    os.utime(data_folder / "trainA" / "a0.png", (later, later))
    prepare(data_folder, tmp_path / "cache", report=told.append)
    assert len(told) == 2
    assert all("1 images" in line for line in told)
    other = prepare(data_folder, tmp_path / "cache", denoise=False)
    assert other.a[0].labels != first.a[0].labels
    assert prepare(data_folder, tmp_path / "cache", edge_thresholds=(0.2, 0.4)).a[0].edges != first.a[0].edges


def test_given_edges_and_labels_are_used(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    (folder / "edgesB").mkdir()
    given = np.zeros((40, 48), np.uint8)
    given[5] = 255
    Image.fromarray(given).save(folder / "edgesB" / "b2.png")
    data = prepare(folder, tmp_path / "cache", denoise=False)
    assert read_edges(data.b[2].edges).sum() == 48
    assert data.b[1].edges.parent.parent == tmp_path / "cache"
    assert data.a[0].labels is not None
    assert torch.equal(read_labels(data.a[0].labels), read_labels(folder / "labelsA" / "a0.png"))


def test_labels_are_optional_without_semantic_consistency(data_folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(data_folder / "labels_pred1")
    data = prepare(data_folder, tmp_path / "cache", need_labels=False)
    assert all(f.labels is None for f in data.a)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def _grow(path: Path) -> None:
    Image.new("L", (50, 40)).save(path)


def _unknown(path: Path) -> None:
    image = np.array(Image.open(path))
    image[0, 0] = 42
    Image.fromarray(image).save(path)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("trainA/a1.png", _truncate, "a1.png"),
        ("trainB/b2.png", _truncate, "b2.png"),
        ("valB/b4.png", _truncate, "b4.png"),
        ("trainB/b0.png", lambda p: p.write_text("no picture"), "b0.png"),
        ("trainA/a0.png", lambda p: Image.new("RGB", (20, 20)).save(p), "smaller than the training crop of 32"),
        ("labels_pred1/a1.png", _truncate, "a1.png"),
        ("labels_pred2/a1.png", _grow, r"labels_pred2/a1.png: is 50 x 40, its image .*a1.png is 48 x 40"),
        ("labels_pred2/a2.png", _unknown, r"labels_pred2/a2.png: holds ids \[42\]"),
        ("labels_pred1/a0.png", lambda p: p.unlink(), r"trainA/a0.png: has no map of its name in .*labels_pred1"),
        ("trainA/a2.png", lambda p: p.unlink(), r"a2.png: has no image of its name"),
        ("labels_pred1", shutil.rmtree, "expected labelsA, or labels_pred1 and labels_pred2"),
        ("trainB", shutil.rmtree, "trainB: expected a folder with images"),
    ],
)
def test_one_clear_message_names_the_file(data_folder: Path, tmp_path: Path, name: str, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    spoil(data_folder / name)
    with pytest.raises(DataError, match=message) as caught:
        prepare(data_folder, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_unknown_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        prepare(tmp_path / "nowhere", tmp_path)


def test_another_label_space(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    space = LabelSpace(("road", "vegetation", "sky", "pole"), (3,), (3,), (0, 1, 2))
    with pytest.raises(DataError, match=r"neither in \[0, 4\)"):
        prepare_training_data(folder, tmp_path / "cache", space, crop=32, denoise=False)
