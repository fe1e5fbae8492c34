from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jsonargparse import auto_cli
from PIL import Image

import prepare_data
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
    assert captured.out == f"1 images written to {tmp_path / 'out'}\n"
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
