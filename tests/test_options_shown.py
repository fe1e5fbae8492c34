"""What a module says of its options: its ``repr`` shows their values, ``help()`` what they mean."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from torch import nn

import morn_losses
from morn_losses import CGRLoss, MemoryBank, MemorySampler, RelativisticLSGANLoss, SGAPlusLoss
from morn_losses._options import takes_options_of


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


MODULES = [
    value
    for name in morn_losses.__all__
    if inspect.isclass(value := getattr(morn_losses, name)) and issubclass(value, nn.Module)
]
OF_OTHERS = (morn_losses.ACALoss, morn_losses.KMeans)  # theirs are written out


@pytest.mark.parametrize("module", [m for m in MODULES if m not in OF_OTHERS], ids=lambda m: m.__name__)
def test_help_says_what_every_option_means(module: type[nn.Module]) -> None:
    text = inspect.getdoc(module)
    assert text is not None
    _, found, arguments = text.partition("\nArgs:\n")
    assert found
    said = dict(re.findall(r"^    (\w+): (.+)", arguments.split("\n\n")[0], re.MULTILINE))
    assert list(said) == list(inspect.signature(module).parameters)
    assert all(len(meaning) > 10 for meaning in said.values())
    assert not re.search(r":(func|class|meth|data|math):", text.replace(".. math::", ""))


def test_options_come_from_the_function_and_before_the_example() -> None:
    def loss(x: int, *, first: int = 1, second: int = 2, third: int = 3) -> int:
        """A loss.

        Args:
            x: no option.
            second: what it says here: ``a: b``,
                and on a second line.
            first: the first.
            third: not taken.

        Returns:
            A number.
        """
        return x + first + second + third

    class Loss(nn.Module):
        """Module of the loss.

        Example:
            >>> 1 + 1
            2
        """

        def __init__(self, first: int = 1, second: int = 2) -> None:
            super().__init__()

    assert inspect.getdoc(takes_options_of(loss)(Loss)) == inspect.cleandoc(
        """Module of the loss.

        Args:
            first: the first.
            second: what it says here: ``a: b``,
                and on a second line.

        Example:
            >>> 1 + 1
            2
        """
    )


def test_without_docstrings_nothing_is_written() -> None:
    class Bare(nn.Module):
        pass

    assert Bare.__doc__ is None
    assert takes_options_of(morn_losses.functional.cgr_loss)(Bare).__doc__ is None
    assert takes_options_of(lambda: None)(morn_losses.CGRLoss).__doc__ == morn_losses.CGRLoss.__doc__
