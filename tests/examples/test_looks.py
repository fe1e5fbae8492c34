"""Beyond the paper: segmenters that learn before the generators, S_B from color images in a thermal look."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from helpers.tiny_run import method_of, quiet, tiny_config, tiny_data
from ntir2dc.config import ModuleOptions, PhaseOptions, TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.morngan.method import TERMS
from ntir2dc.methods.morngan.schedule import Phase, Schedule, active
from ntir2dc.run.log import read_log
from ntir2dc.seeds import Stream, seeded
from ntir2dc.trainer import Trainer

PHASES = PhaseOptions(baseline=2, structure=3, segment_a=3, segment_b=4, distill=5, collaborate=6)
BEYOND = ModuleOptions(looks=True, early_fa=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def config(out: Path, **changes: object) -> TrainConfig:
    base = tiny_config(out, epochs=7, steps_per_epoch=1, phases=PHASES, modules=BEYOND, checkpoint_every=1)
    losses = dataclasses.replace(base.losses, mine_frozen_alone=True)
    return dataclasses.replace(base, losses=losses, **changes)  # type: ignore[arg-type]


def test_the_warm_up_comes_before_the_phases_of_the_paper() -> None:
    schedule = Schedule.from_options(PHASES, 7)
    assert [schedule.phase(e) for e in range(7)] == [0, 0, 1, 3, 4, 5, 6]
    assert schedule.describe().startswith("epochs by phase: warm_up 0-1, baseline 2-2, structure none, ")
    for epochs in range(12, 40):
        schedule = Schedule.from_options(PhaseOptions(baseline=0.1), epochs)
        assert {schedule.phase(e) for e in range(epochs)} == set(Phase)
    assert "warm_up" not in Schedule.from_options(PhaseOptions(), 80).describe()


def test_without_these_options_nothing_of_the_paper_changes() -> None:
    for phase in Phase:
        if phase is Phase.WARM_UP:
            continue
        paper, beyond = active(phase, ModuleOptions()), active(phase, BEYOND)
        assert not paper.seg_la
        early = phase is Phase.DISTILL
        assert beyond == dataclasses.replace(paper, seg_la=paper.seg_ra, seg_fa=paper.seg_fa or early)


def test_each_step_trains_what_it_should_and_logs_its_terms(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(config(tmp_path), data, say=quiet)
    networks = trainer.method.networks
    for epoch in range(7):
        before = {name: [p.clone() for p in net.parameters()] for name, net in networks.named_children()}
        trainer.method.enter_epoch(epoch)
        trainer.training_step(next(iter(trainer.loader(epoch, 0))), epoch)
        moved = {
            name
            for name, net in networks.named_children()
            if any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True))
        }
        if epoch < 2:
            assert moved == {"segmenter_a", "segmenter_b"}
        elif epoch == 2:
            assert moved == set(before) - {"segmenter_a", "segmenter_b"}
        elif epoch < 6:
            assert moved == set(before)
        trainer.step += 1


def test_it_is_resumed_exactly_after_every_step(data: TrainingData, tmp_path: Path) -> None:
    whole = Trainer(config(tmp_path / "whole"), data, say=quiet)
    assert whole.fit()
    rows = read_log(tmp_path / "whole" / "log.csv")
    shown = [{name for name in TERMS if row[name]} for row in rows]
    assert shown[0] == shown[1] == {"seg_ra", "seg_la"}
    assert rows[0]["disc_a"] == ""
    assert "seg_la" in shown[5]
    assert "seg_fa" in shown[5]
    assert "seg_la" not in shown[6]
    for stop in range(1, 8):
        trainer = Trainer(config(tmp_path / "parts", max_steps=stop), data, say=quiet)
        if stop > 1:
            trainer.resume()
        trainer.fit()
    for name, value in whole.method.networks.state_dict().items():
        assert torch.equal(value, trainer.method.networks.state_dict()[name]), name


def test_early_l_fa_reaches_the_generator_alone(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(config(tmp_path), data, say=quiet)
    method = method_of(trainer)
    method.enter_epoch(5)
    part = trainer.part(next(iter(trainer.loader(5, 0))), 5)
    step, on = method.forward.begin(part.batch), method.on(5)
    for piece in method.forward.generate(step, on, 0.5, seeded(0, Stream.LOOK, 5)):
        if "seg_fa" in piece:
            method.networks.zero_grad(set_to_none=True)
            piece["seg_fa"].backward()
            reached = {n for n, net in method.networks.named_children() for p in net.parameters() if p.grad is not None}
            assert reached == {"encoder_b", "decoder_a"}
            # the labels are those of S_B in eval mode
            method.networks.segmenter_b.eval()
            with torch.no_grad():
                logits = method.networks.segmenter_b(step.real_b, method.forward.seen(step.window_b))
            assert step.labels_b is not None
            assert torch.equal(step.labels_b, method.labels.mine(logits, logits, step.real_b, frozen=False))
            return
    pytest.fail("no piece had seg_fa")


@pytest.mark.parametrize("name", ["looks", "early_fa"])
def test_they_need_segmenters(name: str) -> None:
    with pytest.raises(ValueError, match=rf"modules\.{name}: needs modules\.sc"):
        ModuleOptions(sc=False, sdp=False, mgca=False, **{name: True})


def test_without_segmenters_nothing_learns_in_the_warm_up(data: TrainingData, tmp_path: Path) -> None:
    changes = {"modules": ModuleOptions(sc=False, sdp=False, mgca=False), "max_steps": 2}
    trainer = Trainer(config(tmp_path, **changes), data, say=quiet)
    before = {name: value.clone() for name, value in trainer.method.networks.state_dict().items()}
    trainer.fit()
    assert all(torch.equal(value, before[name]) for name, value in trainer.method.networks.state_dict().items())
    rows = read_log(tmp_path / "log.csv")
    assert [(row["step"], row["phase"], row["total"]) for row in rows] == [("0", "0", ""), ("1", "0", "")]
