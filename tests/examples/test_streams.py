"""A run does not end because nobody reads what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.tiny_run import ROOT, TINY, rows_without_seconds, start

TRAIN = [sys.executable, str(ROOT / "examples" / "train_morngan.py"), "--preset=mini", *TINY]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(shutil.which("sh") is None, reason="closes streams by a shell")
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", pytest.param(">/dev/full 2>&1", id="full")])
def test_closed_streams_and_a_full_disk(closed: str, data_folder: Path, tmp_path: Path) -> None:
    if "full" in closed and not Path("/dev/full").exists():
        pytest.skip("has no /dev/full")
    out = tmp_path / "run"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *TRAIN, f"--data={data_folder}", f"--out={out}"]
    done = subprocess.run([*command, "--max_steps=2"], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # nothing that was said went into a file of the run
    assert [row["step"] for row in rows_without_seconds(out)] == ["0", "1"]


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_reader_that_goes_away(devices: int, data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    several = [f"--devices={devices}", f"--batch_size={devices}"]
    process = start("--preset=mini", *TINY, f"--data={data_folder}", f"--out={out}", *several)
    assert process.stdout is not None
    assert process.stdout.readline() != ""
    process.stdout.close()
    assert process.wait(240) == 0
    assert len(rows_without_seconds(out)) == 12
    assert (out / "checkpoints" / "step_00000012.pt").exists()


SPEAK = """
from ntir2dc.run.streams import speak_anyhow
speak_anyhow()
print("now")
input()
print(chr(960), "ü", "x" * 100_000)
"""


def test_lines_arrive_while_the_run_goes_on_in_any_encoding() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SPEAK],
        env={**os.environ, "PYTHONPATH": str(ROOT / "examples"), "PYTHONIOENCODING": "latin-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"now\n"
    assert process.communicate(b"\n", timeout=60)[0].decode("latin-1") == f"\\u03c0 ü {'x' * 100_000}\n"
