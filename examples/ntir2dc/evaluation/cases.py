"""The night images of a data folder with what is known about them, and the ways of translating them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ntir2dc.data.images import DataError, list_images, read_color, read_labels, read_thermal

INPUT, TINTED, UNTRAINED, TRAINED, TRUTH = (
    "input",
    "tinted input",
    "untrained generator",
    "trained generator",
    "true day image",
)


@dataclass(frozen=True)
class Case:
    """A night image with what is known about it: the same scene by day, and the labels; all of one size."""

    name: str
    night: Tensor
    day: Tensor | None = None
    labels: Tensor | None = None


Translate = Callable[[Case], Tensor]
"""From a case to a day image ``(3, H, W)`` in [-1, 1]."""


def list_cases(folder: Path, limit: int = 0) -> list[dict[str, Path]]:
    """Return the files of each night image of ``valB``: ``night`` and, where there are any, ``day`` and ``labels``.

    Raises:
        DataError: no night images, or a partner folder that lacks some of their names.
    """
    nights = list_images(folder / "valB")
    if not nights:
        raise DataError(f"{folder / 'valB'}: expected night thermal images to evaluate on, found none")
    cases = [{"night": path} for path in nights]
    for key in ("day", "labels"):
        partners = {path.stem: path for path in list_images(folder / f"valB_{key}")}
        for case in cases if partners else []:
            if case["night"].stem not in partners:
                raise DataError(f"{case['night']}: has no partner of its name in {folder / f'valB_{key}'}")
            case[key] = partners[case["night"].stem]
    return cases[: limit or None]


def read_case(files: Mapping[str, Path]) -> Case:
    """Read a case; sizes are cut to multiples of 4, which the generators need.

    Raises:
        DataError: files that cannot be used, or whose sizes differ.
    """
    night = read_thermal(files["night"])
    H, W = night.shape[-2:]
    partners: dict[str, Tensor | None] = {}
    for key, read in (("day", read_color), ("labels", read_labels)):
        partners[key] = read(files[key]) if key in files else None
        found = partners[key]
        if found is not None and found.shape[-2:] != (H, W):
            raise DataError(f"{files[key]}: is not {W} x {H}, the size of {files['night']}")
    cut = (..., slice(H - H % 4), slice(W - W % 4))
    day, labels = (None if x is None else x[cut] for x in (partners["day"], partners["labels"]))
    return Case(files["night"].stem, night[cut], day, labels)


def tint(night: Tensor) -> Tensor:
    """Return the input in two colors: from the brown of asphalt (cold) to the blue of the sky (warm).

    Each channel rises linearly with the gray value, and so does the gray value of the result: all edges stay.
    """
    dark = night.new_tensor((-0.4, -0.5, -0.6))[:, None, None]
    bright = night.new_tensor((0.5, 0.7, 0.9))[:, None, None]
    return dark + (night + 1) / 2 * (bright - dark)


def true_day(case: Case) -> Tensor:
    """Return the true day image."""
    if case.day is None:
        raise ValueError(f"{case.name}: has no true day image")
    return case.day


def run_network(network: Callable[[Tensor], Tensor], device: torch.device | str = "cpu") -> Translate:
    """Return a way of translating out of a network that maps ``(1, 3, H, W)`` to the same."""

    @torch.inference_mode()
    def translate(case: Case) -> Tensor:
        return network(case.night[None].to(device))[0].float().cpu()

    return translate
