"""When values may be looked at; what is checked is tested where it is given."""

from __future__ import annotations

import torch
from torch import Tensor

from morn_losses._checks import may_look


def test_values_of_eager_cpu_tensors_alone_may_be_looked_at() -> None:
    x = torch.rand(2, 3)
    assert may_look(x)
    assert may_look(x, x.requires_grad_(), x[:, 1:].mT, torch.zeros(0))
    assert not may_look(x.detach().to("meta"))
    assert not may_look(x, x.detach().to("meta"))


def test_transforms_and_compilers_have_no_values() -> None:
    seen: list[bool] = []

    def look(x: Tensor) -> Tensor:
        seen.append(may_look(x))
        return x.sum()

    x = torch.rand(2, 3)
    torch.func.vmap(look)(x)
    torch.func.grad(look)(x)
    torch.func.vmap(torch.func.grad(look))(x)
    assert seen == [False] * 3
    compiled = torch.compile(lambda x: x + 1 if may_look(x) else x - 1, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), x - 1)
