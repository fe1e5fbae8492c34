"""The tables of numbers in docs/methods.md, from small files of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from test_docs import load


@pytest.fixture(scope="module")
def make_methods() -> Any:
    return load("make_methods")


def cells(table: str) -> dict[str, list[str]]:
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return {row[0]: row[1:] for row in (["", *head[1:]], *rows)}


def test_without_a_study_the_papers_rows_stand_alone(make_methods: Any, tmp_path: Path) -> None:
    tables = make_methods.tables(tmp_path)
    table = cells(tables["tables 1 and 2"])
    assert len(table) == 1 + 8
    assert " ".join(table["MornGAN, paper"]) == "98.7 84.0 96.8 95.6 0.7 94.5 40.4 1.2 22.8 59.4 79.5 29.5 82.9 63.9"
    assert " ".join(cells(tables["table 6"])["UNIT, paper"]) == "23.9 19.3 21.6 0.18 0.22 0.20"
    assert tables["costs"] == ""


def test_a_studys_rows_stand_below_the_papers(make_methods: Any, tmp_path: Path) -> None:
    head = "row,seed,miou_a,apce,iou road,ap person\n"
    (tmp_path / "methods.csv").write_text(
        f"{head}UNIT,0,0.30,0.5,0.9,0.25\nUNIT,1,0.40,0.5,0.7,nan\n"
        "DlamGAN (reconstruction),0,0.1,0.2,0.3,0.4\ninput,,0,1,0,0\n"
    )
    (tmp_path / "methods_on_b.csv").write_text("row,seed,miou_a,apce\nUNIT,0,0.2,0.3\nUNIT,1,0.4,0.5\n")
    (tmp_path / "methods_on_a.csv").write_text("row,seed,miou_a,apce\nUNIT,0,0.4,0.1\nUNIT,1,0.6,0.1\n")
    (tmp_path / "costs.csv").write_text(
        "row,parameters,macs,step_bytes,frame_ms,step_ms,step_ms_ratio\nCycleGAN,5,2500000000,1048576,12.34,500,1.0\n"
    )
    tables = make_methods.tables(tmp_path)
    table = cells(tables["tables 1 and 2"])
    # columns of which the study knows nothing are left out, and an undefined number is none
    assert table[""] == ["road", "mIoU", "AP person"]
    assert table["UNIT, paper"] == ["96.3", "47.0", "16.3"]
    assert table["UNIT, here"] == ["80.0 ±14.1", "35.0 ±7.1", "-"]
    assert table["DlamGAN (reconstruction), here"] == ["30.0", "10.0", "40.0"]
    assert "input, here" not in table
    assert cells(tables["table 6"])["UNIT, here"] == [
        "30.0 ±14.1", "50.0 ±14.1", "40.0 ±14.1", "0.40 ±0.14", "0.10 ±0.00", "0.25 ±0.07"
    ]  # fmt: skip
    assert cells(tables["costs"])["CycleGAN"] == ["2.5", "12.3", "1", "0.5", "1.00"]
