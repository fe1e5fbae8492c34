"""Videos read and written frame by frame, never whole, by PyAV; rate and sound stay."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ntir2dc.data.gray import Gray
from ntir2dc.data.samples import DataError, Source
from ntir2dc.data.thermal import Tones, distance_of_channels

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.stream import Stream

    Sound = Packet[Stream]

QUALITY = "18"
"""Of H.264, as x264's crf: hardly to be told from lossless."""

SAMPLED = 24
"""Frames that are looked at before a video is translated."""

_ITU709 = 1


class VideoSource:
    """A video whose frames are read one by one.

    Args:
        path: of the file.

    Raises:
        DataError: no PyAV, or a file that holds no video that can be read.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("av") is None:
            raise DataError(f"{path}: videos need: pip install 'morn-losses[video]'")
        import av

        self.path = path
        self.problem: str | None = None
        self.decoded = 0
        try:
            self.container = av.open(str(path))
        except (av.FFmpegError, ValueError) as error:
            raise DataError(
                f"{path}: cannot be opened as a video ({error}); an MP4 that was cut off has lost its table of frames"
            ) from error
        if not self.container.streams.video:
            self.container.close()
            raise DataError(f"{path}: holds no video")
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.sound = next(iter(self.container.streams.audio), None)

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)

    @property
    def declared(self) -> int | None:
        """How many frames the file says it holds; None where it says nothing."""
        if self.stream.frames:
            return int(self.stream.frames)
        seconds = _seconds(self.stream.metadata.get("DURATION", ""))
        return round(seconds * self.rate) if seconds else None

    def frames(self, hear: Callable[[Sound], None] | None = None) -> Iterator[VideoFrame]:
        """Yield the frames in their order; what is wrong with the file is then its ``problem``.

        Args:
            hear: is given each packet of sound where it comes.
        """
        import av

        streams = [self.stream] if self.sound is None or hear is None else [self.stream, self.sound]
        packets = self.container.demux(streams)
        broken = False
        while not broken:
            found: list[VideoFrame] = []
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                heard = packet.stream is self.sound
                broken = packet.is_corrupt and not heard
                if not broken and not heard:
                    found = list(self.stream.decode(packet))
            except (av.FFmpegError, ValueError):
                broken, heard = True, False
            if heard and hear is not None and packet is not None and packet.dts is not None:
                hear(packet)
            if broken:
                # what came before is whole, but some of it still lies in the decoder
                with suppress(av.FFmpegError, ValueError):
                    found = list(self.stream.decode(None))
            for frame in found:
                self.decoded += 1
                yield frame
        declared = self.declared
        if broken or (declared is not None and self.decoded < declared - 1):
            of = "" if declared is None or declared <= self.decoded else f" of {declared}"
            self.problem = f"{self.path}: is damaged or cut off after {self.decoded}{of} frames"

    def gray(self, frame: VideoFrame) -> Gray:
        """Return a frame as gray values, upright; more than 8 bits as the file holds them, 10 and 12 as of 16."""
        bits = frame.format.components[0].bits
        pixels: NDArray[Any] = frame.to_ndarray(format="gray16le" if bits > 8 else "gray")
        pixels = np.rot90(pixels, round(frame.rotation / 90))
        H, W = pixels.shape
        source = Source(self.path, "video", frame.format.name, bits, True, False, 1, (H, W))
        if bits > 8:
            return Gray(pixels.astype(np.float64), (0.0, 65535.0), source)
        return Gray(np.ascontiguousarray(pixels), (0.0, 255.0), source)

    def sample(self, count: int = SAMPLED) -> Iterator[tuple[Gray, float]]:
        """Yield frames from all of the video, each with the distance of its channels; the reader is used up by it."""
        import av

        unit = self.stream.time_base or 1 / self.rate
        seconds = float((self.stream.duration or 0) * unit) or float(self.container.duration or 0) / av.time_base
        start = float((self.stream.start_time or 0) * unit)
        for place in np.linspace(start, start + seconds, count, endpoint=False):
            with suppress(av.FFmpegError, ValueError, StopIteration):
                if seconds:
                    self.container.seek(int(place / unit), stream=self.stream)
                # from the key frame before it on
                frame = next(f for f in self.container.decode(self.stream) if f.time is None or f.time >= place)
                yield self.gray(frame), distance_of_channels(frame.to_ndarray(format="rgb24"))


class VideoTarget:
    """A video that is written frame by frame, and is there under its name when it is whole.

    Args:
        path: of the file; MP4, MOV or MKV.
        source: whose rate, times and sound it takes.
        size: width and height of a picture. H.264 wants both even: the last column and row are doubled where they
            are odd.
    """

    def __init__(self, path: Path, source: VideoSource, size: tuple[int, int]) -> None:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.source = path, source
        self.temporary = path.with_name(f".{path.stem[:50]}.{os.getpid()}.tmp{path.suffix}")
        self.container = av.open(str(self.temporary), "w")
        stream = self.container.add_stream("libx264", rate=source.rate)
        stream.width, stream.height = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": QUALITY}
        stream.codec_context.time_base = self.time_base = source.stream.time_base or 1 / source.rate
        if source.stream.sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = source.stream.sample_aspect_ratio
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(stream.codec_context, name, _ITU709)
        self.stream = stream
        self.sound = None
        self.left_out: str | None = None
        if source.sound is not None:
            name = source.sound.codec_context.codec.canonical_name
            if name in self.container.supported_codecs:
                self.sound = self.container.add_stream_from_template(source.sound)
            else:
                self.left_out = f"{path}: is without sound, since {path.suffix} holds no {name}; .mkv does"
        self.frames = 0
        self._last: int | None = None

    def add(self, picture: Image.Image, pts: int | None) -> None:
        """Write a frame at its time, in units of the source's."""
        from av import VideoFrame

        pixels = np.asarray(picture)
        H, W = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=_ITU709, dst_color_range=_ITU709
        )
        if pts is None:
            pts = 0 if self._last is None else self._last + max(1, round(1 / (self.source.rate * self.time_base)))
        # times that stand still or go back are none that an encoder takes
        self._last = pts if self._last is None else max(pts, self._last + 1)
        frame.pts, frame.time_base = self._last, self.time_base
        self.container.mux(self.stream.encode(frame))
        self.frames += 1

    def hear(self, packet: Sound) -> None:
        """Copy a packet of sound."""
        if self.sound is not None:
            packet.stream = self.sound
            self.container.mux(packet)

    def finish(self, *, whole: bool = True) -> Path:
        """Close the file and return its path, as ``day.part.mp4`` if it is not whole."""
        self.container.mux(self.stream.encode(None))
        self.container.close()
        path = self.path if whole else self.path.with_suffix(f".part{self.path.suffix}")
        os.replace(self.temporary, path)
        return path

    def discard(self) -> None:
        """Leave no file."""
        with suppress(Exception):
            self.container.close()
        self.temporary.unlink(missing_ok=True)


