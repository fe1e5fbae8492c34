from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import exif_of
from helpers.small_folder import write_folder
from morn_losses import CITYSCAPES
from ntir2dc.data.images import DataError
from scenes import write_scenes
from studies.cards.card import Table
from studies.frames.scene_statistics import (
    class_shares,
    class_table,
    color_statistics,
    compare,
    distance,
    draw_curves,
    furthest,
    make_groups,
    read_pictures,
    reduce_to,
)

ROOT = Path(__file__).resolve().parents[2]


def gray(*values: int, size: tuple[int, int] = (8, 4)) -> list[Image.Image]:
    return [Image.new("L", size, value) for value in values]


def mean_of(picture: Image.Image) -> dict[str, float]:
    return {"mean": float(np.asarray(picture).mean())}


def test_frames_are_reduced_by_area_to_the_short_side_of_the_scenes() -> None:
    pixels = np.arange(12 * 18, dtype=np.uint8).reshape(12, 18)
    small = np.asarray(reduce_to(Image.fromarray(pixels), 4), float)
    assert small.shape == (4, 6)
    np.testing.assert_allclose(small, pixels.reshape(4, 3, 6, 3).mean((1, 3)), atol=0.5)
    with pytest.raises(DataError, match="expected frames of at least 13 pixels a side"):
        reduce_to(Image.fromarray(pixels), 13)


def test_groups_are_called_by_their_size() -> None:
    frames, small, scenes = make_groups(gray(1, 2, size=(24, 12)), gray(3, size=(8, 6)))
    assert [g.title for g in (frames, small, scenes)] == ["frames, 24 x 12", "frames reduced, 12 x 6", "scenes, 8 x 6"]
    assert [len(g.pictures) for g in (frames, small, scenes)] == [2, 2, 1]
    mixed = make_groups([*gray(1, size=(24, 12)), *gray(1, size=(12, 12))], gray(3, size=(8, 6)))
    assert [g.title for g in mixed] == ["frames, several sizes", "frames reduced, several sizes", "scenes, 8 x 6"]
    with pytest.raises(DataError, match="expected scenes of one size"):
        make_groups(gray(1), [*gray(1), *gray(1, size=(4, 4))])


def test_scenes_are_compared_with_frames_of_their_size() -> None:
    groups = make_groups(gray(10, 20, 30), gray(40, 50, 60))
    table = compare("t", mean_of, groups)
    assert table.columns == ("frames, 8 x 4", "frames reduced, 8 x 4", "scenes, 8 x 4", "apart, sd")
    ((name, cells),) = table.rows
    assert (name, cells[1], cells[2]) == ("mean", (10, 20, 30), (40, 50, 60))
    assert cells[3] == (pytest.approx(3),)
    assert distance((1.0, 3.0), (1.0, 3.0)) == 0
    assert distance((1.0, 3.0), (2.0, 4.0)) == pytest.approx(-1 / math.sqrt(2))
    assert math.isnan(distance((1.0,), (2.0, 4.0)))
    assert math.isnan(distance((1.0, 1.0), (2.0, 2.0)))


def test_the_furthest_come_first() -> None:
    rows = tuple((name, ((0.0,), (apart,))) for name, apart in (("a", 1.0), ("b", -3.0), ("c", math.nan), ("d", 2.0)))
    assert furthest([Table("t", ("x", "apart"), rows)], 2) == [("t: b", -3.0), ("t: d", 2.0)]


def test_colors_of_known_pictures() -> None:
    half = Image.new("RGB", (8, 8), (0, 0, 0))
    half.paste((200, 100, 100), (4, 0, 8, 8))
    found = color_statistics(half)
    assert found["saturation, %"] == pytest.approx(25)
    assert found["90th percentile of the saturation, %"] == pytest.approx(50)
    assert found["brightness"] == pytest.approx((0.299 * 200 + 0.701 * 100) / 2, abs=0.5)
    assert found["mean gradient"] > 0
    assert color_statistics(Image.new("RGB", (8, 8), (90, 90, 90)))["saturation, %"] == 0


def save_maps(folder: Path, **maps: list[np.ndarray]) -> None:
    for kind, arrays in maps.items():
        (folder / kind).mkdir(parents=True)
        for i, array in enumerate(arrays):
            Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"{i}.png")


def test_classes_are_those_on_which_both_predictions_agree(tmp_path: Path) -> None:
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    first[:2], second[:1] = 11, 11
    first[3, 3] = second[3, 3] = 255
    save_maps(tmp_path, labels_pred1=[first], labels_pred2=[second])
    (shares,) = class_shares(tmp_path, CITYSCAPES)
    assert shares["person"] == 25
    assert shares["road"] == 100 * 7 / 16
    assert shares["none"] == pytest.approx(100 * 5 / 16)
    assert sum(shares.values()) == pytest.approx(100)

    save_maps(tmp_path, labelsA=[first, second])
    given = class_shares(tmp_path, CITYSCAPES)
    assert [s["person"] for s in given] == [50, 25]
    table = class_table([shares], given)
    assert dict(table.rows)["person"][:2] == ((25,), (50, 25))
    assert class_shares(tmp_path / "nothing", CITYSCAPES) == []


