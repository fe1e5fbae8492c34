"""The layers of the package, its public names, and how light it is to import."""

from __future__ import annotations

import ast
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
        *("_checks", "_reduction", "_masked", "_precision", "label_spaces", "image"),
        *("_clustering", "_eager", "_held", "_host", "_idle", "_points"),
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
        if name.split(".")[0] == "examples" or name.split(".")[0] == "morngan":
            raise AssertionError(f"{path} imports {name}")
        if name.startswith("morn_losses."):
            assert _layer(name.removeprefix("morn_losses.")) <= own, f"{path} imports {name}"


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


PUBLIC_FUNCTIONS = """
aca_loss boundary_loss cgr_loss channel_max channel_min class_balanced_cross_entropy denoise_labels
descriptor_similarity fill_unlabeled fuse_labels gradient_magnitude kmeans mine_labels monochromatic_regularization
reconstruction_loss relativistic_lsgan_loss segmentation_loss semantic_descriptor sga_loss sga_plus_loss sr_loss
temperature_regularization to_gray total_variation_loss ACATerms KMeansResult
"""

PUBLIC_MODULES = """
ACALoss ACATerms BoundaryLoss CGRLoss CITYSCAPES ClassBalancedCrossEntropy KMeans KMeansResult LabelFusion LabelMiner
LabelSpace MemoryBank MemorySampler MonochromaticRegularization OnlineSemanticDistillation ReconstructionLoss
RelativisticLSGANLoss SGALoss SGAPlusLoss SRLoss SegmentationLoss SemanticDenoiser TemperatureRegularization
TotalVariationLoss __version__ functional
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
