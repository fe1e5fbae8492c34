"""A data folder: what is in it, whether it is sound, and what is derived from it once (edges, fused labels).

Everything derived is cached beside the run, never in the data folder, which may be read-only.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from morn_losses import LabelFusion, LabelSpace, SemanticDenoiser
from morn_losses.edges import canny_edges
from morn_losses.functional import to_gray
from ntir2dc.data.derived import is_kept, keep, key_of
from ntir2dc.data.images import (
    OWN_TONES,
    SUFFIXES,
    DataError,
    check_size,
    list_images,
    list_thermal,
    load_color,
    load_thermal,
)
from ntir2dc.data.maps import read_edges, read_known_labels
from ntir2dc.data.partners import by_name, partners_of
from ntir2dc.data.samples import Source
from ntir2dc.data.thermal import ThermalOptions, Tones, look_at_color, look_at_thermal, tell_tones, tones_of

__all__ = ["Frame", "MissingLabelsError", "TrainingData", "check_training_data", "prepare_training_data", "read_edges"]


class MissingLabelsError(DataError):
    """A folder without label maps of its color images."""


@dataclass(frozen=True)
class Frame:
    """One image with what belongs to it."""

    image: Path
    edges: Path | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class TrainingData:
    """The frames of both domains, checked, with edges and labels if needed, and how thermal ones are read."""

    a: tuple[Frame, ...]
    b: tuple[Frame, ...]
    val_b: tuple[Path, ...]
    tones_b: Tones = OWN_TONES
    tones_val_b: Tones = OWN_TONES


@dataclass(frozen=True)
class _Checked:
    """A training image that was read, with the maps of its name."""

    image: Path
    pixels: Tensor
    source: Source
    edges: Path | None
    maps: tuple[Path, ...]
    labels: tuple[Tensor, ...]


def prepare_training_data(
    folder: Path,
    cache: Path,
    space: LabelSpace,
    *,
    crop: int,
    edge_thresholds: tuple[float, float] = (0.1, 0.2),
    need_labels: bool = True,
    need_edges: bool = True,
    denoise: bool = True,
    published_fusion: bool = False,
    thermal: ThermalOptions | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> TrainingData:
    """Check every file that training will read, and derive what is missing.

    Args:
        folder: holds ``trainA`` (daytime color) and ``trainB`` (night thermal), and for the labels of ``trainA`` either
            ``labelsA`` or both ``labels_pred1`` and ``labels_pred2``; ``valB``, ``edgesA`` and ``edgesB`` are optional.
            A label or edge map has its image's name (any of the image suffixes), and its size as it is shown, or as it
            is stored where that is another.
        cache: where missing edges and fused labels are kept, until a source or an option of theirs is another.
        space: the label space of the maps.
        crop: side of the training crop; smaller images are an error.
        edge_thresholds: of Canny, for images without a given edge map.
        need_labels: False leaves labels alone.
        need_edges: False leaves edges alone.
        denoise: run the semantic denoiser on the labels of ``trainA``, given or fused.
        published_fusion: fuse as the published code does.
        thermal: how thermal frames are read, those of each folder alike; None is the default.
        report: is told what is being derived.

    Raises:
        DataError: names the first file that is missing, unreadable, of the wrong size or with unknown ids, or that
            shares its name with another.
    """
    low, high = (float(threshold) for threshold in edge_thresholds)
    kinds = _label_folders(folder) if need_labels else ()
    nights, mornings = list_thermal(folder / "trainB"), list_thermal(folder / "valB")
    tones, tones_val = (tones_of(paths, thermal or ThermalOptions()) for paths in (nights, mornings))
    edges_a = _EdgeMaps(cache / f"edgesA_{low:g}_{high:g}", low, high)
    edges_b = _EdgeMaps(cache / f"edgesB_{low:g}_{high:g}", low, high, tones)
    key = "given" if len(kinds) == 1 else "fused_published" if published_fusion else "fused"
    labels_a = _LabelMaps(
        cache / f"labelsA_{key}{'_denoised' if denoise else ''}",
        space,
        LabelFusion.visible(space, published_fusion, alias_secondary=not published_fusion) if len(kinds) == 2 else None,
        SemanticDenoiser.visible(space) if denoise else None,
    )
    frames_a = tuple(
        Frame(checked.image, edges_a.of(checked) if need_edges else None, labels_a.of(checked) if kinds else None)
        for checked in _images_a(folder, space, crop, kinds, need_edges)
    )
    frames_b = tuple(
        Frame(checked.image, edges_b.of(checked) if need_edges else None)
        for checked in _images_b(folder, space, crop, need_edges, tones)
    )
    for name, edges in (("trainA", edges_a), ("trainB", edges_b)):
        if edges.computed:
            report(f"edges of {edges.computed} images of {folder / name} computed with Canny ({low:g}, {high:g})")
    if labels_a.computed:
        done = "taken as given" if len(kinds) == 1 else "fused from two predictions"
        report(f"labels of {labels_a.computed} images {done}{' and denoised' if denoise else ''}")
    lines = [tell_tones(tones, folder / "trainB"), tell_tones(tones_val, folder / "valB")]
    lines += [f"warning: {line}" for line in look_at_color(list_images(folder / "trainA"), folder / "trainA")]
    lines += [f"warning: {line}" for line in look_at_thermal(nights, tones, folder / "trainB")]
    for line in lines:
        if line is not None:
            report(line)
    return TrainingData(frames_a, frames_b, _validation_images(folder), tones, tones_val)


def check_training_data(folder: Path, space: LabelSpace, *, crop: int, need_labels: bool = True) -> None:
    """Check what :func:`prepare_training_data` checks, and derive nothing.

    Raises:
        DataError: as there.
    """
    for _ in _images_a(folder, space, crop, _label_folders(folder) if need_labels else ()):
        pass
    for _ in _images_b(folder, space, crop):
        pass
    _validation_images(folder)


# ---- what is there ---------------------------------------------------------------------------------------------------


def _images_a(
    folder: Path, space: LabelSpace, crop: int, kinds: Sequence[str], with_edges: bool = True
) -> Iterator[_Checked]:
    return _checked(folder, "A", load_color, space, crop, kinds, with_edges)


def _images_b(
    folder: Path, space: LabelSpace, crop: int, with_edges: bool = True, tones: Tones = OWN_TONES
) -> Iterator[_Checked]:
    return _checked(folder, "B", partial(load_thermal, tones=tones), space, crop, (), with_edges)


def _checked(
    folder: Path,
    domain: str,
    load: Callable[[Path], tuple[Tensor, Source]],
    space: LabelSpace,
    crop: int,
    kinds: Sequence[str],
    with_edges: bool,
) -> Iterator[_Checked]:
    """Read and check the images of a domain, with their edge maps if asked for, and those in the folders ``kinds``."""
    if not folder.is_dir():
        seen = "" if folder.is_absolute() else f", which is where {folder} lies from here"
        raise DataError(f"{folder.absolute()}: no such folder{seen}")
    images = (list_thermal if domain == "B" else list_images)(folder / f"train{domain}")
    if not images:
        raise DataError(
            f"{folder / f'train{domain}'}: expected a folder with images ({', '.join(SUFFIXES)}), found none"
        )
    edges: Sequence[Path | None] = [None] * len(images)
    if with_edges:
        edges = partners_of(images, folder / f"edges{domain}", complete=False, strict=True)
    maps = [partners_of(images, folder / kind, complete=True, strict=True) for kind in kinds]
    for image, edge, *own in zip(images, edges, *maps, strict=True):
        pixels, source = load(image)
        check_size(source, crop, f"the training crop of {crop}")
        if edge is not None:
            read_edges(edge, source)
        paths = tuple(path for path in own if path is not None)
        labels = tuple(read_known_labels(path, source, space) for path in paths)
        yield _Checked(image, pixels, source, edge, paths, labels)


def _label_folders(folder: Path) -> tuple[str, ...]:
    """Return the names of the folders that hold the labels of domain A: one, or those of two predictions."""
    kinds = ("labelsA",) if (folder / "labelsA").is_dir() else ("labels_pred1", "labels_pred2")
    if folder.is_dir() and not all(list_images(folder / kind) for kind in kinds):
        command = f"python examples/label.py --input {shlex.quote(str(folder / 'trainA'))} --teacher NETWORK"
        raise MissingLabelsError(
            f"{folder}: expected labelsA, or labels_pred1 and labels_pred2, with a map for each image; they are "
            f"predicted by {command} (docs/guides/labels.md)"
        )
    return kinds


def _validation_images(folder: Path) -> tuple[Path, ...]:
    paths = list_thermal(folder / "valB")
    by_name(paths)
    for path in paths:
        check_size(load_thermal(path)[1])
    return tuple(paths)


# ---- what is derived -------------------------------------------------------------------------------------------------


@dataclass
class _EdgeMaps:
    """Edges of images: the given map, or one computed by Canny and kept."""

    cache: Path
    low: float
    high: float
    tones: Tones = OWN_TONES
    computed: int = 0

    def of(self, checked: _Checked) -> Path:
        """Return the edge map of an image."""
        if checked.edges is not None and checked.source.size == checked.source.stored_size:
            return checked.edges
        path = self.cache / f"{checked.image.stem}.png"
        sources = [checked.image] if checked.edges is None else [checked.image, checked.edges]
        options = ("edges", self.low, self.high)
        key = key_of(sources, options if self.tones == OWN_TONES else (*options, self.tones))
        if not is_kept(path, key):
            if checked.edges is None:
                gray = to_gray(checked.pixels[None])[0, 0].numpy()
                edges = canny_edges(gray, self.low, self.high) * 255.0
                self.computed += 1
            else:  # as the image is shown
                edges = read_edges(checked.edges, checked.source).numpy() * 255
            keep(path, edges.round().astype(np.uint8), key)
        return path


@dataclass
class _LabelMaps:
    """Labels of color images: given or fused from two predictions, denoised or not, and kept."""

    cache: Path
    space: LabelSpace
    fuse: LabelFusion | None
    clean: SemanticDenoiser | None
    computed: int = 0

    def of(self, checked: _Checked) -> Path:
        """Return the label map of an image."""
        path = self.cache / f"{checked.image.stem}.png"
        options = ("labels", self.space, self.fuse, self.clean)
        key = key_of((checked.image, *checked.maps), options)
        if not is_kept(path, key):
            labels = [x[None] for x in checked.labels]
            merged = labels[0] if self.fuse is None else self.fuse(*labels)
            if self.clean is not None:
                merged = self.clean(merged, checked.pixels[None])
            keep(path, merged[0].numpy().astype(np.uint8), key)
            self.computed += 1
        return path
