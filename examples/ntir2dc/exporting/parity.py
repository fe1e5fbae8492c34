"""What a file computes beside what torch does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from ntir2dc.exporting.graph import INPUT, LEAST, MULTIPLE

Run = Callable[[Tensor], Tensor]
"""Maps ``(B, 3, H, W)`` in [-1, 1] to the same shape and range."""

GRAY_LEVELS = 127.5
"""Gray levels of 8 bits in 1."""


def running(model: onnx.ModelProto) -> Run:
    """Return what onnxruntime makes of a model on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(session.run(None, {INPUT: x.numpy()})[0]))

    return run


def random_inputs(count: int, seed: int = 0) -> list[Tensor]:
    """Return uniform noise of random batch, height and width."""
    draws = np.random.default_rng(seed)
    batches = draws.integers(1, 4, count)
    sizes = draws.integers(LEAST // MULTIPLE, 40, (count, 2)) * MULTIPLE
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand(int(b), 3, int(H), int(W), generator=generator) * 2 - 1
        for b, (H, W) in zip(batches, sizes, strict=True)
    ]


def differences(translator: nn.Module, run: Run, inputs: Sequence[Tensor]) -> tuple[float, float]:
    """Return the mean and the largest absolute difference over all values of all inputs."""
    total, values, largest = 0.0, 0, 0.0
    for x in inputs:
        with torch.inference_mode():
            apart = (run(x) - translator(x)).abs()
        total, values = total + float(apart.double().sum()), values + apart.numel()
        # NaN stays NaN, which is below no tolerance
        largest = float(torch.maximum(apart.max(), torch.tensor(largest)))
    return total / values, largest
