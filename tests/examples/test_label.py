"""``label.py`` with a stand-in for the network: mapping, certainty, going on, the sheet, and what is refused."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import auto_cli
from PIL import Image
from torch import Tensor

import label
import prepare_data
from helpers.bright_teacher import Bright
from helpers.image_files import exif_of
from helpers.small_folder import write_folder
from label import main
from morn_losses import CITYSCAPES, LabelSpace
from morn_losses.label_spaces import ADE20K_TO_CITYSCAPES, COCO_TO_CITYSCAPES
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.maps import read_labels
from ntir2dc.data.samples import DataError
from ntir2dc.labeling import predicting
from ntir2dc.labeling.predicting import choose
from ntir2dc.labeling.sheet import save_label_sheet, with_legend
from ntir2dc.pretrained.names import Matching, match_names
from ntir2dc.pretrained.teacher import load_teacher, of_pixels, of_queries

Capture = pytest.CaptureFixture[str]

# names of the ids that the tables of the library know, and of some that they leave out
COCO = {
    0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 6: "train", 7: "truck", 9: "traffic light",
    11: "stop sign", 62: "tv", 91: "house", 100: "road", 101: "roof", 102: "sand", 109: "wall-brick",
    116: "tree-merged", 117: "fence-merged", 119: "sky-other-merged", 123: "pavement-merged",
    125: "grass-merged", 126: "dirt-merged", 129: "building-other-merged", 131: "wall-other-merged",
}  # fmt: skip
ADE20K = {
    0: "wall", 1: "building, edifice", 2: "sky", 3: "floor, flooring", 4: "tree", 6: "road, route",
    9: "grass", 11: "sidewalk, pavement", 12: "person, individual, someone", 13: "earth, ground",
    17: "plant, flora, plant life", 20: "car, auto, automobile", 25: "house", 29: "field", 32: "fence, fencing",
    43: "signboard, sign", 46: "sand", 48: "skyscraper", 72: "palm, palm tree", 79: "hovel, hut, hutch",
    80: "bus, autobus", 83: "truck, motortruck", 87: "streetlight, street lamp", 93: "pole",
    94: "land, ground, soil", 102: "van", 116: "minibike, motorbike", 127: "bicycle, bike",
    136: "traffic light, traffic signal, stoplight",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of four bands each: dark, less dark, bright, brightest."""
    (tmp_path / "data" / "trainA").mkdir(parents=True)
    for number in range(3):
        bands = np.repeat(np.array([10, 90, 150, 220], np.uint8), 5)[:, None].repeat(24, 1)
        Image.fromarray(np.stack([bands] * 3, -1)).save(tmp_path / "data" / "trainA" / f"a{number}.png")
    return tmp_path / "data"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand-ins by the names that the command is given."""

    def put(**teachers: Any) -> None:
        monkeypatch.setattr(label, "load_teacher", lambda name, device, *, offline: teachers[name])

    return put


def labels(path: Path) -> list[int]:
    """Return what the four bands are."""
    return [int(i) for i in read_labels(path)[::5, 0]]


def states(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.png")}


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "table"), [(COCO, COCO_TO_CITYSCAPES), (ADE20K, ADE20K_TO_CITYSCAPES)], ids=["COCO", "ADE20K"]
)
def test_names_lead_where_the_tables_of_the_library_do(names: dict[int, str], table: dict[int, int]) -> None:
    assert set(table) <= set(names)
    places = dict(enumerate(names))
    found = match_names({place: names[i] for place, i in places.items()}, CITYSCAPES)
    assert {places[place]: target for place, target in found.ids.items()} == table
    assert set(found.unmapped) == {name for i, name in names.items() if i not in table}
    assert {CITYSCAPES.index(name) for name in found.absent} == set(range(19)) - set(table.values())


def test_the_networks_of_cityscapes_need_no_table() -> None:
    names = {i: name.title().replace(" ", "_") for i, name in enumerate(CITYSCAPES.names)}
    assert match_names(names, CITYSCAPES) == Matching({i: i for i in range(19)}, (), ())


def test_what_is_said_of_a_name_counts_before_all_else() -> None:
    also = {"van": "truck", "tree": None, "pylon": "pole", "of another network": "sky"}
    found = match_names({0: "van", 1: "tree", 2: "pylon", 3: "sky"}, CITYSCAPES, also)
    assert found.ids == {0: 14, 2: 5, 3: 10}
    assert found.unmapped == ("tree",)


def test_another_space_has_its_own_names() -> None:
    space = LabelSpace(("house", "sky"), (), (), (0, 1))
    assert match_names({0: "house", 1: "building", 2: "sky-other-merged"}, space).ids == {0: 0, 2: 1}


@pytest.mark.parametrize(
    ("names", "also", "message"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, {}, r"net: its 2 classes have no names \(LABEL_0 and so on\); write them into"),
        ({0: "cat", 1: "dog"}, {}, r"net: none of its 2 classes \(cat, dog\) is known here; say what they are"),
        ({1: "road", 2: "sky"}, {}, r"net: expected ids from 0 to 1 in its id2label, got \[2\]"),
        ({-1: "road", 0: "sky"}, {}, r"net: expected ids from 0 to 1 in its id2label, got \[-1\]"),
        ({}, {}, "net: expected ids from 0"),
        ({0: "road"}, {"road": "rode"}, "options: names: no class named 'rode'; did you mean 'road'"),
    ],
)
def test_networks_that_do_not_say_what_they_see(names: dict[int, str], also: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        match_names(names, CITYSCAPES, also, "net")


def test_a_network_without_names_is_told_them() -> None:
    found = match_names({0: "LABEL_0", 1: "LABEL_1"}, CITYSCAPES, {"LABEL_1": "sky"})
    assert (found.ids, found.unmapped) == ({1: 10}, ("LABEL_0",))


# ---- scores ----------------------------------------------------------------------------------------------------------


def test_scores_of_one_class_are_added_and_unknown_classes_are_not_named() -> None:
    # a house and a roof, a road, a cat; pixel by pixel
    scores = torch.tensor([[0.3, 0.3, 0.4, 0.0], [0.2, 0.1, 0.2, 0.5], [0.45, 0.1, 0.45, 0.0], [0.3, 0.2, 0.1, 0.4]])
    matching = Matching({0: 2, 1: 2, 2: 0}, ("cat",), ())
    found = choose(scores.mT.reshape(1, 4, 2, 2), matching, CITYSCAPES, 0.5)
    assert found.dtype == torch.uint8
    assert found.flatten().tolist() == [2, 255, 2, 2]
    assert choose(scores.mT.reshape(1, 4, 2, 2), matching, CITYSCAPES, 0.58).flatten().tolist() == [2, 255, 255, 255]


def test_scores_of_pixels_are_probabilities_of_the_images_size() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    scores = of_pixels(logits, (8, 10))
    torch.testing.assert_close(scores.sum(1), torch.ones(2, 8, 10))
    assert torch.equal(of_pixels(logits, (4, 5)), logits.softmax(1))


def test_scores_of_queries_written_out() -> None:
    random = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(1, 5, 4, generator=random) * 3, torch.randn(1, 5, 2, 3, generator=random) * 3
    found = of_queries(classes, masks, (2, 3))
    sure, inside = classes.softmax(-1), masks.sigmoid()
    for row in range(2):
        for column in range(3):
            each = [sum(float(sure[0, q, k] * inside[0, q, row, column]) for q in range(5)) for k in range(3)]
            expected = [value / max(1, sum(each)) for value in each]
            assert found[0, :, row, column].tolist() == pytest.approx(expected, abs=1e-6)
    # nothing is claimed: nothing is sure
    assert float(of_queries(classes, torch.full_like(masks, -30), (4, 6)).max()) < 1e-6


# ---- the command -----------------------------------------------------------------------------------------------------


def test_one_network_writes_what_the_trainer_takes_as_it_is(folder: Path, use: Any, capsys: Capture) -> None:
    use(net=Bright())
    assert main(folder / "trainA", "net") == 0
    assert sorted(path.name for path in (folder / "labelsA").iterdir()) == ["a0.png", "a1.png", "a2.png"]
    assert labels(folder / "labelsA" / "a0.png") == [CITYSCAPES.index(n) for n in ("road", "car", "building")] + [255]
    out = capsys.readouterr().out
    assert "bright: 3 of its 4 classes are known here\n  left unlabeled: cat\n  it does not know: sidewalk, " in out
    assert f"3 maps written to {folder / 'labelsA'}\n  75% of the pixels are labeled: road 25.0%, " in out
    assert f"look at {folder / 'labels.png'}" in out


def test_two_networks_write_what_the_trainer_fuses(tmp_path: Path, use: Any) -> None:
    data = write_folder(tmp_path / "data")
    for number in (1, 2):
        for path in (data / f"labels_pred{number}").iterdir():
            path.unlink()
    use(first=Bright(), other=Bright(digest="two", names={0: "road", 1: "truck", 2: "sky", 3: "person"}))
    assert main(data / "trainA", "first", "other", batch_size=2) == 0
    assert labels(data / "labels_pred1" / "a0.png") != labels(data / "labels_pred2" / "a0.png")
    found = prepare_training_data(data, tmp_path / "cache", CITYSCAPES, crop=32)
    assert all(frame.labels is not None for frame in found.a)


def test_the_certainty_asked_for_decides(folder: Path, use: Any) -> None:
    use(net=Bright(sure=0.6))
    assert main(folder / "trainA", "net", confidence=0.59) == 0
    assert labels(folder / "labelsA" / "a0.png") == [0, 13, 2, 255]
    assert main(folder / "trainA", "net", confidence=0.61) == 0
    assert labels(folder / "labelsA" / "a0.png") == [255] * 4


def test_what_is_there_is_kept_and_other_options_make_it_anew(folder: Path, use: Any, capsys: Capture) -> None:
    teacher = Bright()
    use(net=teacher, other=Bright(digest="two"))
    assert main(folder / "trainA", "net", batch_size=2) == 0
    assert teacher.seen == [2, 1]
    before = states(folder / "labelsA")
    capsys.readouterr()
    (folder / "labelsA" / "a1.png").unlink()
    assert main(folder / "trainA", "net") == 0
    assert teacher.seen == [2, 1, 1]
    assert "1 maps written to" in (out := capsys.readouterr().out)
    assert "2 were there already\n  75% of the pixels" in out
    after = states(folder / "labelsA")
    assert [after[path] == state for path, state in sorted(before.items())] == [True, False, True]
    for change in ({"confidence": 0.7}, {"names": {"van": "truck"}}):
        assert main(folder / "trainA", "net", **change) == 0
        assert "3 maps written" in capsys.readouterr().out
    assert labels(folder / "labelsA" / "a0.png")[1] == 14
    assert main(folder / "trainA", "other", names={"van": "truck"}) == 0
    assert "3 maps written" in capsys.readouterr().out


def test_a_stopped_call_keeps_what_is_done(
    folder: Path, use: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def stopping(items: Sequence[Path], what: str) -> Any:
        yield from items[:2]
        raise KeyboardInterrupt

    use(net=Bright())
    with monkeypatch.context() as patch:
        patch.setattr(label, "counted", stopping)
        assert main(folder / "trainA", "net") == 1
    captured = capsys.readouterr()
    assert captured.err.endswith("label: stopped; the same command goes on from here\n")
    assert f"1 maps written to {folder / 'labelsA'}" in captured.out
    assert main(folder / "trainA", "net") == 0
    assert "2 maps written" in capsys.readouterr().out


@pytest.mark.parametrize("prepared", [False, True])
def test_maps_of_others_are_left(folder: Path, use: Any, prepared: bool, capsys: Capture) -> None:
    use(net=Bright())
    place = folder / ("own" if prepared else "labelsA")
    place.mkdir()
    Image.fromarray(np.full((20, 24), 7, np.uint8)).save(place / "a1.png")
    if prepared:
        assert prepare_data.main(place, folder / "labelsA", labels=True, cover=None, crop=None) == 0
    assert main(folder / "trainA", "net") == 1
    assert "a1.png: was not written by this command and is left as it is (--overwrite)" in capsys.readouterr().err
    assert labels(folder / "labelsA" / "a1.png") == [7] * 4
    assert labels(folder / "labelsA" / "a2.png")[0] == 0
    assert main(folder / "trainA", "net", overwrite=True) == 0
    assert labels(folder / "labelsA" / "a1.png")[0] == 0


def test_a_full_disk_ends_it_at_once(folder: Path, use: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    teacher = Bright()
    use(net=teacher)
    with monkeypatch.context() as patch:
        patch.setattr(predicting, "keep", full)
        assert main(folder / "trainA", "net") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert teacher.seen == [1]
    assert main(folder / "trainA", "net") == 0


def test_a_folder_of_the_other_domain_is_warned_of(folder: Path, use: Any, capsys: Capture) -> None:
    use(net=Bright())
    assert main(folder / "trainA", "net") == 0
    assert f"label: warning: {folder / 'trainA'}: 3 of 3 images looked at are gray" in capsys.readouterr().err
    for path in (folder / "trainA").iterdir():
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    assert main(folder / "trainA", "net") == 0
    assert capsys.readouterr().err == ""


def test_a_damaged_image_and_one_of_another_size_end_nothing(folder: Path, use: Any, capsys: Capture) -> None:
    teacher = Bright()
    use(net=teacher)
    (folder / "trainA" / "a1.jpg").write_bytes(b"nothing")
    (folder / "trainA" / "a1.png").rename(folder / "trainA" / "b1 ü.png")
    Image.new("RGB", (30, 26), (10, 10, 10)).save(folder / "trainA" / "c.png", exif=exif_of(6))
    assert main(folder / "trainA", "net", batch_size=8) == 1
    assert f"label: {folder / 'trainA' / 'a1.jpg'}: " in capsys.readouterr().err
    assert teacher.seen == [3, 1]
    assert sorted(path.stem for path in (folder / "labelsA").iterdir()) == ["a0", "a2", "b1 ü", "c"]
    # as the photograph is shown
    assert read_labels(folder / "labelsA" / "c.png").shape == (30, 26)


def test_other_folders_get_names_of_their_own(folder: Path, use: Any, tmp_path: Path) -> None:
    use(net=Bright(), other=Bright(digest="two"))
    (folder / "trainA").rename(folder / "judgeA")
    before = states(folder)
    assert main(folder / "judgeA", "net", output=tmp_path / "out") == 0
    assert main(folder / "judgeA", "net", "other", output=tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == [
        *("judgeA_labels", "judgeA_labels_pred1", "judgeA_labels_pred2"),
    ]
    assert states(folder) == before


def test_labels_that_would_be_taken_instead_are_named(folder: Path, use: Any, capsys: Capture) -> None:
    use(net=Bright(), other=Bright(digest="two"))
    assert main(folder / "trainA", "net") == 0
    assert main(folder / "trainA", "net", "other") == 1
    assert "labelsA: is taken by the trainer instead of these two" in capsys.readouterr().err
    assert (folder / "labels_pred2" / "a2.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.5}, "expected a confidence in [0, 1], got 1.5"),
        ({"batch_size": 0}, "expected a batch_size of at least 1"),
        ({"names": {"vans": "truck"}}, "names: no network has a class 'vans'; there are van"),
        ({"names": {"van": "lorry"}}, "names: no class named 'lorry'"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_options_that_do_not_go(folder: Path, use: Any, options: Any, message: str, capsys: Capture) -> None:
    use(net=Bright())
    assert main(folder / "trainA", "net", **options) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "labelsA").exists()


def test_folders_that_cannot_be_used(folder: Path, use: Any, tmp_path: Path, capsys: Capture) -> None:
    use(net=Bright())
    assert main(folder, "net") == 1
    assert f"{folder}: expected a folder with images" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert main(folder / "trainA", "net", output=tmp_path / "file") == 1
    assert "is a file, expected a folder" in capsys.readouterr().err
    Image.new("RGB", (24, 20)).save(folder / "trainA" / "a0.bmp")
    assert main(folder / "trainA", "net") == 1
    assert "files are joined by their names" in capsys.readouterr().err


def test_too_little_memory_is_a_sentence(folder: Path, use: Any, capsys: Capture) -> None:
    class Large(Bright):
        def scores(self, images: Sequence[Image.Image]) -> Tensor:
            raise torch.OutOfMemoryError("tried to allocate")

    use(net=Large())
    assert main(folder / "trainA", "net", batch_size=64) == 1
    assert "bright: out of memory; with a smaller --batch_size or --device cpu" in capsys.readouterr().err


def test_without_transformers_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DataError, match=r"needs: pip install 'morn-losses\[teacher\]'"):
        load_teacher("net", torch.device("cpu"))
    assert main(folder / "trainA", "net") == 1
    assert "morn-losses[teacher]" in capsys.readouterr().err


def test_the_command_line(folder: Path, use: Any) -> None:
    use(net=Bright())
    arguments = ["--input", str(folder / "trainA"), "--teacher", "net", "--names", "{van: truck, roof: null}"]
    assert auto_cli(main, args=arguments, as_positional=False) == 0
    assert labels(folder / "labelsA" / "a0.png") == [0, 14, 255, 255]


# ---- the sheet -------------------------------------------------------------------------------------------------------


def test_the_sheet_shows_images_maps_and_every_class(folder: Path, use: Any, tmp_path: Path) -> None:
    use(net=Bright())
    assert main(folder / "trainA", "net") == 0
    with Image.open(folder / "labels.png") as image:
        sheet = np.array(image.convert("RGB"))
    assert CITYSCAPES.palette is not None
    found = {tuple(color) for color in sheet.reshape(-1, 3).tolist()}
    # all are in the legend; images of the three colors of gray beside maps of theirs
    assert set(CITYSCAPES.palette) <= found
    assert {(10, 10, 10), (90, 90, 90), (150, 150, 150)} <= found
    alone = np.array(with_legend(Image.new("RGB", (40, 10)), CITYSCAPES))
    road = (alone == CITYSCAPES.palette[0]).all(-1)
    pixels = (sheet == CITYSCAPES.palette[0]).all(-1).sum()
    # small images are shown larger, 13 times here
    assert pixels == road.sum() + 3 * (5 * 13) * (24 * 13)
    save_label_sheet(tmp_path / "none.png", [], [folder / "labelsA"], CITYSCAPES)
    assert not (tmp_path / "none.png").exists()
