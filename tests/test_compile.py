"""The real compiler, once; every other capture is tested with a backend that generates no code."""

from __future__ import annotations

import shutil

import pytest
import torch

from morn_losses import CGRLoss


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_inductor_gives_the_value_and_gradient_of_eager() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(2, 3, 16, 20, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.rand(2, 16, 20, generator=generator) > 0.3
    found = []
    for run in (CGRLoss(), torch.compile(CGRLoss(), fullgraph=True)):
        x = fake.clone().requires_grad_()
        loss = run(real, x, mask)
        loss.backward()
        found.append((loss.detach(), x.grad))
    assert found[0][0] > 0
    torch.testing.assert_close(found[1], found[0])
