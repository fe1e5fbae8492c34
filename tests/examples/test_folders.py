from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train_morngan
from helpers.image_files import exif_of
from helpers.small_folder import write_folder
from helpers.tiny_run import tiny_config
from morn_losses import CITYSCAPES, LabelFusion, LabelSpace, SemanticDenoiser
from morn_losses.edges import canny_edges
from morn_losses.functional import to_gray
from ntir2dc.data.folders import TrainingData, check_training_data, prepare_training_data, read_edges
from ntir2dc.data.images import DataError, read_color, read_labels
from ntir2dc.data.samples import turned


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


def test_derived_files_are_kept(data_folder: Path, tmp_path: Path) -> None:
    first = prepare(data_folder, tmp_path / "cache")
    told: list[str] = []
    assert prepare(data_folder, tmp_path / "cache", report=told.append) == first
    for path in data_folder.rglob("*.png"):  # a date says nothing
        os.utime(path, (2e9, 2e9))
    assert prepare(data_folder, tmp_path / "cache", report=told.append) == first
    assert told == []
    other = prepare(data_folder, tmp_path / "cache", denoise=False)
    assert other.a[0].labels != first.a[0].labels
    assert prepare(data_folder, tmp_path / "cache", edge_thresholds=(0.2, 0.4)).a[0].edges != first.a[0].edges


def _others_of_one_date(folder: Path) -> None:
    """Other labels and another image under the old names, sizes and dates."""
    for name in ("labelsA/a0.png", "trainB/b0.png"):
        pixels = np.array(Image.open(folder / name))
        pixels[:20] = 8
        Image.fromarray(pixels).save(folder / name)
        os.utime(folder / name, (1.6e9, 1.6e9))


def _another_size(folder: Path) -> None:
    write_folder(folder, single=True, size=(36, 52))


def _another_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    write_folder(folder, single=True, n_a=3)
    for path in folder.rglob("*.png"):
        Image.fromarray(np.array(Image.open(path))[:, ::-1].copy()).save(path)


@pytest.mark.parametrize("change", [_others_of_one_date, _another_size, _another_folder])
@pytest.mark.parametrize("denoise", [True, False])
def test_what_was_made_from_other_files_is_made_anew(tmp_path: Path, change, denoise: bool) -> None:  # type: ignore[no-untyped-def]
    folder = write_folder(tmp_path / "data", single=True)
    for path in folder.rglob("*.png"):
        os.utime(path, (1.6e9, 1.6e9))
    prepare(folder, tmp_path / "cache", denoise=denoise)
    change(folder)
    found = prepare(folder, tmp_path / "cache", denoise=denoise)
    expected = prepare(folder, tmp_path / "new", denoise=denoise)
    for mine, wanted in zip((*found.a, *found.b), (*expected.a, *expected.b), strict=True):
        assert torch.equal(read_edges(mine.edges), read_edges(wanted.edges))
        if mine.labels is not None and wanted.labels is not None:
            assert torch.equal(read_labels(mine.labels), read_labels(wanted.labels))


def test_a_run_that_goes_on_sees_that_labels_were_replaced(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    config = tiny_config(tmp_path / "run", data=str(folder))
    train_morngan.prepare(config, False, lambda _: None)
    _others_of_one_date(folder)
    told: list[str] = []
    train_morngan.prepare(config, True, told.append)
    assert any(line.startswith("labels of 1 images") for line in told)
    assert any(line.startswith("edges of 1 images") for line in told)


@pytest.mark.parametrize("spoil", ["cut", "emptied", "another picture"])
def test_a_kept_file_that_is_damaged_is_made_anew(data_folder: Path, tmp_path: Path, spoil: str) -> None:
    first = prepare(data_folder, tmp_path / "cache")
    for path in (first.a[0].edges, first.a[0].labels):
        assert path is not None
        whole = path.read_bytes()
        if spoil == "another picture":
            Image.new("L", (48, 40)).save(path)
        else:
            path.write_bytes(whole[:-30] if spoil == "cut" else b"")
        prepare(data_folder, tmp_path / "cache")
        assert path.read_bytes() == whole


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
        (
            "valB/b4.png",
            lambda p: Image.new("L", (20, 7)).save(p),
            "is 20 x 7, smaller than the 8 x 8 that the networks",
        ),
        ("edgesB/b1.png", _grow, r"edgesB/b1.png: is 50 x 40, its image .*b1.png is 48 x 40"),
        (
            "edgesA/a1.png",
            lambda p: Image.new("L", (48, 40), 1).save(p),
            "a1.png: holds values up to 1, exp",
        ),
        ("edgesA/a9.png", _grow, r"edgesA/a9.png: has no image of its name"),
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
    (data_folder / name).parent.mkdir(exist_ok=True)
    spoil(data_folder / name)
    with pytest.raises(DataError, match=message) as caught:
        prepare(data_folder, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError) as checked:
        check_training_data(data_folder, CITYSCAPES, crop=32)
    assert str(checked.value) == str(caught.value)


def test_unknown_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        prepare(tmp_path / "nowhere", tmp_path)


def test_a_folder_named_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"^{tmp_path}/data: no such folder, which is where data lies from here"):
        prepare(Path("data"), tmp_path)


