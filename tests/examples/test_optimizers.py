"""Learning rates over a run, weight decay by group, and a stop at any of their steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from helpers.tiny_run import outcome, quiet, tiny_config, tiny_data
from ntir2dc.config import make_config
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.method import Group
from ntir2dc.optimizers import lr_factor, make_optimizers
from ntir2dc.run.checkpoint import CheckpointError
from ntir2dc.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def test_a_late_line_is_lowered_at_the_end_of_an_epoch() -> None:
    config = dataclasses.replace(make_config("flir"), epochs=200, lr_schedule="linear_late")
    # over epochs from 1: 101 is the last full one, and 1 - (e - 100) / 100 is set when epoch e has ended
    assert [lr_factor(config, (e - 1) * 7, 7) for e in (1, 100, 101)] == [1, 1, 1]
    for ended in (101, 150, 199):
        for step in (ended * 7, ended * 7 + 6):
            assert lr_factor(config, step, 7) == pytest.approx(1 - (ended - 100) / 100)


@pytest.mark.parametrize("schedule", ["linear", "linear_late"])
@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
def test_a_line_never_reaches_0_within_the_run(schedule: str, epochs: int, start: float) -> None:
    config = dataclasses.replace(make_config("flir"), epochs=epochs, lr_schedule=schedule, lr_decay_start=start)
    factors = [lr_factor(config, epoch, 1) for epoch in range(epochs)]
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] <= factors[0] <= 1
    assert lr_factor(config, epochs, 1) == pytest.approx(0, abs=1e-12)


def test_each_group_has_its_weight_decay() -> None:
    plain, decayed = nn.Linear(2, 3), nn.Linear(2, 3)
    decayed.load_state_dict(plain.state_dict())
    optimizers = make_optimizers({"plain": Group([plain], 0.1), "decayed": Group([decayed], 0.1, 0.5)})
    before = [p.detach().clone() for p in plain.parameters()]
    for layer in (plain, decayed):
        for p in layer.parameters():
            p.grad = torch.zeros_like(p)
    for optimizer in optimizers.values():
        optimizer.step()
    for start, kept, moved in zip(before, plain.parameters(), decayed.parameters(), strict=True):
        torch.testing.assert_close(kept, start, rtol=0, atol=0)
        # Adam's first step is one of lr, whatever the size of the gradient, here 0.5 * start
        torch.testing.assert_close(moved, start - 0.1 * start.sign(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"lr_schedule": "linear_late", "weight_decay": 1e-3}, {"lr_schedule": "step", "lr_halve_every": 4}],
    ids=["linear_late", "step"],
)
def test_a_run_goes_on_to_the_bit_wherever_the_learning_rate_changes(
    data: TrainingData, tmp_path: Path, options: dict[str, Any]
) -> None:
    def trainer(name: str, stop: int = 0) -> Trainer:
        config = tiny_config(tmp_path / name, method="cyclegan", max_steps=stop, **options)
        return Trainer(config, data, say=quiet)

    whole = trainer("whole")
    assert whole.fit()
    assert len({lr_factor(whole.config, step, 2) for step in range(whole.total_steps)}) == 3
    for stop in (8, 9, 0):  # at a change of both schedules, and after it
        part = trainer("parts", stop)
        if stop != 8:
            part.resume()
        part.fit()
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    lrs = [{o.param_groups[0]["lr"] for o in run.optimizers.values()} for run in (part, whole)]
    assert lrs[0] == lrs[1] == {whole.config.lr * lr_factor(whole.config, 11, 2)}


def test_a_run_keeps_its_schedule(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="cyclegan", max_steps=1)
    Trainer(config, data, say=quiet).fit()
    with pytest.raises(CheckpointError, match="lr_schedule: 'linear' in the run, 'linear_late' asked for"):
        Trainer(dataclasses.replace(config, lr_schedule="linear_late"), data, say=quiet).resume()
