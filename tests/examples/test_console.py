"""No name and no terminal ends a command, and nothing is begun that could not be written."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from helpers.small_folder import write_folder
from ntir2dc import files
from ntir2dc.console import call, counted, escape_what_cannot_be_shown
from ntir2dc.files import attempt, check_writable, named_in_text, write_text
from studies import ablation, pseudo_labels, report_card, scene_statistics, segmenters

EXAMPLES = Path(files.__file__).resolve().parents[1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_stream_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
    escape_what_cannot_be_shown()
    print(f"±, {os.fsdecode(bytes([0xE9]))}, ✓", flush=True)
    shown = raw.getvalue().decode(encoding)
    assert "\\udce9" in shown
    assert ("±" in shown) == (encoding != "ascii")


def test_a_stream_that_is_not_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    escape_what_cannot_be_shown()


@pytest.mark.parametrize("name", ["plain", "täg", os.fsdecode(b"t\xe4g"), "[1, 2]", "12"])
def test_a_command_takes_any_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    seen: list[object] = []

    def main(run: Path, limit: int = 0, deep: bool = False, crop: tuple[int, int] = (1, 1)) -> int:
        seen[:] = [run, limit, deep, crop]
        return 3

    monkeypatch.setattr(sys, "argv", ["x", "--run", name, "--limit", "2", "--deep", "true", "--crop", "[4, 5]"])
    assert call(main) == 3
    assert seen == [Path(name), 2, True, (4, 5)]


def test_every_command_is_called_so() -> None:
    for script in (*EXAMPLES.glob("*.py"), *(EXAMPLES / "studies").glob("*.py")):
        if script.name not in ("train_morngan.py", "run_onnx.py"):  # the latter stands alone
            assert "sys.exit(call(main))" in script.read_text(encoding="utf-8"), script
    for script in (EXAMPLES / "recipes").glob("*.py"):
        text = script.read_text(encoding="utf-8")
        assert ("__main__" in text) == ("start(main)" in text), script


def test_a_folder_that_cannot_hold_files_is_named_and_none_is_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(NotADirectoryError, match=r"file: is a file, expected a folder"):
            check_writable(folder)


def test_a_folder_without_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match="nothing can be written there"):
        check_writable(tmp_path / "a")


def test_an_attempt_tells_and_goes_on_unless_nothing_can_be_written(tmp_path: Path) -> None:
    problems: list[str] = []
    assert attempt(lambda: write_text(tmp_path / "a", "±"), tmp_path / "a", problems)
    (tmp_path / "b").mkdir()
    assert not attempt(lambda: write_text(tmp_path / "b", ""), tmp_path / "b", problems)
    assert problems == [f"{tmp_path / 'b'}: cannot be written (Is a directory)"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        attempt(full, tmp_path / "c", problems, one_of_many=True)
    assert not attempt(full, tmp_path / "c", problems)
    assert problems[1:] == [f"{tmp_path / 'c'}: cannot be written (No space left on device)"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, os.fsdecode(b"\xe4" * 255)])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, f"± {name}")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8").startswith("± ")


def test_a_file_whose_name_is_no_text_is_given_as_a_copy(tmp_path: Path) -> None:
    for name in ("täg", os.fsdecode(b"t\xe4g")):
        (tmp_path / name).write_bytes(b"12")
        with named_in_text(tmp_path / name) as named:
            assert named.read_bytes() == b"12"
            assert os.fsencode(named).decode()
            assert (named == tmp_path / name) == (name == "täg")
    assert not named.exists()


# ---- studies ---------------------------------------------------------------------------------------------------------


def test_studies_end_in_a_sentence_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "file"
    out.touch()
    folder = write_folder(tmp_path / "data")
    for begin in (
        lambda: pseudo_labels.main([tmp_path], folder, out),
        lambda: segmenters.main(folder, out),
        lambda: scene_statistics.main(folder, folder, out),
        lambda: report_card.main(out),
        lambda: ablation.main(out),
    ):
        assert begin() == 1
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert str(out) in captured.err
        assert captured.out == ""


def test_an_ablation_on_unusable_frames_trains_no_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "data", n_a=1, size=(96, 96))
    shutil.copytree(folder / "trainA", folder / "judgeA")
    maps = [folder / name for name in ("labels_pred1/a0.png", "valB_labels/b4.png", "judgeA_labels/a0.png")]
    for path in maps:
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (96, 96), 23).save(path)
    for path in maps:
        assert ablation.main(tmp_path / "out", rows="baseline", seeds=1, data=folder, device="cpu") == 1
        captured = capsys.readouterr()
        assert f"{path}: holds ids [23]" in captured.err
        assert "judge: step" not in captured.out
        Image.new("L", (96, 96)).save(path)


def test_one_table_that_cannot_be_written_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_folder(tmp_path / "data"), tmp_path / "out"
    scenes = write_folder(tmp_path / "scenes", size=(32, 40))
    (out / "scene_statistics.json").mkdir(parents=True)
    assert scene_statistics.main(folder, scenes, out) == 1
    captured = capsys.readouterr()
    assert captured.err == f"error: {out / 'scene_statistics.json'}: cannot be written (Is a directory)\n"
    assert (out / "scene_statistics.md").read_text(encoding="utf-8") in captured.out
    assert (out / "scene_statistics.png").is_file()
    assert captured.out.splitlines()[-1] == f"written: {out / 'scene_statistics.md'}, {out / 'scene_statistics.png'}"


def test_how_far_it_is_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted(["a", "b"], "frames", every=0)) == ["a", "b"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(",")[0] for line in captured.err.splitlines()] == ["frames: 1 of 2", "frames: 2 of 2"]
