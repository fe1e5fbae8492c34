"""A run that goes on says by name what has changed among its data since it began."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.small_folder import write_folder
from helpers.tiny_run import TINY
from ntir2dc.run.checkpoint import CheckpointError
from ntir2dc.run.inventory import SHOWN, check_inventory, take_inventory
from train_morngan import main


@pytest.fixture
def begun(data_folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    check_inventory(out, data_folder, lambda _: None, resume=False)
    return out


def told(out: Path, folder: Path) -> list[str]:
    lines: list[str] = []
    check_inventory(out, folder, lines.append, resume=True)
    return [line.strip() for text in lines for line in text.splitlines()]


def test_every_file_that_training_reads_counts(data_folder: Path) -> None:
    found = take_inventory(data_folder)
    assert len(found) == 3 * 3 + 4
    assert {name.split("/")[0] for name in found} == {"trainA", "trainB", "labels_pred1", "labels_pred2"}
    assert len(set(found.values())) == len(found)


def test_what_has_changed_is_said_by_name(begun: Path, data_folder: Path) -> None:
    assert told(begun, data_folder) == []
    for path in data_folder.rglob("*.png"):
        path.touch()  # dates say nothing
    assert told(begun, data_folder) == []
    shutil.copy(data_folder / "trainA" / "a0.png", data_folder / "trainA" / "new.png")
    (data_folder / "trainA" / "a1.png").unlink()
    shutil.copy(data_folder / "labels_pred1" / "a0.png", data_folder / "labels_pred1" / "a2.png")
    shutil.copy(data_folder / "trainB" / "b0.png", data_folder / "trainB" / "b1.png")
    changes = [
        "labels_pred1/a2.png: changed",
        "trainA/a1.png: removed",
        "trainA/new.png: added",
        "trainB/b1.png: changed",
    ]
    for _ in range(2):  # compared with the beginning, not with the last time
        assert told(begun, data_folder) == [f"{data_folder}: changed since the run began", *changes]


@pytest.mark.parametrize("how", ["added", "removed", "renamed"])
def test_thermal_images_that_came_or_went_are_refused(how: str, begun: Path, data_folder: Path) -> None:
    image = data_folder / "trainB" / "b0.png"
    if how == "added":
        shutil.copy(image, image.with_name("b9.png"))
    elif how == "removed":
        image.unlink()
    else:
        image.rename(image.with_name("b9.png"))
    with pytest.raises(CheckpointError, match=rf"trainB/b\d.png: {'added|removed'}[^$]*put them back"):
        told(begun, data_folder)


def test_a_long_list_is_cut_and_what_ends_the_run_comes_first(begun: Path, data_folder: Path) -> None:
    for i in range(SHOWN + 5):
        shutil.copy(data_folder / "trainA" / "a0.png", data_folder / "trainA" / f"c{i:02}.png")
    lines = told(begun, data_folder)
    assert lines[1:3] == ["trainA/c00.png: added", "trainA/c01.png: added"]
    assert lines[-1] == "and 5 more"
    (data_folder / "trainB" / "b3.png").unlink()
    with pytest.raises(CheckpointError, match=r"began\n  trainB/b3.png: removed\n"):
        told(begun, data_folder)


@pytest.mark.parametrize("content", [None, "", "[1]"])
def test_a_run_without_an_inventory_takes_one(content: str | None, begun: Path, data_folder: Path) -> None:
    if content is None:
        (begun / "data.json").unlink()
    else:
        (begun / "data.json").write_text(content)
    assert told(begun, data_folder) == []
    (data_folder / "trainA" / "a0.png").write_bytes(b"")
    assert told(begun, data_folder)[1:] == ["trainA/a0.png: changed"]


def test_resume_says_it_and_goes_on(data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["--preset=mini", *TINY, f"--data={data_folder}", f"--out={out}", "--max_steps=1"]) == 0
    for name in ("trainA", "labels_pred1", "labels_pred2"):
        shutil.copy(data_folder / name / "a0.png", data_folder / name / "a7.png")
    assert main([f"--out={out}", "--resume", "--max_steps=2"]) == 0
    said = capsys.readouterr().out
    assert "trainA/a7.png: added" in said
    assert "resumed after step 1" in said
    shutil.copy(data_folder / "trainB" / "b0.png", data_folder / "trainB" / "b7.png")
    assert main([f"--out={out}", "--resume", "--max_steps=3"]) == 1
    assert "trainB/b7.png: added" in capsys.readouterr().err


def test_a_run_goes_on_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert main(["--preset=mini", *TINY, "--data=data", "--out=run", "--max_steps=1"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main([f"--out={tmp_path / 'run'}", "--resume", "--max_steps=2"]) == 0
    assert "resumed after step 1" in capsys.readouterr().out
