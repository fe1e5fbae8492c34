"""DlamGAN's reconstruction: MornGAN's code with SC alone, its last two phases written out, and the use of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from colorize import main as colorize
from evaluate import main as evaluate
from helpers.tiny_run import TINY, outcome, quiet, rows_without_seconds, tiny_config, tiny_data
from morn_losses import functional as M
from ntir2dc.config import LossOptions, ModuleOptions, TrainConfig, make_config
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.dlamgan import DlamGAN
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.run.weights import load_translator
from ntir2dc.trainer import Trainer
from train_morngan import main as train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(("preset", "threshold"), [("flir", 0.95), ("kaist", 0.95), ("mini", 0.3), ("demo", 0.5)])
def test_it_is_morngan_with_one_module_and_one_threshold(preset: Any, threshold: float) -> None:
    config, full = make_config(preset, method="dlamgan"), make_config(preset)
    assert config.modules == ModuleOptions(sc=True, sdp=False, mgca=False, cgr=False, sr=False)
    assert (config.losses.theta_fg, config.losses.theta_bg, config.losses.theta) == (threshold, threshold, "")
    assert not config.losses.mine_frozen_alone
    same = ("networks", "phases", "lr", "lr_schedule", "epochs", "segmenter_lr", "segmenter_crops", "dataset")
    assert all(getattr(config, name) == getattr(full, name) for name in same)
    assert DlamGAN.needs_labels(config)
    assert DlamGAN.needs_edges(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"modules": ModuleOptions(sdp=False, mgca=False, cgr=False)},
            "modules.sr: method dlamgan has modules.sc alone",
        ),
        ({"modules": ModuleOptions(False, False, False, False, False)}, "modules.sc: method dlamgan has"),
        ({"losses": LossOptions(theta_fg=0.95, theta_bg=0.9)}, "one threshold for all classes.*got 0.95, 0.9 and ''"),
        ({"losses": LossOptions(theta_bg=0.95, theta="car=0.5")}, "one threshold for all classes"),
        ({"losses": LossOptions(theta_bg=0.95, theta_frozen="car=0.5")}, "one threshold for all classes"),
    ],
)
def test_options_that_would_make_another_system_of_it(
    data: TrainingData, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = dataclasses.replace(tiny_config(tmp_path, method="dlamgan"), **changes)
    with pytest.raises(ValueError, match=message):
        Trainer(config, data, say=quiet)


def relativistic(real: list[list[Tensor]], fake: list[list[Tensor]], sign: int) -> Tensor:
    """One side's loss by loops; on the generators' real scores are constants."""
    total = torch.zeros((), dtype=torch.float64)
    for of_real, of_fake in zip(real, fake, strict=True):
        weights = [s + 1 + (s == len(of_real) - 1) for s in range(len(of_real))]
        for weight, r, f in zip(weights, of_real, of_fake, strict=True):
            r = r.detach() if sign == 1 else r
            total = total + weight * ((r - f + sign) ** 2).mean() / sum(weights) / len(real)
    return total


def mined(logits_b: Tensor, logits_a: Tensor, threshold: float) -> Tensor:
    """The class whose smaller probability is largest, where that reaches the one threshold."""
    probabilities = torch.minimum(logits_b.softmax(1), logits_a.softmax(1))[0]
    labels = torch.full(probabilities.shape[1:], 255)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            best = int(probabilities[:, row, column].argmax())
            if probabilities[best, row, column] >= threshold:
                labels[row, column] = best
    return labels[None]


def written_out(networks: nn.Module, x: dict[str, Tensor], phase: Phase, config: TrainConfig) -> dict[str, Tensor]:
    """All terms of a step of one of the last two phases, and the discriminators' losses."""
    e_a, e_b, dec_a, dec_b, d_a, d_b, s_a, s_b = networks.children()
    a, b, labels_a = x["real_a"], x["real_b"], x["labels_a"]
    fake_b, fake_a = dec_b(e_a(a)), dec_a(e_b(b))
    labels_b = mined(s_b(b), s_a(fake_a), config.losses.theta_fg)
    assert 0 < (labels_b == 255).double().mean() < 1
    terms = {
        "adv": relativistic(d_b(b), d_b(fake_b), 1) + relativistic(d_a(a), d_a(fake_a), 1),
        "cyc": M.reconstruction_loss(dec_a(e_b(fake_b)), a, distance="l1")
        + M.reconstruction_loss(dec_b(e_a(fake_a)), b, distance="l1"),
        "tv": 5 * (M.total_variation_loss(fake_a) + M.total_variation_loss(fake_b)),
        "sga": 0.5 * (M.sga_loss(fake_a, x["edges_b"]) + M.sga_loss(fake_b, x["edges_a"])),
        "mono": 0.5 * M.monochromatic_regularization(fake_b),
        "temp": 0.5 * M.temperature_regularization(fake_b, labels_a),
        "seg_fb": M.class_balanced_cross_entropy(s_b(fake_b), labels_a),
        "disc_a": relativistic(d_a(a), d_a(fake_a.detach()), -1),
        "disc_b": relativistic(d_b(b), d_b(fake_b.detach()), -1),
    }
    if phase is Phase.COLLABORATE:
        return {**terms, "seg_fa": M.class_balanced_cross_entropy(s_a(fake_a), labels_b)}
    sure = s_a(a).softmax(1).max(1)
    filled = torch.where((labels_a == 255) & (sure.values > config.losses.fill_threshold), sure.indices, labels_a)
    terms["seg_ra"] = M.segmentation_loss(s_a(a), filled, boundary_weight=config.losses.boundary_weight)
    terms["seg_rb"] = M.class_balanced_cross_entropy(s_b(b), labels_b)
    return terms


