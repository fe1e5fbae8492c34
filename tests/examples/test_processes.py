"""The processes of a run start together and end together; here they are scripts of a few lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers.tiny_run import ROOT
from ntir2dc.parallel.launching import GONE, launch


def script(text: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys, time\nrank = int(os.environ['LOCAL_RANK'])\n{text}"]


def advice() -> str:
    return "Go on."


def test_all_are_told_who_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "('LOCAL_RANK', 'WORLD_SIZE', 'GROUP_RANK', 'MASTER_ADDR', 'MASTER_PORT')"
    text = f"open(f'{tmp_path}/{{rank}}', 'w').write(' '.join(os.environ[n] for n in {names}))"
    assert launch(script(text), 3, advice) == 0
    told = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [t[:4] for t in told] == [[str(rank), "3", "0", "127.0.0.1"] for rank in range(3)]
    assert len({t[4] for t in told}) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        # the first one says why itself, whatever becomes of the others
        (f"sys.exit(1 if rank == 0 else {GONE})", 1, ""),
        ("sys.exit(130)", 130, ""),
        (
            f"sys.exit(7 if rank == 1 else {GONE})",
            1,
            "error: process 1 of 2 ended with status 7; all have ended. Go on.",
        ),
        (
            f"os.kill(os.getpid(), signal.SIGKILL) if rank == 0 else sys.exit({GONE})",
            1,
            "error: process 0 of 2 was killed by SIGKILL, perhaps by a system out of memory; all have ended. Go on.",
        ),
        # one that takes its time to fail, while another already misses it
        (
            f"rank or time.sleep(1)\nsys.exit(7 if rank == 0 else {GONE})",
            1,
            "error: process 0 of 2 ended with status 7; all have ended. Go on.",
        ),
        ("sys.exit(2 if rank == 0 else 0)", 2, ""),
    ],
)
def test_how_they_end(text: str, status: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert launch(script(text), 2, advice) == status
    assert capfd.readouterr().err.strip() == said


def test_one_that_waits_for_a_dead_one_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    wait = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    started = time.monotonic()
    assert launch(script(f"os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else exec('{wait}')"), 2, advice) == 1
    assert 4 < time.monotonic() - started < 30
    assert "process 1 of 2 was killed by SIGKILL" in capfd.readouterr().err


def test_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    arguments = ["a b", "$$HOME", "${local_rank}", "$x", "*"]
    assert launch([*script(f"open(f'{tmp_path}/{{rank}}', 'w').write(repr(sys.argv[1:]))"), *arguments], 2, advice) == 0
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == [repr(arguments)] * 2


def test_the_end_of_a_terminal_is_left_to_nohup(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hang_up = f"rank or (os.kill({os.getpid()}, signal.SIGHUP), time.sleep(0.5))"
        assert launch(script(f"{hang_up}\nopen(f'{tmp_path}/{{rank}}', 'w').close()"), 2, advice) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(list(tmp_path.iterdir())) == 2
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_each_process_once(signum: signal.Signals, tmp_path: Path) -> None:
    text = f"""
seen = []
for s in (signal.SIGINT, signal.SIGTERM):
    signal.signal(s, lambda *_: seen.append(1))
open(f'{tmp_path}/ready{{rank}}', 'w').close()
while not seen:
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(0 if len(seen) == 1 else 7)
"""

    def press() -> None:
        while len(list(tmp_path.glob("ready*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    thread = threading.Thread(target=press)
    thread.start()
    assert launch(script(text), 2, advice) == 0
    thread.join()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_they_end_when_their_launcher_is_killed(tmp_path: Path) -> None:
    work = f"""
sys.path.insert(0, {str(ROOT / "examples")!r})
from ntir2dc.parallel.launching import end_with_launcher
end_with_launcher()
open(f'{tmp_path}/{{rank}}', 'w').write(str(os.getpid()))
time.sleep(600)
"""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "examples")!r})
from ntir2dc.parallel.launching import launch
launch({script(work)!r}, 2, str)
"""
    launcher = subprocess.Popen([sys.executable, "-c", code])
    while len([p for p in tmp_path.iterdir() if p.read_text()]) < 2:
        assert launcher.poll() is None
        time.sleep(0.02)
    children = [int(p.read_text()) for p in tmp_path.iterdir()]
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().split()[2] == "Z")
