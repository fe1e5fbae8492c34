"""ONNX of half or a quarter of the size: float16, and int8 calibrated on frames."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor

from ntir2dc.exporting.graph import INPUT


def in_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that computes in float16; what goes in and comes out stays float32."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        # weights so small that float16 rounds them away; the error is measured
        warnings.simplefilter("ignore")
        smaller: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return smaller


def in_int8(model: onnx.ModelProto, frames: Sequence[Tensor]) -> onnx.ModelProto:
    """Return a model whose residual blocks, four fifths of the work or more, convolve in 8 bits.

    Activations are unsigned, with the mean over the frames of their smallest and their largest value as limits; weights
    are signed, with a scale for each channel. The first and the last layers stay float32: an error there is seen at
    once.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            copy,
            path,
            _Frames(frames),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=_inner_convolutions(model),
            extra_options={"CalibMovingAverage": True},
        )
        smaller = onnx.load(path)
    del smaller.metadata_props[:]
    onnx.helper.set_model_props(smaller, {entry.key: entry.value for entry in model.metadata_props})
    return smaller


def _inner_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions that keep the number of channels: those of the residual blocks."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    return [node.name for node in convolutions if shapes[node.input[1]][0] == shapes[node.input[1]][1]]


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Gives one frame after another to the calibration."""

    def __init__(self, frames: Sequence[Tensor]) -> None:
        self.left = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next frame, None after the last."""
        frame = next(self.left, None)
        return None if frame is None else {INPUT: frame.numpy()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what onnxruntime prints of its progress, and its advice to optimize a graph that is optimized."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
