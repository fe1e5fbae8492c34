"""Night thermal frames to day color with a file of export.py: onnxruntime, numpy and Pillow, no torch; av for video.

python examples/run_onnx.py --model exported/translator.onnx --input night.png --output day.png
python examples/run_onnx.py --model exported/translator.onnx --input night/ --output day --range 7000,7600
python examples/run_onnx.py --model exported/translator.int8.onnx --input night.mp4 --output day.mp4

The file stands alone. Black and white are the two counts of --range, else of training if it had two; else, of frames of
more than 8 bits, the smallest and the largest count of the folder (of a still: its own), and 8 bits stay as they are.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

if any(importlib.util.find_spec(name) is None for name in ("numpy", "onnxruntime", "PIL")):
    sys.exit("run_onnx.py needs: pip install 'morn-losses[train,export]'")

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

STILLS, VIDEOS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"), (".mp4", ".mkv", ".mov", ".avi")


def read(path: Path) -> Any:
    """Return ``(H, W)``: uint8, or counts of more than 8 bits."""
    image = ImageOps.exif_transpose(Image.open(path))
    return np.asarray(image if image.mode[0] in "IF" else image.convert("L"))


class Translator:
    """A file of export.py, and how it wants frames."""

    def __init__(self, model: Path, counts: str | None) -> None:
        self.session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
        noted = self.session.get_modelmeta().custom_metadata_map
        if not {"thermal", "size"} <= set(noted):
            raise ValueError(f"{model}: was not written by export.py")
        thermal, self.size = json.loads(noted["thermal"]), json.loads(noted["size"])
        self.dark_is_warm, text = thermal["polarity"] == "black", counts or thermal["range"]
        self.limits = tuple(map(float, text.split(","))) if "," in text else None

    def tones(self, counts: Any, extremes: tuple[float, float]) -> Any:
        """Return 8 bits, warm is bright."""
        if self.limits or counts.dtype != np.uint8:
            low, high = self.limits or extremes
            counts = np.rint(((counts.astype(float) - low) * (255 / max(high - low, 1e-9))).clip(0, 255))
        return 255 - counts if self.dark_is_warm else counts

    def __call__(self, counts: Any, extremes: tuple[float, float] = (0, 255)) -> Any:
        """Return ``(H, W, 3)`` of uint8."""
        gray = self.tones(counts, extremes).astype(np.float32) / 127.5 - 1
        H, W = gray.shape
        multiple, least = self.size["multiple"], self.size["least"]
        bottom, right = (max(least, -(-side // multiple) * multiple) - side for side in (H, W))
        padded = np.pad(gray, ((0, bottom), (0, right)), "reflect" if bottom < H and right < W else "edge")
        day = self.session.run(None, {"night": np.repeat(padded[None, None], 3, axis=1)})[0][0, :, :H, :W]
        return np.rint((day.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)


def translate_stills(translate: Translator, paths: list[Path], output: Path) -> None:
    """Write a picture for each; JPEG stays JPEG, the rest becomes PNG."""
    names = [path.name if path.suffix.lower() in (".jpg", ".jpeg") else f"{path.stem}.png" for path in paths]
    targets = [output if output.suffix.lower() in STILLS else output / name for name in names]
    if len(set(targets)) < len(paths) or {x.resolve() for x in targets} & {x.resolve() for x in paths}:
        raise ValueError(f"{output}: a picture would replace an input or another picture; choose another output")
    spans = [(float(x.min()), float(x.max())) for x in map(read, paths) if x.dtype != np.uint8] or [(0.0, 255.0)]
    extremes = min(low for low, _ in spans), max(high for _, high in spans)
    for path, target in zip(paths, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(translate(read(path), extremes)).save(target, quality=95, subsampling=0)


def translate_video(translate: Translator, path: Path, output: Path) -> None:
    """Write a video without sound; an odd last row or column is left out."""
    import av

    if output.exists() and output.samefile(path):
        raise ValueError(f"{output}: a video would replace its input; choose another output")
    with av.open(path) as night, av.open(output, "w") as day:
        source = night.streams.video[0]
        stream = day.add_stream("libx264", source.average_rate, options={"crf": "18"})
        H, W = stream.height, stream.width = source.height // 2 * 2, source.width // 2 * 2
        for frame in night.decode(source):
            picture = translate(frame.to_ndarray(format="gray"))
            day.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:H, :W]))))
        day.mux(stream.encode(None))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--input", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--range", help="counts that become black and white, as 7000,7600")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Translate a still, a folder of stills or a video."""
    given = parse(arguments)
    try:
        translator = Translator(given.model, given.range)
        if given.input.suffix.lower() in VIDEOS:
            translate_video(translator, given.input, given.output)
        else:
            folder = sorted(given.input.iterdir()) if given.input.is_dir() else [given.input]
            stills = [path for path in folder if path.suffix.lower() in STILLS]
            if not stills:
                raise ValueError(f"{given.input}: holds no image ({', '.join(STILLS)}) and is no video")
            translate_stills(translator, stills, given.output)
    except Exception as error:  # of onnxruntime, Pillow and av alike
        sys.exit(f"run_onnx: {error}")


if __name__ == "__main__":
    main()
