"""A run under faults goes on bit for bit from the last good state, and says how."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import get_worker_info

from helpers.tiny_run import ROOT, TINY, finish, outcome, start
from ntir2dc.data.pairing import PairedCrops
from ntir2dc.run.checkpoint import list_checkpoints
from ntir2dc.trainer import Trainer
from train_morngan import main

Outcome = tuple[list[dict[str, str]], bytes]


@pytest.fixture(scope="module")
def whole(finished: Path) -> Outcome:
    """What a run leaves to which nothing happens."""
    return outcome(finished)


@pytest.fixture(scope="module")
def stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that may go on; its checkpoints are those after 3 and 4."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert main(["--preset=mini", *TINY, f"--data={folder}", f"--out={out}", "--max_steps=4"]) == 0
    return out


@pytest.fixture
def begun(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it in ``tmp_path / "run"``."""
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Callable[..., int]:
    """Train, or go on, in ``tmp_path / "run"``; return the exit status."""

    def train(*arguments: str) -> int:
        return main(["--preset=mini", *TINY, f"--data={folder}", f"--out={tmp_path / 'run'}", *arguments])

    return train


@contextmanager
def at_step(number: int, act: Callable[[], None]) -> Iterator[None]:
    """Do something right before a training step."""
    step = Trainer.training_step

    def training_step(self: Trainer, *arguments: Any) -> dict[str, Any]:
        if self.step == number:
            act()
        return step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "training_step", training_step)
        yield


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_killed_at_random_moments() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "drills" / "random_kills.py"), "--kills=3"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "\nkills: 3\n" in done.stdout


DIES_WHILE_WRITING = """
import os, signal, sys, torch
from train_morngan import main
save, count = torch.save, 0
def die(state, file):
    global count
    count += 1
    save(state, file)
    if count == 2:
        file.truncate(file.tell() // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = die
main(sys.argv[1:])
"""


def test_killed_while_a_checkpoint_is_written(
    folder: Path, whole: Outcome, tmp_path: Path, run: Callable[..., int]
) -> None:
    command = [sys.executable, "-c", DIES_WHILE_WRITING, "--preset=mini", *TINY]
    paths = f"{ROOT}{os.pathsep}{ROOT / 'examples'}"
    died = subprocess.run(
        [*command, f"--data={folder}", f"--out={tmp_path / 'run'}"],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    assert len(list(checkpoints.glob(".step_00000006.pt.*.tmp"))) == 1
    assert [p.name for p in list_checkpoints(checkpoints)] == ["step_00000003.pt"]
    assert run("--resume") == 0
    assert outcome(tmp_path / "run") == whole
    # nor does the half of a file stay there
    assert not list(checkpoints.glob(".*"))


@pytest.mark.parametrize("size", [0, 1500, 100_000])
def test_a_full_disk(size: int, whole: Outcome, begun: Path, run: Callable[..., int], capsys: Any) -> None:
    with file_size_limit(size):  # nothing at all can be written; the log cannot grow; no checkpoint can be written
        assert run("--resume") == 1
    error = capsys.readouterr().err
    assert "File too large" in error
    assert f"--out {begun} --resume" in error
    assert "Traceback" not in error
    assert [p.name for p in list_checkpoints(begun / "checkpoints")] == ["step_00000003.pt", "step_00000004.pt"]
    assert not list(begun.rglob(".*.tmp"))
    assert run("--resume") == 0
    assert outcome(begun) == whole


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, Path.unlink])
def test_without_its_newest_checkpoint_a_run_goes_on_from_the_one_before(
    damage: Callable[[Path], None],
    finished: Path,
    whole: Outcome,
    tmp_path: Path,
    run: Callable[..., int],
    capsys: Any,
) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    (out / "weights.safetensors").unlink()
    newest = list_checkpoints(out / "checkpoints")[-1]
    damage(newest)
    assert run("--resume") == 0
    told = capsys.readouterr().out
    assert "resumed after step 9" in told
    assert (f"passed over, cannot be read: {newest}" in told) == (damage is not Path.unlink)
    assert outcome(out) == whole


