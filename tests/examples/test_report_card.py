from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from studies.cards.report_card import write_report_card
from studies.cards.streets import Options

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["labels", "mining", "denoising", "memory", "aca", "cgr", "sr"]
TINY = Options(
    sets=1, size=(48, 64), n_train=3, n_test=4, n_day=6, n_night=8, draws=2, translator_steps=1, segmenter_steps=1,
    aca_steps=1, cgr_steps=1,
)  # fmt: skip


def test_the_command_runs_end_to_end_and_repeats_itself(tmp_path: Path) -> None:
    flags = [f"--options.{k}={list(v) if isinstance(v, tuple) else v}" for k, v in vars(TINY).items()]
    command = [sys.executable, str(ROOT / "examples" / "studies" / "report_card.py"), "--out", str(tmp_path / "a")]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report_card.md" in done.stdout

    result = json.loads((tmp_path / "a" / "report_card.json").read_text())
    assert list(result["cards"]) == KEYS
    assert result["options"]["sets"] == 1
    assert result["machine"]["threads"] == 1
    page = (tmp_path / "a" / "report_card.md").read_text()
    for key in KEYS:
        with Image.open(tmp_path / "a" / "pictures" / f"{key}.png") as picture:
            assert min(picture.size) > 50
        assert f"](pictures/{key}.png)" in page
        assert result["cards"][key]["claims"]
        for table in result["cards"][key]["tables"]:
            cells = [cell for row in table["rows"].values() for cell in row.values()]
            assert all(len(cell["sets"]) == 1 for cell in cells)
    assert "nan" not in page.lower().split()

    again = write_report_card(tmp_path / "b", TINY, say=lambda _: None)
    assert [card.key for card in again] == KEYS
    repeated = json.loads((tmp_path / "b" / "report_card.json").read_text())
    assert repeated["cards"] == result["cards"]
    without_time = re.compile(r"\d+ s\.")
    assert without_time.sub("", (tmp_path / "b" / "report_card.md").read_text()) == without_time.sub("", page)


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_text_is_put_between_its_marks() -> None:
    fill = load_script("make_report_card").fill
    page = "text\n<!-- a -->\nold\n<!-- end of a -->\nmore\n<!-- b -->\n<!-- end of b -->\n"
    filled = "text\n<!-- a -->\n\n| 1 |\n\n<!-- end of a -->\nmore\n<!-- b -->\n\n| 2 |\n\n<!-- end of b -->\n"
    sections = {"b": "| 2 |", "a": "\n| 1 |\n"}
    assert fill(page, sections) == filled
    assert fill(filled, sections) == filled
    with pytest.raises(SystemExit, match="no marks of 'c'"):
        fill(page, {"c": ""})


def test_the_page_takes_numbers_and_picture_of_each_card(tmp_path: Path) -> None:
    cards = {"a": {"title": "A", "how": "So."}}
    machine = {"torch": "2", "threads": 1, "seconds": 7}
    result = {"options": {"sets": 5}, "machine": machine, "cards": cards}
    (tmp_path / "report_card.json").write_text(json.dumps(result))
    (tmp_path / "report_card.md").write_text("# t\n\n<!-- a -->\n\n| 1 |\n\n<!-- end of a -->\n")
    assert load_script("make_report_card").read_sections(tmp_path) == {
        "machine": "5 sets, torch 2 on the CPU, 1 thread, 7 s.",
        "a": "So.\n\n| 1 |\n\n![A](pictures/report_card/a.png)",
    }


def test_the_page_in_the_docs_has_a_place_for_every_card() -> None:
    section = load_script("make_report_card").section
    page = (ROOT / "docs" / "report_card.md").read_text()
    places = [section(page, key).start() for key in ("machine", *KEYS)]
    assert places == sorted(places)
