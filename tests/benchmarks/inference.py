"""Translating one image or several with the paper's network, as ``examples/colorize.py`` does."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from ntir2dc.methods.morngan import make_translator as make_morngan
from ntir2dc.networks import init_weights
from tests.benchmarks.harness import Row, Run, Settings, compare
from tests.benchmarks.precisions import at

TITLE = "Inference"


def make_translator(width: int, blocks: tuple[int, int]) -> nn.Module:
    """Return a generator with random weights, in eval mode."""
    translator = make_morngan(width, *blocks)
    init_weights(translator, "he", generator=torch.Generator().manual_seed(0))
    return translator.requires_grad_(False).eval()


def translating(network: nn.Module, x: Tensor, *, bf16: bool = False) -> Run:
    """Return the translation of a batch."""

    def run() -> object:
        with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            return network(x)

    return run


def rows(settings: Settings) -> list[Row]:
    """Measure batches at 360 x 288; ``--full`` adds the network compiled, which takes minutes."""
    width, blocks = (4, (1, 1)) if settings.tiny else (64, (4, 5))
    H, W = (16, 24) if settings.tiny else (288, 360)
    eager = make_translator(width, blocks).to(settings.device)
    last = copy.deepcopy(eager).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled: dict[str, nn.Module] = {}
    if settings.full and settings.compiled and settings.on_gpu:
        compiled = {"bf16, compiled": last, "bf16, compiled, CUDA graph": copy.deepcopy(last)}
        for name, network in compiled.items():
            network.compile(mode="reduce-overhead" if name.endswith("graph") else "default")
        last = copy.deepcopy(eager).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    elif settings.full and settings.compiled:
        compiled = {"torch.compile": copy.deepcopy(eager)}
        compiled["torch.compile"].compile()
    fewer = settings if settings.on_gpu else dataclasses.replace(settings, repeats=min(settings.repeats, 3))
    measured = []
    for batch in (1, 4, 16) if settings.on_gpu else (1, 4):
        torch.compiler.reset()  # code compiled for one size would else be compiled for any
        x = torch.rand(batch, 3, H, W, generator=torch.Generator().manual_seed(1)).to(settings.device) * 2 - 1
        y = x.contiguous(memory_format=torch.channels_last)
        # on the CPU the precision's name changes nothing
        first = "float32" if settings.on_gpu else "eager"
        runs: dict[str, Run | None] = {first: at(first, translating(eager, x))}
        if settings.on_gpu:
            runs["TF32"] = at("TF32", translating(eager, x))
            runs["bf16"] = translating(eager, x, bf16=True)
            runs["bf16, channels_last"] = translating(last, y, bf16=True)
            runs |= {name: translating(network, y, bf16=True) for name, network in compiled.items()}
        else:
            runs["channels_last"] = translating(last, y)
            runs |= {name: translating(network, x) for name, network in compiled.items()}
        row = compare(f"batch {batch}, {W} x {H}, width {width}", runs, fewer)
        row.note = ", ".join(f"{t.name} {1e3 * batch / t.median:.3g} images/s" for t in row.timings)
        measured.append(row)
    return measured
