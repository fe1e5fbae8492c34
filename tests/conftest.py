from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
# a shell starts background jobs with Ctrl-C ignored, and the processes of the tests would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def flir_mini() -> Path:
    """The folder of real frames; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("MORN_REAL_DATA", REPOSITORY.parent / "shared" / "data" / "flir_mini"))
    if not (folder / "trainB").is_dir():
        pytest.skip("real frames are not here; set MORN_REAL_DATA to their folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # values first: a wrong equation shows before its compiled form is asked for
    items.sort(key=lambda item: "compile" in item.name)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
