from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import colorize
from colorize import main
from helpers.image_files import COLOR, exif_of, write_png
from ntir2dc.colorizing.pictures import batches
from ntir2dc.colorizing.progress import FrameProgress
from ntir2dc.colorizing.sizes import pad, translate
from ntir2dc.colorizing.sources import plan
from ntir2dc.colorizing.translating import Translating, translate_shifted
from ntir2dc.data.images import DataError, read_thermal, to_image
from ntir2dc.networks import Decoder, Encoder
from ntir2dc.run.device import choose_device
from ntir2dc.run.weights import FILE_NAME, load_translator, save_weights


@pytest.fixture
def run(tmp_path: Path) -> Path:
    networks = {"encoder_b": Encoder(4, 1), "decoder_a": Decoder(4, 1)}
    save_weights(tmp_path / "run" / FILE_NAME, networks, {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1})
    return tmp_path / "run"


def thermal(path: Path, H: int = 12, W: int = 16, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (H, W), dtype=np.uint8)).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert image.format == ("JPEG" if path.suffix == ".jpg" else "PNG")
        return np.asarray(image).astype(int)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert min(x.shape[-2:]) >= 8
        assert not x.shape[-2] % 4
        assert not x.shape[-1] % 4
        return x


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 4), (5, 5), (8, 8), (9, 14), (31, 16), (4, 100)])
def test_any_size_is_padded_and_cropped_back(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    assert torch.equal(translate(Identity(), x), x)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_translation_does_not_depend_on_the_layout_or_on_the_batch(run: Path, batch: int) -> None:
    translator = load_translator(run)
    x = torch.rand(batch, 3, 20, 24) * 2 - 1
    expected = translate(translator, x)
    one_by_one = torch.cat([translate(translator, image[None]) for image in x])
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=1e-5)
    translator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = translate(translator, x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def test_padding_reflects_where_it_fits_and_is_no_larger_than_needed() -> None:
    x = torch.arange(9.0).expand(1, 3, 10, 9)
    assert pad(x).shape == (1, 3, 12, 12)
    assert pad(x)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 7, 6, 5]
    narrow = torch.arange(3.0).expand(1, 3, 8, 3)
    assert pad(narrow)[0, 0, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert torch.equal(pad(x[..., :8, :8]), x[..., :8, :8])
    assert pad(x[..., :4, :4]).shape == (1, 3, 8, 8)


def test_an_image_becomes_what_the_networks_make_of_it(run: Path, tmp_path: Path) -> None:
    source = thermal(tmp_path / "night.png")
    assert main(source, tmp_path / "day.png", run, device="cpu") == 0
    expected = to_image(load_translator(run)(read_thermal(source)[None])[0])
    assert np.array_equal(pixels(tmp_path / "day.png"), np.asarray(expected))


def test_the_compiled_network_gives_the_same(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_module, calls = nn.Module.compile, []

    def traced(self: nn.Module) -> None:
        calls.append(self)
        compile_module(self, backend="eager")  # the code that Inductor makes is its own matter

    monkeypatch.setattr(nn.Module, "compile", traced)
    source = thermal(tmp_path / "night.png")
    for compile_it, name in ((False, "plain.png"), (True, "compiled.png")):
        assert main(source, tmp_path / name, run, device="cpu", compile=compile_it) == 0
    assert len(calls) == 1
    assert np.array_equal(pixels(tmp_path / "compiled.png"), pixels(tmp_path / "plain.png"))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_folder_keeps_names_and_sizes(run: Path, tmp_path: Path, batch_size: int) -> None:
    night, day = tmp_path / "night", tmp_path / "new" / "day"
    sizes = {"a.png": (12, 16), "b.png": (12, 16), "c.jpg": (9, 7), "d.bmp": (12, 16), "e.tif": (2, 30)}
    for seed, (name, size) in enumerate(sizes.items()):
        thermal(night / name, *size, seed=seed)
    (night / "notes.txt").write_text("no image")
    assert main(night, day, run / FILE_NAME, device="cpu", batch_size=batch_size) == 0
    assert names(day) == ["a.png", "b.png", "c.jpg", "d.png", "e.png"]
    for name, (H, W) in sizes.items():
        target = day / (name if name == "c.jpg" else name[0] + ".png")
        assert pixels(target).shape == (H, W, 3)
        alone = tmp_path / "alone.png"
        assert main(night / name, alone, run, device="cpu") == 0
        if name != "c.jpg":
            assert np.abs(pixels(target) - pixels(alone)).max() <= 1  # rounding of another batch size


def test_a_single_image_may_go_to_a_folder(run: Path, tmp_path: Path) -> None:
    source = thermal(tmp_path / "night.tif")
    assert main(source, tmp_path / "new", run) == 0
    assert names(tmp_path / "new") == ["night.png"]
    (tmp_path / "looks_like.png").mkdir()
    assert main(source, tmp_path / "looks_like.png", run) == 0
    assert names(tmp_path / "looks_like.png") == ["night.png"]


def test_batches_hold_neighbors_of_equal_size(tmp_path: Path) -> None:
    widths = [8, 8, 8, 12, 8, 8]
    pairs = [(thermal(tmp_path / f"{i}.png", 8, W), tmp_path / f"out{i}.png") for i, W in enumerate(widths)]
    problems: list[str] = []
    groups = [(tuple(x.shape), [int(t.stem[3:]) for t in targets]) for x, targets in batches(pairs, 2, problems)]
    assert groups == [
        ((2, 3, 8, 8), [0, 1]),
        ((1, 3, 8, 8), [2]),
        ((1, 3, 8, 12), [3]),
        ((2, 3, 8, 8), [4, 5]),
    ]
    assert not problems


def test_bad_files_are_reported_and_the_others_translated(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night, day = tmp_path / "night", tmp_path / "day"
    for name in ("a.png", "b.png", "d.png"):
        thermal(night / name)
    (night / "b.png").write_bytes((night / "b.png").read_bytes()[:60])
    (night / "c.png").write_bytes(b"")
    assert main(night, day, run, batch_size=3) == 1
    assert names(day) == ["a.png", "d.png"]
    captured = capsys.readouterr()
    assert [line.split(": ")[1] for line in captured.err.splitlines()] == [str(night / "b.png"), str(night / "c.png")]
    assert captured.out == f"2 images written to {day}\n"


def test_nothing_is_written_for_a_bad_image(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    assert main(bad, tmp_path / "day.png", run) == 1
    assert not (tmp_path / "day.png").exists()
    captured = capsys.readouterr()
    assert captured.err.startswith(f"colorize: {bad}: is not an image")
    assert captured.out == ""


def test_two_inputs_of_one_name_do_not_overwrite_each_other(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night, day = tmp_path / "night", tmp_path / "day"
    thermal(night / "a.bmp"), thermal(night / "a.png", seed=1)
    assert main(night, day, run) == 1
    assert names(day) == ["a.png"]
    assert "a.png: its result would replace that of" in capsys.readouterr().err


def test_inputs_are_never_replaced(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = thermal(tmp_path / "night" / "a.png")
    before = source.read_bytes()
    (tmp_path / "link").symlink_to(source.parent)
    for target in (source, source.parent, tmp_path / "link", tmp_path / "night" / ".." / "night"):
        assert main(source, target, run) == 1
        assert "would replace an input" in capsys.readouterr().err
    assert main(source.parent, tmp_path / "link", run) == 1
    assert source.read_bytes() == before


def test_a_folder_inside_the_input_is_fine(run: Path, tmp_path: Path) -> None:
    source = thermal(tmp_path / "night" / "a.png")
    for _ in range(2):
        assert main(source.parent, source.parent / "day", run) == 0
    assert names(source.parent / "day") == ["a.png"]


def test_accents_composed_in_two_ways_are_one_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("NFC", "NFD"):
        thermal(tmp_path / "night" / f"{unicodedata.normalize(form, 'é')}.png")
    assert main(tmp_path / "night", tmp_path / "day", run) == 1
    assert len(names(tmp_path / "day")) == 1
    assert "would replace that of" in capsys.readouterr().err


@pytest.mark.parametrize("batch_size", [1, 2, np.int64(3)])
def test_one_output_that_cannot_be_written_leaves_the_others(
    run: Path, tmp_path: Path, batch_size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    night, day = tmp_path / "night", tmp_path / "day"
    for name in ("a.png", "b.png", "c.png"):
        thermal(night / name)
    (day / "b.png").mkdir(parents=True)
    assert main(night, day, run, batch_size=batch_size) == 1
    captured = capsys.readouterr()
    assert captured.err == f"colorize: {day / 'b.png'}: cannot be written (Is a directory)\n"
    assert captured.out == f"2 images written to {day}\n"
    assert pixels(day / "c.png").shape == (12, 16, 3)


def test_the_longest_names_and_names_that_are_no_text(run: Path, tmp_path: Path) -> None:
    long, latin = "x" * 251, os.fsdecode(b"caf\xe9")
    for name in (long, latin):
        thermal(tmp_path / "night" / f"{name}.png")
    assert main(tmp_path / "night", tmp_path / "day", run) == 0
    assert {path.stem for path in (tmp_path / "day").iterdir()} == {long, latin}


def test_a_narrow_terminal_and_names_that_are_no_text_end_nothing(run: Path, tmp_path: Path) -> None:
    source = thermal(tmp_path / os.fsdecode(b"caf\xe9.png"))
    day = tmp_path / os.fsdecode("d\u00e4y".encode() + b"\xe4")
    done = subprocess.run(
        [sys.executable, str(Path(colorize.__file__)), "--input", source, "--output", day, "--checkpoint", run],
        env={**os.environ, "PYTHONPATH": str(Path(colorize.__file__).parents[1]), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"d\\xe4y\\udce4\n")
    assert names(day) == [source.name]


@pytest.mark.parametrize("kind", ["stack", "turned", "rgb16"])
def test_what_a_file_holds_is_what_is_translated(
    run: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = np.random.default_rng(0).integers(7000, 7300, (12, 16), dtype=np.uint16)
    plain, source = tmp_path / "plain.png", tmp_path / "x.png"
    Image.fromarray(np.rot90(counts, -1) if kind == "turned" else counts).save(plain)
    if kind == "stack":
        pages = [Image.fromarray(counts)] * 2
        pages[0].save(source, format="TIFF", save_all=True, append_images=pages[1:])
        assert main(source, tmp_path / "day.png", run) == 1
        assert "x.png: holds 2 pictures, expected one" in capsys.readouterr().err
        return
    if kind == "turned":
        Image.fromarray(counts).save(source, exif=exif_of(6))
    else:
        write_png(source, np.repeat(counts[..., None], 3, axis=2), kind=COLOR)
    for path in (plain, source):
        assert main(path, tmp_path / f"day_{path.name}", run) == 0
    assert np.array_equal(pixels(tmp_path / "day_x.png"), pixels(tmp_path / "day_plain.png"))


def test_unusable_arguments_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = thermal(tmp_path / "night" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()

    def message(*arguments: Path, device: str = "cpu", batch_size: int = 1) -> str:
        assert main(*arguments, device=device, batch_size=batch_size) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        return line

    assert "empty: holds no image" in message(tmp_path / "empty", tmp_path / "day", run)
    assert "none: no such file or folder" in message(tmp_path / "none", tmp_path / "day", run)
    assert "file: is a file, expected a folder" in message(source.parent, tmp_path / "file", run)
    assert "day.webp: expected a folder, or a file with one of" in message(source, tmp_path / "day.webp", run)
    assert "missing: no such file or folder" in message(source, tmp_path / "day", tmp_path / "missing")
    assert "empty: holds no weights" in message(source, tmp_path / "day", tmp_path / "empty")
    assert "device gpu: cannot be used" in message(source, tmp_path / "day", run, device="gpu")
    assert "batch_size: expected at least 1, got 0" in message(source, tmp_path / "day", run, batch_size=0)
    assert not (tmp_path / "day").exists()


def test_a_folder_that_cannot_be_made_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(thermal(tmp_path / "a.png"), tmp_path / "file" / "day", run) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_plan_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.JPEG", "c.tiff"):
        thermal(tmp_path / "in" / name)
    assert [target.name for _, target in plan(tmp_path / "in", tmp_path / "out")] == ["a.JPEG", "b.png", "c.png"]
    # a folder's output is a folder whatever its name
    assert plan(tmp_path / "in", tmp_path / "x.png")[0][1] == tmp_path / "x.png" / "a.JPEG"
    with pytest.raises(DataError):
        plan(tmp_path / "in", tmp_path / "in" / "c.tiff")


def test_auto_chooses_a_device_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


def test_runs_as_a_command(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = thermal(tmp_path / "a.png")
    script = str(Path(colorize.__file__))
    command = [script, "--input", str(source), "--output", str(tmp_path / "day"), "--checkpoint", str(run)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 0
    assert names(tmp_path / "day") == ["a.png"]
    monkeypatch.setattr(sys, "argv", [*command, "--batchsize", "2"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 2


def test_subfolders_are_taken_on_request_and_keep_their_place(run: Path, tmp_path: Path) -> None:
    night = tmp_path / "night"
    thermal(night / "a.png"), thermal(night / "V000" / "a.jpg"), thermal(night / ".hidden" / "a.png")
    (night / "V000" / "V001").mkdir()
    thermal(night / "V000" / "V001" / "a.png")
    with pytest.raises(DataError, match="holds no image .* with --recursive"):
        plan(tmp_path, tmp_path / "out")
    # the output lies inside, and is no input of the second call
    for _ in range(2):
        assert main(night, night / "day", run, recursive=True) == 0
        assert sorted(str(p.relative_to(night / "day")) for p in (night / "day").rglob("*.*")) == [
            "V000/V001/a.png",
            "V000/a.jpg",
            "a.png",
        ]


def test_patterns_name_files_below_their_first_folder(tmp_path: Path) -> None:
    for name in ("x/a_ir.png", "x/a_rgb.png", "y/a_ir.png", "y/z/b_ir.png", "y/b_ir.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()

    def targets(pattern: str) -> list[str]:
        return [str(target.relative_to("out")) for _, target in plan(tmp_path / pattern, Path("out"))]

    assert targets("in/*/*_ir.*") == ["x/a_ir.png", "y/a_ir.png"]
    assert targets("in/y/**/*_ir.png") == ["a_ir.png", "z/b_ir.png"]
    with pytest.raises(DataError, match="fits no image and no video"):
        plan(tmp_path / "in" / "*.jpg", Path("out"))
    # a file may be called so
    (tmp_path / "in" / "a[1].png").touch()
    assert targets("in/a[1].png") == ["a[1].png"]


def test_what_is_there_is_left_on_request(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night, day = tmp_path / "night", tmp_path / "day"
    thermal(night / "a.png"), thermal(night / "b.png", seed=1)
    day.mkdir()
    (day / "a.png").write_text("mine")
    assert main(night, day, run, skip_existing=True) == 0
    assert (day / "a.png").read_text() == "mine"
    captured = capsys.readouterr()
    assert captured.out == f"1 image written to {day}\n"
    assert captured.err == "colorize: 1 of the results were there already\n"
    assert main(night, day, run, skip_existing=True) == 0
    assert capsys.readouterr().err == "colorize: 2 of the results were there already\n"


def test_frames_that_are_skipped_belong_to_the_range(run: Path, tmp_path: Path) -> None:
    night, day = tmp_path / "night", tmp_path / "day"
    night.mkdir()
    for name, low in (("a.png", 7000), ("b.png", 8000)):
        counts = np.random.default_rng(low).integers(low, low + 300, (12, 16), dtype=np.uint16)
        Image.fromarray(counts).save(night / name)
    assert main(night, day, run) == 0
    before = pixels(day / "b.png")
    (day / "b.png").unlink()
    assert main(night, day, run, skip_existing=True) == 0
    assert np.array_equal(pixels(day / "b.png"), before)


def test_ctrl_c_ends_in_a_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate("abc"):
        thermal(tmp_path / "night" / f"{name}.png", seed=seed)
    done: list[Tensor] = []

    def interrupted(self: object, x: Tensor) -> Tensor:
        done.append(x)
        if len(done) == 3:
            raise KeyboardInterrupt
        return x

    monkeypatch.setattr(Translating, "__call__", interrupted)
    assert main(tmp_path / "night", tmp_path / "day", run) == 130
    captured = capsys.readouterr()
    assert captured.err == "colorize: stopped; what is written stays, and --skip_existing goes on\n"
    assert captured.out == f"2 images written to {tmp_path / 'day'}\n"
    assert names(tmp_path / "day") == ["a.png", "b.png"]


def test_a_checkpoint_in_the_place_of_weights_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = thermal(tmp_path / "a.png")
    (run / "checkpoints").mkdir()
    torch.save({}, run / "checkpoints" / "step_00000300.pt")
    assert main(source, tmp_path / "day", run / "checkpoints" / "step_00000300.pt") == 1
    assert f"is a checkpoint, not a weights file; give {run / FILE_NAME}" in capsys.readouterr().err
    torch.save({}, tmp_path / "latest_net_G.pth")
    assert main(source, tmp_path / "day", tmp_path / "latest_net_G.pth") == 1
    assert "give the folder of the run" in capsys.readouterr().err


def test_precision(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = thermal(tmp_path / "a.png", 24, 32)
    shown = {}
    for precision in ("float32", "bfloat16"):
        assert main(source, tmp_path / f"{precision}.png", run, device="cpu", precision=precision) == 0  # type: ignore[arg-type]
        shown[precision] = pixels(tmp_path / f"{precision}.png")
    difference = np.abs(shown["float32"] - shown["bfloat16"])
    assert 0 < difference.mean() < 4
    assert main(source, tmp_path / "day.png", run, device="cpu", precision="float16") == 1
    assert "precision: float16 needs a CUDA device" in capsys.readouterr().err


def test_scale_shows_the_network_a_smaller_frame(run: Path, tmp_path: Path) -> None:
    seen = []

    class Seeing(Identity):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(tuple(x.shape))
            return x

    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 50, 64)
    out = Translating(Seeing(), torch.device("cpu"), scale=0.5)(ramp)
    assert seen == [(1, 3, 28, 32)]  # 25 padded to a multiple of 4
    assert out.shape == ramp.shape
    torch.testing.assert_close(out[..., 8:-8], ramp[..., 8:-8], atol=0.01, rtol=0)
    with pytest.raises(DataError, match="scale: expected"):
        Translating(Seeing(), torch.device("cpu"), scale=0)


def test_side_by_side(run: Path, tmp_path: Path) -> None:
    source = thermal(tmp_path / "a.png")
    assert main(source, tmp_path / "day.png", run) == 0
    assert main(source, tmp_path / "both.png", run, side_by_side=True) == 0
    both = pixels(tmp_path / "both.png")
    with Image.open(source) as night:
        assert np.array_equal(both[:, :16], np.asarray(night.convert("RGB")))
    assert np.array_equal(both[:, 16:], pixels(tmp_path / "day.png"))


@pytest.mark.parametrize("count", [2, 4, 16])
def test_shifts_are_taken_back(count: int) -> None:
    x = torch.rand(2, 3, 13, 22)
    torch.testing.assert_close(translate_shifted(partial(translate, Identity()), x, count), x)


def test_all_shifts_leave_nothing_of_the_stride() -> None:
    class Striped(Identity):
        """Brightens every fourth pixel, as a network of stride 4 may."""

        def forward(self, x: Tensor) -> Tensor:
            stripes = (torch.arange(x.shape[-1]) % 4 == 0) | (torch.arange(x.shape[-2]) % 4 == 0)[:, None]
            return x + stripes

    flat = torch.zeros(1, 3, 20, 24)
    run = partial(translate, Striped())
    spread = [float(translate_shifted(run, flat, count).std()) for count in (1, 4, 16)]
    assert spread[0] > spread[1] > 0.1
    assert spread[2] < 1e-6


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with FrameProgress(3, every=0) as progress:
        progress.advance(2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"colorize: 2 of 3 frames, [\d.]+ frames a second\n", captured.err)
