"""What README and docs say exists, exists; every code block runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import morn_losses
from morn_losses import edges, functional, label_spaces, metrics
from ntir2dc.config import make_config
from ntir2dc.methods.morngan.schedule import Active

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WRITTEN = sorted(p for p in DOCS.rglob("*.md") if p.relative_to(DOCS).parts[0] not in ("_build", "_static"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
CONCEPTS = [p for p in WRITTEN if p.parent.name == "concepts"]


def load(script: str) -> Any:
    """Return a script of the docs folder as a module."""
    spec = importlib.util.spec_from_file_location(script, DOCS / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> list[Any]:
    equations = load("make_equations")
    found: list[Any] = equations.read_rows()
    equations.add_tests(found)
    return found


def test_the_table_of_equations_is_that_of_docstrings_and_tests() -> None:
    assert load("make_equations").page() == (DOCS / "equations.md").read_text(), "run docs/make_equations.py"


def test_the_page_of_the_method_has_the_phases_of_the_code_and_the_files_of_a_step() -> None:
    method = load("make_method")
    way = method.traced()
    for page, text in method.pages(way).items():
        assert text == page.read_text(), "run docs/make_method.py"
    assert method.picture() == (DOCS / "pictures" / "method.svg").read_text(), "run docs/make_method.py"
    assert (
        set(method.CONCEPTS) | method.NOT_SHOWN
        == set(method.meanings())
        == {f.name for f in dataclasses.fields(Active)}
    )
    # those that the list for readers names are passed indeed
    steps = method.METHOD.read_text().split("## Reading the code")[1].split("<!--")[0]
    assert set(re.findall(r"\.\./examples/([\w/]+\.py)", steps)) <= set(way.files)


def test_the_page_of_the_methods_counts_the_networks_of_the_code() -> None:
    assert load("make_methods").page() == (DOCS / "methods.md").read_text(), "run docs/make_methods.py"


def test_every_equation_and_every_function_is_in_the_table(rows: list[Any]) -> None:
    assert {n for row in rows for n in range(row.first, row.last + 1)} - {0} == set(range(1, 24))
    # the rest serves these: gray values, gradients and the tuples that functions return
    helpers = {"to_gray", "gradient_magnitude", "ACATerms", "KMeansResult"}
    assert {row.name for row in rows if hasattr(functional, row.name)} == set(functional.__all__) - helpers
    modules = {n for n in morn_losses.__all__ if inspect.isclass(getattr(morn_losses, n))} - {"LabelSpace", *helpers}
    assert {row.module for row in rows} >= modules


def test_every_equation_has_its_tests(rows: list[Any]) -> None:
    compared = set()
    for row in rows:
        names = [name for tests in row.tests.values() for name in tests]
        assert len(names) >= (2 if row.is_function else 1), row.name
        if any(re.search("equals?_", name) for name in names):
            compared.add(row.name)
    functions = {row.name for row in rows if hasattr(functional, row.name)}
    # these two are sums of what has been compared
    assert functions - compared == {"sga_plus_loss", "segmentation_loss"}


def test_a_detail_names_a_known_equation() -> None:
    equations = load("make_equations")
    table = equations.read_rows()
    with pytest.raises(ValueError, match="test_x: names an equation"):
        equations.detail_of("test_x", "Eq. 24: unknown.", table, [])
    assert equations.detail_of("test_x", "A test.", table, []) == ([], "")
    found, equation = equations.detail_of("test_total_is_eq_23_written_out", "", table, [])
    assert ([row.name for row in found], equation) == (["examples/ntir2dc/methods/morngan/objective.py"], "23")
    # those that the test calls, if there are any
    called = [row for row in table if row.name == "MemoryBank"]
    assert equations.detail_of("test_x", "Section 3.4.1: x.", table, called) == (called, "")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", CONCEPTS, ids=name_of)
def test_a_concept_goes_from_its_equation_to_where_paper_and_code_differ(page: Path) -> None:
    headings = re.findall(r"^## (.*)", page.read_text(), re.MULTILINE)
    assert [h.removesuffix("s") if h == "Equations" else h for h in headings] == [
        *("Equation", "Picture", "Code", "Options", "Paper and published code"),
    ]
    picture = re.search(r"!\[.+\]\(\.\./pictures/(\w+)\.png\)", page.read_text())
    assert picture is not None
    assert picture[1] == page.stem


def test_every_concept_has_a_page() -> None:
    assert [p.stem for p in CONCEPTS] == sorted(
        ["baseline", "sga", "mining", "pseudo_labeler", "memory", "aca", "kmeans", "cgr", "sr", "metrics"]
    )


def test_every_page_is_in_the_contents() -> None:
    listed = {"index"}
    for page in WRITTEN:
        for block in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            listed |= {line for line in block.splitlines() if line and not line.startswith(":")}
    assert listed == {str(p.relative_to(DOCS).with_suffix("")) for p in WRITTEN}


def test_the_list_for_language_models_has_every_page() -> None:
    text = (DOCS / "llms.txt").read_text()
    assert re.match(r"# morn-losses\n\n> ", text)
    listed = re.findall(r"^- \[[^\]]+\]\(([\w/]+)\.html\)", text, re.MULTILINE)
    assert len(listed) == len(set(listed)) == len(re.findall(r"\]\(", text))
    assert set(listed) == {str(p.relative_to(DOCS).with_suffix("")) for p in WRITTEN} - {"index"}


def test_pictures_of_the_gallery_are_made_by_the_code_under_them() -> None:
    text = (DOCS / "gallery.md").read_text()
    source = (DOCS / "make_concept_pictures.py").read_text()
    shown = re.findall(r"!\[.+\]\(pictures/(\w+)\.png\)\n\n```{literalinclude} (\S+)\n:pyobject: (\w+)\n```", text)
    assert len(shown) == text.count("![") == text.count("literalinclude")
    for picture, file, function in shown:
        (body,) = re.findall(rf"^def {function}\(\).*?(?=^def |^CONCEPTS)", source, re.MULTILINE | re.DOTALL)
        assert file == "make_concept_pictures.py"
        assert re.search(rf'save\(\s*"{picture}"', body), function
    notebooks = re.findall(r"\((\S+\.ipynb)\)", text)
    assert {(DOCS / n).resolve() for n in notebooks} == set((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def test_figures_on_failures_are_those_of_report_card_and_ablation() -> None:
    text = (DOCS / "guides" / "failures.md").read_text()
    measured = (DOCS / "report_card.md").read_text() + (DOCS / "ablation.md").read_text()
    figures = re.findall(r"[\d.]+ ±[\d.]+\d", text)
    assert len(figures) > 10
    for figure in figures:
        assert f"| {figure} |" in measured, figure


def test_pictures_of_failures_are_cut_from_the_report_card() -> None:
    failures = load("make_failures")
    cut = failures.cut()
    assert set(cut) | {"colors"} == {p.stem for p in (DOCS / "pictures" / "failures").glob("*.png")}
    for name, picture in cut.items():
        with Image.open(DOCS / "pictures" / "failures" / f"{name}.png") as committed:
            assert picture.convert("RGB").tobytes() == committed.convert("RGB").tobytes(), "run docs/make_failures.py"


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(p.read_text() for p in sorted((DOCS / "api").glob("*.md")))
    documented = set(re.findall(r":: morn_losses\.(\S+)", text))
    wanted = {f"functional.{n}" for n in functional.__all__ if n[0].islower()}
    wanted |= {n for n in morn_losses.__all__ if n not in {"__version__", "functional", "CITYSCAPES", "LabelSpace"}}
    wanted |= {f"label_spaces.{n}" for n in label_spaces.__all__}
    streaming = {n for n in metrics.__all__ if n in {"APCE", "EdgeScores"}}
    wanted |= {f"metrics.{'streaming.' if n in streaming else ''}{n}" for n in metrics.__all__}
    wanted |= {f"edges.{n}" for n in edges.__all__}
    wanted |= {f"pseudo_labels.look.{n}" for n in ("RandomThermalLook", "random_thermal_look")}
    assert documented == wanted | {"estimators.BatchKMeans"}


def test_the_page_of_the_published_code_names_every_option_of_the_variant() -> None:
    text = (DOCS / "published.md").read_text()
    paper, published = make_config("flir"), make_config("flir", "published")
    for section in ("networks", "dataset", "losses"):
        of_paper, of_published = (dataclasses.asdict(getattr(config, section)) for config in (paper, published))
        for name in of_paper:
            if of_paper[name] != of_published[name]:
                assert f"`{section}.{name}`" in text, name
    for page in PAGES:
        for section, name in re.findall(r"[`-](networks|dataset|losses|phases|modules)\.(?!py)(\w+)", page.read_text()):
            assert hasattr(getattr(paper, section), name), f"{page.name}: {section}.{name}"


def test_the_diff_shown_is_that_of_the_recipe() -> None:
    module = load("make_diff")
    assert (DOCS / "guides" / "cyclegan.diff").read_text() == module.recipe_diff(), "run docs/make_diff.py"
    assert "# morn" not in module.recipe_diff()


def test_tests_that_pages_name_exist() -> None:
    defined: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"^ *def (test_\w+)", path.read_text(), re.MULTILINE)) | {path.name}
    for page in PAGES:
        # names of functions, some cut short by dots
        for name in re.findall(r"`(?:tests/(?:\w+/)*)?(test_[a-z\d_.]+)`", page.read_text()):
            pattern = re.escape(name).replace(r"\.\.\.", r"\w*")
            assert any(re.fullmatch(pattern, known) for known in defined), f"{page.name}: {name}"


def test_commands_name_scripts_and_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        text = page.read_text()
        for script in re.findall(r"python (\S+\.py)", text):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"
        for target in re.findall(r"make (\w+)", "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"
