"""A translator leaves as ONNX and torch.export with what it computes and how frames are read; both run without it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import colorize  # noqa: E402
import export  # noqa: E402  after what it needs
import run_onnx  # noqa: E402
from ntir2dc.data.thermal import ThermalOptions  # noqa: E402
from ntir2dc.exporting.parity import differences, random_inputs, running  # noqa: E402
from ntir2dc.methods.morngan import make_translator as make_morngan  # noqa: E402
from ntir2dc.networks import Decoder, Encoder, init_weights  # noqa: E402
from ntir2dc.run.weights import FILE_NAME, load_translator, save_weights  # noqa: E402
from tests.benchmarks import exporting  # noqa: E402
from tests.benchmarks.exporting import multiply_adds  # noqa: E402
from tests.benchmarks.harness import Settings  # noqa: E402

MODELS = {"float32": "translator.onnx", "int8": "translator.int8.onnx"}
SIZES = {"a.png": (16, 20), "b.png": (13, 18), "c.png": (16, 20), "d.png": (24, 9)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    networks = {"encoder_b": Encoder(8, 1), "decoder_a": Decoder(8, 1)}
    for seed, network in enumerate(networks.values()):
        init_weights(network, "he", generator=torch.Generator().manual_seed(seed))
    folder = tmp_path_factory.mktemp("run")
    shape = {"width": 8, "encoder_blocks": 1, "decoder_blocks": 1}
    save_weights(folder / FILE_NAME, networks, shape, ThermalOptions("7000,7600", "black"))
    return folder


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    draws = np.random.default_rng(0)
    for name, size in SIZES.items():
        Image.fromarray(draws.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "new"
    # how wrong 8 bits are on noise and weights by chance is no matter here
    export.main(run, folder, night, float16=True, int8=True, force=True)
    return folder


def test_both_files_compute_what_torch_does_on_any_size(run: Path, exported: Path) -> None:
    translator = load_translator(run)
    model = onnx.load(exported / "translator.onnx")
    program = torch.export.load(exported / "translator.pt2").module()
    for x in (torch.rand(1, 3, 8, 44), torch.rand(3, 3, 40, 24), torch.rand(2, 3, 12, 12)):
        assert differences(translator, running(model), [x * 2 - 1])[1] < 1e-4
        assert differences(translator, program, [x * 2 - 1])[1] < 1e-5


def test_the_file_says_how_to_read_frames_and_nothing_of_this_machine(exported: Path) -> None:
    model = onnx.load(exported / "translator.onnx")
    for file in ("translator.onnx", "translator.float16.onnx", "translator.int8.onnx"):
        session = ort.InferenceSession(exported / file)
        about = session.get_modelmeta().custom_metadata_map
        assert json.loads(about["thermal"]) == {"range": "7000,7600", "polarity": "black"}
        assert json.loads(about["size"]) == {"multiple": 4, "least": 8}
        ends = [*session.get_inputs(), *session.get_outputs()]
        assert [end.shape for end in ends] == [["batch", 3, "height", "width"]] * 2
    assert model.opset_import[0].version == 18
    assert str(Path(export.__file__).parent).encode() not in (exported / "translator.onnx").read_bytes()
    extra = {"about.json": ""}
    torch.export.load(exported / "translator.pt2", extra_files=extra)
    assert json.loads(extra["about.json"]) == about


def test_smaller_files_are_smaller_and_near(run: Path, exported: Path, night: Path) -> None:
    translator = load_translator(run)
    size = {path.name: path.stat().st_size for path in exported.iterdir()}
    assert size["translator.float16.onnx"] < 0.7 * size["translator.onnx"]
    frames = export.frames_of(night, ThermalOptions())
    assert [tuple(x.shape[2:]) for x in frames] == [(16, 20), (12, 16), (16, 20), (24, 8)]
    bounds = {"translator.float16.onnx": 0.01, "translator.int8.onnx": 0.2}
    for name, bound in bounds.items():
        model = onnx.load(exported / name)
        mean, _ = differences(translator, running(model), frames)
        assert 0 < mean < bound
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    in_8_bits = [node for node in convolutions if "DequantizeLinear" in node.input[0]]
    assert (len(convolutions), len(in_8_bits)) == (8, 4)


def test_what_misses_its_bound_is_not_written(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    translator, problems = load_translator(run), list[str]()
    path = tmp_path / "x.onnx"

    def wrong(x: Tensor) -> Tensor:
        return translator(x) + torch.tensor([0.0, 0.02, 0.0])[:, None, None]

    export.write_checked(path, b"x", "how", translator, wrong, 1e-3, problems)
    assert problems == [f"{path}: not written, 2.0e-02 is more than --tolerance 0.001"]
    export.write_checked(path, b"x", "how", translator, lambda x: x * torch.nan, 1e-3, problems)
    assert not path.exists()
    export.write_checked(path, b"x", "how", translator, wrong, 0.03, problems)
    assert path.read_bytes() == b"x"
    assert len(problems) == 2
    assert capsys.readouterr().out.count("largest difference to torch 2.0e-02 of [-1, 1] on 3 x 3 x 16 x 8, ") == 2


def test_a_smaller_file_is_written_below_a_gray_level_or_by_force(run: Path, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported / "translator.onnx")
    translator, frames = load_translator(run), random_inputs(1)
    path, problems = tmp_path / "x.onnx", list[str]()
    export.write_smaller(path, model, translator, frames, False, problems)
    assert path.exists()
    assert not problems
    path.unlink()
    last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    kernel = next(x for x in model.graph.initializer if x.name == last.input[1])
    doubled = onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(kernel), kernel.name)
    kernel.CopyFrom(doubled)
    export.write_smaller(path, model, translator, frames, False, problems)
    assert not path.exists()
    export.write_smaller(path, model, translator, frames, True, problems)
    assert path.exists()
    assert ["not written" in problems[0], "written by --force" in problems[1]] == [True, True]


def test_bad_input_ends_in_a_sentence(
    run: Path, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.png").write_bytes((night / "a.png").read_bytes())
    (tmp_path / "file").touch()
    small = tmp_path / "small"
    small.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (30, 7)).save(small / name)
    out = tmp_path / "out"
    for expected, checkpoint, options in (
        ("frames: expected a folder", run, {"int8": True}),
        ("opset: expected 18 or more, got 17", run, {"opset": 17}),
        (f"{tmp_path / 'one'}: holds 1 images", run, {"frames": tmp_path / "one"}),
        (f"{small / 'a.png'}: is 7 x 30, smaller than 8 x 8", run, {"frames": small}),
        (f"{tmp_path / 'no'}: no such file", tmp_path / "no", {}),
        (f"{tmp_path / 'file'}: is a file, expected a folder", run, {"output": tmp_path / "file"}),
    ):
        assert export.main(checkpoint, **{"output": out, **options}) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"export: {expected}")
        assert error.count("\n") == 1
    assert not out.exists()


def as_thermal(exported: Path, tmp_path: Path, **thermal: str) -> Path:
    """Return a copy of the file that asks for frames to be read otherwise."""
    model = onnx.load(exported / "translator.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    asked = json.dumps({"range": "sequence", "polarity": "white", **thermal})
    onnx.helper.set_model_props(model, {**about, "thermal": asked})
    onnx.save(model, tmp_path / "asked.onnx")
    return tmp_path / "asked.onnx"


def run_without_torch(model: Path, source: Path, output: Path, *more: str) -> None:
    options = ["--model", str(model), "--input", str(source), "--output", str(output), *more]
    run_onnx.main(options)


@pytest.mark.parametrize(
    ("bits", "thermal"), [(8, {}), (8, {"polarity": "black"}), (16, {}), (16, {"range": "7000,7600"})]
)
def test_pictures_are_those_of_colorize(
    run: Path, exported: Path, night: Path, tmp_path: Path, bits: int, thermal: dict[str, str]
) -> None:
    asked, source = colorize.ThermalAsked(**{"range": "sequence", "polarity": "white", **thermal}), night
    if bits == 16:
        source = tmp_path / "deep"
        source.mkdir()
        draws = np.random.default_rng(1)
        for name, size in SIZES.items():
            Image.fromarray(draws.integers(6900, 7700, size).astype(np.uint16)).save(source / name)
    assert colorize.main(source, tmp_path / "torch", run, device="cpu", thermal=asked) == 0
    run_without_torch(as_thermal(exported, tmp_path, **thermal), source, tmp_path / "onnx")
    for name, (H, W) in SIZES.items():
        expected, got = (np.asarray(Image.open(tmp_path / folder / name)).astype(int) for folder in ("torch", "onnx"))
        assert got.shape == (H, W, 3)
        assert np.abs(got - expected).max() <= 1
        assert expected.std() > 5


def test_a_still_of_two_counts_and_another_name(run: Path, exported: Path, night: Path, tmp_path: Path) -> None:
    model = as_thermal(exported, tmp_path)
    run_without_torch(model, night / "a.png", tmp_path / "day.jpg", "--range", "50,200")
    asked = colorize.ThermalAsked("50,200", "white")
    assert colorize.main(night / "a.png", tmp_path / "torch.jpg", run, device="cpu", thermal=asked) == 0
    day, expected = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("day.jpg", "torch.jpg"))
    assert np.abs(day - expected).max() <= 8


def test_a_video_is_translated_frame_by_frame(exported: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(tmp_path / "night.mp4", "w") as video:
        stream = video.add_stream("libx264", 10, options={"crf": "0"})
        stream.height, stream.width = 34, 50
        y, x = np.mgrid[:34, :50]
        for waves in (x / 9, y / 7, (x + y) / 5):
            still = (128 + 100 * np.sin(waves)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(still[..., None], 3, 2))
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    model = as_thermal(exported, tmp_path)
    run_without_torch(model, tmp_path / "night.mp4", tmp_path / "day.mp4")
    with av.open(tmp_path / "night.mp4") as night, av.open(tmp_path / "day.mp4") as day:
        assert day.streams.video[0].average_rate == 10
        nights, days = ([frame.to_image() for frame in video.decode(video=0)] for video in (night, day))
    assert len(days) == len(nights) == 3
    translate = run_onnx.Translator(model, None)
    expected = [Image.fromarray(translate(np.asarray(night.convert("L")))) for night in nights]
    # brightness, since colors are stored at half the size
    got, wanted = (
        np.stack([np.asarray(frame.convert("L")) for frame in frames]).astype(int) for frames in (days, expected)
    )
    assert np.abs(got - wanted).mean() < 6
    assert wanted.std() > 30


def test_the_program_needs_neither_torch_nor_this_repository(exported: Path, night: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(Path(run_onnx.__file__).read_text())
    (tmp_path / "torch.py").write_text("raise ImportError")
    options = ["--model", exported / "translator.onnx", "--input", night / "a.png", "--output", tmp_path / "day.png"]
    done = subprocess.run(
        [sys.executable, tmp_path / "copy.py", *options], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert np.asarray(Image.open(tmp_path / "day.png")).shape == (16, 20, 3)


def test_what_cannot_be_run_ends_in_a_sentence(exported: Path, night: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "damaged.onnx").write_bytes(b"x" * 50)
    (tmp_path / "empty").mkdir()
    (tmp_path / "night.mp4").touch()
    other = onnx.load(exported / "translator.onnx")
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    model = exported / "translator.onnx"
    before = (night / "a.png").read_bytes()
    for named, source, output, said in (
        (tmp_path / "no.onnx", night, tmp_path / "day", "no.onnx"),
        (tmp_path / "damaged.onnx", night, tmp_path / "day", "rotobuf"),
        (tmp_path / "other.onnx", night, tmp_path / "day", "other.onnx: was not written by export.py"),
        (model, tmp_path / "no.png", tmp_path / "day", "no.png"),
        (model, tmp_path / "empty", tmp_path / "day", "empty: holds no image"),
        (model, night / "a.png", night, "would replace an input"),
        (model, night, night, "would replace an input"),
        (model, night, tmp_path / "day.png", "or another picture"),
        (model, tmp_path / "night.mp4", tmp_path / "night.mp4", "a video would replace its input"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run_without_torch(named, source, output)
        assert str(stopped.value).startswith("run_onnx: ")
        assert said in str(stopped.value)
    assert not list(tmp_path.glob("day*"))
    assert (night / "a.png").read_bytes() == before


def test_the_guide_says_what_a_frame_costs() -> None:
    guide = (Path(export.__file__).parents[1] / "docs" / "guides" / "export.md").read_text()
    told = dict(re.findall(r"^\| (\d+) \|.*\| (\d+) \|$", guide, re.MULTILINE))
    counted = {str(width): multiply_adds(make_morngan(width, 4, 5), 512, 640) for width in (16, 32, 64)}
    assert told == {width: f"{count / 1e9:.0f}" for width, count in counted.items()}


def test_the_benchmark_compares_what_is_installed(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {kind: (exported / file).read_bytes() for kind, file in MODELS.items()}
    monkeypatch.setattr(exporting, "exported", lambda *_: models)
    (row,) = exporting.rows(Settings(1, tiny=True))
    assert row.note == "0.000826 GMAC"
    assert {"eager", "onnxruntime, float32", "onnxruntime, int8"} <= {t.name for t in row.timings}
    assert len(row.timings) + len(row.skipped) == 5


def test_every_engine_of_the_benchmark_computes_what_torch_does(run: Path, exported: Path) -> None:
    models = {kind: (exported / file).read_bytes() for kind, file in MODELS.items()}
    runs = exporting.runs_of(load_translator(run), models, exporting.noise(20, 24), compiled=False)
    results = {name: np.asarray(engine()) for name, engine in runs.items() if engine is not None}
    expected = results.pop("eager")
    assert {"onnxruntime, float32", "onnxruntime, int8"} <= set(results)
    for name, got in results.items():
        apart = np.abs(got - expected)
        assert apart.mean() < 0.2 if name.endswith("int8") else apart.max() < 1e-3, name
