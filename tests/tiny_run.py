"""The command line of the trainer on networks of a few channels, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from morngan.log import read_log

ROOT = Path(__file__).resolve().parents[1]

_TINY = """
--epochs=6 --steps_per_epoch=2 --pool=3 --checkpoint_every=3 --networks.generator_width=4
--networks.encoder_blocks=1 --networks.decoder_blocks=1 --networks.discriminator_width=4
--networks.discriminator_layers=[3,3,2] --networks.segmenter_width=4 --networks.segmenter_blocks=1
--networks.aspp_channels=4 --networks.merged_channels=8 --dataset.crop=32 --losses.theta_fg=0.04
--losses.theta_bg=0.04 --losses.fill_threshold=0.05 --losses.aca_clusters=2
"""
TINY = _TINY.split()


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "train_morngan.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def rows(out: Path) -> list[dict[str, str]]:
    found = read_log(out / "log.csv")
    for row in found:
        row.pop("seconds")
    return found


def wait_for_rows(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "log.csv").is_file() and len((out / "log.csv").read_text().splitlines()) > count:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate()[0] if process.poll() is not None else "no log within the time")


def outcome(out: Path) -> tuple[list[dict[str, str]], bytes]:
    """Return what two equal runs have in common to the last bit: the log without its seconds, and the weights."""
    return rows(out), (out / "weights.safetensors").read_bytes()
