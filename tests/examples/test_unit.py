"""UNIT as a method of the trainer: networks, noise and losses written out, exact resume, and what a run is used for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorize import main as colorize
from evaluate import main as evaluate
from helpers.small_folder import write_folder
from helpers.tiny_run import TINY, outcome, quiet, rows_without_seconds, tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.config import DataOptions, make_config
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.methods.adversarial import should_be
from ntir2dc.methods.unit import Networks, make_translator
from ntir2dc.networks import MultiScaleDiscriminator, UNITDecoder, init_weights
from ntir2dc.networks.blocks import LayerNorm
from ntir2dc.run.weights import load_translator
from ntir2dc.seeds import seeded
from ntir2dc.trainer import Trainer
from train_morngan import main as train

CROP = DataOptions(crop=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data", size=(64, 72))


@pytest.fixture(scope="module")
def data(folder: Path) -> TrainingData:
    return prepare_training_data(folder, folder.parent / "cache", CITYSCAPES, crop=64)


def scattered(network: nn.Module) -> nn.Module:
    """Return a network in double precision, all its numbers random."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.double().parameters():
            p.copy_(torch.rand(p.shape, generator=generator, dtype=p.dtype) * 0.6 - 0.2)
    return network


def conv(y: Tensor, weight: Tensor, bias: Tensor, reflect: int, stride: int = 1) -> Tensor:
    return F.conv2d(nn.ReflectionPad2d(reflect)(y), weight, bias, stride)


def test_sizes_of_the_published_networks() -> None:
    config = make_config("flir", method="unit")
    with torch.device("meta"):
        networks = Networks(config.networks, 0)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.named_children()}
    assert sizes == {
        **dict.fromkeys(("encoder_a", "encoder_b"), 5_385_856),
        **dict.fromkeys(("decoder_a", "decoder_b"), 5_754_627),
        **dict.fromkeys(("discriminator_a", "discriminator_b"), 8_271_171),
    }
    assert sum(sizes.values()) == 38_823_308
    assert (config.lr, config.weight_decay, config.lr_schedule, config.lr_halve_every) == (1e-4, 1e-4, "step", 100_000)


def test_the_translator_equals_a_forward_written_out() -> None:
    translator = scattered(make_translator(4, 2, 3))
    take = iter(translator.parameters())

    def instance_normed(y: Tensor) -> Tensor:
        centered = y - y.mean((2, 3), keepdim=True)
        return centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

    def layer_normed(y: Tensor) -> Tensor:
        gain, bias = next(take), next(take)
        samples = []
        for sample in y:
            centered = sample - sample.mean()
            deviation = (centered.square().sum() / (sample.numel() - 1)).sqrt()
            samples.append(centered / (deviation + 1e-5) * gain[:, None, None] + bias[:, None, None])
        return torch.stack(samples)

    def blocks(y: Tensor, n: int) -> Tensor:
        for _ in range(n):
            inner = instance_normed(conv(y, next(take), next(take), 1)).relu()
            y = y + instance_normed(conv(inner, next(take), next(take), 1))
        return y

    x = torch.rand(2, 3, 12, 16, dtype=torch.float64) * 2 - 1
    y = instance_normed(conv(x, next(take), next(take), 3)).relu()
    for _ in range(2):
        y = instance_normed(conv(y, next(take), next(take), 1, stride=2)).relu()
    y = blocks(blocks(y, 2), 3)
    for _ in range(2):
        y = conv(y.repeat_interleave(2, 2).repeat_interleave(2, 3), next(take), next(take), 2)
        y = layer_normed(y).relu()
    expected = conv(y, next(take), next(take), 3).tanh()
    assert next(take, None) is None
    torch.testing.assert_close(translator(x), expected, rtol=1e-9, atol=1e-11)


def test_the_discriminator_equals_a_forward_written_out() -> None:
    discriminator = scattered(MultiScaleDiscriminator(4, slope=0.1))
    weights = iter(discriminator.parameters())
    x = torch.rand(2, 3, 64, 76, dtype=torch.float64) * 2 - 1
    expected, seen = [], x
    for _ in range(3):
        y = seen
        for _ in range(4):
            y = conv(y, next(weights), next(weights), 1, stride=2)
            y = torch.where(y > 0, y, 0.1 * y)
        expected.append([F.conv2d(y, next(weights), next(weights))])
        # every second pixel's 3x3 neighborhood, as far as it lies in the image
        inside = F.pad(torch.ones_like(seen), (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5))
        seen = F.pad(seen, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5)) / inside
    torch.testing.assert_close(discriminator(x), expected, rtol=1e-9, atol=1e-11)
    sides = [m.shape[2:] for (m,) in MultiScaleDiscriminator(1)(torch.rand(1, 3, 256, 256))]
    assert sides == [(16, 16), (8, 8), (4, 4)]


def test_least_squares_are_summed_over_the_scales() -> None:
    maps = [[torch.tensor([[0.0, 3.0]])], [torch.tensor([2.0])]]
    assert should_be(maps, 1).item() == (1 + 4) / 2 + 1


