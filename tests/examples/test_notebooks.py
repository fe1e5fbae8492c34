"""Notebooks run as they are committed, and show what they say. Each has a process of its own, as a reader's has."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from drills.check_front import cells, check, count_pictures, first_snippets, run_cell
from ntir2dc.networks import Decoder, Encoder
from ntir2dc.run.weights import save_weights

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"
DRILL = ROOT / "tests" / "drills" / "check_front.py"


def run(notebook: Path) -> str:
    """Run a notebook in a process of its own; return what it says."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DRILL), str(notebook)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def number(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text)
    return float(found)


def test_cgr_keeps_edges_in_the_notebook() -> None:
    said = run(NOTEBOOKS / "cgr_on_your_own_folder.ipynb")
    assert "4 pictures" in said
    for name in (r"(\d+)% lost", r"[^\n]*APCE ([\d.]+)", r"[^\n]*precision ([\d.]+)"):
        without, with_cgr = number(rf"without CGR: {name}", said), number(rf"with CGR: {name}", said)
        assert with_cgr < without / 2 if "lost" in name else with_cgr > 2 * without, name


def test_the_cgr_notebook_reads_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    Image.radial_gradient("L").save(tmp_path / "mine" / "a.png")
    Image.linear_gradient("L").save(tmp_path / "mine" / "b.jpg")
    (tmp_path / "mine" / "notes.txt").write_text("no image")
    text = (NOTEBOOKS / "cgr_on_your_own_folder.ipynb").read_text()
    text = text.replace("FOLDER = None", "FOLDER = 'mine'").replace("STEPS = 70", "STEPS = 1")
    (tmp_path / "own.ipynb").write_text(text)
    assert "pictures" in run(tmp_path / "own.ipynb")


def test_parts_are_found_and_aca_colors_in_the_notebook() -> None:
    said = run(NOTEBOOKS / "kmeans_and_aca_seen.ipynb")
    assert "4 pictures" in said
    for name in ("building", "car", "person"):
        (sizes,) = re.findall(rf"{name}: (\d+) points in parts of \[([\d, ]+)\]", said)
        parts = [int(n) for n in sizes[1].split(", ")]
        assert len(parts) == 4
        assert min(parts) > 0
        assert sum(parts) == int(sizes[0])
        real, gray = re.findall(rf"{name}: .*global ([\d.]+) real, ([\d.]+) gray", said)[0]
        assert float(gray) < float(real)
    assert number(r"\nloss ([\d.]+)\n", said) > 0


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples without weights of any kind."""
    ignored = shutil.ignore_patterns("__pycache__", "weights")
    return Path(shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=ignored))


def test_without_weights_the_notebook_says_that_its_picture_means_nothing(examples: Path) -> None:
    said = run(examples / "notebooks" / "from_a_thermal_frame_to_day.ipynb")
    assert "UNTRAINED: no weights were found, the translation below means nothing" in said
    assert "3 pictures" in said


def test_weights_are_taken_where_there_are_some(examples: Path, tmp_path: Path) -> None:
    place = "examples/weights/translator.safetensors"
    networks = {"encoder_b": Encoder(4, 1), "decoder_a": Decoder(4, 1)}
    save_weights(tmp_path / place, networks, {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1})
    said = run(examples / "notebooks" / "from_a_thermal_frame_to_day.ipynb")
    assert f"weights: {tmp_path / place}" in said
    assert "UNTRAINED" not in said


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_needs_what_it_says_and_its_links_lead_somewhere(notebook: Path) -> None:
    content = json.loads(notebook.read_text())
    prose = "".join("".join(c["source"]) for c in content["cells"] if c["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        assert (notebook.parent / target).exists(), target
    imported = set()
    for node in (n for source in cells(notebook) for n in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    beyond = imported - sys.stdlib_module_names - {"morn_losses", "torch", "numpy", "PIL"}
    assert beyond == ({"ntir2dc", "scenes"} if "'.[train]'" in prose else set())


def test_what_is_wrong_with_a_notebook_is_seen(tmp_path: Path) -> None:
    content = json.loads((NOTEBOOKS / "kmeans_and_aca_seen.ipynb").read_text())
    wrong = tmp_path / "wrong.ipynb"

    def write(source: list[str], **changes: object) -> None:
        cell = {
            "cell_type": "code",
            "id": "a",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        wrong.write_text(json.dumps({**content, "cells": [cell | changes]}))

    write(["1 / 0"])
    with pytest.raises(ZeroDivisionError):
        check(wrong)
    write(["from PIL import Image\n", "Image.new('RGB', (4, 4))"])
    with pytest.raises(ValueError, match="one color"):
        check(wrong)
    write([], execution_count=3)
    with pytest.raises(ValueError, match="holds outputs"):
        cells(wrong)
    assert run_cell("x = 1\nx + 1", "a cell", {}) == 2
    assert count_pictures([1, None]) == 0


def test_the_first_snippets_of_readme_run_alone() -> None:
    assert len(first_snippets(ROOT / "README.md")) == 3
    assert check(ROOT / "README.md") == "3 snippets"
