"""Distances between sets of images, KID and FD, in features that the user names; torchmetrics measures them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ntir2dc.data.images import DataError, list_images, read_color
from ntir2dc.evaluation.cases import Case

ENOUGH = 500
SUBSETS, OF_SUBSET = 100, 100

Extract = Callable[[Tensor], Tensor]
"""From images ``(N, 3, H, W)`` in [0, 1] to features ``(N, D)``."""


def load_features(name: str, device: torch.device | str = "cpu") -> Extract:
    """Return what turns images into features.

    Args:
        name: ``module:function`` of a callable, whose module is also looked for in the current folder; or a file:
            ``.pt2`` of ``torch.export``, anything else TorchScript.
        device: where the file's network runs; a callable is given tensors of this device.

    Raises:
        DataError: nothing of that name, or what cannot be used.
    """
    module, _, function = name.partition(":")
    if function and not Path(name).is_file():
        return _imported(name, module, function)
    if not Path(name).is_file():
        raise DataError(f"features: expected module:function or a file of TorchScript or torch.export, got {name}")
    try:
        if Path(name).suffix == ".pt2":
            network: Extract = torch.export.load(name).module().to(device)
        else:
            network = torch.jit.load(name, map_location=device).eval()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise DataError(f"{name}: cannot be loaded as features ({_first_line(error)})") from error
    return network


def _imported(name: str, module: str, function: str) -> Extract:
    if "" not in sys.path:
        sys.path.append("")
    try:
        extract: Any = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise DataError(f"features: {name} cannot be imported ({_first_line(error)})") from error
    if not callable(extract):
        raise DataError(f"features: {name} is no function of images")
    return extract  # type: ignore[no-any-return]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class FeatureDistances:
    """KID and FD of each way of translating to true day images; looks at one image after the other.

    Args:
        extract: gives the features.
        ways: names of the ways of translating.
        device: where images are given to it.
    """

    def __init__(self, extract: Extract, ways: Sequence[str], device: torch.device | str = "cpu") -> None:
        if importlib.util.find_spec("torchmetrics") is None:
            raise DataError("features: KID and FD need torchmetrics: pip install 'morn-losses[metrics]'")
        self.extract, self.device = extract, device
        self.features: dict[str, list[Tensor]] = {way: [] for way in ways}

    @torch.inference_mode()
    def of(self, image: Tensor) -> Tensor:
        """Return the features of an image ``(3, H, W)`` in [-1, 1], float32 ``(1, D)`` on the CPU.

        Raises:
            DataError: they cannot be computed, or are none.
        """
        try:
            found = self.extract(((image.clamp(-1, 1) + 1) / 2)[None].to(self.device))
        except Exception as error:
            raise DataError(
                f"features: fail on an image (1, 3, {image.shape[1]}, {image.shape[2]}): {_first_line(error)}"
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 1 or not bool(found.isfinite().all()):
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise DataError(f"features: expected finite (1, D) of one image, got {what}")
        return found.float().cpu()

    def look(self, index: int, case: Case, images: Mapping[str, Tensor]) -> None:
        """Take the features of a case's translations."""
        for way, image in images.items():
            self.features[way].append(self.of(image))

    def describe(self, name: str, real: Path) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of the distances.

        Args:
            name: of the features.
            real: folder of true day images.
        """
        paths = list_images(real)
        if len(paths) < 2:
            raise DataError(f"{real}: expected at least two true day images for KID and FD, found {len(paths)}")
        true = torch.cat([self.of(read_color(path)) for path in paths])
        count = len(next(iter(self.features.values())))
        if count < 2:
            raise DataError("features: KID and FD need at least two test images")
        rows = [
            {"name": way, "figures": distances(true, torch.cat(features))} for way, features in self.features.items()
        ]
        fewest = min(count, len(paths))
        notes = [
            f"KID and FD compare {count} translations with {len(paths)} true day images of {real}, in the "
            f"{true.shape[1]} features of {name}. Less is better; ± of KID is the standard deviation over {SUBSETS} "
            "subsets.",
        ]
        if fewest < ENOUGH:
            notes.append(
                f"KID and FD of {fewest} images are not to be relied on: expected at least {ENOUGH} on either side. FD "
                "is too large where images are few."
            )
        return {
            "name": name,
            "real": str(real),
            "columns": [
                {"key": "kid", "title": "KID x 1000", "scale": 1000, "digits": 2},
                {"key": "fd", "title": "FD", "scale": 1, "digits": 2},
            ],
            "rows": rows,
            "notes": notes,
        }


def distances(true: Tensor, translated: Tensor) -> dict[str, dict[str, float | None]]:
    """Return KID, with its spread over subsets, and FD of two sets of features ``(N, D)``."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    same = _Same(true.shape[1])
    size = min(OF_SUBSET, max(2, min(len(true), len(translated)) // 2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")  # they are few numbers
        kid = KernelInceptionDistance(same, SUBSETS, size)
    fd = FrechetInceptionDistance(same)
    for metric in (kid, fd):
        metric.update(true, real=True)
        metric.update(translated, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the subsets are drawn
        mean, spread = kid.compute()
    return {
        "kid": {"value": float(mean), "error": float(spread)},
        "fd": {"value": float(fd.compute()), "error": None},
    }


class _Same(nn.Module):
    """Takes features for images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        return x
