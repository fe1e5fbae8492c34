from __future__ import annotations

from pathlib import Path

import pytest

from helpers.small_folder import write_folder


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")
