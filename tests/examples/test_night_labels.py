"""Beyond the paper: U-Nets as segmenters, crops of a warm-up, a learning rate that falls, and thresholds by class."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from helpers.tiny_run import NETWORKS, method_of, quiet, step_and_terms, tiny_config, tiny_data
from morn_losses import CITYSCAPES
from ntir2dc.config import LossOptions, ModuleOptions, PhaseOptions, TrainConfig, make_config
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.morngan.networks import make_segmenter
from ntir2dc.methods.morngan.pseudo_labels import PseudoLabels
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.networks import ResidualUNet
from ntir2dc.optimizers import lr_factor
from ntir2dc.trainer import Trainer

UNETS = dataclasses.replace(NETWORKS, segmenter_variant="unet", segmenter_coordinates="frame")
PHASES = PhaseOptions(baseline=2, structure=2, segment_a=2, segment_b=2, distill=2, collaborate=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def test_a_unet_has_the_width_that_is_asked_for() -> None:
    unet = make_segmenter(UNETS, 19)
    assert isinstance(unet, ResidualUNet)
    assert unet.head.in_channels == NETWORKS.segmenter_width
    assert unet(torch.zeros(1, 3, 20, 28)).shape == (1, 19, 20, 28)


def test_a_unet_is_told_where_its_crop_lies() -> None:
    unet = make_segmenter(UNETS, 19).eval()
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([[0, 0, 16, 16]])
    assert torch.allclose(unet(x), unet(x, whole), atol=1e-5)
    assert not torch.allclose(unet(x), unet(x, torch.tensor([[4, 8, 32, 64]])), atol=1e-5)


def test_a_run_with_unets_is_resumed_exactly(data: TrainingData, tmp_path: Path) -> None:
    options = {
        "networks": UNETS,
        "epochs": 4,
        "steps_per_epoch": 2,
        "phases": PHASES,
        "modules": ModuleOptions(looks=True, early_fa=True),
        "warm_up_crops": 3,
        "segmenter_crops": 2,
        "segmenter_lr_schedule": "cosine",
    }
    whole = Trainer(tiny_config(tmp_path / "whole", **options), data, say=quiet)
    assert whole.fit()
    for stop in (3, 5, 8):
        part = Trainer(tiny_config(tmp_path / "parts", max_steps=stop, **options), data, say=quiet)
        if stop > 3:
            part.resume()
        part.fit()
    for name, value in whole.method.networks.state_dict().items():
        assert torch.equal(value, part.method.networks.state_dict()[name]), name


def test_the_warm_up_has_its_own_number_of_crops(data: TrainingData, tmp_path: Path) -> None:
    without_memory = ModuleOptions(mgca=False)
    config = tiny_config(tmp_path, epochs=4, phases=PHASES, modules=without_memory, warm_up_crops=5, segmenter_crops=2)
    method = method_of(Trainer(config, data, say=quiet))
    assert [len(method.crops(epoch, 1)[0]["extra_a"]) for epoch in range(4)] == [4, 4, 1, 0]
    same = method_of(Trainer(dataclasses.replace(config, warm_up_crops=0), data, say=quiet))
    assert [len(same.crops(epoch, 1)[0]["extra_a"]) for epoch in range(4)] == [1, 1, 1, 0]


def test_the_segmenters_rate_falls_to_nothing_where_they_are_frozen(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, epochs=4, phases=PHASES, segmenter_lr_schedule="cosine", lr_schedule="linear")
    trainer = Trainer(config, data, say=quiet)
    groups = trainer.groups
    assert (groups["segmenters"].falls_until, groups["generators"].falls_until) == (3, 0)
    factors = [lr_factor(config, step, 4, falls_until=3) for step in range(16)]
    assert factors[0] == 1
    assert factors[6] == pytest.approx(0.5)
    assert factors == sorted(factors, reverse=True)
    assert factors[11] > 0
    assert factors[12:] == [0.0] * 4
    trainer.step = 3
    trainer.training_step(next(iter(trainer.loader(1, 1))), 1)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in trainer.optimizers.items()}
    assert rates["segmenters"] == pytest.approx(config.segmenter_lr * 0.5)
    assert rates["generators"] == pytest.approx(config.lr * lr_factor(config, 3, 2))


class TestThresholds:
    def test_a_class_has_its_own(self) -> None:
        losses = dataclasses.replace(make_config("mini").losses, theta="person=0.25, traffic light = 0.75")
        assert losses.thresholds() == {"person": 0.25, "traffic light": 0.75}
        labels = PseudoLabels(dataclasses.replace(make_config("mini"), losses=losses), CITYSCAPES)
        person, light, car, road = map(CITYSCAPES.index, ("person", "traffic light", "car", "road"))
        for levels, background in (
            (labels.by_frozen.miner.thresholds, losses.theta_fg),
            (labels.distill.miner.thresholds, losses.theta_bg),
        ):
            assert isinstance(levels, tuple)
            assert [levels[c] for c in (person, light, car, road)] == [0.25, 0.75, losses.theta_fg, background]

    def test_frozen_segmenters_label_by_them(self) -> None:
        config = make_config("mini")
        losses = dataclasses.replace(
            config.losses, theta="person=0.9, truck=1", theta_frozen="person=0.7", mine_frozen_alone=True
        )
        labels = PseudoLabels(
            dataclasses.replace(config, losses=losses, modules=dataclasses.replace(config.modules, sdp=False)),
            CITYSCAPES,
        )
        person, car = CITYSCAPES.index("person"), CITYSCAPES.index("car")
        logits = torch.zeros(1, 19, 1, 3)
        logits[0, person, 0, 0], logits[0, person, 0, 1], logits[0, car, 0, 2] = 9.0, 4.0, 4.0  # 0.998, 0.752, 0.752
        image = torch.zeros(1, 3, 1, 3)
        assert labels.mine(logits, logits, image, frozen=False)[0, 0].tolist() == [person, CITYSCAPES.ignore_index, car]
        assert labels.mine(logits, logits, image, frozen=True)[0, 0].tolist() == [person, person, car]
        assert losses.thresholds(frozen=True) == {"person": 0.7, "truck": 1.0}

    @pytest.mark.parametrize("text", ["person", "person=much", "person=0.5;car=0.5"])
    @pytest.mark.parametrize("option", ["theta", "theta_frozen"])
    def test_a_text_of_another_form_is_refused(self, option: str, text: str) -> None:
        with pytest.raises(ValueError, match=rf"losses\.{option}: expected \"person=0\.5, car=0\.7\", got"):
            TrainConfig(losses=dataclasses.replace(LossOptions(), **{option: text}))

    def test_a_number_out_of_range_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"losses\.theta: expected numbers in \[0, 1\], got 1\.5 for car"):
            TrainConfig(losses=LossOptions(theta="car=1.5"))

    def test_an_unknown_class_is_refused(self) -> None:
        config = make_config("mini")
        losses = dataclasses.replace(config.losses, theta="people=0.5")
        with pytest.raises(ValueError, match=r"losses\.theta: expected names of classes, got people"):
            PseudoLabels(dataclasses.replace(config, losses=losses), CITYSCAPES)


def test_a_unet_has_no_dropout_to_label_with() -> None:
    with pytest.raises(ValueError, match="segmenter_variant unet has no dropout"):
        TrainConfig(networks=UNETS, losses=LossOptions(label_with_dropout=True))


def test_aca_may_compare_finer_features(data: TrainingData, tmp_path: Path) -> None:
    losses = dataclasses.replace(tiny_config(tmp_path).losses, aca_features="half")
    trainers = [
        Trainer(dataclasses.replace(tiny_config(tmp_path / name), **changes), data, say=quiet)
        for name, changes in (("half", {"losses": losses}), ("quarter", {}))
    ]
    half, quarter = (step_and_terms(trainer, Phase.COLLABORATE)[0] for trainer in trainers)
    assert half.features_real_a.shape == half.features_fake_a.shape == (1, 2 * NETWORKS.generator_width, 16, 16)
    assert quarter.features_real_a.shape == (1, 4 * NETWORKS.generator_width, 8, 8)
    assert not half.features_real_a.requires_grad
    for name in ("fake_a", "fake_b", "cycle_a", "cycle_b"):
        assert torch.equal(getattr(half, name), getattr(quarter, name)), name
