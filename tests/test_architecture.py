"""The layers of the package, its public names, and how light it is to import."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import morn_losses
from morn_losses import functional

PACKAGE = Path(morn_losses.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        *("_checks", "_reduction", "_masked", "_precision", "_options", "label_spaces", "image"),
        *("_clustering", "_eager", "_host", "_idle", "_points"),
    ),
    ("edges", "kmeans", "memory"),
    ("losses", "pseudo_labels", "metrics", "estimators"),
    ("functional",),
    ("",),  # morn_losses itself
)


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def _layer(module: str) -> int:
    top = module.split(".")[0]
    for level, names in enumerate(LAYERS):
        if top in names:
            return level
    raise AssertionError(f"{module} has no layer; put it into LAYERS")


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "morn_losses":
                found += [f"morn_losses.{alias.name}" for alias in node.names]
            else:
                found.append(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: _module(p) or "morn_losses")
def test_lower_layers_never_import_higher_ones(path: Path) -> None:
    own = _layer(_module(path))
    for name in _imports(path):
        if name.split(".")[0] in ("examples", "ntir2dc"):
            raise AssertionError(f"{path} imports {name}")
        if name.startswith("morn_losses."):
            assert _layer(name.removeprefix("morn_losses.")) <= own, f"{path} imports {name}"


EXAMPLES = PACKAGE.parent / "examples"

ROOMS: tuple[tuple[str, ...], ...] = (
    ("ntir2dc", "ntir2dc.files", "ntir2dc.seeds"),
    ("scenes", "ntir2dc.config", "ntir2dc.networks", "ntir2dc.data", "ntir2dc.pretrained"),
    ("ntir2dc.methods", "ntir2dc.run", "ntir2dc.parallel"),
    ("ntir2dc.optimizers", "ntir2dc.trainer"),
    ("ntir2dc.detector", "ntir2dc.judge"),
    ("ntir2dc.colorizing", "ntir2dc.evaluation", "ntir2dc.exporting", "ntir2dc.labeling", "ntir2dc.preparing"),
    ("ntir2dc.report",),
    tuple(path.stem for path in sorted(EXAMPLES.glob("*.py"))),  # commands
    ("studies", "recipes"),
)
"""The rooms of the examples, lower ones first; the longest name that fits counts."""


def _room(module: str) -> int:
    fitting = [
        (len(name), level)
        for level, names in enumerate(ROOMS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    assert fitting, f"{module} has no room; put it into ROOMS"
    return max(fitting)[1]


def _ours(name: str) -> bool:
    return name.split(".")[0] in {"ntir2dc", "scenes", "studies", *(p.stem for p in EXAMPLES.glob("*.py"))}


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.rglob("*.py")), ids=lambda p: p.relative_to(EXAMPLES).with_suffix("").as_posix()
)
def test_lower_rooms_of_the_examples_never_import_higher_ones(path: Path) -> None:
    parts = path.relative_to(EXAMPLES).with_suffix("").parts
    module = ".".join(p for p in parts if p != "__init__")
    own = _room(module)
    for name in _imports(path):
        if _ours(name):
            assert _room(name) <= own, f"{path} imports {name}"


def test_no_command_imports_another_and_scenes_know_nothing_of_training() -> None:
    commands = {path.stem for path in EXAMPLES.glob("*.py")}
    for path in EXAMPLES.glob("*.py"):
        assert not commands & {name.split(".")[0] for name in _imports(path)}, path
    for path in (EXAMPLES / "scenes").rglob("*.py"):
        rooms = {".".join(name.split(".")[:2]) for name in _imports(path) if name.startswith("ntir2dc")}
        assert rooms <= {"ntir2dc.files", "ntir2dc.data"}, path


def test_the_trainer_knows_no_method() -> None:
    for room in ("trainer.py", "optimizers.py", "run", "parallel", "data", "networks"):
        folder = EXAMPLES / "ntir2dc" / room
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*.py")):
            for name in _imports(path):
                named = name.startswith("ntir2dc.methods.") and name != "ntir2dc.methods.method"
                assert not named, f"{path} imports {name}"


def test_the_package_imports_only_the_core_packages() -> None:
    allowed = {"torch", "numpy", "scipy", "pytorch_msssim", "sklearn", "morn_losses", *sys.stdlib_module_names}
    for path in PACKAGE.rglob("*.py"):
        tops = {name.split(".")[0] for name in _imports(path)}
        # what torch brings is read by type checkers alone
        extra = tops - allowed - {"typing_extensions"} - ({"torchmetrics"} if path.parent.name == "metrics" else set())
        assert not extra, f"{path} imports {extra}"
        assert "sklearn" not in tops or _module(path) == "estimators", f"{path} imports sklearn"


def test_the_oldest_torch_can_trace_the_losses() -> None:
    # Dynamo of torch 2.4 cannot follow isinstance(x, A | B); metrics are never compiled
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "isinstance"
                and path.parent.name != "metrics"
            ):
                assert not isinstance(node.args[1], ast.BinOp), f"{path}:{node.lineno}: use a tuple of types"


def test_import_is_light() -> None:
    heavy = ("sklearn", "scipy.ndimage", "torchmetrics", "PIL", "torch._dynamo")
    code = f"import sys, morn_losses; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LAZY = ("edges", "estimators", "metrics")


def loads(name: str) -> list[str]:
    """What `import morn_losses` and one attribute of it load, in an interpreter of its own."""
    code = (
        f"import sys, morn_losses; morn_losses.{name}; print(*(m for m in sys.modules if m.startswith('morn_losses')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", LAZY)
def test_submodules_are_attributes_on_first_use(name: str) -> None:
    if importlib.util.find_spec(f"morn_losses.{name}") is None:
        pytest.skip(f"morn_losses.{name} is not there yet")
    assert f"morn_losses.{name}" not in loads("functional")
    assert f"morn_losses.{name}" in loads(name)
    assert getattr(morn_losses, name) is importlib.import_module(f"morn_losses.{name}")
    assert getattr(morn_losses, name).__all__


def test_every_module_without_an_underscore_is_an_attribute_or_imported_already() -> None:
    modules = {path.stem if path.suffix else path.name for path in PACKAGE.iterdir() if path.name[0] not in "_."}
    modules = {name for name in modules if importlib.util.find_spec(f"morn_losses.{name}")} - set(LAZY)
    found = loads("functional")
    assert {name for name in modules if f"morn_losses.{name}" not in found} == set()


def test_names_are_shown_and_unknown_ones_are_refused() -> None:
    assert {*morn_losses.__all__, *LAZY} <= set(dir(morn_losses))
    with pytest.raises(AttributeError, match="module 'morn_losses' has no attribute 'metric'"):
        morn_losses.metric  # noqa: B018


PUBLIC_FUNCTIONS = """
aca_loss boundary_loss cgr_loss channel_max channel_min class_balanced_cross_entropy denoise_labels
descriptor_similarity fill_unlabeled fuse_labels gradient_magnitude kmeans mine_labels monochromatic_regularization
reconstruction_loss relativistic_lsgan_loss segmentation_loss semantic_descriptor sga_loss sga_plus_loss sr_loss
temperature_regularization to_gray total_variation_loss ACATerms KMeansResult
"""

PUBLIC_MODULES = """
ACALoss ACATerms BoundaryLoss CGRLoss CITYSCAPES ClassBalancedCrossEntropy KMeans KMeansResult LabelFusion LabelMiner
LabelSpace MemoryBank MemorySampler MonochromaticRegularization OnlineSemanticDistillation PseudoLabeler
ReconstructionLoss RelativisticLSGANLoss SGALoss SGAPlusLoss SRLoss SegmentationLoss SemanticDenoiser
TemperatureRegularization TotalVariationLoss __version__ functional
"""


def test_public_names() -> None:
    assert sorted(functional.__all__) == sorted(PUBLIC_FUNCTIONS.split())
    assert sorted(morn_losses.__all__) == sorted(PUBLIC_MODULES.split())
    for module in (functional, morn_losses):
        for name in module.__all__:
            assert hasattr(module, name)


def test_every_public_function_and_module_is_documented() -> None:
    for module in (functional, morn_losses):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert value.__doc__, name
                assert len(value.__doc__) > 40, name


def test_no_loss_has_parameters_or_state() -> None:
    modules = [
        morn_losses.MonochromaticRegularization(),
        morn_losses.SGALoss(),
        morn_losses.CGRLoss(),
        morn_losses.ACALoss((11,)),
        morn_losses.SRLoss(),
        morn_losses.LabelMiner.from_label_space(morn_losses.CITYSCAPES),
        morn_losses.SemanticDenoiser.thermal(morn_losses.CITYSCAPES),
        morn_losses.LabelFusion.visible(morn_losses.CITYSCAPES),
    ]
    for module in modules:
        assert isinstance(module, torch.nn.Module)
        assert not list(module.parameters())
        assert not module.state_dict()
