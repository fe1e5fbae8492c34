"""CycleGAN as a method of the trainer: its losses written out, exact resume, and what is left for inference."""

from __future__ import annotations

import csv
import dataclasses
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from colorize import main as colorize
from helpers.tiny_run import TINY, outcome, quiet, rows_without_seconds, tiny_config, tiny_data
from ntir2dc.config import CycleGANOptions, make_config
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods import METHODS
from ntir2dc.methods.cyclegan import CycleGAN, Networks
from ntir2dc.methods.method import Update
from ntir2dc.optimizers import lr_factor
from ntir2dc.run.weights import load_translator
from ntir2dc.trainer import Trainer
from train_morngan import main as train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def test_sizes_of_the_published_networks() -> None:
    config = make_config("flir", method="cyclegan")
    with torch.device("meta"):
        networks = Networks(config.networks, 0)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.named_children()}
    assert sizes == {
        "generator_ab": 11_378_179,
        "generator_ba": 11_378_179,
        "discriminator_a": 2_764_737,
        "discriminator_b": 2_764_737,
    }


def test_a_step_is_the_published_one_written_out(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, method="cyclegan", precision="64-true", pool=0), data, say=quiet)
    networks, batch = trainer.method.networks, next(iter(trainer.loader(0, 0)))
    a, b = batch["real_a"].double(), batch["real_b"].double()

    def score(discriminator: torch.nn.Module, x: Tensor) -> Tensor:
        ((scores,),) = discriminator(x)
        return scores

    g_ab, g_ba, d_a, d_b = networks.children()
    fake_b, fake_a = g_ab(a), g_ba(b)
    terms = {
        "adv": ((score(d_b, fake_b) - 1) ** 2).mean() + ((score(d_a, fake_a) - 1) ** 2).mean(),
        "cyc": 10 * (F.l1_loss(g_ba(fake_b), a) + F.l1_loss(g_ab(fake_a), b)),
        "idt": 5 * (F.l1_loss(g_ba(a), a) + F.l1_loss(g_ab(b), b)),
    }
    disc = {
        f"disc_{name}": ((score(d, real) - 1) ** 2).mean() / 2 + (score(d, fake.detach()) ** 2).mean() / 2
        for name, d, real, fake in (("a", d_a, a, fake_a), ("b", d_b, b, fake_b))
    }
    generators = [p for g in (g_ab, g_ba) for p in g.parameters()]
    discriminators = [p for d in (d_a, d_b) for p in d.parameters()]
    expected = [
        *torch.autograd.grad(sum(terms.values()), generators),
        *torch.autograd.grad(sum(disc.values()), discriminators),
    ]
    values = trainer.training_step(batch, 0)
    for name, term in {**terms, **disc, "total": sum(terms.values())}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-12), name
    for parameter, gradient in zip((*generators, *discriminators), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-13)


def test_without_the_identity_term(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="cyclegan", cyclegan=CycleGANOptions(lambda_identity=0.0))
    trainer = Trainer(config, data, say=quiet)
    passes: list[int] = []
    trainer.method.networks.generator_ab.register_forward_hook(lambda *_: passes.append(1))
    assert "idt" not in trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
    assert len(passes) == 2


def test_the_learning_rate_falls_as_published() -> None:
    config = dataclasses.replace(make_config("flir", method="cyclegan"), epochs=200)
    assert config.lr_schedule == "linear"
    # over epochs from 1: 1 up to 100, then 1 - (e - 100) / 101
    assert [lr_factor(config, (e - 1) * 7, 7) for e in (1, 100)] == [1, 1]
    for epoch in (101, 150, 200):
        for step in ((epoch - 1) * 7, epoch * 7 - 1):
            assert lr_factor(config, step, 7) == pytest.approx(1 - (epoch - 100) / 101)