@pytest.mark.parametrize("phase", [Phase.DISTILL, Phase.COLLABORATE])
def test_a_step_is_its_terms_written_out(data: TrainingData, tmp_path: Path, phase: Phase) -> None:
    base = tiny_config(tmp_path, method="dlamgan", precision="64-true", pool=0)
    # about half of the pixels reach it
    losses = dataclasses.replace(base.losses, theta_fg=0.0584, theta_bg=0.0584)
    config = dataclasses.replace(base, losses=losses, networks=dataclasses.replace(base.networks, dropout=0.0))
    trainer = Trainer(config, data, say=quiet)
    epoch, networks = int(phase) - 1, trainer.method.networks
    trainer.method.enter_epoch(epoch)
    for discriminator in (networks.discriminator_a, networks.discriminator_b):
        discriminator.eval()  # each pass in training mode moves the power iteration of the spectral norm on
    batch = next(iter(trainer.loader(epoch, 0)))
    expected = written_out(networks, trainer.moved(batch), phase, config)

    learning = ["generators", *(["segmenters"] if phase is Phase.DISTILL else []), "discriminators"]
    moved = {name: [p for n in trainer.groups[name].networks for p in n.parameters()] for name in learning}
    total = sum(term for name, term in expected.items() if not name.startswith("disc"))
    of_segmenters = sum(expected[name] for name in ("seg_ra", "seg_fb", "seg_rb") if phase is Phase.DISTILL)
    losses_of = {
        "generators": total,
        "segmenters": of_segmenters,
        "discriminators": expected["disc_a"] + expected["disc_b"],
    }
    gradients = {name: torch.autograd.grad(losses_of[name], moved[name], retain_graph=True) for name in learning}

    values = trainer.training_step(batch, epoch)
    assert values.keys() - {"total", "mined"} == expected.keys()
    for name, term in {**expected, "total": total}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-10), name
    for name in learning:
        for parameter, gradient in zip(moved[name], gradients[name], strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)
    assert ("segmenters" in learning) == any(p.grad is not None for p in networks.segmenter_a.parameters())


def test_a_stopped_run_of_every_phase_goes_on_to_the_bit_and_is_used(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--preset=mini", "--method=dlamgan", f"--data={data_folder}", *TINY]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train([*options, f"--out={whole}"]) == 0
    assert "DlamGAN is a reconstruction here" in capsys.readouterr().out
    assert train([*options, f"--out={stopped}", "--max_steps=7"]) == 0
    for steps in (11, 0):  # where segmenters learn, and where they are frozen
        assert train([*options, f"--out={stopped}", "--resume", f"--max_steps={steps}"]) == 0
    assert outcome(stopped) == outcome(whole)
    rows = rows_without_seconds(whole)
    terms = ("adv", "cyc", "tv", "sga", "mono", "temp", "seg_ra", "seg_fb", "seg_rb", "seg_fa")
    assert list(rows[0]) == [*("step", "epoch", "phase"), *terms, "total", "disc_a", "disc_b", "mined"]
    assert [int(row["phase"]) for row in rows[::2]] == [1, 2, 3, 4, 5, 6]
    assert all(row["seg_fa"] and row["seg_fb"] and row["mined"] for row in rows[-2:])

    night = data_folder / "valB"
    assert colorize(night, tmp_path / "day", whole) == 0
    assert len(list((tmp_path / "day").iterdir())) == len(list(night.iterdir()))
    translator: Callable[[Tensor], Tensor] = load_translator(whole)
    assert translator(torch.zeros(1, 3, 16, 8)).shape == (1, 3, 16, 8)
    assert evaluate(whole) == 0
    assert (whole / "metrics.md").is_file()