Compose = Callable[[Tensor, Tensor], Image.Image]
"""Makes what is written of a frame and its translation, both ``(3, H, W)``."""


def translate_video(
    source: VideoSource,
    path: Path,
    tones: Tones,
    translate: Callable[[Tensor], Tensor],
    compose: Compose,
    batch_size: int = 1,
    watch: Callable[[int], object] = lambda frames: None,
) -> VideoTarget | None:
    """Translate a video; return what was written, or None where no frame could be read.

    What could be decoded of a damaged file is written. After Ctrl-C what is done is in a file of its own.

    Args:
        source: the video; its ``problem`` says whether it ended as it should.
        path: of the result.
        tones: what becomes black and white.
        translate: of ``(B, 3, H, W)`` in [-1, 1].
        compose: makes what is written.
        batch_size: frames that are translated together.
        watch: is told how many frames were written.

    Raises:
        DataError: a result that cannot be written.
    """
    import av

    target: VideoTarget | None = None
    waiting: list[tuple[Tensor, int | None]] = []

    early: list[Sound] = []

    def hear(packet: Sound) -> None:
        if target is None:
            early.append(packet)
        else:
            target.hear(packet)

    def write() -> None:
        nonlocal target
        nights = torch.stack([night for night, _ in waiting])
        for night, day, (_, pts) in zip(nights, translate(nights), waiting, strict=True):
            shown = compose(night, day)
            if target is None:
                target = VideoTarget(path, source, shown.size)
                for packet in early:
                    target.hear(packet)
            target.add(shown, pts)
        watch(len(waiting))
        waiting.clear()

    try:
        for frame in source.frames(hear):
            night = to_tensor(tones.of(source.gray(frame)))
            if waiting and night.shape != waiting[0][0].shape:
                source.problem = f"{source.path}: changes its size after {source.decoded - 1} frames"
                break
            waiting.append((night, frame.pts))
            if len(waiting) == batch_size:
                write()
        if waiting:
            write()
        if target is not None:
            target.finish()
    except KeyboardInterrupt:
        if target is not None:
            part = target.finish(whole=False)
            source.problem = f"{source.path}: stopped after {target.frames} frames, which are in {part}"
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        if target is not None:
            target.discard()
        raise DataError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    except BaseException:
        if target is not None:
            target.discard()
        raise
    return target


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Return gray of 8 bits as the networks take it, ``(3, H, W)`` in [-1, 1]."""
    return (torch.from_numpy(np.ascontiguousarray(pixels)).float() / 127.5 - 1).repeat(3, 1, 1)


def _seconds(text: str) -> Fraction | None:
    """Return the seconds of Matroska's 00:00:01.001000000."""
    try:
        hours, minutes, seconds = text.split(":")
        return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return None