def test_predictions_that_do_not_belong_together(tmp_path: Path) -> None:
    save_maps(tmp_path / "a", labels_pred1=[np.zeros((4, 4))] * 2, labels_pred2=[np.zeros((4, 4))])
    with pytest.raises(DataError, match="expected maps of the same names in labels_pred1 and labels_pred2"):
        class_shares(tmp_path / "a", CITYSCAPES)
    save_maps(tmp_path / "b", labels_pred1=[np.zeros((4, 4))], labels_pred2=[np.zeros((4, 5))])
    with pytest.raises(DataError, match=r"labels_pred2/0\.png: is not of the size of"):
        class_shares(tmp_path / "b", CITYSCAPES)


def test_maps_that_cannot_be_used(tmp_path: Path) -> None:
    save_maps(tmp_path / "a", labelsA=[np.full((4, 4), 23)])
    with pytest.raises(DataError, match=r"labelsA/0\.png: holds ids \[23\]"):
        class_shares(tmp_path / "a", CITYSCAPES)
    save_maps(tmp_path / "b", labelsA=[np.zeros((4, 4))])
    Image.new("L", (4, 4)).save(tmp_path / "b" / "labelsA" / "0.bmp")
    with pytest.raises(DataError, match=r"labelsA/0\.png: has the name of 0\.bmp"):
        class_shares(tmp_path / "b", CITYSCAPES)


def test_two_predictions_of_a_turned_photograph_may_have_either_size(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save_maps(tmp_path, labels_pred1=[ids], labels_pred2=[np.rot90(ids, -1)])
    (tmp_path / "trainA").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "trainA" / "0.png", exif=exif_of(6))
    (shares,) = class_shares(tmp_path, CITYSCAPES)
    assert shares["none"] == pytest.approx(0)


def test_thermal_pictures_are_gray(tmp_path: Path) -> None:
    write_folder(tmp_path)
    pictures = read_pictures(tmp_path / "trainB", thermal=True)
    assert {picture.mode for picture in pictures} == {"L"}
    with Image.open(sorted((tmp_path / "trainB").iterdir())[0]) as stored:
        assert np.array_equal(np.asarray(pictures[0]), np.asarray(stored))
    assert {picture.mode for picture in read_pictures(tmp_path / "trainA", thermal=False)} == {"RGB"}


def test_curves_are_drawn_for_frames_of_several_sizes() -> None:
    rng = np.random.default_rng(0)

    def picture(height: int, width: int) -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))

    sheet = draw_curves(make_groups([picture(50, 70), picture(60, 60)], [picture(40, 48)]))
    assert sheet.size == (2 * 520 + 6, 2 * (320 + 3 * 16) + 6)


# ---- the command -----------------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "examples" / "studies" / "scene_statistics.py"
    return subprocess.run([sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "scenes"
    write_scenes(folder, seed=0, n_train_a=3, n_train_b=3, n_val=1, n_judge=1, size=(48, 64))
    return folder


def test_the_command_writes_tables_and_curves(tmp_path: Path, scenes: Path) -> None:
    real = write_folder(tmp_path / "real", size=(96, 120))
    done = run("--real", real, "--scenes", scenes, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "scene_statistics.md").read_text()
    assert page in done.stdout
    assert page.count("| frames, 120 x 96 | frames reduced, 60 x 48 | scenes, 64 x 48 | apart, sd |") == 5
    for row in ("entropy, bits", "noise sd", "blobs in an image", "saturation, %", "person"):
        assert f"| {row} |" in page
    result = json.loads((tmp_path / "out" / "scene_statistics.json").read_text())
    assert result["images"] == {"trainB": [4, 3], "trainA": [3, 3]}
    assert len(result["furthest apart"]) == 10
    assert len(result["tables"]) == 6
    with Image.open(tmp_path / "out" / "scene_statistics.png") as picture:
        assert picture.width == 1046


def test_scenes_do_not_differ_from_themselves_and_color_is_optional(tmp_path: Path, scenes: Path) -> None:
    only = tmp_path / "thermal"
    (only / "trainB").mkdir(parents=True)
    for path in (scenes / "trainB").iterdir():
        (only / "trainB" / path.name).write_bytes(path.read_bytes())
    done = run("--real", only, "--scenes", scenes, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "scene_statistics.json").read_text())
    assert len(result["tables"]) == 4
    apart = [row["apart, sd"]["mean"] for table in result["tables"] for row in table["rows"].values()]
    assert {value for value in apart if value is not None} == {0}


def test_a_folder_without_frames_is_named(tmp_path: Path, scenes: Path) -> None:
    done = run("--real", tmp_path, "--scenes", scenes, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == f"scene_statistics: {tmp_path / 'trainB'}: expected a folder with images, found none\n"
    assert not (tmp_path / "out").exists()
