"""Write a translator as ONNX and as a program of torch.export, each checked against torch.

python examples/export.py --checkpoint runs/mini --output exported
python examples/export.py --checkpoint runs/mini --output exported --frames night/ --float16 --int8
python examples/export.py --checkpoint weights.safetensors --output exported --opset 20 --tolerance 1e-4
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if any(importlib.util.find_spec(name) is None for name in ("jsonargparse", "onnx", "onnxruntime", "onnxscript")):
    sys.exit("export.py needs: pip install 'morn-losses[train,export]'")

import io

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ntir2dc.console import call, escape_what_cannot_be_shown
from ntir2dc.data.images import DataError, list_images, read_thermal
from ntir2dc.data.thermal import ThermalOptions, tones_of
from ntir2dc.exporting.graph import LEAST, MULTIPLE, onnx_of, program_bytes, trace
from ntir2dc.exporting.parity import GRAY_LEVELS, Run, differences, random_inputs, running
from ntir2dc.exporting.smaller import in_float16, in_int8
from ntir2dc.files import check_writable, write_atomically
from ntir2dc.run.weights import WeightsError, load_translator, thermal_of

NAME = "translator"
SIZES = 6
MOST_FRAMES = 64
MOST_ERROR = 1.0


def frames_of(folder: Path, thermal: ThermalOptions) -> list[Tensor]:
    """Return up to 64 frames of a folder, evenly placed, each ``(1, 3, H, W)`` cut to what the graph takes.

    Raises:
        DataError: a folder without frames, or a frame that cannot be read or is too small.
    """
    paths = list_images(folder)
    if len(paths) < 2:
        raise DataError(f"{folder}: holds {len(paths)} images, expected night thermal frames, two at least")
    tones = tones_of(paths, thermal)
    places = np.linspace(0, len(paths) - 1, min(len(paths), MOST_FRAMES)).astype(int)
    frames = []
    for path in (paths[place] for place in places):
        frame = read_thermal(path, tones)
        H, W = (side // MULTIPLE * MULTIPLE for side in frame.shape[-2:])
        if min(H, W) < LEAST:
            raise DataError(f"{path}: is {frame.shape[-2]} x {frame.shape[-1]}, smaller than {LEAST} x {LEAST}")
        frames.append(frame[None, :, :H, :W].contiguous())
    return frames


def write_checked(
    path: Path, data: bytes, how: str, translator: nn.Module, run: Run, tolerance: float, problems: list[str]
) -> None:
    """Write a file of float32 if it computes what torch does on random sizes; say the largest difference."""
    inputs = random_inputs(SIZES)
    _, largest = differences(translator, run, inputs)
    sizes = ", ".join(" x ".join(map(str, x.shape)) for x in inputs)
    print(f"{path}: {how}, {len(data) / 1e6:.1f} MB; largest difference to torch {largest:.1e} of [-1, 1] on {sizes}")
    if largest <= tolerance:
        write_atomically(path, data)
    else:
        problems.append(f"{path}: not written, {largest:.1e} is more than --tolerance {tolerance:g}")


def write_smaller(
    path: Path,
    model: onnx.ModelProto,
    translator: nn.Module,
    frames: Sequence[Tensor],
    force: bool,
    problems: list[str],
) -> None:
    """Write a smaller model if its mean error is at most a gray level of 8 bits; say the error."""
    mean, largest = (GRAY_LEVELS * value for value in differences(translator, running(model), frames))
    data = model.SerializeToString()
    print(
        f"{path}: {len(data) / 1e6:.1f} MB; mean error {mean:.2g}, largest {largest:.2g} gray levels of 8 bits on "
        f"{len(frames)} frames"
    )
    if mean <= MOST_ERROR or force:
        write_atomically(path, data)
    if not mean <= MOST_ERROR:
        done = "written by --force" if force else "not written, --force writes it"
        problems.append(f"{path}: mean error of {mean:.2g} gray levels, more than {MOST_ERROR:g}; {done}")


def main(
    checkpoint: Path,
    output: Path,
    frames: Path | None = None,
    float16: bool = False,
    int8: bool = False,
    force: bool = False,
    opset: int = 18,
    tolerance: float = 1e-3,
) -> int:
    """Write translator.onnx and translator.pt2, for any batch, height and width (multiples of 4, 8 at least).

    How frames have to be read is in the files; run_onnx.py reads them so, without torch.

    Args:
        checkpoint: the folder of a run, or a weights file.
        output: a folder, made where there is none.
        frames: a folder of night thermal frames, for float16 and int8: every other one calibrates int8, the rest
            measures the error.
        float16: write translator.float16.onnx, too.
        int8: write translator.int8.onnx, too: the convolutions of the residual blocks in 8 bits.
        force: write float16 and int8 whatever their error; else only where its mean is at most one gray level of 8
            bits.
        opset: of ONNX, 18 or more.
        tolerance: largest difference to torch on random sizes that is allowed, of values in [-1, 1].

    Returns:
        0, or 1 where something was not written, or only by force.
    """
    escape_what_cannot_be_shown()
    problems: list[str] = []
    try:
        if frames is None and (float16 or int8):
            raise DataError("frames: expected a folder of night thermal frames, which float16 and int8 need")
        if opset < 18:
            raise DataError(f"opset: expected 18 or more, got {opset}")
        check_writable(output)
        translator, thermal = load_translator(checkpoint), thermal_of(checkpoint)
        held = [] if frames is None else frames_of(frames, thermal)
        program = trace(translator)
        model = onnx_of(program, opset, thermal)
        path, data = output / f"{NAME}.onnx", model.SerializeToString()
        write_checked(path, data, f"opset {opset}", translator, running(model), tolerance, problems)
        path, data = output / f"{NAME}.pt2", program_bytes(program, thermal)
        loaded = torch.export.load(io.BytesIO(data)).module()
        write_checked(path, data, f"torch {torch.__version__}", translator, loaded, tolerance, problems)
        calibrating, measuring = held[::2], held[1::2]
        for name, wanted, make in (
            ("float16", float16, in_float16),
            ("int8", int8, partial(in_int8, frames=calibrating)),
        ):
            if wanted:
                path = output / f"{NAME}.{name}.onnx"
                write_smaller(path, make(model), translator, measuring, force, problems)
    except (DataError, WeightsError, OSError) as error:
        problems.append(str(error))
    for problem in problems:
        print(f"export: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(call(main))
