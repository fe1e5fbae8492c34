"""One frame through the ways out of torch: eager, compiled, onnxruntime and OpenVINO, in float32 and int8."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from importlib.metadata import version

import torch
from torch import Tensor, nn

from studies.comparing import measuring
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.inference import make_translator, translating

TITLE = "Exported"


def versions() -> dict[str, str]:
    """Return the releases of what runs an exported file."""
    there = [name for name in ("onnx", "onnxruntime", "openvino") if importlib.util.find_spec(name)]
    return {name: version(name) for name in there}


def multiply_adds(network: nn.Module, H: int, W: int) -> int:
    """Multiplications of a frame, each with its addition: those of a small frame, for they grow with the pixels."""
    return measuring.multiply_adds(network, noise(16, 16)) * H * W // 16**2


def by_onnxruntime(model: bytes, x: Tensor) -> Run:
    """Return the run of an ONNX file by onnxruntime on the CPU, with as many threads as torch."""
    import onnxruntime

    from ntir2dc.exporting.graph import INPUT

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {INPUT: x.numpy()})[0]


def by_openvino(model: bytes, x: Tensor) -> Run | None:
    """Return the run of an ONNX file by OpenVINO on the CPU; None where it is not installed."""
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    # float32 as the others, which is not the default where the CPU has bfloat16
    how = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", how)
    return lambda: compiled(x.numpy())[0]


def exported(network: nn.Module, frame: Tensor) -> dict[str, bytes]:
    """Return the network as ONNX in float32 and in int8; empty where what that needs is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")):
        return {}
    from ntir2dc.data.thermal import ThermalOptions
    from ntir2dc.exporting.graph import onnx_of, trace
    from ntir2dc.exporting.smaller import in_int8

    model = onnx_of(trace(network), 18, ThermalOptions())
    return {"float32": model.SerializeToString(), "int8": in_int8(model, [frame]).SerializeToString()}


def runs_of(eager: nn.Module, models: dict[str, bytes], x: Tensor, compiled: bool) -> dict[str, Run | None]:
    """Return the ways for one frame, those that are not installed as None."""
    runs: dict[str, Run | None] = {"eager": translating(eager, x)}
    if compiled:
        network = copy.deepcopy(eager)
        network.compile()
        runs["torch.compile"] = translating(network, x)
    for kind in ("float32", "int8"):
        runs[f"onnxruntime, {kind}"] = by_onnxruntime(models[kind], x) if models else None
        runs[f"OpenVINO, {kind}"] = by_openvino(models[kind], x) if models else None
    return runs


def rows(settings: Settings) -> list[Row]:
    """Measure a frame of two sizes through two widths, random weights; ``--full`` adds the network compiled."""
    blocks = (1, 1) if settings.tiny else (4, 5)
    sizes = [(24, 16)] if settings.tiny else [(360, 288), (640, 512)]
    measured = []
    for width in (4,) if settings.tiny else (16, 64):
        eager = make_translator(width, blocks)
        models = exported(eager, noise(64, 64))
        for W, H in sizes:
            torch.compiler.reset()  # code compiled for one size would else be compiled for any
            x = noise(H, W)
            work = multiply_adds(eager, H, W)
            # a frame of some hundred GMAC takes seconds
            fewer = dataclasses.replace(settings, repeats=min(settings.repeats, 9 if work < 5e10 else 3))
            runs = runs_of(eager, models, x, settings.full and settings.compiled)
            measured.append(compare(f"{W} x {H}, width {width}", runs, fewer, f"{work / 1e9:.3g} GMAC"))
    return measured


def noise(H: int, W: int) -> Tensor:
    """Return a frame ``(1, 3, H, W)`` by chance."""
    return torch.rand(1, 3, H, W, generator=torch.Generator().manual_seed(1)) * 2 - 1
