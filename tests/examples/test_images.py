from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ntir2dc.data.images import (
    DataError,
    list_images,
    read_color,
    read_labels,
    read_thermal,
    save_image,
    to_image,
)
from ntir2dc.files import write_atomically

READERS = pytest.mark.parametrize("read", [read_color, read_thermal, read_labels])


def save(array: np.ndarray, path: Path, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def gray(H: int = 5, W: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (H, W), dtype=np.uint8)


def color(H: int = 5, W: int = 7, C: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (H, W, C), dtype=np.uint8)


def in_range(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32)) / 255 * 2 - 1


def test_color_values_and_axes(tmp_path: Path) -> None:
    pixels = color()
    pixels[0, 0], pixels[4, 6] = (0, 128, 255), (255, 0, 0)
    x = read_color(save(pixels, tmp_path / "x.png"))
    assert x.shape == (3, 5, 7)
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    torch.testing.assert_close(x[:, 0, 0], torch.tensor([-1, 128 / 127.5 - 1, 1]))
    assert x[:, 4, 6].tolist() == [1, -1, -1]
    torch.testing.assert_close(x, in_range(pixels).permute(2, 0, 1))


def test_color_drops_alpha_and_repeats_gray(tmp_path: Path) -> None:
    pixels = color(C=4)
    torch.testing.assert_close(
        read_color(save(pixels, tmp_path / "a.png")), in_range(pixels[..., :3].copy()).permute(2, 0, 1)
    )
    torch.testing.assert_close(read_color(save(gray(), tmp_path / "g.png")), in_range(gray()).expand(3, -1, -1))


def test_thermal_is_gray_three_times_and_warm_stays_bright(tmp_path: Path) -> None:
    pixels = gray()
    pixels[0, :2] = (0, 255)
    x = read_thermal(save(pixels, tmp_path / "x.png"))
    assert x.shape == (3, 5, 7)
    assert x.dtype == torch.float32
    assert x[:, 0, :2].tolist() == [[-1, 1]] * 3
    torch.testing.assert_close(x, in_range(pixels).expand(3, -1, -1))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_thermal_in_another_mode(tmp_path: Path, mode: str) -> None:
    pixels = gray() if mode != "1" else (gray() > 100).astype(np.uint8) * 255
    image = Image.fromarray(pixels).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(gray()[::-1].copy()))
    image.save(tmp_path / "x.png")
    torch.testing.assert_close(read_thermal(tmp_path / "x.png"), in_range(pixels).expand(3, -1, -1))


def test_thermal_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(gray() % 4).convert("P")
    image.putpalette([0, 0, 0, 40, 40, 40, 80, 80, 80, 255, 255, 255])
    image.save(tmp_path / "x.png", transparency=bytes([0, 100, 255, 255]))
    expected = np.array([0, 40, 80, 255], dtype=np.uint8)[gray() % 4]
    torch.testing.assert_close(read_thermal(tmp_path / "x.png"), in_range(expected).expand(3, -1, -1))
    torch.testing.assert_close(read_color(tmp_path / "x.png"), in_range(expected).expand(3, -1, -1))


def test_thermal_from_color_weighs_the_channels(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 3), dtype=np.uint8)
    pixels[0, 0, 0] = pixels[0, 1, 1] = pixels[0, 2, 2] = 255
    x = read_thermal(save(pixels, tmp_path / "x.png"))
    torch.testing.assert_close(x[0, 0], in_range(np.array([76, 150, 29], dtype=np.uint8)))


@pytest.mark.parametrize("kind", ["png16", "tiff16", "tiff32", "float"])
def test_thermal_of_more_bits_is_stretched(tmp_path: Path, kind: str) -> None:
    counts = np.array([[7000, 7051], [7102, 7255]])
    path = tmp_path / ("x.png" if kind == "png16" else "x.tif")
    save(counts.astype({"tiff32": np.int32, "float": np.float32}.get(kind, np.uint16)), path)
    expected = in_range(np.array([[0, 51], [102, 255]], dtype=np.uint8)).expand(3, -1, -1)
    torch.testing.assert_close(read_thermal(path), expected)


def test_thermal_of_more_bits_is_rounded_to_eight(tmp_path: Path) -> None:
    x = read_thermal(save(np.array([[0, 1, 2, 1000]], dtype=np.uint16), tmp_path / "x.png"))
    torch.testing.assert_close(x[0], in_range(np.array([[0, 0, 1, 255]], dtype=np.uint8)))


