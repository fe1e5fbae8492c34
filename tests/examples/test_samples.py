"""What a file holds is read, not what Pillow's mode makes of it: bits, pages, polarity, the side that is up."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from helpers.image_files import COLOR, COLOR_ALPHA, GRAY, GRAY_ALPHA, PALETTE, exif_chunk, exif_of, write_png
from ntir2dc.data.gray import read_gray, robust_extremes
from ntir2dc.data.images import (
    DataError,
    read_color,
    read_edges,
    read_labels,
    read_thermal,
)
from ntir2dc.data.samples import read_picture, turned

READERS = pytest.mark.parametrize("read", [read_color, read_thermal, read_labels, read_edges])
CHANNELS = {GRAY: 1, GRAY_ALPHA: 2, COLOR: 3, COLOR_ALPHA: 4}


def noise(*shape: int, dtype: type = np.uint16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(H: int = 24, W: int = 32, low: int = 7000, high: int = 7255) -> np.ndarray:
    return np.add.outer(np.arange(H), np.arange(W)) / (H + W - 2) * (high - low) + low


def levels(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).round().numpy()


# ---- bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CHANNELS)
def test_both_bytes_of_a_16_bit_png_are_read(tmp_path: Path, kind: int) -> None:
    samples = noise(5, 7, CHANNELS[kind])
    picture = read_picture(write_png(tmp_path / "x.png", samples, kind=kind))
    assert picture.source.bits == 16
    assert picture.deep is not None
    assert np.array_equal(picture.deep, samples)


@pytest.mark.parametrize("kind", [GRAY_ALPHA, COLOR, COLOR_ALPHA])
def test_16_bit_thermal_in_several_channels_is_that_of_one(tmp_path: Path, kind: int) -> None:
    counts = smooth().round().astype(np.uint16)
    expected = read_thermal(write_png(tmp_path / "gray.png", counts))
    assert expected.unique().numel() == 55
    samples = np.repeat(counts[..., None], CHANNELS[kind], axis=2)
    if kind in (GRAY_ALPHA, COLOR_ALPHA):
        samples[..., -1] = noise(*counts.shape)
    assert torch.equal(read_thermal(write_png(tmp_path / "x.png", samples, kind=kind)), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_bytes_of_a_16_bit_tiff_are_read(
    tmp_path: Path, order: str, compression: str | None, channels: int
) -> None:
    samples = noise(5, 7, channels)
    options: dict = {"photometric": "rgb"} if channels > 1 else {}
    if channels == 4:
        options["extrasamples"] = ["unassalpha"]
    array = samples if channels > 1 else samples[..., 0]
    tifffile.imwrite(tmp_path / "x.tif", array, byteorder=order, compression=compression, **options)
    picture = read_picture(tmp_path / "x.tif")
    assert picture.deep is not None
    assert np.array_equal(picture.deep, samples)


@READERS
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_planes_one_after_the_other_are_refused(read: Callable, tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise(3, 5, 7), photometric="rgb", planarconfig="separate", compression=compression)
    with pytest.raises(DataError, match=r"x\.tif: holds more than 8 bits a sample in a layout that cannot be read"):
        read(path)


def test_16_bit_color_keeps_its_shades(tmp_path: Path) -> None:
    samples = noise(5, 7, 3)
    expected = torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1) / 32767.5 - 1
    torch.testing.assert_close(read_color(write_png(tmp_path / "x.png", samples, kind=COLOR)), expected)
    with pytest.raises(DataError, match="expected an 8-bit color image"):
        read_color(write_png(tmp_path / "y.png", noise(5, 7, 2), kind=GRAY_ALPHA))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_a_palette_or_refused(tmp_path: Path, bits: int) -> None:
    ids = noise(3, 16, dtype=np.uint8) % 2**bits
    palette = (b"PLTE", noise(2**bits * 3, dtype=np.uint8).tobytes())
    assert np.array_equal(
        read_labels(write_png(tmp_path / "p.png", ids, bits=bits, kind=PALETTE, chunks=(palette,))), ids
    )
    with pytest.raises(DataError, match=r"g\.png: expected a label map of a single 8-bit channel"):
        read_labels(write_png(tmp_path / "g.png", ids, bits=bits))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_thermal_of_few_bits_spans_the_whole_range(tmp_path: Path, bits: int) -> None:
    samples = np.arange(16)[None] % 2**bits
    found = levels(read_thermal(write_png(tmp_path / "x.png", samples, bits=bits))[0])
    assert np.array_equal(found, samples * 255 / (2**bits - 1))


@pytest.mark.parametrize(
    ("dtype", "span"), [(np.uint32, None), (np.int32, None), (np.int16, None), (np.float32, None), (np.uint16, 65535)]
)
def test_counts_are_those_of_the_file(tmp_path: Path, dtype: type, span: float | None) -> None:
    low = 0 if np.dtype(dtype).kind == "u" else -3
    counts = np.array([[low, 5], [70, np.iinfo(dtype).max if dtype != np.float32 else 1e30]], dtype)
    tifffile.imwrite(tmp_path / "x.tif", counts)
    gray = read_gray(tmp_path / "x.tif")
    assert np.array_equal(gray.counts, counts.astype(np.float64))
    assert gray.span == ((0, span) if span else (float(counts.min()), float(counts.max())))
    assert (gray.unit.min(), gray.unit.max()) == (0, 1)


# ---- polarity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_that_stores_0_for_white_is_read_as_it_is_shown(tmp_path: Path, dtype: type) -> None:
    counts = smooth(low=20, high=230).astype(dtype)
    for name in ("minisblack", "miniswhite"):
        tifffile.imwrite(tmp_path / f"{name}.tif", counts, photometric=name)
    black, white = (levels(read_thermal(tmp_path / f"{name}.tif")[0]) for name in ("minisblack", "miniswhite"))
    assert np.abs(black + white - 255).max() <= 1
    assert np.ptp(black) > 200
    with pytest.raises(DataError, match="expected a label map"):
        read_labels(tmp_path / "miniswhite.tif")


def test_a_mask_that_stores_0_for_white_is_inverted_for_edges(tmp_path: Path) -> None:
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535)):
        tifffile.imwrite(tmp_path / "x.tif", np.array([[0, white]], dtype), photometric="miniswhite")
        assert read_edges(tmp_path / "x.tif").tolist() == [[1, 0]]


# ---- pages -----------------------------------------------------------------------------------------------------------


@READERS
@pytest.mark.parametrize("kind", ["stack", "PNG", "GIF", "WEBP"])
def test_several_pictures_in_a_file_are_refused(read: Callable, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    pages = noise(3, 6, 8, dtype=np.uint8)
    if kind == "stack":
        tifffile.imwrite(path, pages, photometric="minisblack")
    else:
        first, *others = (Image.fromarray(page) for page in pages)
        first.save(path, format=kind, save_all=True, append_images=others)
    with pytest.raises(DataError, match=r"x\.png: holds 3 pictures, expected one"):
        read(path)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_smaller_copy_in_a_tiff_is_no_page(tmp_path: Path, first: bool, channels: int) -> None:
    frame = noise(6, 8, channels).squeeze()
    pages = [(frame, 0), (frame[::2, ::2], 1)]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for page, kind in pages if first else pages[::-1]:
            file.write(page, subfiletype=kind, photometric="rgb" if channels == 3 else "minisblack")
    deep = read_picture(tmp_path / "x.tif").deep
    assert deep is not None
    assert np.array_equal(deep.squeeze(), frame)


def test_a_photograph_with_its_preview_is_one_picture(tmp_path: Path) -> None:
    photo, preview = (Image.fromarray(noise(64, 64, 3, dtype=np.uint8, seed=seed)) for seed in (0, 1))
    photo.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[preview])
    photo.save(tmp_path / "alone.jpg")
    assert torch.equal(read_color(tmp_path / "x.jpg"), read_color(tmp_path / "alone.jpg"))


# ---- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_lossy_label_maps_are_refused_under_any_suffix(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"x{suffix}"
    options = {"compression": "jpeg"} if kind == "TIFF" else {}
    Image.fromarray(noise(16, 16, dtype=np.uint8)).save(path, format=kind, **options)
    with pytest.raises(DataError, match=f"lossless format such as PNG, got lossy {kind}"):
        read_labels(path)


@READERS
@pytest.mark.parametrize("kind", ["PPM", "JPEG2000", "ICO"])
def test_formats_that_no_suffix_stands_for_are_refused(read: Callable, tmp_path: Path, kind: str) -> None:
    Image.fromarray(noise(16, 16, dtype=np.uint8)).save(tmp_path / "x.png", format=kind)
    with pytest.raises(DataError, match=r"x\.png: is not an image of a known format"):
        read(tmp_path / "x.png")


# ---- orientation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_arrays_are_turned_as_pillow_turns(orientation: int) -> None:
    image = Image.fromarray(noise(5, 7, 3, dtype=np.uint8))
    image.getexif()[0x0112] = orientation
    assert np.array_equal(turned(np.array(image), orientation), np.array(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [*CHANNELS, "L", "RGB", "P", "tiff8", "tiff16", "tiff float", "tiff rgb16", "zlib"])
def test_every_depth_is_turned(tmp_path: Path, orientation: int, kind: int | str) -> None:
    note = exif_of(orientation)
    samples: np.ndarray
    if isinstance(kind, int):
        samples, path = noise(5, 7, CHANNELS[kind]), tmp_path / "x.png"
        write_png(path, samples, kind=kind, chunks=(exif_chunk(orientation),))
    elif kind in ("L", "RGB", "P"):
        samples, path = noise(5, 7, *([3] if kind == "RGB" else []), dtype=np.uint8), tmp_path / "x.png"
        image = Image.fromarray(samples)
        if kind == "P":
            image.putpalette(noise(768, dtype=np.uint8).tobytes())
        image.save(path, exif=note)
    else:
        samples, path = noise(5, 7, *([3] if "rgb" in kind else [])), tmp_path / "x.tif"
        samples = samples.astype({"tiff8": np.uint8, "tiff float": np.float32}.get(kind, np.uint16))
        photometric = "rgb" if "rgb" in kind else "minisblack"
        compression = "zlib" if kind == "zlib" else None
        tag = (0x0112, "H", 1, orientation, True)
        tifffile.imwrite(path, samples, photometric=photometric, compression=compression, extratags=[tag])
    picture = read_picture(path)
    found = picture.upright(np.array(picture.image) if picture.deep is None else picture.deep)
    expected = turned(samples, orientation)
    assert np.array_equal(found.reshape(expected.shape), expected)
    assert (picture.source.orientation, picture.source.size) == (orientation, expected.shape[:2])
    assert picture.source.stored_size == (5, 7)


def test_a_map_is_turned_with_its_image_where_it_has_the_stored_size(tmp_path: Path) -> None:
    ids = noise(5, 7, dtype=np.uint8) % 19
    Image.fromarray(noise(5, 7, 3, dtype=np.uint8)).save(tmp_path / "image.png", exif=exif_of(6))
    image = read_picture(tmp_path / "image.png").source
    for name, array in (("stored", ids), ("shown", np.rot90(ids, -1)), ("other", ids[:4])):
        Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / f"{name}.png")
    Image.fromarray(ids).save(tmp_path / "noted.png", exif=exif_of(6))
    for read in (read_labels, read_edges):
        shown = read(tmp_path / "shown.png")
        for name in ("stored", "shown", "noted"):
            assert torch.equal(read(tmp_path / f"{name}.png", image), shown), name
        with pytest.raises(DataError, match=r"other\.png: is 7 x 4, its image .*image\.png is 5 x 7"):
            read(tmp_path / "other.png", image)


# ---- the range -------------------------------------------------------------------------------------------------------


def test_without_dead_pixels_the_extremes_are_exact() -> None:
    rng = np.random.default_rng(0)
    shapes = ((1, 1), (1, 64), (2, 2), (2, 3), (40, 50))
    found = [(rng.normal(7000, 30, shape), np.full(shape, 7.0), rng.integers(0, 65536, shape)) for shape in shapes]
    points = np.zeros((40, 50))
    points[::4, ::4] = rng.random((10, 13))  # nothing but single pixels
    for counts in (*itertools.chain(*found), smooth(3, 3), smooth(), points):
        assert robust_extremes(counts) == (counts.min(), counts.max())


@pytest.mark.parametrize("value", [0, 65535])
@pytest.mark.parametrize("place", [(3, 4), (0, 0), np.s_[5, :], np.s_[:, 0], ([2, 20], [9, 30]), np.s_[3, 4:6]])
def test_dead_pixels_rows_and_columns_do_not_set_the_range(tmp_path: Path, value: int, place: tuple) -> None:
    counts = smooth().round().astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / "whole.png")
    spoilt = counts.copy()
    spoilt[place] = value
    Image.fromarray(spoilt).save(tmp_path / "x.png")
    found, whole = (levels(read_thermal(tmp_path / name)[0]) for name in ("x.png", "whole.png"))
    dead = spoilt != counts
    assert np.abs(found - whole)[~dead].max() <= 5  # a dead corner may have held the extreme
    assert (found[dead] == (255 if value else 0)).all()


def test_a_small_hot_object_is_no_dead_pixel(tmp_path: Path) -> None:
    counts = smooth().round().astype(np.uint16)
    counts[5:7, 5:7] = 9000
    Image.fromarray(counts).save(tmp_path / "x.png")
    found = levels(read_thermal(tmp_path / "x.png")[0])
    assert (found[5:7, 5:7] == 255).all()
    assert np.sort(np.unique(found))[-2] < 40


# ---- edges and a fourth channel --------------------------------------------------------------------------------------


def test_edges_are_shares_of_white_at_every_depth(tmp_path: Path) -> None:
    for name, array in (
        ("deep.png", np.full((2, 3), 65535, np.uint16)),
        ("float.tif", np.ones((2, 3), np.float32)),
        ("plain.png", np.full((2, 3), 255, np.uint8)),
    ):
        Image.fromarray(array).save(tmp_path / name)
        assert read_edges(tmp_path / name).tolist() == [[1, 1, 1], [1, 1, 1]]
    Image.fromarray(np.array([[0, 0.25]], np.float32)).save(tmp_path / "soft.tif")
    assert read_edges(tmp_path / "soft.tif").tolist() == [[0, 0.25]]
    assert not read_edges(write_png(tmp_path / "none.png", np.zeros((2, 2)))).any()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[0, 1]], np.uint8), r"holds values up to 1, expected edges white \(255\) on black"),
        (np.array([[0, 255]], np.uint16), r"holds values up to 255, expected edges white \(65535\) on black"),
        (np.array([[0, 1.5]], np.float32), r"holds values outside \[0, 1\]"),
        (np.array([[-0.5, 1]], np.float32), r"holds values outside \[0, 1\]"),
    ],
)
def test_edge_maps_on_another_scale_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    Image.fromarray(array).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif: " + message):
        read_edges(tmp_path / "x.tif")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_channel_beside_color_is_taken_when_asked_for(tmp_path: Path, bits: int) -> None:
    samples = noise(6, 8, 4, dtype=np.uint8 if bits == 8 else np.uint16)
    path = write_png(tmp_path / "x.png", samples, bits=bits, kind=COLOR_ALPHA)
    found = read_gray(path, fourth=True)
    assert found.fourth
    assert np.array_equal(found.counts, samples[..., 3])
    assert not read_gray(path).fourth
    opaque, gray = samples.copy(), samples.copy()
    opaque[..., 3] = 255
    gray[..., :3] = gray[..., :1]
    for other in (opaque, gray):
        write_png(path, other, bits=bits, kind=COLOR_ALPHA)
        assert not read_gray(path, fourth=True).fourth
