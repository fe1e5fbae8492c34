"""A data folder: what is in it, whether it is sound, and what is derived from it once (edges, fused labels).

Everything derived is cached beside the run, never in the data folder, which may be read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from morn_losses import LabelFusion, LabelSpace, SemanticDenoiser
from morn_losses.edges import canny_edges
from morn_losses.functional import to_gray
from ntir2dc.data.images import SUFFIXES, DataError, list_images, read_color, read_labels, read_thermal, save_image


@dataclass(frozen=True)
class Frame:
    """One image with what belongs to it."""

    image: Path
    edges: Path
    labels: Path | None = None


@dataclass(frozen=True)
class TrainingData:
    """The frames of both domains, checked, with edges and (domain A) labels."""

    a: tuple[Frame, ...]
    b: tuple[Frame, ...]
    val_b: tuple[Path, ...]


def read_edges(path: Path) -> Tensor:
    """Read an edge map as float32 ``(H, W)`` in [0, 1]; white is an edge."""
    return (read_thermal(path)[0] + 1) / 2


def prepare_training_data(
    folder: Path,
    cache: Path,
    space: LabelSpace,
    *,
    crop: int,
    edge_thresholds: tuple[float, float] = (0.1, 0.2),
    need_labels: bool = True,
    denoise: bool = True,
    published_fusion: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> TrainingData:
    """Check every file that training will read, and derive what is missing.

    Args:
        folder: holds ``trainA`` (daytime color) and ``trainB`` (night thermal), and for the labels of ``trainA`` either
            ``labelsA`` or both ``labels_pred1`` and ``labels_pred2``; ``valB``, ``edgesA`` and ``edgesB`` are optional.
            A label or edge map has its image's name (any of the image suffixes).
        cache: where missing edges and fused labels are kept.
        space: the label space of the maps.
        crop: side of the training crop; smaller images are an error.
        edge_thresholds: of Canny, for images without a given edge map.
        need_labels: False leaves labels alone.
        denoise: run the semantic denoiser on the labels of ``trainA``, given or fused.
        published_fusion: fuse as the published code does.
        report: is told what is being derived.

    Raises:
        DataError: names the first file that is missing, unreadable, of the wrong size or with unknown ids.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    images_a, images_b = list_images(folder / "trainA"), list_images(folder / "trainB")
    for name, images in (("trainA", images_a), ("trainB", images_b)):
        if not images:
            raise DataError(f"{folder / name}: expected a folder with images ({', '.join(SUFFIXES)}), found none")
    edges_a = _edges(folder / "edgesA", cache / "edgesA", images_a, read_color, crop, edge_thresholds, report)
    edges_b = _edges(folder / "edgesB", cache / "edgesB", images_b, read_thermal, crop, edge_thresholds, report)
    labels_a: Sequence[Path | None] = [None] * len(images_a)
    if need_labels:
        labels_a = _labels(folder, cache, images_a, space, denoise, published_fusion, report)
    val_b = list_images(folder / "valB")
    for path in val_b:
        read_thermal(path)
    frames_a = tuple(Frame(*parts) for parts in zip(images_a, edges_a, labels_a, strict=True))
    frames_b = tuple(Frame(*parts) for parts in zip(images_b, edges_b, strict=True))
    return TrainingData(frames_a, frames_b, tuple(val_b))


def _partners(images: Sequence[Path], folder: Path, *, complete: bool) -> list[Path | None]:
    """Return for each image the file of the same stem in ``folder``; files without an image are an error."""
    by_stem = {p.stem: p for p in list_images(folder)}
    stems = {p.stem for p in images}
    for stem, path in by_stem.items():
        if stem not in stems:
            raise DataError(f"{path}: has no image of its name in {images[0].parent}")
    partners = [by_stem.get(p.stem) for p in images]
    for image, partner in zip(images, partners, strict=True):
        if complete and partner is None:
            raise DataError(f"{image}: has no map of its name in {folder}")
    return partners


