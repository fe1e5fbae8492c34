"""How thermal frames become 8 bits: one range for a folder, which end is warm, and what is said of odd folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import auto_cli
from PIL import Image

import colorize
from helpers.small_folder import write_folder
from helpers.tiny_run import tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.colorizing.sizes import translate
from ntir2dc.config import from_dict, to_dict
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.images import list_images, read_thermal, to_image
from ntir2dc.data.pairing import MemoryCrops, PairedCrops
from ntir2dc.data.samples import DataError
from ntir2dc.data.thermal import (
    ThermalOptions,
    Tones,
    look_at_color,
    look_at_thermal,
    parse_range,
    tell_tones,
    tones_of,
)
from ntir2dc.networks import Decoder, Encoder
from ntir2dc.run.weights import FILE_NAME, WeightsError, load_translator, save_weights, thermal_of
from ntir2dc.trainer import Trainer
from scenes import write_scenes

Capture = pytest.CaptureFixture[str]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def levels(path: Path, tones: Tones) -> np.ndarray:
    values: np.ndarray = (read_thermal(path, tones)[0] * 127.5 + 127.5).round().numpy().astype(int)
    return values


def blocks(*counts: float, dtype: type = np.uint16) -> np.ndarray:
    """Return a frame of blocks of 4 x 4 beside each other, so that none looks like a dead pixel."""
    return np.kron(np.array([counts]), np.ones((4, 4))).astype(dtype)


@pytest.fixture
def deep(tmp_path: Path) -> list[Path]:
    """A body of 7300 counts beside a wall that cools down: each frame has other extremes."""
    counts = ((7000, 7300, 7400), (7000, 7300, 7600), (7200, 7300, 7310))
    return [save(tmp_path / "deep" / f"{i}.png", blocks(*values)) for i, values in enumerate(counts)]


def test_one_range_keeps_equal_counts_equal(deep: list[Path]) -> None:
    tones = tones_of(deep, ThermalOptions())
    assert tones == Tones((7000, 7600))
    body = {int(levels(path, tones)[0, 4]) for path in deep}
    assert body == {round(300 / 600 * 255)}
    assert tell_tones(tones, "trainB") == "trainB: 7000 becomes black and 7600 white in all thermal frames"
    alone = [int(levels(path, tones_of(deep, ThermalOptions("frame")))[0, 4]) for path in deep]
    assert alone == [round(300 / 400 * 255), round(300 / 600 * 255), round(100 / 110 * 255)]


def test_dead_pixels_set_no_range(deep: list[Path], tmp_path: Path) -> None:
    counts = blocks(7000, 7300, 7400)
    counts[1, 1], counts[2, 6] = 65535, 0
    deep.append(save(tmp_path / "deep" / "dead.png", counts))
    assert tones_of(deep, ThermalOptions()) == Tones((7000, 7600))
    low, high = tones_of(deep, ThermalOptions("percentiles")).limits
    assert 7000 <= float(low) < float(high) <= 7600


def test_percentiles_are_those_of_all_frames(tmp_path: Path) -> None:
    ramp = np.arange(0, 40 * 50, dtype=np.uint16).reshape(40, 50)
    paths = [save(tmp_path / f"{i}.png", ramp + 5000 * i) for i in range(1, 3)]
    low, high = tones_of(paths, ThermalOptions("percentiles")).limits
    assert isinstance(low, float)
    whole = np.concatenate([ramp.ravel() + 5000, ramp.ravel() + 10000])
    np.testing.assert_allclose([low, high], np.percentile(whole, (0.5, 99.5)), atol=3)
    eight = save(tmp_path / "eight.png", blocks(*range(100, 200), dtype=np.uint8))
    found = levels(eight, tones_of([eight], ThermalOptions("percentiles")))
    assert (found.min(), found.max()) == (0, 255)


def test_two_counts_and_all_that_a_file_can_hold(deep: list[Path], tmp_path: Path) -> None:
    fixed = tones_of([], ThermalOptions("7100,7300"))
    assert levels(deep[0], fixed)[0, ::4].tolist() == [0, 255, 255]
    full = tones_of(deep, ThermalOptions("full"))
    assert levels(deep[0], full)[0, ::4].tolist() == [round(count / 65535 * 255) for count in (7000, 7300, 7400)]
    eight = save(tmp_path / "eight.png", blocks(10, 61, 110, dtype=np.uint8))
    assert levels(eight, tones_of([eight], ThermalOptions("10,110")))[0, ::4].tolist() == [0, 130, 255]


@pytest.mark.parametrize("text", ["sequence", "full", "frame"])
def test_files_of_8_bits_stay_as_they_are(tmp_path: Path, text: str) -> None:
    pixels = np.random.default_rng(0).integers(40, 160, (12, 16), dtype=np.uint8)
    path = save(tmp_path / "x.png", pixels)
    tones = tones_of([path], ThermalOptions(text))
    assert np.array_equal(levels(path, tones), pixels)
    # beside deeper frames, too
    assert np.array_equal(levels(path, Tones((7000, 7600))), pixels)
    assert np.array_equal(levels(path, tones_of([path], ThermalOptions(text, "black"))), 255 - pixels)


def test_black_hot_counts_are_turned(deep: list[Path]) -> None:
    white, black = (tones_of(deep, ThermalOptions(polarity=polarity)) for polarity in ("white", "black"))
    assert np.array_equal(levels(deep[0], black), 255 - levels(deep[0], white))


@pytest.mark.parametrize("text", ["", "wide", "7000", "7600,7000", "1,2,3", "nan,1", "0,inf"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="thermal.range: expected sequence, percentiles, full, frame, or two counts"):
        ThermalOptions(text)
    assert parse_range("-5.5,3") == (-5.5, 3)


def test_unreadable_frames_are_left_to_whoever_reads_them(deep: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "deep" / "x.png"
    damaged.write_bytes(b"nothing")
    assert tones_of([damaged, *deep], ThermalOptions()) == tones_of(deep, ThermalOptions())


# ---- what looks wrong ------------------------------------------------------------------------------------------------


def test_scenes_look_right_and_turned_ones_are_black_hot(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", seed=0, n_train_a=8, n_train_b=8, n_val=0, n_judge=0, size=(96, 128))
    nights, days = (list_images(tmp_path / "scenes" / name) for name in ("trainB", "trainA"))
    assert look_at_thermal(nights, Tones(), "trainB") == []
    assert look_at_color(days, "trainA") == []
    [black] = look_at_thermal(nights, Tones(inverted=True), "trainB")
    assert "of 8 frames looked at the upper third is brighter" in black
    assert "--thermal.polarity black" in black
    [colored] = look_at_thermal(days, Tones(), "trainB")
    assert colored.startswith("trainB: 8 of 8 frames looked at are colored (channels ")
    [gray] = look_at_color(nights, "trainA")
    assert gray.startswith("trainA: 8 of 8 images looked at are gray")


@pytest.mark.real_data
def test_real_frames_look_right_and_turned_ones_are_black_hot(flir_mini: Path) -> None:
    nights = list_images(flir_mini / "trainB")
    assert look_at_thermal(nights, Tones(), "trainB") == []
    assert look_at_color(list_images(flir_mini / "trainA"), "trainA") == []
    assert "--thermal.polarity black" in look_at_thermal(nights, Tones(inverted=True), "trainB")[0]


# ---- training --------------------------------------------------------------------------------------------------------


def deepen(folder: Path) -> None:
    """Make the thermal frames of a folder ones of 16 bits, each of another offset."""
    for index, path in enumerate(list_images(folder)):
        with Image.open(path) as image:
            pixels = np.array(image).astype(np.uint16)
        save(path, pixels + np.uint16(7000 + 20 * index))


def test_training_reads_a_folder_by_one_range(tmp_path: Path) -> None:
    folder, said = write_folder(tmp_path / "data"), []
    deepen(folder / "trainB")
    options = ThermalOptions(polarity="black")
    data = prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32, thermal=options, report=said.append)
    tones = tones_of(list_images(folder / "trainB"), options)
    assert isinstance(tones.limits, tuple)
    assert data.tones_b == tones
    assert data.tones_val_b == Tones(inverted=True)
    assert tell_tones(tones, folder / "trainB") in said
    crops = PairedCrops(data, length=4, epoch=0, seed=0, crop=32, flip=0.0, classes=())
    for sample in (crops[0], MemoryCrops(data, 0, 32)[1]):
        frame = read_thermal(data.b[int(sample["index_b"])].image, tones)
        row, col = sample["window_b"][:2].tolist()
        assert torch.equal(sample["real_b"], frame[:, row : row + 32, col : col + 32])
    # edges are made anew where frames are read in another way
    before = data.b[0].edges.read_bytes()
    again = prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32, thermal=ThermalOptions("7000,7001"))
    assert again.b[0].edges.read_bytes() != before


def test_odd_folders_are_warned_of_in_training(tmp_path: Path) -> None:
    folder, said = write_folder(tmp_path / "data"), []
    for path in list_images(folder / "trainA"):
        with Image.open(path) as image:
            save(path, np.array(image.convert("L")))
    prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32, report=said.append)
    assert any(line.startswith(f"warning: {folder / 'trainA'}: 3 of 3 images looked at are gray") for line in said)


def test_options_are_stored_with_a_run_and_its_weights(tmp_path: Path) -> None:
    options = ThermalOptions("7000,7600", "black")
    config = dataclasses.replace(tiny_config(tmp_path / "run", max_steps=1), thermal=options)
    assert from_dict(to_dict(config)) == config
    older = to_dict(config)
    del older["thermal"]
    assert from_dict(older).thermal == ThermalOptions()
    folder = write_folder(tmp_path / "data")
    data = prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32, thermal=options)
    Trainer(config, data, say=lambda _: None).fit()
    assert thermal_of(tmp_path / "run") == options


# ---- inference -------------------------------------------------------------------------------------------------------


def write_weights(run: Path, thermal: ThermalOptions | None = None) -> Path:
    torch.manual_seed(0)
    networks = {"encoder_b": Encoder(4, 1), "decoder_a": Decoder(4, 1)}
    description = {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1}
    save_weights(run / FILE_NAME, networks, description, thermal)
    return run


def test_the_default_leaves_no_note_and_what_is_not_known_is_refused(tmp_path: Path) -> None:
    plain, default = write_weights(tmp_path / "a"), write_weights(tmp_path / "b", ThermalOptions())
    assert (plain / FILE_NAME).read_bytes() == (default / FILE_NAME).read_bytes()
    assert thermal_of(plain) == ThermalOptions()
    strange = ThermalOptions()
    object.__setattr__(strange, "polarity", "violet")
    with pytest.raises(WeightsError, match="what is not known here"):
        thermal_of(write_weights(tmp_path / "c", strange))
    object.__setattr__(strange, "polarity", "white")
    object.__setattr__(strange, "range", 5)
    with pytest.raises(WeightsError, match="what is not known here"):
        thermal_of(write_weights(tmp_path / "d", strange))


def test_colorizing_reads_frames_as_training_did_unless_told(tmp_path: Path, deep: list[Path], capsys: Capture) -> None:
    run = write_weights(tmp_path / "run", ThermalOptions("7000,7400", "black"))
    folder = deep[0].parent

    def check(tones: Tones, out: Path) -> None:
        for path in deep:
            expected = translate(load_translator(run), read_thermal(path, tones)[None])[0]
            with Image.open(out / path.name) as image:
                assert np.array_equal(np.array(image), np.asarray(to_image(expected)))

    assert colorize.main(folder, tmp_path / "stored", run, device="cpu") == 0
    check(Tones((7000, 7400), True, True), tmp_path / "stored")
    arguments = ["--input", str(folder), "--output", str(tmp_path / "told"), "--checkpoint", str(run)]
    arguments += ["--device", "cpu", "--thermal.range", "sequence", "--thermal.polarity", "white"]
    capsys.readouterr()
    assert auto_cli(colorize.main, args=arguments, as_positional=False) == 0
    check(Tones((7000, 7600)), tmp_path / "told")
    assert f"{folder}: 7000 becomes black and 7600 white" in capsys.readouterr().err
    asked = colorize.ThermalAsked("frame", "white")
    assert colorize.main(folder, tmp_path / "own", run, device="cpu", thermal=asked) == 0
    check(Tones(), tmp_path / "own")
    assert "a sequence flickers" in capsys.readouterr().err
    assert colorize.main(folder, tmp_path / "no", run, thermal=colorize.ThermalAsked("wide")) == 1
    assert "thermal.range: expected" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trainB", "valB"])
def test_arrays_among_the_frames_are_named_with_what_takes_them_apart(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    np.save(folder / name / "night.npy", np.zeros((3, 40, 48), np.uint16))
    with pytest.raises(DataError, match=r"night.npy: is an array, .* python examples/prepare_data.py --input FOLDER"):
        prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32)
    assert not (tmp_path / "cache").exists()


def test_a_stack_among_the_frames_is_named_with_what_takes_it_apart(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    pages = [Image.fromarray(np.full((40, 48), 7000 + page, np.uint16)) for page in range(3)]
    pages[0].save(folder / "trainB" / "b9.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"b9.tif: holds 3 pictures, .* as prepare_data.py --thermal true does"):
        prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32)