def test_layer_norm_of_a_flat_sample_has_a_gradient() -> None:
    x = torch.full((1, 2, 3, 3), 0.5, requires_grad=True)
    y = LayerNorm(2)(x)
    y.sum().backward()
    assert y.abs().max() == 0
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_initial_gains_are_anywhere_below_one() -> None:
    decoder = UNITDecoder(64, 0)
    init_weights(decoder, "he", generator=torch.Generator().manual_seed(0))
    gains = torch.cat([m.gain for m in decoder.modules() if isinstance(m, LayerNorm)])
    assert gains.shape == (128 + 64,)
    assert 0 <= gains.min() < 0.1
    assert 0.9 < gains.max() < 1
    assert gains.mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_step_is_the_published_one_written_out(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="unit", precision="64-true", dataset=CROP, seed=3)
    trainer = Trainer(config, data, say=quiet)
    trainer.step = 5
    batch = next(iter(trainer.loader(0, 0)))
    a, b = batch["real_a"].double(), batch["real_b"].double()
    e_a, e_b, dec_a, dec_b, d_a, d_b = copy.deepcopy(trainer.method.networks).children()

    def noise(use: int) -> Tensor:
        draws = torch.Generator().manual_seed(seeded(3, 7, 5, 0, use).initial_seed())
        return torch.randn(16, 16, 16, generator=draws)[None].double()

    def squares(discriminator: nn.Module, x: Tensor, target: float) -> Tensor:
        return sum((m - target).square().mean() for (m,) in discriminator(x))  # type: ignore[return-value]

    fake_b, fake_a = dec_b(e_a(a) + noise(0)).detach(), dec_a(e_b(b) + noise(1)).detach()
    disc = {
        "disc_a": squares(d_a, fake_a, 0) + squares(d_a, a, 1),
        "disc_b": squares(d_b, fake_b, 0) + squares(d_b, b, 1),
    }
    discriminators = [p for d in (d_a, d_b) for p in d.parameters()]
    of_discriminators = torch.autograd.grad(sum(disc.values()), discriminators)
    optimizer = torch.optim.Adam(discriminators, lr=config.lr, betas=(0.5, 0.999), weight_decay=1e-4)
    for p, gradient in zip(discriminators, of_discriminators, strict=True):
        p.grad = gradient
    optimizer.step()

    h_a, h_b, n_a, n_b = e_a(a), e_b(b), noise(2), noise(3)
    fake_b, fake_a = dec_b(h_a + n_a), dec_a(h_b + n_b)
    back_a, back_b = e_b(fake_b), e_a(fake_a)
    terms = {
        "adv": squares(d_b, fake_b, 1) + squares(d_a, fake_a, 1),
        "rec": 10 * ((dec_a(h_a + n_a) - a).abs().mean() + (dec_b(h_b + n_b) - b).abs().mean()),
        "kl": 0.01 * (h_a.square().mean() + h_b.square().mean()),
        "cyc": 10 * ((dec_a(back_a + noise(4)) - a).abs().mean() + (dec_b(back_b + noise(5)) - b).abs().mean()),
        "kl_cyc": 0.01 * (back_a.square().mean() + back_b.square().mean()),
    }
    halves = [p for network in (e_a, e_b, dec_a, dec_b) for p in network.parameters()]
    expected = [*torch.autograd.grad(sum(terms.values()), halves), *of_discriminators]

    values = trainer.training_step(batch, 0)
    for name, term in {**terms, **disc, "total": sum(terms.values())}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-12), name
    for parameter, gradient in zip(trainer.method.networks.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"checkpointing": True}], ids=["in_parts", "checkpointing"])
def test_the_noise_and_the_gradients_stay_the_same(
    data: TrainingData, tmp_path: Path, options: dict[str, int | bool]
) -> None:
    def gradients(accumulate: int = 1, checkpointing: bool = False) -> list[Tensor | None]:
        config = tiny_config(
            tmp_path, method="unit", precision="64-true", dataset=CROP, batch_size=2, accumulate=accumulate
        )
        trainer = Trainer(config, data, say=quiet)
        for half in trainer.method.generators().values():
            half.checkpointing = checkpointing
        torch.manual_seed(accumulate)
        trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
        return [p.grad for p in trainer.method.networks.parameters()]

    for plain, other in zip(gradients(), gradients(**options), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(other, plain, rtol=1e-8, atol=1e-12)


def test_a_crop_that_is_too_small_is_told(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.crop: expected at least 64, got 60"):
        Trainer(tiny_config(tmp_path, method="unit", dataset=DataOptions(crop=60)), data, say=quiet)


def test_a_stopped_run_goes_on_to_the_bit_and_is_used(folder: Path, tmp_path: Path) -> None:
    options = ["--preset=mini", "--method=unit", f"--data={folder}", *TINY]
    options += ["--dataset.crop=64", "--epochs=2", "--lr_halve_every=2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train([*options, f"--out={whole}"]) == 0
    assert train([*options, f"--out={stopped}", "--max_steps=2"]) == 0  # where the learning rate falls
    assert train([*options, f"--out={stopped}", "--resume"]) == 0
    assert outcome(stopped) == outcome(whole)
    (row, *_) = rows_without_seconds(whole)
    terms = ("adv", "rec", "kl", "cyc", "kl_cyc")
    assert list(row) == [*("step", "epoch", "phase"), *terms, "total", "disc_a", "disc_b"]
    assert float(row["total"]) == pytest.approx(sum(float(row[name]) for name in terms))

    night = folder / "valB"
    assert colorize(night, tmp_path / "day", whole) == 0
    assert len(list((tmp_path / "day").iterdir())) == len(list(night.iterdir()))
    translator: Callable[[Tensor], Tensor] = load_translator(whole)
    x = torch.rand(1, 3, 16, 8)
    assert translator(x).shape == x.shape
    assert torch.equal(translator(x), translator(x))  # without noise
    assert evaluate(whole) == 0
    assert (whole / "metrics.md").is_file()
