"""Videos in and out: frames, times and sound, what happens to broken ones, and one range over all of a video."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from colorize import INTERRUPTED, main
from ntir2dc.colorizing.video import VideoSource, translate_video
from ntir2dc.data.images import to_image
from ntir2dc.data.samples import DataError
from ntir2dc.data.thermal import ThermalOptions, Tones, tones_of_frames
from ntir2dc.networks import Decoder, Encoder
from ntir2dc.run.weights import FILE_NAME, save_weights

av: Any = pytest.importorskip("av")

H, W, FRAMES, RATE = 24, 32, 12, Fraction(30000, 1001)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    networks = {"encoder_b": Encoder(4, 1), "decoder_a": Decoder(4, 1)}
    save_weights(folder / FILE_NAME, networks, {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1})
    return folder


def ramp(index: int, height: int = H, width: int = W) -> np.ndarray:
    """A frame that says by its brightness which one it is."""
    return np.tile(np.linspace(20, 120, width), (height, 1)) + 10 * index


def record(
    path: Path, codec: str, pixels: str, *, sound: str = "", size: tuple[int, int] = (H, W), count: int = FRAMES
) -> Path:
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        heard = container.add_stream(sound, rate=8000, layout="mono") if sound else None
        for index in range(count):
            values = ramp(index, *size)
            if pixels == "gray16le":
                frame = av.VideoFrame.from_ndarray((7000 + values).astype(np.uint16), format="gray16le")
            else:
                frame = av.VideoFrame.from_ndarray(values.astype(np.uint8), format="gray").reformat(format=pixels)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if heard is not None:
            samples = av.AudioFrame.from_ndarray(np.arange(3200, dtype=np.int16)[None], format="s16", layout="mono")
            samples.sample_rate = 8000
            container.mux(heard.encode(samples))
            container.mux(heard.encode(None))
    return path


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def samples(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)]).tolist()


def copied(path: Path, target: Path, **options: Any) -> VideoSource:
    """Write a video as a translator does that changes nothing."""
    with VideoSource(path) as source:
        compose = options.pop("compose", lambda night, day: to_image(day))
        translate_video(source, target, Tones(), lambda x: x, compose, **options)
    return source


@pytest.mark.parametrize("batch_size", [1, 5])
def test_frames_rate_and_sound_stay(tmp_path: Path, batch_size: int) -> None:
    source = record(tmp_path / "night.mkv", "ffv1", "gray", sound="pcm_s16le")
    assert copied(source, tmp_path / "day.mkv", batch_size=batch_size).problem is None
    written = frames(tmp_path / "day.mkv")
    assert len(written) == FRAMES
    for index, pixels in enumerate(written):
        assert np.abs(pixels - ramp(index)[..., None]).mean() < 3
    assert times(tmp_path / "day.mkv") == times(source)
    assert samples(tmp_path / "day.mkv") == samples(source) == list(range(3200))


def test_sound_that_a_format_does_not_hold_is_named(run: Path, tmp_path: Path, capsys: Any) -> None:
    source = record(tmp_path / "night.avi", "mjpeg", "yuvj420p", sound="adpcm_ms")
    assert main(source, tmp_path / "day", run) == 0
    assert "day/night.mp4: is without sound, since .mp4 holds no adpcm_ms; .mkv does" in capsys.readouterr().err
    assert len(frames(tmp_path / "day" / "night.mp4")) == FRAMES


def test_colors_come_back_as_they_were_written(tmp_path: Path) -> None:
    source = record(tmp_path / "night.mkv", "ffv1", "gray", count=2)
    red = Image.new("RGB", (W, H), (200, 40, 60))
    copied(source, tmp_path / "day.mp4", compose=lambda night, day: red)
    assert np.abs(frames(tmp_path / "day.mp4")[0] - (200, 40, 60)).max() < 8


def test_odd_sizes_get_a_column_and_a_row(tmp_path: Path) -> None:
    source = record(tmp_path / "night.mkv", "ffv1", "gray", size=(17, 21), count=2)
    copied(source, tmp_path / "day.mp4")
    assert frames(tmp_path / "day.mp4")[0].shape == (18, 22, 3)


def test_video_levels_become_those_of_pictures(tmp_path: Path) -> None:
    with VideoSource(record(tmp_path / "night.mp4", "libx264", "yuv420p", count=1)) as source:
        gray = source.gray(next(source.frames()))
    assert np.abs(gray.counts - ramp(0)).mean() < 3


def test_a_turned_video_is_read_upright(tmp_path: Path) -> None:
    path = record(tmp_path / "night.mp4", "libx264", "yuv420p", count=1)
    data = path.read_bytes()
    place = data.index(b"tkhd") + 44  # of the matrix that says how it is shown
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + clockwise + data[place + 36 :])
    with VideoSource(path) as source:
        gray = source.gray(next(source.frames()))
    assert np.abs(gray.counts - np.rot90(ramp(0), -1)).mean() < 3


def test_side_by_side_on_the_command_line(run: Path, tmp_path: Path, capsys: Any) -> None:
    source = record(tmp_path / "night.mp4", "libx264", "yuv420p", sound="aac")
    assert main(source, tmp_path / "day.mp4", run, side_by_side=True, batch_size=4) == 0
    written = frames(tmp_path / "day.mp4")
    assert (len(written), written[0].shape) == (FRAMES, (H, 2 * W, 3))
    assert np.abs(written[3][:, :W] - ramp(3)[..., None]).mean() < 6
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith(f"{FRAMES} frames written to {tmp_path / 'day.mp4'}, ")
    with av.open(str(source)) as before, av.open(str(tmp_path / "day.mp4")) as after:
        assert after.streams.video[0].average_rate == before.streams.video[0].average_rate == RATE
        assert [a.codec_context.name for a in after.streams.audio] == ["aac"]


@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.mp4", "mpeg4", "yuv420p"), ("a.avi", "mjpeg", "yuvj420p")])
def test_what_is_whole_of_a_cut_video_is_written(
    run: Path, tmp_path: Path, name: str, codec: str, pixels: str, capsys: Any
) -> None:
    source = record(tmp_path / name, codec, pixels)
    data = source.read_bytes()
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    source.write_bytes(data[: packets[7].pos + packets[7].size // 2])  # in the middle of the eighth
    assert main(source, tmp_path / "day.mp4", run) == 1
    assert len(frames(tmp_path / "day.mp4")) == 7
    assert f"{source}: is damaged or cut off after 7" in capsys.readouterr().err


def test_what_matroska_lost_is_noticed_by_its_duration(tmp_path: Path) -> None:
    source = record(tmp_path / "a.mkv", "ffv1", "gray16le")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    problem = copied(source, tmp_path / "day.mkv").problem
    assert problem is not None
    assert f"of {FRAMES} frames" in problem


def test_a_video_that_cannot_be_opened_is_a_sentence(run: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "night.mp4").write_bytes(b"no video")
    assert main(tmp_path / "night.mp4", tmp_path / "day.mp4", run) == 1
    assert "night.mp4: cannot be opened as a video" in capsys.readouterr().err
    assert not (tmp_path / "day.mp4").exists()


def test_ctrl_c_keeps_what_is_done_under_another_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    source = record(tmp_path / "night.mkv", "ffv1", "gray")
    seen: list[Tensor] = []

    def translating(self: object, x: Tensor) -> Tensor:
        seen.append(x)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return x

    monkeypatch.setattr("colorize.Translating.__call__", translating)
    assert main(source, tmp_path / "day.mp4", run) == INTERRUPTED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day.part.mp4", "night.mkv"]
    assert len(frames(tmp_path / "day.part.mp4")) == 4
    assert "stopped after 4 frames, which are in" in capsys.readouterr().err


def test_counts_of_all_of_a_video_share_one_range(tmp_path: Path) -> None:
    source = record(tmp_path / "night.mkv", "ffv1", "gray16le")
    with VideoSource(source) as video:
        tones = tones_of_frames((gray for gray, _ in video.sample()), ThermalOptions())
    assert tones.limits == (7020, 7000 + 120 + 10 * (FRAMES - 1))
    with VideoSource(source) as video:
        means = [float(tones.of(video.gray(frame)).mean()) for frame in video.frames()]
    assert np.diff(means) == pytest.approx([10 / 210 * 255] * (FRAMES - 1), abs=1)


def test_the_sample_reaches_between_key_frames(tmp_path: Path) -> None:
    source = record(tmp_path / "night.mp4", "libx264", "yuv420p")
    with VideoSource(source) as video:
        means = [round(float(gray.counts.mean())) for gray, _ in video.sample(4)]
    assert means == pytest.approx([70, 100, 130, 160], abs=3)


def test_a_missing_pyav_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"videos need: pip install 'morn-losses\[video\]'"):
        VideoSource(tmp_path / "night.mp4")


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    source = record(tmp_path / "night.mkv", "ffv1", "gray", count=2)
    (tmp_path / "day.mp4").mkdir()
    with VideoSource(source) as video, pytest.raises(DataError, match="day.mp4: cannot be written"):
        translate_video(video, tmp_path / "day.mp4", Tones(), torch.clone, lambda night, day: to_image(day))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day.mp4", "night.mkv"]
