"""A run's folder belongs to one process at a time, and to nobody once that is gone."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.tiny_run import ROOT, TINY, start, wait_for_rows
from ntir2dc.run.checkpoint import list_checkpoints
from ntir2dc.run.lock import LockedError, locked
from train_morngan import main

HOLD = """
import os, sys, time
from pathlib import Path
from ntir2dc.run.lock import locked
with locked(Path(sys.argv[1])):
    if os.fork() > 0:
        print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in a process that has a child, as one with a data loader has."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "examples")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_another_process_is_told_who_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as process:
        before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        said = rf"run: process {process.pid} on {socket.gethostname()} has trained in it since \d{{4}}-.* another --out"
        for _ in range(2):
            with pytest.raises(LockedError, match=said), locked(tmp_path / "run"):
                raise AssertionError
        assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
        process.kill()
        process.wait()
        # its child lives on
        with locked(tmp_path / "run"):
            assert str(os.getpid()) in (tmp_path / "run" / ".lock").read_text()
    assert not list((tmp_path / "run").iterdir())


def contend(folder: Path, times: int) -> None:
    won = 0
    while won < times:
        try:
            with locked(folder):
                os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
                (folder / "inside").unlink()
                won += 1
        except LockedError:
            pass


def test_no_two_are_ever_inside(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=contend, args=(tmp_path, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4


def test_a_process_that_holds_it_does_not_enter_twice(tmp_path: Path) -> None:
    with locked(tmp_path):
        with ThreadPoolExecutor(1) as pool, pytest.raises(LockedError, match="this process trains in it already"):
            pool.submit(locked(tmp_path / ".." / tmp_path.name).__enter__).result()
        with locked(tmp_path / "another"):
            pass
        # the lock is not lost by that: a process that closes its file anywhere gives it up
        context = multiprocessing.get_context("fork")
        other = context.Process(target=contend, args=(tmp_path, 1))
        other.start()
        other.join(0.5)
        assert other.is_alive()
    other.join(120)
    assert other.exitcode == 0


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", none)
    told: list[str] = []
    with locked(tmp_path, told.append):
        pass
    assert "knows no locks" in told[0]


def test_neither_a_second_run_nor_resume_touches_a_live_run(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--preset=mini", *TINY, f"--data={data_folder}", f"--out={out}"]
    with holder(out) as process:
        assert main(arguments) == 1
        assert f"error: {out}: process {process.pid} on" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert main([*arguments, "--max_steps=1"]) == 0
    with holder(out):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert main([f"--out={out}", "--resume"]) == 1
        assert "has trained in it since" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main([f"--out={out}", "--resume", "--max_steps=2"]) == 0
    assert not (out / ".lock").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads a process's environment")
def test_the_first_of_several_processes_holds_it(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--preset=mini", *TINY, f"--data={data_folder}", f"--out={out}", "--batch_size=2"]
    process = start(*arguments, "--devices=2", "--steps_per_epoch=200")
    wait_for_rows(out, 1, process)
    assert main(arguments) == 1
    pid = capsys.readouterr().err.split("process ")[1].split()[0]
    assert b"\0RANK=0\0" in Path(f"/proc/{pid}/environ").read_bytes()
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "everything is saved" in told
    assert len(list_checkpoints(out / "checkpoints")) > 0
    assert not (out / ".lock").exists()