def test_constant_thermal_of_more_bits_is_black(tmp_path: Path) -> None:
    assert read_thermal(save(np.full((2, 2), 7000, dtype=np.uint16), tmp_path / "x.png")).unique().tolist() == [-1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_thermal_with_values_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    path = save(np.array([[0, bad]], dtype=np.float32), tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif: holds values that are not finite"):
        read_thermal(path)


def test_labels_are_values_or_palette_indices(tmp_path: Path) -> None:
    ids = (gray() % 19).astype(np.uint8)
    ids[0, 0] = 255
    labels = read_labels(save(ids, tmp_path / "l.png"))
    assert labels.dtype == torch.int64
    assert torch.equal(labels, torch.from_numpy(ids.astype(np.int64)))
    image = Image.fromarray(ids)
    image.putpalette(list(np.random.default_rng(2).integers(0, 256, 768)))
    assert image.mode == "P"
    image.save(tmp_path / "p.png")
    assert torch.equal(read_labels(tmp_path / "p.png"), labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16", "1"])
def test_labels_of_a_wrong_mode(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(gray().astype(np.uint16)) if mode == "I;16" else Image.fromarray(gray()).convert(mode)
    image.save(tmp_path / "l.png")
    with pytest.raises(DataError, match=r"l\.png: expected a label map of a single 8-bit channel .* got mode"):
        read_labels(tmp_path / "l.png")


def test_labels_of_a_lossy_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"l\.jpg: .*lossless.*JPEG"):
        read_labels(save(gray(), tmp_path / "l.jpg"))


def test_color_of_more_bits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.png: expected an 8-bit color image"):
        read_color(save(gray().astype(np.uint16), tmp_path / "x.png"))


@READERS
@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "text", "truncated", "flipped", "header only"])
def test_unusable_files_are_named(tmp_path: Path, read, damage: str) -> None:
    path = save(gray(40, 40), tmp_path / "x.png")
    data = bytearray(path.read_bytes())
    if damage in ("missing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    else:
        middle = len(data) // 2
        path.write_bytes(
            {
                "empty": b"",
                "text": b"not an image",
                "truncated": data[:middle],
                "flipped": data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :],
                "header only": data[:33],
            }[damage]
        )
    with pytest.raises(DataError, match=r"x\.png: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_truncated_jpeg(tmp_path: Path) -> None:
    path = save(color(64, 64), tmp_path / "x.jpg")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match=r"x\.jpg: cannot be read as an image \(.*truncated"):
        read_color(path)


def test_a_huge_image_is_an_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(gray(), tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"x\.png: cannot be read as an image \(Image size"):
        read_thermal(path)


def test_image_round_trip_is_exact(tmp_path: Path) -> None:
    pixels = np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    assert np.array_equal(np.asarray(to_image(read_color(save(pixels, tmp_path / "x.png")))), pixels)


def test_to_image_clips_and_rounds() -> None:
    x = torch.tensor([-3, -1, 0.001, 0.999, 1, 3.0], dtype=torch.float64).expand(3, 1, 6).requires_grad_()
    image = to_image(x)
    assert image.mode == "RGB"
    assert image.size == (6, 1)
    assert np.asarray(image)[0, :, 1].tolist() == [0, 0, 128, 255, 255, 255]
    with pytest.raises(ValueError, match=r"x: expected \(3, H, W\), got \(1, 4, 4\)"):
        to_image(torch.zeros(1, 4, 4))


def test_list_images_is_sorted_and_leaves_other_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.txt", ".hidden.png", "d.tiff"):
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.JPG", "b.png", "d.tiff"]
    assert list_images(tmp_path / "none") == []


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".tiff"])
def test_save_image_is_exact(tmp_path: Path, suffix: str) -> None:
    save_image(Image.fromarray(color()), tmp_path / "new" / f"x{suffix}")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / f"x{suffix}")), color())


def test_save_image_as_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    save_image(Image.fromarray(smooth), tmp_path / "x.jpeg")
    saved = Image.open(tmp_path / "x.jpeg")
    assert saved.format == "JPEG"
    assert np.abs(np.asarray(saved).astype(int) - smooth).max() < 12


@pytest.mark.parametrize("read", [read_color, read_thermal])
def test_a_photograph_is_turned_as_its_camera_noted(read: Callable[[Path], Tensor], tmp_path: Path) -> None:
    image = Image.fromarray(color())
    for name, note in (("plain", None), ("turned", 6), ("odd", 77)):  # 6: to be turned clockwise
        exif = Image.Exif()
        if note is not None:
            exif[0x0112] = note
        image.save(tmp_path / f"{name}.png", exif=exif)
    plain, turned, odd = (read(tmp_path / f"{name}.png") for name in ("plain", "turned", "odd"))
    assert torch.equal(turned, plain.rot90(-1, (1, 2)))
    assert torch.equal(odd, plain)


def test_save_image_of_an_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.gif: expected one of the suffixes"):
        save_image(Image.fromarray(color()), tmp_path / "x.gif")


class TestWriteAtomically:
    def test_writes_and_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "x"
        for data in (b"one", b"two"):
            write_atomically(path, data)
            assert path.read_bytes() == data
        assert [p.name for p in path.parent.iterdir()] == ["x"]

    def test_an_interruption_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "x"
        write_atomically(path, b"old")

        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.real_data
def test_real_frames(flir_mini: Path) -> None:
    thermal, day = (list_images(flir_mini / name)[0] for name in ("trainB", "trainA"))
    assert read_thermal(thermal).shape == read_color(day).shape == (3, 288, 360)
    assert torch.equal(read_thermal(thermal)[0], read_thermal(thermal)[2])
    labels = read_labels(flir_mini / "labels_pred1" / day.name)
    assert labels.shape == (288, 360)
    assert labels.max() < 19
