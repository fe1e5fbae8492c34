"""What the package says of itself: its extras hold what is imported, its citation and changelog know its version."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import morn_losses

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
COMPROMISED = ("2.6.2", "2.6.3")


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(r).name) for r in requirements}


CORE = names(PROJECT["dependencies"])
TRAIN = CORE | names(EXTRAS["train"])


def imported(folder: str) -> dict[str, set[str]]:
    """Distributions that the files of a folder import, and which files do; files of the repository are left out."""
    providers = metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                modules = [node.module]
            else:
                continue
            for module in {m.split(".")[0] for m in modules} - sys.stdlib_module_names:
                for provider in providers.get(module, ()):
                    found.setdefault(canonicalize_name(provider), set()).add(str(path.relative_to(ROOT)))
    found.pop("morn-losses", None)
    return found


FURTHER = {
    "export": ("export.py", "run_onnx.py", "ntir2dc/exporting/"),
    "metrics": ("ntir2dc/evaluation/",),
    "teacher": ("ntir2dc/pretrained/",),
    "video": ("run_onnx.py", "ntir2dc/colorizing/video.py"),
}
"""Extras that some examples need beside ``train``, and which."""


def test_the_examples_need_the_extra_train_and_nothing_else() -> None:
    found = imported("examples")
    assert {"torch", "pillow", "jsonargparse"} <= set(found)
    assert found.pop("lightning") == {"examples/recipes/lightning_module.py"}
    for extra, places in FURTHER.items():
        for name in names(EXTRAS[extra]):
            for file in found.pop(name, set()):
                assert file.removeprefix("examples/").startswith(places), f"{file} needs the extra {extra}"
    # the wheel of pytorch-lightning holds a copy of lightning_fabric
    assert found.pop("pytorch-lightning", set()) <= {"examples/ntir2dc/parallel/world.py"}
    assert "lightning-fabric" in TRAIN
    # jinja2 brings markupsafe, whose Markup is part of its interface
    assert set(found) <= TRAIN | {"markupsafe"}
    # torch.utils.tensorboard imports tensorboard
    assert names(EXTRAS["train"]) - set(found) == {"tensorboard"}


def test_the_tests_need_nothing_but_the_extra_dev() -> None:
    (own,) = (r for r in map(Requirement, EXTRAS["dev"]) if r.name == PROJECT["name"])
    # tests of what is large to install are skipped without it
    assert own.extras == set(EXTRAS) - {"dev", "teacher"}
    everything = CORE.union(*(names(extra) for extra in EXTRAS.values()))
    # pytest brings packaging and, where Python has none, tomli; jsonargparse brings pyyaml, torch typing_extensions
    # the peers of the benchmarks are skipped where they are not installed
    missing = {n: f for n, f in imported("tests").items() if not any("benchmarks" in path for path in f)}
    assert set(missing) - everything <= {"packaging", "tomli", "pyyaml", "typing-extensions"}
    assert {"sphinx", "furo", "myst-parser"} <= names(EXTRAS["docs"])


@pytest.mark.parametrize("extra", ["core", *EXTRAS])
def test_compromised_releases_of_lightning_are_never_installed(extra: str) -> None:
    requirements = [Requirement(r) for r in (PROJECT["dependencies"] if extra == "core" else EXTRAS[extra])]
    for requirement in requirements:
        if "lightning" in requirement.name:
            assert not any(requirement.specifier.contains(v) for v in COMPROMISED), str(requirement)
    # lightning depends on pytorch-lightning and does not exclude them itself
    by_name = names([str(r) for r in requirements])
    assert "lightning" not in by_name or "pytorch-lightning" in by_name


def test_extras_that_are_named_exist() -> None:
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/**/*.py"), ROOT / "Makefile"]
    named: set[str] = set()
    for path in paths:
        if "_build" not in path.parts and path.parts[len(ROOT.parts)] not in (".venv", "build", "runs"):
            for group in re.findall(r"(?:morn-losses|['\"]\.|\.whl)\[([\w,]+)\]", path.read_text()):
                named |= set(group.split(","))
    assert {"train", "metrics", "lightning", "dev"} <= named
    assert named <= set(EXTRAS)


def test_the_citation_is_that_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == morn_losses.__version__
    assert cited["license"] == PROJECT["license"]
    released = re.search(r"^## \[(\d\S+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is not None
    assert released.groups() == (cited["version"], str(cited["date-released"]))
    (paper,) = cited["references"]
    readme = (ROOT / "README.md").read_text()
    assert paper["url"].removeprefix("https://arxiv.org/abs/") in readme
    flat = re.sub(r"\s+", " ", readme)
    assert paper["title"] in flat
    assert ", ".join(f"{a['given-names']} {a['family-names']}" for a in paper["authors"]) in flat


def index_page(address: str | None) -> str:
    """README as the build puts it into the wheel, from a repository at an address."""
    text = (ROOT / "README.md").read_text()
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        of_address = rule["pattern"].startswith("BASE")
        pattern, replacement = ("BASE", address) if of_address and address else (rule["pattern"], rule["replacement"])
        text, count = re.subn(pattern, replacement, text)
        assert count, f"{pattern} is nowhere in README"
    return text.replace("$HFPR_PACKAGE_NAME", PROJECT["name"]).replace("$HFPR_VERSION", morn_losses.__version__)


def test_readme_reads_on_an_index_page() -> None:
    address, version = "https://forge.test/someone/morn", morn_losses.__version__
    page = index_page(address)
    assert not re.findall(r"\]\((?!https?://)[^)]*", page)
    for shown, kind, path in re.findall(rf"(!?)\[[^\]]*\]\({address}/(\w+)/v{version}/([^)#]+)", page):
        assert (ROOT / path).exists(), path
        # a link to a picture may show the page about it
        assert kind == ("raw" if shown else "blob"), path
    assert f"![Night thermal scenes, what the shipped translator makes of them, the true day images]({address}/" in page
    assert re.search(r"^pip install morn-losses$", page, re.MULTILINE)
    # as long as the repository has no address, links stay as they are
    without = index_page(None)
    assert "BASE" not in without
    assert "](docs/pictures/demo.png)" in without


def test_torch_and_torchvision_are_named_as_a_pair() -> None:
    (makes,) = re.findall(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in ("README.md", "docs/start.md"):
        # each torchvision asks for one torch: 0.28.0 for 2.13.0
        assert f"pip install {makes} torchvision==0.28.0 " in (ROOT / page).read_text(), page
