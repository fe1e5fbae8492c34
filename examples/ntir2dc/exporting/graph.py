"""A translator as one graph of any batch, height and width: a program of ``torch.export``, and ONNX."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from typing import cast

import onnx
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ntir2dc.data.thermal import ThermalOptions

INPUT, OUTPUT = "night", "day"
MULTIPLE, LEAST = 4, 8
"""Height and width are multiples of the first and no less than the second: who runs the graph pads."""
LARGEST = 4096


def trace(translator: nn.Module) -> ExportedProgram:
    """Return the graph of ``(B, 3, H, W)`` to ``(B, 3, H, W)``, both in [-1, 1]."""
    height, width = (Dim(name, min=LEAST // MULTIPLE, max=LARGEST // MULTIPLE) for name in ("height", "width"))
    sizes = {0: Dim("batch"), 2: MULTIPLE * height, 3: MULTIPLE * width}
    with _quiet():
        return torch.export.export(translator, (torch.zeros(2, 3, 20, 24),), dynamic_shapes=(sizes,))


def about(thermal: ThermalOptions) -> dict[str, str]:
    """Return what a program has to know that runs the graph: how frames are read, and the sizes that it takes."""
    return {
        "thermal": json.dumps(asdict(thermal)),
        "size": json.dumps({"multiple": MULTIPLE, "least": LEAST}),
        "values": "gray of 8 bits, warm is bright, divided by 127.5, less 1, in three equal channels; RGB comes out so",
    }


def program_bytes(program: ExportedProgram, thermal: ThermalOptions) -> bytes:
    """Return the file of ``torch.export`` (.pt2) with :func:`about` in it."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"about.json": json.dumps(about(thermal))})
    return file.getvalue()


def onnx_of(program: ExportedProgram, opset: int, thermal: ThermalOptions) -> onnx.ModelProto:
    """Return the graph as ONNX, weights inside, with :func:`about` as its metadata."""
    with _quiet():
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=opset, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
    assert exported is not None
    model = cast(onnx.ModelProto, exported.model_proto)
    _strip(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in {0: "batch", 2: "height", 3: "width"}.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    onnx.helper.set_model_props(model, about(thermal))
    onnx.checker.check_model(model)
    return model


def _strip(graph: onnx.GraphProto) -> None:
    """Remove what the exporter notes of itself: paths and lines of this machine, and shapes as formulas."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    del graph.value_info[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch says of its own insides."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
