"""``prepare_data.py`` on trees of FLIR's two releases and of KAIST."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonargparse import auto_cli
from PIL import Image

import prepare_data
from helpers.trees import SIZE, coco, gray, save, write_flir_v1, write_flir_v2, write_kaist
from ntir2dc.data.samples import DataError
from ntir2dc.preparing.boxes import Box, Tally, Truth, move
from ntir2dc.preparing.geometry import Geometry, fit, parse_size, place
from ntir2dc.preparing.plan import thinned
from prepare_data import main

SMALL: dict[str, Any] = {"cover": (32, 24), "crop": (16, 12)}
WHOLE: dict[str, Any] = {"cover": None, "crop": None}

Capture = pytest.CaptureFixture[str]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def written(output: Path) -> dict[str, list[str]]:
    folders = [path for path in sorted(output.iterdir()) if path.is_dir() and path.name != "boxes"]
    return {folder.name: sorted(path.stem for path in folder.iterdir()) for folder in folders}


def states(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.png")}


# ---- KAIST -----------------------------------------------------------------------------------------------------------


def test_kaists_frames_are_named_after_set_and_video_and_none_replaces_another(tmp_path: Path, capsys: Capture) -> None:
    tree = write_kaist(tmp_path / "KAIST")
    assert main(tree, tmp_path / "out", "kaist", **WHOLE) == 0
    night = [f"set03_V00{video}_I000{frame:02d}" for video in (0, 1) for frame in (0, 10, 20)]
    assert written(tmp_path / "out") == {
        "trainA": [f"set00_V00{video}_I000{frame:02d}" for video in (0, 1) for frame in (0, 20)],
        "trainB": night,
        "valB": [f"set09_V00{video}_I000{frame:02d}" for video in (0, 1) for frame in (0, 20)],
    }
    for name in night:
        source = tree / "images" / name.replace("_I", "/lwir/I").replace("_", "/")
        assert np.array_equal(pixels(tmp_path / "out" / "trainB" / f"{name}.png"), pixels(source.with_suffix(".jpg")))
    out = capsys.readouterr().out
    assert f"found {tree / 'images'}" in out
    assert "left out 1: day of the test (set06)" in out
    assert f"6 images written to {tmp_path / 'out' / 'trainB'}" in out


def test_a_tree_of_every_20th_frame_is_not_thinned_again(tmp_path: Path) -> None:
    paths = [Path(f"I{number:05d}.jpg") for number in (19, 39, 59, 60, 99)]
    assert [path.stem for path in thinned(paths, 20)] == ["I00019", "I00039", "I00059", "I00099"]
    assert thinned(paths, 1) == paths


def test_boxes_of_kaists_texts_are_moved_with_their_frames(tmp_path: Path, capsys: Capture) -> None:
    tree = write_kaist(tmp_path / "KAIST", 1)
    assert main(tree, tmp_path / "out", "kaist", cover=(32, 24), crop=(20, 16)) == 0
    content = json.loads((tmp_path / "out" / "boxes" / "valB.json").read_text())
    assert [(image["file_name"], image["width"], image["height"]) for image in content["images"]] == [
        ("set09_V000_I00000.png", 20, 16),
        ("set09_V001_I00000.png", 20, 16),
    ]
    # halved, then 6 to the left and 4 up; the cyclist lies in the corner that is cut off
    assert [(mark["bbox"], mark["area"]) for mark in content["annotations"]] == [([4, 4, 4, 6], 24)] * 2
    assert content["annotations"][0]["occlusion"] == 0
    assert (tmp_path / "out" / "boxes" / "valB" / "set09_V000_I00000.txt").read_text() == (
        "0 0.300000 0.437500 0.200000 0.375000\n"
    )
    assert (tmp_path / "out" / "boxes" / "classes.txt").read_text().split("\n")[:3] == ["person", "people", "cyclist"]
    assert (
        f"boxes of {tmp_path / 'out' / 'valB'}: 2 of 4 boxes kept; 2 (50.0%) outside the crop"
        in capsys.readouterr().out
    )


def test_an_unreadable_annotation_is_named_and_the_frame_written(tmp_path: Path, capsys: Capture) -> None:
    tree = write_kaist(tmp_path / "KAIST", 1)
    (tree / "annotations" / "set09" / "V000" / "I00000.txt").write_text("tram 1 2 3 4\n")
    assert main(tree, tmp_path / "out", "kaist", **SMALL) == 1
    assert 'I00000.txt: expected lines of "person LEFT TOP WIDTH HEIGHT", got "tram 1 2 3 4"' in capsys.readouterr().err
    assert len(written(tmp_path / "out")["valB"]) == 2
    content = json.loads((tmp_path / "out" / "boxes" / "valB.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["set09_V001_I00000.png"]


# ---- FLIR, first release ---------------------------------------------------------------------------------------------


def test_day_and_night_of_the_first_release_are_told_by_the_visible_frame(tmp_path: Path, capsys: Capture) -> None:
    write_flir_v1(tmp_path / "download" / "FLIR_ADAS_1_3")
    assert main(tmp_path / "download", tmp_path / "out", "flir_v1", **SMALL) == 0
    assert written(tmp_path / "out") == {"trainA": ["FLIR_00001"], "trainB": ["FLIR_00002"], "valB": ["FLIR_00011"]}
    out = capsys.readouterr().out
    for line in (
        "left out 1: neither day nor night (train/RGB/FLIR_00003.jpg)",
        "left out 1: thermal, its visible frame is missing (train/thermal_8_bit/FLIR_00004.jpeg)",
        "left out 1: not part of training or test (video)",
    ):
        assert line in out
    table = (tmp_path / "out" / "day_night.csv").read_text().splitlines()
    assert [line.split(",")[::2] for line in table[1:]] == [
        *(["FLIR_00001", "day"], ["FLIR_00002", "night"], ["FLIR_00003", "undecided"]),
        *(["FLIR_00011", "night"], ["FLIR_00012", "day"]),
    ]
    assert pixels(tmp_path / "out" / "day_night.png").shape[2] == 3


def test_a_corrected_table_counts(tmp_path: Path) -> None:
    write_flir_v1(tmp_path / "FLIR")
    assert main(tmp_path / "FLIR", tmp_path / "out", "flir_v1", **SMALL) == 0
    table = tmp_path / "out" / "day_night.csv"
    table.write_text(table.read_text().replace("undecided", "Night"))
    assert main(tmp_path / "FLIR", tmp_path / "out", "flir_v1", **SMALL) == 0
    assert written(tmp_path / "out")["trainB"] == ["FLIR_00002", "FLIR_00003"]
    assert "FLIR_00003" in table.read_text()


def test_a_table_that_was_corrected_into_something_else_is_named(tmp_path: Path, capsys: Capture) -> None:
    write_flir_v1(tmp_path / "FLIR")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "day_night.csv").write_text("frame,brightness,side\nFLIR_00001,3,evening\n")
    assert main(tmp_path / "FLIR", tmp_path / "out", "flir_v1", **SMALL) == 1
    assert "day_night.csv: expected the columns" in capsys.readouterr().err


def test_lists_decide_where_there_are_any(tmp_path: Path, capsys: Capture) -> None:
    tree = write_flir_v1(tmp_path / "FLIR")
    (tree / "lists").mkdir()
    (tree / "lists" / "trainA.txt").write_text("FLIR_00003.jpg\n\n")
    (tree / "lists" / "trainB.txt").write_text("./thermal/FLIR_00004.jpeg\n00011\n")
    (tree / "lists" / "valB.txt").write_text("FLIR_00001\nFLIR_00777\n")
    assert main(tree, tmp_path / "out", "flir_v1", **SMALL) == 1
    captured = capsys.readouterr()
    assert "valB.txt: 1 of its frames are not in the tree (FLIR_00777)" in captured.err
    expected = {"trainA": ["FLIR_00003"], "trainB": ["FLIR_00004", "FLIR_00011"], "valB": ["FLIR_00001"]}
    assert written(tmp_path / "out") == expected
    assert not (tmp_path / "out" / "day_night.csv").exists()
    content = json.loads((tmp_path / "out" / "boxes" / "trainB.json").read_text())
    assert len(content["annotations"]) == 2


@pytest.mark.parametrize("dataset", ["flir_v1", "flir_v2"])
def test_16_bits_of_flir_stay_16_and_keep_their_boxes(tmp_path: Path, dataset: Any) -> None:
    {"flir_v1": write_flir_v1, "flir_v2": write_flir_v2}[dataset](tmp_path / "FLIR")
    assert main(tmp_path / "FLIR", tmp_path / "out", dataset, bits=16, **WHOLE) == 0
    [path] = (tmp_path / "out" / "trainB").iterdir()
    assert pixels(path).dtype == np.uint16
    assert pixels(path).min() >= 7000
    content = json.loads((tmp_path / "out" / "boxes" / "trainB.json").read_text())
    assert [mark["bbox"] for mark in content["annotations"]] == [[20, 16, 8, 12]]


# ---- FLIR, second release --------------------------------------------------------------------------------------------


def test_the_second_release_says_the_hours(tmp_path: Path, capsys: Capture) -> None:
    write_flir_v2(tmp_path / "FLIR_ADAS_v2")
    assert main(tmp_path / "FLIR_ADAS_v2", tmp_path / "out", "flir_v2", **SMALL) == 0
    assert written(tmp_path / "out") == {
        "trainA": ["video-rgb_tda-frame-000000-hash0"],
        "trainB": ["video-thermni-frame-000002-hash2"],
        "valB": ["video-thermni-frame-000002-hash2"],
        # by the map of the videos: coco.json of the thermal ones names no hours
        "testB": ["video-thermalnight-frame-000005-x"],
    }
    out = capsys.readouterr().out
    assert "left out 1: images_thermal_train: hours: dawn/dusk (images_thermal_train/data/video-thermda-" in out
    marks = json.loads((tmp_path / "out" / "boxes" / "testB.json").read_text())
    assert (len(marks["images"]), marks["annotations"]) == (1, [])


def test_a_missing_or_damaged_coco_json_is_named(tmp_path: Path, capsys: Capture) -> None:
    tree = write_flir_v2(tmp_path / "FLIR")
    (tree / "images_thermal_val" / "coco.json").write_text('{"images": [')
    assert main(tree, tmp_path / "out", "flir_v2", **SMALL) == 1
    assert "images_thermal_val/coco.json: expected COCO JSON" in capsys.readouterr().err
    (tree / "images_thermal_val" / "coco.json").unlink()
    assert main(tree, tmp_path / "out", "flir_v2", **SMALL) == 1
    assert "images_thermal_val/coco.json: says which frames are of day and night" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---- any tree --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "write"), [("flir_v1", write_flir_v1), ("flir_v2", write_flir_v2), ("kaist", write_kaist)]
)
def test_a_dry_run_writes_nothing_and_a_second_run_nothing_anew(
    tmp_path: Path, dataset: Any, write: Callable[[Path], Path], capsys: Capture
) -> None:
    tree, output = write(tmp_path / "tree"), tmp_path / "out"
    assert main(tree, output, dataset, dry_run=True, **SMALL) == 0
    assert f"images would go to {output / 'trainB'}, as " in capsys.readouterr().out
    assert not output.exists()
    assert main(tree, output, dataset, **SMALL) == 0
    before = states(output / "trainB")
    boxes = (output / "boxes" / "trainB.json").read_bytes()
    capsys.readouterr()
    assert main(tree, output, dataset, **SMALL) == 0
    assert states(output / "trainB") == before
    assert (output / "boxes" / "trainB.json").read_bytes() == boxes
    assert f"{output / 'trainB'}: all {len(before)} were there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("kaist", "KAIST's folders"), ("flir_v1", "FLIR's first release"), ("flir_v2", "FLIR's second release")],
)
def test_a_folder_without_the_tree_is_named(tmp_path: Path, dataset: Any, expected: str, capsys: Capture) -> None:
    (tmp_path / "in" / "pictures").mkdir(parents=True)
    assert main(tmp_path / "in", tmp_path / "out", dataset) == 1
    assert f"{tmp_path / 'in'}: expected {expected}" in (err := capsys.readouterr().err)
    assert "found pictures" in err
    assert main(tmp_path / "nowhere", tmp_path / "out", dataset) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_two_trees_are_too_many(tmp_path: Path, capsys: Capture) -> None:
    for name in ("one", "two"):
        write_kaist(tmp_path / "in" / name, 1)
    assert main(tmp_path / "in", tmp_path / "out", "kaist") == 1
    assert "holds several such trees" in capsys.readouterr().err


def test_one_damaged_frame_leaves_the_others(tmp_path: Path, capsys: Capture) -> None:
    tree = write_kaist(tmp_path / "KAIST", 1)
    damaged = tree / "images" / "set03" / "V000" / "lwir" / "I00000.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert main(tree, tmp_path / "out", "kaist", **SMALL) == 1
    assert f"prepare_data: {damaged}: cannot be read as an image" in capsys.readouterr().err
    assert written(tmp_path / "out")["trainB"] == ["set03_V001_I00000"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "kaist", "thermal": True}, "those of a folder"),
        ({"dataset": "kaist", "recursive": True}, "those of a folder"),
        ({"dataset": "kaist", "bits": 16}, "bits goes with"),
        ({"dataset": "kaist", "lists": Path("x")}, "lists goes with flir_v1"),
        ({"dataset": "kaist", "every": (0, 1, 1)}, "every of at least 1"),
        ({"every": (1, 1, 1)}, "every goes with a data set"),
        ({"dataset": "flir_v1", "brightness": (90, 90)}, "brightness of night below"),
        ({"visible": 2.0}, "visible in [0, 1]"),
        ({"cover": "640 by 512"}, "expected a size such as 640x512"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, options: dict[str, Any], message: str, capsys: Capture
) -> None:
    (tmp_path / "in").mkdir()
    assert main(tmp_path / "in", tmp_path / "out", **options) == 1
    assert message in capsys.readouterr().err


def test_the_command_line(tmp_path: Path) -> None:
    tree = write_kaist(tmp_path / "KAIST", 3)
    arguments = ["--dataset", "kaist", "--input", str(tree), "--output", str(tmp_path / "out"), "--every", "[1, 2, 3]"]
    arguments += ["--cover", "32x24", "--crop", "null"]
    assert auto_cli(prepare_data.main, args=arguments, as_positional=False) == 0
    assert {name: len(names) for name, names in written(tmp_path / "out").items()} == {
        "trainA": 6,
        "trainB": 4,
        "valB": 2,
    }
    assert pixels(tmp_path / "out" / "valB" / "set09_V000_I00000.png").shape == (24, 32)


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_frames_of_one_name_from_two_folders_do_not_replace_each_other(tmp_path: Path, capsys: Capture) -> None:
    for video in range(2):
        save(tmp_path / f"V00{video}" / "lwir" / "I00000.png", gray(video))
    target = tmp_path / "out" / "I00000.png"
    assert main(tmp_path / "V000" / "lwir", tmp_path / "out", thermal=True, **SMALL) == 0
    before = target.read_bytes()
    capsys.readouterr()
    assert main(tmp_path / "V001" / "lwir", tmp_path / "out", thermal=True, **SMALL) == 1
    assert "V000/lwir/I00000.png and is left as it is" in capsys.readouterr().err
    assert target.read_bytes() == before
    assert main(tmp_path / "V001" / "lwir", tmp_path / "out", thermal=True, overwrite=True, **WHOLE) == 0
    assert np.array_equal(pixels(target), gray(1))


def test_a_file_of_unknown_origin_is_left_and_other_options_make_a_frame_anew(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "in" / "x.png", gray(1))
    foreign = save(tmp_path / "out" / "x.png", gray(2)).read_bytes()
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, **WHOLE) == 1
    assert "x.png: was not written by this command and is left as it is" in capsys.readouterr().err
    assert (tmp_path / "out" / "x.png").read_bytes() == foreign
    for options in (SMALL, WHOLE):
        assert main(tmp_path / "in", tmp_path / "new", thermal=True, **options) == 0
        expected = np.asarray(fit(Image.fromarray(gray(1)), options["cover"], options["crop"]))
        assert np.array_equal(pixels(tmp_path / "new" / "x.png"), expected)


def test_subfolders_are_named_or_taken(tmp_path: Path, capsys: Capture) -> None:
    for video in range(2):
        save(tmp_path / "in" / f"V00{video}" / "I00000.png", gray(video))
    (tmp_path / "in" / "V000" / "notes.md").write_text("x")
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, **SMALL) == 1
    assert "those of its subfolders are taken with --recursive true" in capsys.readouterr().err
    save(tmp_path / "in" / "x.png", gray(5))
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, **SMALL) == 0
    assert "left out 2: subfolder, not searched (V000, V001)" in capsys.readouterr().out
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, recursive=True, **SMALL) == 0
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["V000_I00000", "V001_I00000", "x"]
    assert "left out 1: not an image (.md) (V000/notes.md)" in capsys.readouterr().out


def test_what_is_written_is_not_read_again(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "in" / "a" / "x.png", gray(0))
    (tmp_path / "in" / "a" / "again").symlink_to(tmp_path / "in")
    options = {"thermal": True, "recursive": True, **SMALL}
    assert main(tmp_path / "in", tmp_path / "in" / "out", **options) == 1
    assert f"{tmp_path / 'in' / 'out'}: lies in the input" in capsys.readouterr().err
    assert main(tmp_path / "in", tmp_path / "out", **options) == 0
    assert [path.stem for path in (tmp_path / "out").iterdir()] == ["a_x"]
    assert "left out 1: link to a folder above (a/again)" in capsys.readouterr().out


def test_a_tree_of_which_nothing_is_left_is_no_success(tmp_path: Path, capsys: Capture) -> None:
    tree = write_flir_v1(tmp_path / "FLIR")
    for part in ("train", "val"):
        shutil.rmtree(tree / part / "RGB")
    for dry_run in (True, False):
        assert main(tree, tmp_path / "out", "flir_v1", dry_run=dry_run, **SMALL) == 1
        assert "FLIR: no frame is left to write" in capsys.readouterr().err


def test_names_that_fall_together_are_problems(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "in" / "a" / "b.png", gray(0))
    save(tmp_path / "in" / "a_b.png", gray(1))
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, recursive=True, **SMALL) == 1
    assert "its result would replace that of" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_stopped_run_goes_on(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        save(tmp_path / "in" / f"{number}.png", gray(number))

    def stopping(items: Any, what: str) -> Any:
        yield from items[:2]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare_data, "counted", stopping)
        assert main(tmp_path / "in", tmp_path / "out", thermal=True, **SMALL) == 1
    captured = capsys.readouterr()
    assert captured.err == "prepare_data: stopped; the same command goes on from here\n"
    assert captured.out == f"2 images written to {tmp_path / 'out'}\n"
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, **SMALL) == 0
    assert capsys.readouterr().out == f"2 images written to {tmp_path / 'out'}, 2 were there already\n"


# ---- boxes -----------------------------------------------------------------------------------------------------------


def test_boxes_lie_on_what_they_lay_on(tmp_path: Path) -> None:
    frame = np.zeros((96, 130), np.uint8)
    frame[30:60, 50:80] = 200
    geometry = Geometry((60, 50), (50, 40))
    placement = place((130, 96), geometry)
    [box] = move(Truth((Box(1, 50, 30, 30, 30),), (130, 96)), (130, 96), placement, 0.25, Tally())
    found = np.argwhere(np.asarray(fit(Image.fromarray(frame), geometry.cover, geometry.crop)) > 100)
    top, left = found.min(0)
    bottom, right = found.max(0) + 1
    expected = [box.left, box.top, box.left + box.width, box.top + box.height]
    np.testing.assert_allclose([left, top, right, bottom], expected, atol=1)


def test_boxes_are_cut_counted_and_left_out() -> None:
    placement = place((100, 100), Geometry(None, (50, 50)))  # 25 to 75 of either side
    boxes = [(30, 30, 10, 10), (20, 30, 10, 10), (16, 30, 10, 10), (0, 0, 10, 10), (75, 30, 10, 10)]
    tally = Tally()
    moved = move(Truth(tuple(Box(1, *box) for box in boxes)), (100, 100), placement, 0.25, tally)
    assert [(box.left, box.top, box.width, box.height, box.more["visible"]) for box in moved] == [
        (5, 5, 10, 10, 1),
        (0, 5, 5, 10, 0.5),
    ]
    assert (tally.given, tally.outside, tally.slivers, tally.cut, tally.kept) == (5, 2, 1, 1, 2)
    with pytest.raises(DataError, match="is 100x100, its boxes were drawn on 64x48"):
        move(Truth((), SIZE), (100, 100), placement, 0.25, tally)


def test_boxes_of_a_folder_come_from_a_file_and_lie_beside_it(tmp_path: Path, capsys: Capture) -> None:
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", gray(ord(name)))
    path = coco(tmp_path / "boxes.json", {"a.jpg": [(20, 16, 8, 12)], "gone.png": [(1, 1, 4, 4)]})
    options = {"thermal": True, "boxes": path, **WHOLE}
    assert main(tmp_path / "in", tmp_path / "data" / "valB", **options) == 0
    content = json.loads((tmp_path / "data" / "boxes" / "valB.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png"]
    assert content["categories"] == [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    # frames of another call are added, its own replaced
    save(tmp_path / "more" / "c.png", gray(7))
    coco(path, {"c.png": [(2, 2, 8, 8), (4, 4, 8, 8)]})
    assert main(tmp_path / "more", tmp_path / "data" / "valB", **options) == 0
    content = json.loads((tmp_path / "data" / "boxes" / "valB.json").read_text())
    assert [(image["id"], image["file_name"]) for image in content["images"]] == [(1, "a.png"), (2, "c.png")]
    assert [(mark["id"], mark["image_id"]) for mark in content["annotations"]] == [(1, 1), (2, 2), (3, 2)]


def test_a_file_of_boxes_stands_for_those_of_the_tree(tmp_path: Path) -> None:
    tree = write_kaist(tmp_path / "KAIST", 1)
    path = coco(tmp_path / "boxes.json", {"set09_V000_I00000.png": [(2, 2, 8, 8)]})
    assert main(tree, tmp_path / "out", "kaist", boxes=path, **WHOLE) == 0
    # the other frames have cyclists, which the file does not know
    content = json.loads((tmp_path / "out" / "boxes" / "valB.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["set09_V000_I00000.png"]
    assert not (tmp_path / "out" / "boxes" / "trainB.json").exists()


@pytest.mark.parametrize(("listed", "status"), [("a.png", 0), ("other.png", 1)])
def test_frames_that_a_file_of_boxes_does_not_list_are_counted(
    tmp_path: Path, listed: str, status: int, capsys: Capture
) -> None:
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", gray(ord(name)))
    path = coco(tmp_path / "boxes.json", {listed: [(2, 2, 8, 8)]})
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, boxes=path, **WHOLE) == status
    told = capsys.readouterr()
    assert ("boxes for 1 of 2 frames" in told.out) == (status == 0)
    assert (f"{path}: lists none of the 2 frames" in told.err) == (status == 1)


def test_files_of_boxes_as_other_programs_write_them(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "in" / unicodedata.normalize("NFD", "é.png"), gray(0))
    path = coco(tmp_path / "boxes.json", {unicodedata.normalize("NFC", "é.png"): [(2, 2, 8, 8)]})
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": 7})  # listed twice
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, boxes=path, **WHOLE) == 0
    assert [m["bbox"] for m in json.loads((tmp_path / "boxes" / "out.json").read_text())["annotations"]] == [
        [2, 2, 8, 8]
    ]
    path.write_text(json.dumps({**content, "annotations": None}))
    assert main(tmp_path / "in", tmp_path / "new", thermal=True, boxes=path, **WHOLE) == 1
    assert "boxes.json: expected COCO JSON with images, annotations and categories" in capsys.readouterr().err


def test_classes_that_boxes_of_other_frames_hold_by_are_left(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "in" / "a.png", gray(0))
    path = coco(tmp_path / "boxes.json", {"a.png": [(2, 2, 8, 8)]})
    options = {"thermal": True, "boxes": path, **WHOLE}
    assert main(tmp_path / "in", tmp_path / "data" / "trainB", **options) == 0
    content = json.loads(path.read_text())
    content["categories"].insert(0, {"id": 0, "name": "dog"})
    path.write_text(json.dumps(content))
    assert main(tmp_path / "in", tmp_path / "data" / "valB", **options) == 1
    assert "classes.txt: lists other classes than these boxes, for trainB.json" in capsys.readouterr().err
    assert (tmp_path / "data" / "boxes" / "classes.txt").read_text() == "person\ncar\n"
    # alone it may change
    assert main(tmp_path / "in", tmp_path / "data" / "trainB", **options) == 0
    assert (tmp_path / "data" / "boxes" / "classes.txt").read_text() == "dog\nperson\ncar\n"


def test_a_foreign_file_of_boxes_is_left(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "in" / "a.png", gray(0))
    path = coco(tmp_path / "boxes" / "valB.json", {"a.png": [(20, 16, 8, 12)]})
    before = path.read_bytes()
    assert main(tmp_path / "in", tmp_path / "valB", thermal=True, boxes=path, **SMALL) == 1
    assert "valB.json: was not written by prepare_data.py and is left as it is" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 91}, "1 boxes left out, of category 91, which the file does not name"),
        ({"image_id": 5}, "1 boxes left out, of an image that the file does not list"),
        ({"bbox": [1, 2, 0, 4]}, "1 boxes left out, whose bbox is not"),
        ({"bbox": [1, 2, "x", 4]}, "1 boxes left out, whose bbox is not"),
        ({"bbox": [200, 2, 3, 4]}, "1 boxes left out, outside their frame"),
    ],
)
def test_unusable_boxes_are_named_and_the_others_kept(
    tmp_path: Path, change: dict[str, Any], message: str, capsys: Capture
) -> None:
    save(tmp_path / "in" / "a.png", gray(0))
    path = coco(tmp_path / "boxes.json", {"a.png": [(20, 16, 8, 12), (30, 20, 8, 8)]})
    content = json.loads(path.read_text())
    content["annotations"][0] |= change
    path.write_text(json.dumps(content))
    assert main(tmp_path / "in", tmp_path / "out", thermal=True, boxes=path, **WHOLE) == 1
    assert message in capsys.readouterr().err
    content = json.loads((tmp_path / "boxes" / "out.json").read_text())
    assert [mark["bbox"] for mark in content["annotations"]] == [[30, 20, 8, 8]]


def test_categories_of_several_files_are_joined_where_they_agree(tmp_path: Path, capsys: Capture) -> None:
    tree = write_flir_v1(tmp_path / "FLIR")
    path = tree / "val" / "thermal_annotations.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]}))
    assert main(tree, tmp_path / "out", "flir_v1", **SMALL) == 0
    assert (tmp_path / "out" / "boxes" / "classes.txt").read_text() == "person\ncar\ndog\n"
    path.write_text(json.dumps({**content, "categories": [{"id": 1, "name": "dog"}]}))
    assert main(tree, tmp_path / "other", "flir_v1", **SMALL) == 1
    assert "calls category 1 dog, another file person" in capsys.readouterr().err


def test_an_image_of_the_file_that_fits_several_frames_is_refused(tmp_path: Path, capsys: Capture) -> None:
    for video in range(2):
        save(tmp_path / "in" / f"V00{video}" / "I0.png", gray(video))
    path = coco(tmp_path / "boxes.json", {"I0.png": [(20, 16, 8, 12)]})
    options = {"thermal": True, "recursive": True, "boxes": path, **SMALL}
    assert main(tmp_path / "in", tmp_path / "out", **options) == 1
    assert "its I0.png fits" in capsys.readouterr().err
    coco(path, {"V000/I0.png": [(20, 16, 8, 12)], "V001/I0.png": []})
    assert main(tmp_path / "in", tmp_path / "out", **options) == 0
    # or by the name of the result
    coco(path, {"V000_I0.png": [(20, 16, 8, 12)], "other.png": []})
    assert main(tmp_path / "in", tmp_path / "named", **options) == 0
    content = json.loads((tmp_path / "boxes" / "named.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["V000_I0.png"]


# ---- sizes -----------------------------------------------------------------------------------------------------------


def test_sizes() -> None:
    assert (parse_size("640x512"), parse_size(" 640 , 512")) == ((640, 512), (640, 512))
    assert place((640, 512), Geometry()).size == (360, 288)
    assert place((640, 512), Geometry(None, None)).box == (0, 0, 640, 512)
    with pytest.raises(DataError, match="smaller than the crop of 360x288"):
        place((320, 256), Geometry(None))