# in the middle of an epoch; before the memory is filled from every image
@pytest.mark.parametrize(("step", "workers"), [(4, 1), (9, 0)])
def test_an_image_that_goes_bad(
    step: int, workers: int, folder: Path, whole: Outcome, tmp_path: Path, run: Callable[..., int], capsys: Any
) -> None:
    images = {path: path.read_bytes() for path in (folder / "trainB").iterdir()}

    def spoil() -> None:
        for path, data in images.items():
            path.write_bytes(data[:200])

    try:
        with at_step(step, spoil):
            assert run(f"--dataset.workers={workers}") == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {folder / 'trainB'}/b")
        assert "cannot be read as an image" in error
        assert "Everything until then is saved" in error
        assert "Traceback" not in error
        # more than the last checkpoint of every third step
        assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name > f"step_{step:08d}.pt"
        # while it is bad, resuming names it again
        assert run("--resume") == 1
        assert "cannot be read as an image" in capsys.readouterr().err
    finally:
        for path, data in images.items():
            path.write_bytes(data)
    assert run("--resume", "--dataset.workers=0") == 0
    assert outcome(tmp_path / "run") == whole


def test_a_loader_process_that_dies(whole: Outcome, tmp_path: Path, run: Callable[..., int], capsys: Any) -> None:
    get = PairedCrops.__getitem__

    def die(self: PairedCrops, position: int) -> Any:
        if self.epoch == 2 and position == 1 and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(self, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PairedCrops, "__getitem__", die)
        assert run("--dataset.workers=1") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: a data-loader process died")
    assert "--dataset.workers 0" in error
    assert "--resume" in error
    assert run("--resume", "--dataset.workers=0") == 0
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize("where", ["in a step", "in the checkpoint after it"])
def test_ctrl_c_twice_stops_at_once(
    where: str, whole: Outcome, begun: Path, run: Callable[..., int], capsys: Any
) -> None:
    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def press_twice() -> None:
        press()
        press()

    with pytest.MonkeyPatch.context() as patch:
        if where == "in a step":
            act = press_twice
        else:
            act = press
            save = torch.save

            def press_again(state: dict[str, Any], file: Any) -> None:
                save(state, file)
                if state["step"] == 5:
                    press()

            patch.setattr(torch, "save", press_again)
        with at_step(4, act):
            assert run("--resume") == 130
    assert "stopped at once" in capsys.readouterr().err
    assert [p.name for p in list_checkpoints(begun / "checkpoints")] == ["step_00000003.pt", "step_00000004.pt"]
    assert not list(begun.rglob(".*.tmp"))
    assert run("--resume") == 0
    assert outcome(begun) == whole


@pytest.mark.parametrize("text", ["", "[]", '{"preset": "mini", "nosuch": 1}'])
def test_a_config_that_does_not_fit_is_passed_over(
    text: str, begun: Path, run: Callable[..., int], capsys: Any
) -> None:
    (begun / "config.json").write_text(text)
    assert run("--resume", "--max_steps=5") == 0
    assert "config.json: passed over" in capsys.readouterr().err


class Attack:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_malicious_checkpoint_is_never_run(begun: Path, tmp_path: Path, run: Callable[..., int], capsys: Any) -> None:
    attack = {"version": 1, "step": 9, "config": Attack(tmp_path / "attacked")}
    torch.save(attack, begun / "checkpoints" / "step_00000009.pt")
    assert run("--resume", "--max_steps=5") == 0
    told = capsys.readouterr().out
    assert "step_00000009.pt: holds more than tensors and plain values, which is never loaded" in told
    assert "resumed after step 4" in told
    assert not (tmp_path / "attacked").exists()


@pytest.mark.slow
def test_two_processes_give_the_same_bits(folder: Path, tmp_path: Path) -> None:
    def train(name: str, *more: str) -> Outcome:
        # other kernels, which round differently from those of the other tests
        options = [*TINY, f"--data={folder}", f"--out={tmp_path / name}", "--deterministic=true", *more]
        finish(start("--preset=mini", *options))
        return outcome(tmp_path / name)

    assert train("one") == train("with loaders", "--dataset.workers=2")
