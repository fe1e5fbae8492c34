"""Translating one image or several with the paper's network, as ``examples/colorize.py`` does."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from morngan.networks import Decoder, Encoder, init_weights
from morngan.weights import Translator
from tests.benchmarks.harness import Row, Run, Settings, compare

TITLE = "Inference"


def make_translator(width: int, blocks: tuple[int, int]) -> nn.Module:
    """Return a generator with random weights, in eval mode."""
    translator = Translator(Encoder(width, blocks[0]), Decoder(width, blocks[1]))
    init_weights(translator, "he", generator=torch.Generator().manual_seed(0))
    return translator.requires_grad_(False).eval()


def rows(settings: Settings, batches: tuple[int, ...] = (1, 4)) -> list[Row]:
    """Measure batches at 360 x 288; ``--full`` adds the network compiled, which takes minutes."""
    width, blocks = (4, (1, 1)) if settings.tiny else (64, (4, 5))
    H, W = (16, 24) if settings.tiny else (288, 360)
    eager = make_translator(width, blocks)
    last = copy.deepcopy(eager).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled = torch.compile(eager) if settings.full else None
    fewer = dataclasses.replace(settings, repeats=min(settings.repeats, 3))
    found = []
    for batch in batches:
        x = torch.rand(batch, 3, H, W, generator=torch.Generator().manual_seed(1)) * 2 - 1
        y = x.contiguous(memory_format=torch.channels_last)

        def of(network: Callable[[Tensor], object], x: Tensor) -> Run:
            def run() -> object:
                with torch.inference_mode():
                    return network(x)

            return run

        runs: dict[str, Run | None] = {"eager": of(eager, x), "channels_last": of(last, y)}
        if compiled is not None:
            runs["torch.compile"] = of(compiled, x)
        found.append(compare(f"batch {batch}, {W} x {H}, width {width}", runs, fewer))
    return found
