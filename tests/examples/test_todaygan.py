"""ToDayGAN as a method of the trainer: networks and losses written out, exact resume, and what a run is used for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorize import main as colorize
from evaluate import main as evaluate
from helpers.tiny_run import TINY, outcome, quiet, rows_without_seconds, tiny_config, tiny_data
from ntir2dc.config import ToDayGANOptions, make_config
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.adversarial import relativistic_loss
from ntir2dc.methods.morngan.networks import Networks
from ntir2dc.methods.todaygan import make_translator
from ntir2dc.run.weights import load_translator
from ntir2dc.trainer import Trainer
from train_morngan import main as train

Maps = list[list[Tensor]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def test_sizes_of_the_published_networks() -> None:
    with torch.device("meta"):
        networks = Networks(make_config("flir", method="todaygan").networks, 19, 0, segmenters=False)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.named_children()}
    assert sizes == {
        **dict.fromkeys(("encoder_a", "encoder_b"), 5_099_143),
        **dict.fromkeys(("decoder_a", "decoder_b"), 6_565_770),
        **dict.fromkeys(("discriminator_a", "discriminator_b"), 16_698_201),
    }
    assert sum(sizes.values()) == 56_726_228


def test_the_translator_equals_a_forward_written_out() -> None:
    translator = make_translator(4, 2, 3, "instance").double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in translator.parameters():
            p.copy_(torch.rand(p.shape, generator=generator, dtype=p.dtype) * 0.6 - 0.2)
    take = iter(translator.parameters())

    def normed(y: Tensor) -> Tensor:
        centered = y - y.mean((2, 3), keepdim=True)
        return centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

    def conv(y: Tensor, reflect: int = 0, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(nn.ReflectionPad2d(reflect)(y), next(take), next(take), stride, padding)

    def active(y: Tensor) -> Tensor:
        return torch.where(y > 0, y, next(take) * y)

    def blocks(y: Tensor, n: int) -> Tensor:
        for _ in range(n):
            y = y + normed(conv(active(normed(conv(y, 1))), 1))
        return y

    def doubled(y: Tensor) -> Tensor:
        """The adjoint of a 4x4 convolution of stride 2: zeros between and around, the kernel turned."""
        weight, bias = next(take), next(take)
        B, C, h, w = y.shape
        spread = torch.zeros(B, C, 2 * h + 3, 2 * w + 3, dtype=y.dtype)
        spread[..., 2:-1:2, 2:-1:2] = y
        return F.conv2d(spread, weight.flip(2, 3).transpose(0, 1), bias)

    x = torch.rand(2, 3, 12, 16, dtype=torch.float64, generator=generator) * 2 - 1
    y = active(normed(conv(x, reflect=3)))
    for _ in range(2):
        y = active(normed(conv(y, stride=2, padding=1)))
    y = blocks(blocks(y, 2), 3)
    for _ in range(2):
        y = active(normed(doubled(y)))
    expected = conv(y, reflect=3).tanh()
    assert next(take, None) is None
    torch.testing.assert_close(translator(x), expected, rtol=1e-9, atol=1e-11)


def test_the_adversarial_loss_by_hand() -> None:
    def maps(*values: float) -> list[Tensor]:
        return [torch.full((1, 1, 2, 2), float(value)) for value in values]

    real, fake = [maps(1, 0), maps(2)], [maps(0, 1), maps(0)]
    # (1 * (1 - 0 - 1)^2 + 3 * (0 - 1 - 1)^2) / (2 * 4) and 2 * (2 - 0 - 1)^2 / (1 * 2)
    assert relativistic_loss(real, fake, "discriminator").item() == pytest.approx((12 / 8 + 1) / 2)
    # (1 * (1 - 0 + 1)^2 + 3 * (0 - 1 + 1)^2) / 8 and (2 - 0 + 1)^2
    assert relativistic_loss(real, fake, "generator").item() == pytest.approx((4 / 8 + 9) / 2)


def relativistic(real: Maps, fake: Maps, sign: int) -> Tensor:
    """One side's loss by loops; on the generators' real scores are constants."""
    total = torch.zeros((), dtype=torch.float64)
    for of_real, of_fake in zip(real, fake, strict=True):
        n = len(of_real)
        weights = [s + 1 + (s == n - 1) for s in range(n)]
        for weight, r, f in zip(weights, of_real, of_fake, strict=True):
            r = r.detach() if sign == 1 else r
            total = total + weight * ((r - f + sign) ** 2).mean() / (n * sum(weights))
    return total / len(real)


def test_a_step_is_the_published_one_written_out(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="todaygan", precision="64-true", pool=0)
    trainer = Trainer(config, data, say=quiet)
    assert config.lr_schedule == "linear_late"
    assert config.dataset == dataclasses.replace(config.dataset, crop=32)
    batch = next(iter(trainer.loader(0, 0)))
    a, b = batch["real_a"].double(), batch["real_b"].double()
    e_a, e_b, dec_a, dec_b, d_a, d_b = trainer.method.networks.children()
    fake_b, fake_a = dec_b(e_a(a)), dec_a(e_b(b))

    def smooth(x: Tensor, y: Tensor) -> Tensor:
        distance = (x - y).abs()
        return torch.where(distance < 1, distance**2 / 2, distance - 0.5).mean()

    terms = {
        "adv": relativistic(d_b(b), d_b(fake_b), 1) + relativistic(d_a(a), d_a(fake_a), 1),
        "cyc": 10 * (smooth(dec_a(e_b(fake_b)), a) + smooth(dec_b(e_a(fake_a)), b)),
    }
    disc = {
        f"disc_{name}": relativistic(d(real), d(fake.detach()), -1) / 2
        for name, d, real, fake in (("a", d_a, a, fake_a), ("b", d_b, b, fake_b))
    }
    halves = [p for network in (e_a, e_b, dec_a, dec_b) for p in network.parameters()]
    discriminators = [p for d in (d_a, d_b) for p in d.parameters()]
    expected = [
        *torch.autograd.grad(sum(terms.values()), halves),
        *torch.autograd.grad(sum(disc.values()), discriminators),
    ]
    values = trainer.training_step(batch, 0)
    for name, term in {**terms, **disc, "total": sum(terms.values())}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-12), name
    for parameter, gradient in zip((*halves, *discriminators), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-13)


def test_each_image_is_scored_once(data: TrainingData, tmp_path: Path) -> None:
    options = ToDayGANOptions(lambda_cyc=0.0)
    trainer = Trainer(tiny_config(tmp_path, method="todaygan", todaygan=options), data, say=quiet)
    passes: list[int] = []
    trainer.method.networks.discriminator_a.register_forward_hook(lambda *_: passes.append(1))
    assert trainer.training_step(next(iter(trainer.loader(0, 0))), 0)["cyc"] == 0
    assert len(passes) == 3  # the real image, its rival, and one from the pool


def test_parts_of_a_batch_give_the_gradients_of_the_whole(data: TrainingData, tmp_path: Path) -> None:
    def gradients(accumulate: int) -> list[Tensor | None]:
        config = tiny_config(tmp_path, method="todaygan", precision="64-true", batch_size=2, accumulate=accumulate)
        trainer = Trainer(config, data, say=quiet)
        trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
        return [p.grad for p in trainer.method.networks.parameters()]

    for whole, parts in zip(gradients(1), gradients(2), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-13)


def test_a_stopped_run_goes_on_to_the_bit_and_is_used(data_folder: Path, tmp_path: Path) -> None:
    options = ["--preset=mini", "--method=todaygan", f"--data={data_folder}", *TINY, "--epochs=4"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train([*options, f"--out={whole}"]) == 0
    assert train([*options, f"--out={stopped}", "--max_steps=6"]) == 0  # where the learning rate falls
    assert train([*options, f"--out={stopped}", "--resume"]) == 0
    assert outcome(stopped) == outcome(whole)
    rows = rows_without_seconds(whole)
    assert list(rows[0]) == [*("step", "epoch", "phase", "adv", "cyc", "total", "disc_a", "disc_b")]

    night = data_folder / "valB"
    assert colorize(night, tmp_path / "day", whole) == 0
    assert len(list((tmp_path / "day").iterdir())) == len(list(night.iterdir()))
    translator: Callable[[Tensor], Tensor] = load_translator(whole)
    assert translator(torch.zeros(1, 3, 16, 8)).shape == (1, 3, 16, 8)
    assert evaluate(whole) == 0
    assert (whole / "metrics.md").is_file()
