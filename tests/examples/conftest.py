from __future__ import annotations

from pathlib import Path

import pytest

from helpers.small_folder import write_folder
from helpers.tiny_run import TINY
from train_morngan import main


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder for all tests of a file: leave it as it is."""
    return write_folder(tmp_path_factory.mktemp("folder") / "data")


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on ``folder`` to which nothing happened: 12 steps, the states after 9 and 12 kept. Copy it to go on."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main(["--preset=mini", *TINY, f"--data={folder}", f"--out={out}"]) == 0
    return out
