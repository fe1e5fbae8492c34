"""Eq. 23 written out with the functions of the library, against what the trainer sums."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from helpers.tiny_run import method_of, quiet, step_and_terms, tiny_config, tiny_data
from morn_losses import CITYSCAPES
from morn_losses import functional as M
from ntir2dc.config import LossOptions
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.morngan.objective import aca_classes, least_squares_loss
from ntir2dc.methods.morngan.pseudo_labels import make_distillation
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.networks import scale_weights
from ntir2dc.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_total_is_eq_23_written_out(data: TrainingData, tmp_path: Path, scale: float) -> None:
    trainer = Trainer(tiny_config(tmp_path), data, say=quiet)
    model = trainer.method.networks
    step, terms = step_and_terms(trainer, Phase.COLLABORATE, scale)

    def weights(scores: list[list[torch.Tensor]]) -> list[tuple[float, ...]]:
        return [scale_weights(len(maps)) for maps in scores]

    labels_b = step.labels_b
    assert labels_b is not None
    assert step.logits_fake_a is not None
    assert step.logits_fake_b is not None
    background = (labels_b <= 10) | (labels_b == 255)
    small_a, small_b = (
        torch.nn.functional.interpolate(x, size=(int(32 * scale),) * 2, mode="bilinear")
        for x in (step.real_a, step.real_b)
    )
    torch.manual_seed(7)
    expected = {
        "adv": M.relativistic_lsgan_loss(
            step.scores_real_a, step.scores_fake_a, "generator", scale_weights=weights(step.scores_real_a)
        )
        + M.relativistic_lsgan_loss(
            step.scores_real_b, step.scores_fake_b, "generator", scale_weights=weights(step.scores_real_b)
        ),
        "cyc": M.reconstruction_loss(step.cycle_a, step.real_a, distance="l1")
        + M.reconstruction_loss(step.cycle_b, step.real_b, distance="l1"),
        "tv": 5 * (M.total_variation_loss(step.fake_a) + M.total_variation_loss(step.fake_b)),
        "sga + mono + temp": 0.5
        * (M.sga_loss(step.fake_a, step.edges_b) + M.sga_plus_loss(step.fake_b, step.edges_a, step.labels_a)),
        "seg_fb": M.class_balanced_cross_entropy(step.logits_fake_b, step.labels_a),
        "seg_fa": M.class_balanced_cross_entropy(step.logits_fake_a, labels_b),
        "aca": M.aca_loss(
            step.features_real_a,
            step.features_fake_a,
            step.labels_a,
            labels_b,
            CITYSCAPES.small_sample,
            n_clusters=trainer.config.losses.aca_clusters,
        ),
        "cgr": M.cgr_loss(step.real_b, step.fake_a, background),
        "sr": M.sr_loss(step.fake_b, model.translate_ab(small_a)) + M.sr_loss(step.fake_a, model.translate_ba(small_b)),
    }
    torch.testing.assert_close(sum(terms.values()), sum(expected.values()))
    terms["sga + mono + temp"] = terms.pop("sga") + terms.pop("mono") + terms.pop("temp")
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(LossOptions) if f.name.startswith("lambda_")])
def test_every_weight_reaches_its_term_and_zero_drops_it(data: TrainingData, tmp_path: Path, field: str) -> None:
    group = field.removeprefix("lambda_")
    named = {"cyc": ("cyc",), "thermal": ("mono", "temp"), "seg": ("seg_fb", "seg_fa")}.get(group, (group,))

    def terms(**changes: float) -> dict[str, torch.Tensor]:
        config = tiny_config(tmp_path)
        config = dataclasses.replace(config, losses=dataclasses.replace(config.losses, **changes))
        trainer = Trainer(config, data, say=quiet)
        return step_and_terms(trainer, Phase.COLLABORATE)[1]

    base, doubled = terms(), terms(**{field: 2 * getattr(tiny_config(tmp_path).losses, field)})
    assert base.keys() == doubled.keys()
    for name, value in base.items():
        if name == "cyc" and group == "cyc":
            assert value < doubled[name] < 2 * value  # its SSIM term keeps weight 1
        else:
            torch.testing.assert_close(doubled[name], 2 * value if name in named else value)
    if group not in ("seg", "cyc"):
        assert base.keys() - terms(**{field: 0.0}).keys() == set(named)


def test_the_published_variant_merges_vehicles_and_mines_alone(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, variant="published")
    assert aca_classes(config, CITYSCAPES) == (6, 7, 11, 17, (13, 14, 15, 16))
    trainer = Trainer(config, data, say=quiet)
    logits = torch.zeros(1, 19, 8, 8)
    logits[:, 0] = 9.0
    image = torch.rand(1, 3, 8, 8)
    assert (method_of(trainer).labels.mine(logits, -logits, image, frozen=True) == 0).all()
    paper = Trainer(tiny_config(tmp_path), data, say=quiet)
    assert not (method_of(paper).labels.mine(logits, -logits, image, frozen=True) == 0).any()


def test_denoising_is_a_switch(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    without = dataclasses.replace(config, modules=dataclasses.replace(config.modules, sdp=False))
    logits = torch.zeros(1, 19, 2, 2)
    logits[:, 10, 0] = logits[:, 8, 1] = 9.0
    image = torch.tensor([[-1.0, 1.0], [1.0, 1.0]]).expand(1, 3, 2, 2)
    assert (make_distillation(without, CITYSCAPES)(logits, logits, image) != 255).all()
    assert (make_distillation(config, CITYSCAPES)(logits, logits, image) == 255).any()


def test_least_squares_loss_by_hand() -> None:
    real = [torch.tensor([1.0, 3.0]), torch.tensor([0.0])]
    fake = [torch.tensor([0.0, 2.0]), torch.tensor([4.0])]
    # two scales weigh 1 and 3
    generator = (1 * (1 + 1) / 2 + 3 * 9) / 4
    discriminator = (1 * ((0 + 4) / 2 + (0 + 4) / 2) / 2 + 3 * (1 + 16) / 2) / 4
    assert least_squares_loss(real, fake, "generator").item() == pytest.approx(generator)
    assert least_squares_loss(real, fake, "discriminator").item() == pytest.approx(discriminator)


def test_least_squares_is_taken_where_it_is_asked_for(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config = dataclasses.replace(config, losses=dataclasses.replace(config.losses, adversarial="least_squares"))
    trainer = Trainer(config, data, say=quiet)
    step, terms = step_and_terms(trainer, Phase.BASELINE)
    expected = sum(
        least_squares_loss(r, f, "generator") / 3
        for reals, fakes in ((step.scores_real_a, step.scores_fake_a), (step.scores_real_b, step.scores_fake_b))
        for r, f in zip(reals, fakes, strict=True)
    )
    torch.testing.assert_close(terms["adv"], expected)
