from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from ntir2dc.run.checkpoint import CheckpointError, list_checkpoints, load_newest, save_checkpoint


def test_newest_state_comes_back(tmp_path: Path) -> None:
    for step in (3, 20, 100):
        save_checkpoint(tmp_path, {"step": step, "x": torch.arange(step)}, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_00000020.pt", "step_00000100.pt"]
    assert load_newest(tmp_path)["step"] == 100
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    for step in (3, 20):
        path = save_checkpoint(tmp_path, {"step": step, "x": torch.arange(1000)}, keep=2)
    path.write_bytes(path.read_bytes()[:500])
    assert load_newest(tmp_path)["step"] == 3
    for p in list_checkpoints(tmp_path):
        p.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        load_newest(tmp_path)


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_newest(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3)])
def test_a_file_that_holds_no_state_is_passed_over(content: object, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1}, keep=2)
    torch.save(content, tmp_path / "step_00000002.pt")
    told: list[str] = []
    assert load_newest(tmp_path, told.append)["step"] == 1
    assert "step_00000002.pt: is not a checkpoint of this trainer" in told[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_changed_bit_is_found(share: float, tmp_path: Path) -> None:
    x = torch.randn(1000)
    path = save_checkpoint(tmp_path, {"step": 1, "x": x}, keep=1)
    data = bytearray(path.read_bytes())
    stored = x.numpy().tobytes()
    data[data.index(stored) + int(share * len(stored))] ^= 4
    path.write_bytes(data)
    # torch itself reads the changed tensor without a word
    assert not torch.equal(torch.load(path, weights_only=True)["x"], x)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_newest(tmp_path)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".step_00000004.pt.123.tmp").write_bytes(b"half")
    save_checkpoint(tmp_path, {"step": 5}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000005.pt"]


def test_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"version": 0, "step": 1}, tmp_path / "step_00000001.pt")
    with pytest.raises(CheckpointError, match="another version"):
        load_newest(tmp_path)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_arbitrary_objects_are_never_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"version": 1, "step": 1, "x": _Evil()}, tmp_path / "step_00000001.pt")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        load_newest(tmp_path)
    assert "executed" not in capsys.readouterr().out
    (tmp_path / "step_00000002.pt").write_bytes(pickle.dumps(_Evil(), protocol=2))
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        load_newest(tmp_path)
    assert "executed" not in capsys.readouterr().out


def test_a_failed_write_leaves_the_states_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {"step": 1}, keep=2)

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, {"step": 2}, keep=2)
    assert load_newest(tmp_path)["step"] == 1


def test_copies_of_the_user_are_neither_read_nor_deleted(tmp_path: Path) -> None:
    names = ["step_best.pt", "step_2.pt", "step_00000001_copy.pt", "step_000000009.pt"]
    for name in names:
        torch.save({"version": 1, "step": 1}, tmp_path / name)
    for step in (99999999, 100000000, 100000001):
        save_checkpoint(tmp_path, {"step": step}, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_100000000.pt", "step_100000001.pt"]
    assert load_newest(tmp_path)["step"] == 100000001
    assert all((tmp_path / name).exists() for name in names)
