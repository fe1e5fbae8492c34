"""One look at the real compiler; everywhere else capture as one graph is tested with a cheap backend."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch

from morn_losses.functional import cgr_loss


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler on the CPU")
def test_inductor_gives_the_same_value_and_gradient() -> None:
    torch.compiler.reset()
    real = torch.rand(2, 3, 16, 16) * 2 - 1
    fake = (torch.rand(2, 3, 16, 16) * 2 - 1).requires_grad_()
    expected = cgr_loss(real, fake)
    (gradient,) = torch.autograd.grad(expected, fake)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Inductor's own, about the machine
        value = torch.compile(cgr_loss, fullgraph=True)(real, fake)
        (compiled,) = torch.autograd.grad(value, fake)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(compiled, gradient)
