"""Tables that examples write get into the pages by ``docs/make_tables.py``, and nothing else of a page changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from test_docs import DOCS, load

PAGES = ("night.md", "ablation.md", "guides/gan.md", "guides/video.md", "concepts/mining.md")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """The pages of the documentation, to be changed."""
    folder = tmp_path / "docs"
    (folder / "pictures").mkdir(parents=True)
    for name in PAGES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(DOCS / name, folder / name)
    return folder


def changed(docs: Path) -> dict[str, tuple[str, str]]:
    """Return what stands instead of what, by page."""
    found = {}
    for name in PAGES:
        old, new = (DOCS / name).read_text(), (docs / name).read_text()
        if old != new:
            start = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
            end = next(i for i, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b)
            found[name] = (old[start : len(old) - end], new[start : len(new) - end])
    return found


def test_a_comparison_gets_between_its_marks_alone(tmp_path: Path, docs: Path) -> None:
    (tmp_path / "comparison.md").write_text("ZZ\n")
    load("make_tables").main(["--comparison", str(tmp_path), "--docs", str(docs)])
    ((name, (old, new)),) = changed(docs).items()
    assert name == "ablation.md"
    assert new == "ZZ"
    assert old.startswith("|  | untrained generator |")
    assert "<!--" not in old


def test_flicker_gets_between_its_marks_alone(tmp_path: Path, docs: Path) -> None:
    (tmp_path / "flicker.md").write_text("ZZ\n")
    load("make_tables").main(["--flicker", str(tmp_path), "--docs", str(docs)])
    ((name, (old, new)),) = changed(docs).items()
    assert name == "guides/video.md"
    assert new == "ZZ"
    assert "| as it is |" in old
    assert "<!--" not in old


def test_recipes_get_between_their_marks_with_their_picture(tmp_path: Path, docs: Path) -> None:
    (tmp_path / "compare.md").write_text("ZZ\n")
    Image.new("RGB", (30, 20), (250, 3, 7)).save(tmp_path / "compare.png")
    load("make_tables").main(["--recipes", str(tmp_path), "--docs", str(docs)])
    ((name, (old, new)),) = changed(docs).items()
    assert name == "guides/gan.md"
    assert new == "ZZ"
    assert old.count("CycleGAN + ACA + CGR |") == 1
    with Image.open(docs / "pictures" / "recipe.png") as picture:
        assert (picture.size, picture.mode) == ((30, 20), "P")
        assert picture.convert("RGB").getpixel((0, 0)) == (250, 3, 7)


def test_thresholds_and_shares_of_recipes_get_between_their_marks(tmp_path: Path, docs: Path) -> None:
    (tmp_path / "thresholds.md").write_text("ZZ\n")
    for seed, share in enumerate((0.25, 0.75)):
        run = {"steps": 20, "all": {"any": share, "person": 0.05}, "tenths": [{"any": 1.0, "person": 0.5}] * 10}
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "aca.json").write_text(json.dumps(run))
    load("make_tables").main(["--thresholds", str(tmp_path), "--docs", str(docs)])
    ((name, (old, new)),) = changed(docs).items()
    assert name == "guides/gan.md"
    assert new == "ZZ"
    assert "| person |" in old
    shutil.copyfile(DOCS / name, docs / name)
    load("make_tables").main(["--shares", str(tmp_path), "--docs", str(docs)])
    page = (docs / name).read_text()
    assert "| run | steps | any | person |\n| --- | ---: | ---: | ---: |\n| 0 | 20 | 25% | 5% |" in page
    assert "| 0, last tenth | 2 | 100% | 50% |\n| 1 | 20 | 75% | 5% |" in page


def test_statistics_of_scenes_get_between_their_marks_with_their_curves(tmp_path: Path, docs: Path) -> None:
    (tmp_path / "scene_statistics.md").write_text("ZZ\n")
    Image.new("RGB", (30, 20), (250, 3, 7)).save(tmp_path / "scene_statistics.png")
    load("make_tables").main(["--scene_statistics", str(tmp_path), "--docs", str(docs)])
    ((name, (old, new)),) = changed(docs).items()
    assert name == "ablation.md"
    assert new == "ZZ"
    assert old.startswith("| gray levels |")
    assert "<!--" not in old
    with Image.open(docs / "pictures" / "scene_statistics.png") as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (250, 3, 7)


@pytest.mark.parametrize(("name", "page"), [("pseudo_labels", "concepts/mining.md"), ("night_labels", "night.md")])
def test_labels_of_a_run_get_between_their_marks(tmp_path: Path, docs: Path, name: str, page: str) -> None:
    stages = ("S_A, true day image", "S_A, translation", "S_B, translated day image", "S_B, thermal image", "mined")
    precisions, recalls = ({name: {"mean": mean} for name in stages} for mean in (0.5, 0.25))
    tables = [
        {"title": "precision, %", "rows": {"person": {**precisions, "mined": {"mean": None}}}},
        {"title": "recall, %", "rows": {"person": recalls}},
        {"title": "steps of the last phase in which ACA acts, %", "rows": {"any": {"share": {"mean": 0.4}}}},
    ]
    (tmp_path / "pseudo_labels.json").write_text(json.dumps({"tables": tables}))
    load("make_tables").main([f"--{name}", str(tmp_path), "--docs", str(docs)])
    text = (docs / page).read_text()
    assert "\n| person | 50 / 25 | 50 / 25 | 50 / 25 | 50 / 25 | - / 25 |\n" in text
    assert "\nSteps of the last phase in which ACA acts, %: any 40.\n" in text
    assert list(changed(docs)) == [page]


def test_no_folder_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("make_tables").main([])
    assert (
        "expected at least one of --comparison, --recipes, --thresholds, --shares, --scene_statistics, --pseudo_labels"
        in capsys.readouterr().err
    )