def _check_size(path: Path, size: tuple[int, ...], image: Path, image_size: tuple[int, ...]) -> None:
    if size != image_size:
        raise DataError(f"{path}: is {size[1]} x {size[0]}, its image {image} is {image_size[1]} x {image_size[0]}")


def _fresh(cached: Path, *sources: Path) -> bool:
    return cached.is_file() and all(cached.stat().st_mtime >= s.stat().st_mtime for s in sources)


def _edges(
    given: Path,
    cache: Path,
    images: Sequence[Path],
    read: Callable[[Path], Tensor],
    crop: int,
    thresholds: tuple[float, float],
    report: Callable[[str], None],
) -> list[Path]:
    low, high = thresholds
    cache = cache.with_name(f"{cache.name}_{low:g}_{high:g}")
    found: list[Path] = []
    computed = 0
    for image, partner in zip(images, _partners(images, given, complete=False), strict=True):
        pixels = read(image)
        size = tuple(pixels.shape[-2:])
        if min(size) < crop:
            raise DataError(f"{image}: is {size[1]} x {size[0]}, smaller than the training crop of {crop}")
        if partner is not None:
            _check_size(partner, tuple(read_edges(partner).shape), image, size)
            found.append(partner)
            continue
        cached = cache / f"{image.stem}.png"
        if not _fresh(cached, image):
            gray = to_gray(pixels[None])[0, 0].numpy()
            save_image(Image.fromarray(canny_edges(gray, low, high).astype(np.uint8) * 255), cached)
            computed += 1
        found.append(cached)
    if computed:
        report(f"edges of {computed} images of {images[0].parent} computed with Canny ({low:g}, {high:g})")
    return found


def _read_checked(path: Path, image: Path, space: LabelSpace) -> Tensor:
    labels = read_labels(path)
    with Image.open(image) as opened:
        size = (opened.height, opened.width)
    _check_size(path, tuple(labels.shape), image, size)
    known = space.mask(labels, range(len(space))) | (labels == space.ignore_index)
    if not known.all():
        unknown = sorted(set(labels[~known].tolist()))[:5]
        raise DataError(f"{path}: holds ids {unknown}, which are neither in [0, {len(space)}) nor {space.ignore_index}")
    return labels


def _labels(
    folder: Path,
    cache: Path,
    images: Sequence[Path],
    space: LabelSpace,
    denoise: bool,
    published_fusion: bool,
    report: Callable[[str], None],
) -> list[Path]:
    single = (folder / "labelsA").is_dir()
    sources = ("labelsA",) if single else ("labels_pred1", "labels_pred2")
    for name in sources:
        if not list_images(folder / name):
            raise DataError(f"{folder}: expected labelsA, or labels_pred1 and labels_pred2, with a map for each image")
    partners = [_partners(images, folder / name, complete=True) for name in sources]
    if single:
        key = "given"
    else:
        key = "fused_published" if published_fusion else "fused"
    cache = cache / f"labelsA_{key}{'_denoised' if denoise else ''}"
    fuse = None if single else LabelFusion.visible(space, published=published_fusion)
    clean = SemanticDenoiser.visible(space) if denoise else None
    result: list[Path] = []
    computed = 0
    for image, *maps in zip(images, *partners, strict=True):
        paths = [path for path in maps if path is not None]
        labels = [_read_checked(path, image, space)[None] for path in paths]
        cached = cache / f"{image.stem}.png"
        if not _fresh(cached, image, *paths):
            merged = labels[0] if fuse is None else fuse(*labels)
            if clean is not None:
                merged = clean(merged, read_color(image)[None])
            save_image(Image.fromarray(merged[0].numpy().astype(np.uint8)), cached)
            computed += 1
        result.append(cached)
    if computed:
        done = "taken as given" if single else "fused from two predictions"
        report(f"labels of {computed} images {done}{' and denoised' if denoise else ''}")
    return result