def test_learning_rates_of_the_other_schedules(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, lr_schedule="step", lr_halve_every=3, segmenter_lr=1e-2, weight_decay=0.1)
    assert [lr_factor(config, step, 2) for step in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    trainer = Trainer(config, data, say=quiet)
    trainer.step = 4
    trainer.training_step(next(iter(trainer.loader(2, 0))), 2)
    lrs = {name: o.param_groups[0]["lr"] for name, o in trainer.optimizers.items()}
    assert lrs == {"generators": config.lr / 2, "segmenters": 5e-3, "discriminators": config.lr / 2}
    assert {o.param_groups[0]["weight_decay"] for o in trainer.optimizers.values()} == {0.1}
    constant = tiny_config(tmp_path)
    assert {lr_factor(constant, step, 2) for step in range(100)} == {1.0}


def test_a_stopped_run_goes_on_to_the_bit_and_colorizes(data_folder: Path, tmp_path: Path) -> None:
    options = ["--preset=mini", "--method=cyclegan", f"--data={data_folder}", *TINY]
    assert train([*options, f"--out={tmp_path / 'whole'}"]) == 0
    assert train([*options, f"--out={tmp_path / 'stopped'}", "--max_steps=7"]) == 0
    assert train([*options, f"--out={tmp_path / 'stopped'}", "--resume"]) == 0
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
    rows = rows_without_seconds(tmp_path / "whole")
    assert list(rows[0]) == [*("step", "epoch", "phase", "adv", "cyc", "idt", "total", "disc_a", "disc_b")]
    assert float(rows[0]["total"]) > float(rows[-1]["total"])
    assert not (tmp_path / "whole" / "cache").exists()

    night = data_folder / "valB"
    assert colorize(night, tmp_path / "day", tmp_path / "whole") == 0
    assert len(list((tmp_path / "day").iterdir())) == len(list(night.iterdir()))
    assert load_translator(tmp_path / "whole").generator_ba(torch.zeros(1, 3, 16, 8)).shape == (1, 3, 16, 8)


def test_parts_of_a_batch_give_the_gradients_of_the_whole(data: TrainingData, tmp_path: Path) -> None:
    found = []
    for accumulate in (1, 2):
        config = tiny_config(tmp_path, method="cyclegan", precision="64-true", batch_size=2, accumulate=accumulate)
        trainer = Trainer(config, data, say=quiet)
        trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
        found.append([p.grad for p in trainer.method.networks.parameters()])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-13)


def test_needs_neither_labels_nor_edges() -> None:
    config = make_config("demo", method="cyclegan")
    assert not CycleGAN.needs_labels(config)
    assert not CycleGAN.needs_edges(config)
    assert METHODS["morngan"].method.needs_labels(make_config("demo"))
    assert METHODS["morngan"].method.needs_edges(make_config("demo"))


def test_a_method_that_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        train(["--method=nosuch", f"--out={tmp_path}"])
    assert "method" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"method: expected one of morngan, cyclegan, todaygan, .*, got 'nosuch'"):
        make_config("demo", method="nosuch")  # type: ignore[arg-type]


def test_the_log_is_plain_csv(data: TrainingData, tmp_path: Path) -> None:
    Trainer(tiny_config(tmp_path, method="cyclegan", max_steps=1), data, say=quiet).fit()
    with open(tmp_path / "log.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["total"]) == pytest.approx(sum(float(row[name]) for name in ("adv", "cyc", "idt")))


def test_an_update_of_discriminators_alone_leaves_the_total(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, method="cyclegan"), data, say=quiet)
    method = trainer.method
    before = [p.detach().clone() for p in method.networks.parameters()]
    updates = (
        Update(("generators",), lambda part: islice(method.losses(part), 2)),
        Update(("discriminators",), lambda part: islice(method.losses(part), 2, None)),
    )
    method.updates = lambda epoch: updates  # type: ignore[method-assign]
    values = trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
    assert values["total"] == pytest.approx(values["adv"] + values["cyc"] + values["idt"])
    assert values["disc_a"] > 0
    moved = [not torch.equal(p, old) for p, old in zip(method.networks.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2
