"""The night images of a data folder with what is known about them, and the ways of translating them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from morn_losses import LabelSpace
from ntir2dc.data.images import OWN_TONES, DataError, check_size, list_images, list_thermal, load_thermal, read_color
from ntir2dc.data.maps import read_known_labels, read_labels
from ntir2dc.data.partners import by_name, partners_of
from ntir2dc.data.thermal import Tones

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
        DataError: no night images, a partner folder that lacks some of their names, or two files of one name.
    """
    nights = list_thermal(folder / "valB")
    if not nights:
        raise DataError(f"{folder / 'valB'}: expected night thermal images to evaluate on, found none")
    by_name(nights)
    cases = [{"night": path} for path in nights]
    for key in ("day", "labels"):
        if list_images(folder / f"valB_{key}"):
            partners = partners_of(nights, folder / f"valB_{key}", complete=True, kind="partner")
            for case, partner in zip(cases, partners, strict=True):
                if partner is not None:
                    case[key] = partner
    return cases[: limit or None]


def find_cases(folder: Path, space: LabelSpace, limit: int = 0, tones: Tones = OWN_TONES) -> list[dict[str, Path]]:
    """Return what :func:`list_cases` does, every file read and checked: before work that they would end.

    Raises:
        DataError: as there; files that cannot be used, whose sizes differ, or with unknown ids.
    """
    cases = list_cases(folder, limit)
    for files in cases:
        read_case(files, space, tones)
    return cases


def read_case(files: Mapping[str, Path], space: LabelSpace | None = None, tones: Tones = OWN_TONES) -> Case:
    """Read a case; sizes are cut to multiples of 4, which the generators need.

    Args:
        files: of the case.
        space: of the labels; None does not look at their ids.
        tones: what becomes black and white in the night image.

    Raises:
        DataError: files that cannot be used, whose sizes differ, or with ids that the space does not know.
    """
    night, source = load_thermal(files["night"], tones)
    check_size(source)
    H, W = source.size
    day = read_color(files["day"]) if "day" in files else None
    if day is not None and day.shape[1:] != (H, W):
        raise DataError(f"{files['day']}: is not {W} x {H}, the size of {files['night']}")
    labels = None
    if "labels" in files:
        path = files["labels"]
        labels = read_labels(path, source) if space is None else read_known_labels(path, source, space)
    cut = (..., slice(H - H % 4), slice(W - W % 4))
    day, labels = (None if x is None else x[cut] for x in (day, labels))
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


def pictures_of(folder: Path, nights: Sequence[Path]) -> Translate:
    """Return a way of translating out of a folder of finished pictures, joined with the night images by their names.

    Raises:
        DataError: no such folder, or one that lacks some of the names; later, a picture of another size.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected pictures by the names of the night images")
    pictures = partners_of(nights, folder, complete=True, kind="picture")
    by_case = {night.stem: picture for night, picture in zip(nights, pictures, strict=True) if picture is not None}

    def translate(case: Case) -> Tensor:
        picture, (H, W) = read_color(by_case[case.name]), case.night.shape[1:]
        # night images are cut to multiples of 4, and pictures of either size belong to them
        if not all(0 <= found - wanted < 4 for found, wanted in zip(picture.shape[1:], (H, W), strict=True)):
            raise DataError(
                f"{by_case[case.name]}: is {picture.shape[2]} x {picture.shape[1]}, its night image {W} x {H}"
            )
        return picture[:, :H, :W]

    return translate


def run_network(network: Callable[[Tensor], Tensor], device: torch.device | str = "cpu") -> Translate:
    """Return a way of translating out of a network that maps ``(1, 3, H, W)`` to the same."""

    @torch.inference_mode()
    def translate(case: Case) -> Tensor:
        return network(case.night[None].to(device))[0].float().cpu()

    return translate
