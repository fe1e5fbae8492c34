from __future__ import annotations

import torch
from torch import nn

from morn_losses import CGRLoss, MemoryBank, MemorySampler, RelativisticLSGANLoss, SGAPlusLoss


def test_a_module_shows_every_option_by_name() -> None:
    assert repr(CGRLoss(eps=0.5)) == (
        "CGRLoss(padding_mode='replicate', eps=0.5, value_range=(-1.0, 1.0), reduction='mean')"
    )
    assert repr(RelativisticLSGANLoss(scale_weights=[1, 2.5])) == (
        "RelativisticLSGANLoss(scale_weights=[1, 2.5], reduction='mean')"
    )
    assert "road=3, person=4, temperature_eps=0.0001, detach_road=True" in repr(SGAPlusLoss(road=3, person=4))


def test_submodules_show_themselves() -> None:
    lines = repr(MemorySampler(MemoryBank(3, 2), k=4)).splitlines()
    assert lines == [
        "MemorySampler(",
        "  k=4",
        "  (bank): MemoryBank(capacity=3, n_classes=2, payload_size=0)",
        ")",
    ]


def test_a_subclass_with_arguments_of_its_own_can_be_shown() -> None:
    class Mine(CGRLoss):
        def __init__(self, strength: float) -> None:
            super().__init__(eps=strength)

    assert repr(nn.Sequential(Mine(0.5))) == "Sequential(\n  (0): Mine()\n)"
    assert Mine(0.5)(*torch.rand(2, 1, 3, 4, 4)).isfinite()
