"""Switches of networks: gradients on or off, eval mode and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


def set_requires_grad(networks: Iterable[nn.Module], value: bool) -> None:
    """Switch the gradients of all parameters on or off."""
    for network in networks:
        network.requires_grad_(value)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Switch networks to eval mode and back to what each submodule was."""
    modes = [(m, m.training) for network in networks for m in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
