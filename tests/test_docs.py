"""What README and docs say exists, exists; every code block runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import morn_losses
from morn_losses import functional, metrics

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_test_named_in_the_equations_exists() -> None:
    text = (ROOT / "docs" / "equations.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 40
    for path, name in named:
        source = (ROOT / path).read_text()
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), f"{path}::{name}"


def test_every_equation_and_every_function_is_in_the_table() -> None:
    text = (ROOT / "docs" / "equations.md").read_text()
    numbers: set[int] = set()
    for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE):
        if "." in cell:
            continue
        for first, last in re.findall(r"(\d+)(?:–(\d+))?", cell):
            numbers |= set(range(int(first), int(last or first) + 1))
    assert numbers == set(range(1, 24))
    # the rest serves these: gray values, gradients, filling of labels and the tuples that functions return
    helpers = {"to_gray", "gradient_magnitude", "fill_unlabeled", "ACATerms", "KMeansResult"}
    for name in set(functional.__all__) - helpers:
        assert f"`{name}`" in text, name
    for name in re.findall(r"\| `([A-Z]\w+)`", text):
        assert hasattr(morn_losses, name)
    assert hasattr(metrics, "apce")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_blocks_run(page: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


def test_commands_name_scripts_and_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        text = page.read_text()
        for script in re.findall(r"python (\S+\.py)", text):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"
        for target in re.findall(r"make (\w+)", "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"