def test_another_label_space(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    space = LabelSpace(("road", "vegetation", "sky", "pole"), (3,), (3,), (0, 1, 2))
    with pytest.raises(DataError, match=r"neither in \[0, 4\)"):
        prepare_training_data(folder, tmp_path / "cache", space, crop=32, denoise=False)


def test_a_check_derives_nothing(data_folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    check_training_data(data_folder, CITYSCAPES, crop=32)
    assert sorted(tmp_path.rglob("*")) == before


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trainA", "trainB", "valB", "labels_pred1", "labels_pred2", "edgesA", "edgesB"])
@pytest.mark.parametrize("twin", [".tiff", ".PNG", "composed in another way"])
def test_two_files_of_one_name_are_refused(data_folder: Path, tmp_path: Path, name: str, twin: str) -> None:
    first = data_folder / name / {"A": "a0.png", "B": "b0.png"}.get(name[-1], "a0.png")
    first.parent.mkdir(exist_ok=True)
    if not first.exists():
        Image.new("L", (48, 40)).save(first)
    if twin.startswith("."):
        second = first.with_suffix(twin)
    else:
        names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
        first, second = first.rename(first.with_name(names[0])), first.with_name(names[1])
    Image.fromarray(np.array(Image.open(first))).save(second)
    with pytest.raises(DataError, match="has the name of .*, and files are joined by their names"):
        prepare(data_folder, tmp_path / "cache")


def test_names_are_joined_however_their_accents_are_composed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    for name, form in (("trainA", "NFC"), ("labelsA", "NFD")):
        (folder / name / "a0.png").rename(folder / name / unicodedata.normalize(form, "a-Zürich.png"))
    data = prepare(folder, tmp_path / "cache", denoise=False)
    (frame,) = (frame for frame in data.a if frame.image.name.startswith("a-"))
    assert frame.labels is not None
    (given,) = (folder / "labelsA").glob("a-*")
    assert torch.equal(read_labels(frame.labels), read_labels(given))


@pytest.mark.parametrize("stem", ["x" * 251, os.fsdecode(b"caf\xe9"), "a b'\"$`", "ü" * 125])
def test_any_legal_name_will_do(data_folder: Path, tmp_path: Path, stem: str) -> None:
    for name in ("trainA", "labels_pred1", "labels_pred2"):
        (data_folder / name / "a0.png").rename(data_folder / name / f"{stem}.png")
    (data_folder / "trainB" / "b0.png").rename(data_folder / "trainB" / f"{stem}.png")
    data = prepare(data_folder, tmp_path / "cache")
    assert stem in {frame.labels.stem for frame in data.a if frame.labels is not None}
    assert stem in {frame.edges.stem for frame in data.b}
    told: list[str] = []
    assert prepare(data_folder, tmp_path / "cache", report=told.append) == data
    assert told == []


# ---- turned photographs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("as_shown", [True, False])
def test_maps_lie_on_a_turned_photograph(tmp_path: Path, orientation: int, as_shown: bool) -> None:
    folder = write_folder(tmp_path / "data")
    edges = np.zeros((40, 48), np.uint8)
    edges[3, 5:20] = 255
    (folder / "edgesA").mkdir()
    for path in (folder / "trainA").iterdir():
        Image.fromarray(edges).save(folder / "edgesA" / path.name)
    plain = prepare(folder, tmp_path / "plain")
    for path in (folder / "trainA").iterdir():
        Image.open(path).save(path, exif=exif_of(orientation))
    if as_shown or orientation < 5:  # a map of the stored size is only told from one as shown if that is another
        for kind in ("labels_pred1", "labels_pred2", "edgesA"):
            for path in (folder / kind).iterdir():
                Image.fromarray(turned(np.array(Image.open(path)), orientation)).save(path)
    found = prepare(folder, tmp_path / "cache")
    for mine, wanted in zip(found.a, plain.a, strict=True):
        assert mine.labels is not None
        assert wanted.labels is not None
        assert np.array_equal(read_labels(mine.labels), turned(read_labels(wanted.labels).numpy(), orientation))
        assert np.array_equal(read_edges(mine.edges), turned(edges / 255, orientation))


def test_numbers_may_be_numpys(data_folder: Path, tmp_path: Path) -> None:
    plain = prepare(data_folder, tmp_path / "cache")
    told: list[str] = []
    thresholds = (np.float64(0.1), np.float64(0.2))
    found = prepare_training_data(
        data_folder, tmp_path / "cache", CITYSCAPES, crop=np.int64(32), edge_thresholds=thresholds, report=told.append
    )
    assert found == plain
    assert told == []
