from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import auto_cli
from PIL import Image

import prepare_data
from helpers.image_files import COLOR, COLOR_ALPHA, GRAY_ALPHA, exif_of, write_png
from ntir2dc.preparing import writing
from prepare_data import fit, main

SMALL = {"cover": (50, 40), "crop": (36, 28)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def noise(H: int, W: int, *channels: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (H, W, *channels), dtype=dtype)


def save(array: np.ndarray, path: Path) -> None:
    Image.fromarray(array).save(path)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize("size", [(500, 400), (400, 500), (1800, 1600), (333, 100), (501, 401)])
def test_every_frame_gets_the_papers_size(folder: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (10, 200, 30)).save(folder / "x.jpg")
    assert main(folder, tmp_path / "out") == 0
    pixels = read(tmp_path / "out" / "x.png")
    assert pixels.shape == (288, 360, 3)
    assert np.abs(pixels.astype(int) - (10, 200, 30)).max() <= 2


def test_a_frame_of_the_covered_size_is_only_cut(folder: Path, tmp_path: Path) -> None:
    pixels = noise(400, 500, 3)
    save(pixels, folder / "x.png")
    assert main(folder, tmp_path / "out") == 0
    assert np.array_equal(read(tmp_path / "out" / "x.png"), pixels[56:344, 70:430])


@pytest.mark.parametrize(("size", "middle"), [((80, 200), np.s_[:, 50:150]), ((120, 100), np.s_[20:100, :])])
def test_the_middle_is_kept_at_one_scale(size: tuple[int, int], middle: tuple[slice, slice]) -> None:
    smooth = np.add.outer(np.arange(size[0]), np.arange(size[1])) * 0.5
    image = Image.fromarray(smooth.astype(np.float32))
    found = np.asarray(fit(image, (50, 40), (50, 40)))
    expected = smooth[middle].reshape(40, 2, 50, 2).mean((1, 3))
    np.testing.assert_allclose(found[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-3)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((160, 200), np.uint8)
    stripes[:, ::2] = 255
    found = np.asarray(fit(Image.fromarray(stripes), (50, 40), (36, 28)))
    assert found.min() > 100
    assert found.max() < 155


def test_thermal_values_are_not_stretched(folder: Path, tmp_path: Path) -> None:
    deep = 7000 + noise(40, 50, dtype=np.uint8).astype(np.uint16)
    save(deep, folder / "deep.png")
    save(deep.astype(np.int32), folder / "deeper.tif")
    flat = np.full((40, 50, 3), 90, np.uint8)
    save(flat, folder / "gray_as_color.png")
    save(noise(40, 50) // 4 + 50, folder / "gray.bmp")
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    out = {path.stem: read(path) for path in (tmp_path / "out").iterdir()}
    assert {name: (array.dtype, array.shape) for name, array in out.items()} == {
        name: (np.uint16 if name.startswith("deep") else np.uint8, (28, 36))
        for name in ("deep", "deeper", "gray", "gray_as_color")
    }
    for name in ("deep", "deeper"):
        assert np.array_equal(out[name], deep[6:34, 7:43])
    assert np.array_equal(out["gray"], (noise(40, 50) // 4 + 50)[6:34, 7:43])
    assert np.unique(out["gray_as_color"]).tolist() == [90]


def test_counts_stay_counts_when_resized(folder: Path, tmp_path: Path) -> None:
    edge = np.zeros((80, 100), np.uint16)
    edge[:, 50:] = 65535  # bicubic overshoots on both sides
    save(edge, folder / "x.png")
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    found = read(tmp_path / "out" / "x.png")
    assert found.dtype == np.uint16
    assert (found[:, :12].max(), found[:, 24:].min()) == (0, 65535)


def test_labels_stay_ids_and_lie_where_their_image_does(folder: Path, tmp_path: Path) -> None:
    ids = np.kron(np.random.default_rng(1).choice([0, 11, 18, 255], (8, 10)), np.ones((24, 30))).astype(np.uint8)
    palette = Image.fromarray(ids)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(folder / "x.png")
    assert main(folder, tmp_path / "out", labels=True, **SMALL) == 0
    found = read(tmp_path / "out" / "x.png")
    assert set(np.unique(found)) <= {0, 11, 18, 255}
    for value in (0, 11, 18, 255):
        mask = fit(Image.fromarray((ids == value).astype(np.uint8) * 255), SMALL["cover"], SMALL["crop"])
        inside = np.asarray(mask)
        assert (found[inside > 200] == value).all()
        assert (found[inside < 55] != value).all()


def test_bad_files_are_named_and_the_others_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(noise(40, 50, 3), folder / "a.png")
    save(noise(40, 50, 3), folder / "a.bmp")
    (folder / "b.png").write_bytes(b"nothing")
    save(noise(40, 50, dtype=np.uint16), folder / "c.png")
    (folder / "notes.txt").write_text("no image")
    assert main(folder, tmp_path / "out", **SMALL) == 1
    captured = capsys.readouterr()
    assert [line.split("in/")[1].split(":")[0] for line in captured.err.splitlines()] == ["a.png", "b.png", "c.png"]
    assert "would replace that of" in captured.err
    assert captured.out.splitlines() == [
        "left out 1: not an image (.txt) (notes.txt)",
        f"1 images written to {tmp_path / 'out'}",
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize("kind", ["float", "negative", "huge"])
def test_thermal_beyond_sixteen_bits_is_refused(
    folder: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"float": np.float32([[0.5, 1]]), "negative": np.int32([[-1, 1]]), "huge": np.int32([[0, 65536]])}[kind]
    save(counts, folder / "x.tif")
    assert main(folder, tmp_path / "out", thermal=True) == 1
    assert "x.tif: expected a thermal image of 8 or 16 bits" in capsys.readouterr().err


def test_a_color_image_is_no_label_map(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(noise(40, 50, 3), folder / "x.png")
    assert main(folder, tmp_path / "out", labels=True) == 1
    assert "x.png: expected a label map" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thermal": True, "labels": True}, "choose one of"),
        ({"crop": (501, 288)}, "expected a crop"),
        ({"crop": (0, 288)}, "expected a crop"),
    ],
)
def test_impossible_options(
    folder: Path, tmp_path: Path, options: dict, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(noise(4, 5, 3), folder / "x.png")
    assert main(folder, tmp_path / "out", **options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(folder, tmp_path / "out") == 1
    assert "found none" in capsys.readouterr().err
    save(noise(4, 5, 3), folder / "x.png")
    assert main(folder, folder / ".." / "in") == 1
    assert "is the input" in capsys.readouterr().err
    assert np.array_equal(read(folder / "x.png"), noise(4, 5, 3))


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    save(noise(40, 50), folder / "x.png")
    arguments = ["--input", str(folder), "--output", str(tmp_path / "out"), "--thermal", "true"]
    arguments += ["--cover", "[50, 40]", "--crop", "[10, 8]"]
    assert auto_cli(prepare_data.main, args=arguments, as_positional=False) == 0
    assert read(tmp_path / "out" / "x.png").shape == (8, 10)


# ---- files that are more than they seem ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_page_of_a_stack_becomes_a_frame(folder: Path, tmp_path: Path, dtype: type) -> None:
    stack = np.stack([noise(40, 50, dtype=np.uint8).astype(dtype) + dtype(offset) for offset in (0, 7, 20)])
    pages = [Image.fromarray(page) for page in stack]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    np.save(folder / "array.npy", stack)
    np.save(folder / "single.npy", stack[1])
    save(stack[2], folder / "x.png")
    for _ in range(2):  # the second time nothing is to be done
        assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
        out = {path.stem: read(path) for path in (tmp_path / "out").iterdir()}
        assert sorted(out) == sorted([*(f"{n}_p000{i}" for n in ("array", "stack") for i in range(3)), "single", "x"])
        for index, page in enumerate(stack):
            assert out[f"stack_p000{index}"].dtype == dtype
            for name in ("stack", "array"):
                assert np.array_equal(out[f"{name}_p000{index}"], page[6:34, 7:43])
        assert np.array_equal(out["single"], stack[1][6:34, 7:43])


def test_color_stacks_and_arrays_that_are_no_frames_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [Image.fromarray(noise(40, 50, 3)) for _ in range(3)]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    save(noise(40, 50, 3), folder / "x.png")
    assert main(folder, tmp_path / "out", **SMALL) == 1
    assert "stack.tif: holds 3 pictures, expected one" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.png"]
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "celsius.npy", np.full((40, 50), 21.5))
    (arrays / "damaged.npy").write_bytes(b"nothing")
    np.save(arrays / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(arrays / "right.npy", noise(40, 50))
    assert main(arrays, tmp_path / "deep", thermal=True, **SMALL) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.split("arrays/")[1].split(":")[0] for line in errors] == ["celsius.npy", "damaged.npy", "objects.npy"]
    assert "got (1, 40, 50) of float64; save temperatures as counts" in errors[0]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["right.png"]


@pytest.mark.parametrize("kind", [GRAY_ALPHA, COLOR, COLOR_ALPHA])
def test_16_bit_thermal_in_several_channels_stays_16_bits(folder: Path, tmp_path: Path, kind: int) -> None:
    counts = noise(40, 50, dtype=np.uint8).astype(np.uint16) + 7000
    channels = {GRAY_ALPHA: 2, COLOR: 3, COLOR_ALPHA: 4}[kind]
    write_png(folder / "x.png", np.repeat(counts[..., None], channels, axis=2), kind=kind)
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    assert np.array_equal(read(tmp_path / "out" / "x.png"), counts[6:34, 7:43])


@pytest.mark.parametrize("deep", [False, True])
def test_a_turned_frame_is_turned_whatever_its_depth(folder: Path, tmp_path: Path, deep: bool) -> None:
    frame = noise(50, 40).astype(np.uint16) + 7000 if deep else noise(50, 40)
    Image.fromarray(frame).save(folder / "x.png", exif=exif_of(6))
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    assert np.array_equal(read(tmp_path / "out" / "x.png"), np.rot90(frame, -1)[6:34, 7:43])


def test_a_dead_pixel_is_not_spread_by_resizing(folder: Path, tmp_path: Path) -> None:
    smooth = (np.add.outer(np.arange(80), np.arange(100)) + 7000).astype(np.uint16)
    smooth[30, 40] = 65535
    save(smooth, folder / "x.png")
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    assert read(tmp_path / "out" / "x.png").max() <= 7000 + 80 + 100


@pytest.mark.parametrize("bits", [8, 16])
def test_the_fourth_channel_of_mfnet_is_its_thermal_frame(
    folder: Path, tmp_path: Path, bits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = noise(40, 50, 4, dtype=np.uint8 if bits == 8 else np.uint16)
    write_png(folder / "x.png", pixels, bits=bits, kind=COLOR_ALPHA)
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    assert np.array_equal(read(tmp_path / "out" / "x.png"), pixels[6:34, 7:43, 3])
    assert "of 1 the fourth channel was taken for the thermal one" in capsys.readouterr().out
    assert main(folder, tmp_path / "gray", thermal=True, fourth=False, **SMALL) == 0
    assert not np.array_equal(read(tmp_path / "gray" / "x.png"), pixels[6:34, 7:43, 3])
    assert "fourth channel" not in capsys.readouterr().out
    assert main(folder, tmp_path / "day", **SMALL) == 0
    shown = pixels if bits == 8 else np.rint(pixels / 257)
    assert np.array_equal(read(tmp_path / "day" / "x.png"), shown[6:34, 7:43, :3])


def test_label_maps_are_turned_with_their_images(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    ids = noise(50, 40) % 19
    for name, array in (("stored", ids), ("shown", np.ascontiguousarray(np.rot90(ids, -1))), ("other", ids[1:])):
        Image.fromarray(noise(50, 40, 3)).save(tmp_path / "images" / f"{name}.jpg", exif=exif_of(6))
        save(array, folder / f"{name}.png")
    assert main(folder, tmp_path / "out", labels=True, images=tmp_path / "images", **SMALL) == 1
    assert "other.png: is 40 x 49, its image" in capsys.readouterr().err
    for name in ("stored", "shown"):
        assert np.array_equal(read(tmp_path / "out" / f"{name}.png"), np.rot90(ids, -1)[6:34, 7:43])
    save(ids, folder / "alone.png")
    assert main(folder, tmp_path / "again", labels=True, images=tmp_path / "images", **SMALL) == 1
    assert "alone.png: has no image of its name in" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    assert main(folder, tmp_path / "again", images=tmp_path / "images", **SMALL) == 1
    assert "images goes with labels" in capsys.readouterr().err


# ---- outputs ---------------------------------------------------------------------------------------------------------


def test_one_output_that_cannot_be_written_leaves_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        save(noise(40, 50), folder / f"{name}.png")
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 1
    captured = capsys.readouterr()
    assert captured.err == f"prepare_data: {tmp_path / 'out' / 'b.png'}: cannot be written (Is a directory)\n"
    assert captured.out == f"2 images written to {tmp_path / 'out'}\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_full_disk_ends_the_batch_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        save(noise(40, 50), folder / f"{name}.png")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_atomically", full)
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 1
    captured = capsys.readouterr()
    assert captured.err.count("No space left on device") == 1
    assert captured.out == ""


def test_the_longest_names_and_names_that_are_no_text(folder: Path, tmp_path: Path) -> None:
    long, latin = "x" * 251, os.fsdecode(b"caf\xe9")
    for name in (long, latin):
        save(noise(40, 50), folder / f"{name}.png")
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 0
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {long, latin}


def test_names_composed_in_two_ways_are_one_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("NFC", "NFD"):
        save(noise(40, 50), folder / f"{unicodedata.normalize(form, 'é')}.png")
    assert main(folder, tmp_path / "out", thermal=True, **SMALL) == 1
    assert "would replace that of" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_sizes_may_be_numpy_integers(folder: Path, tmp_path: Path) -> None:
    save(noise(80, 100), folder / "x.png")
    cover, crop = (tuple(np.array(size)) for size in SMALL.values())
    assert main(folder, tmp_path / "out", thermal=True, cover=cover, crop=crop) == 0
    assert read(tmp_path / "out" / "x.png").shape == (28, 36)
