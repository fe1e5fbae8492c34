"""ForkGAN as a method of the trainer: networks and losses written out, exact resume, and what a run is used for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorize import main as colorize
from evaluate import main as evaluate
from helpers.small_folder import write_folder
from helpers.tiny_run import NETWORKS, TINY, gradients_of_a_step, outcome, quiet, rows_without_seconds, tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.config import DataOptions, make_config
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.methods.forkgan import Networks, make_translator
from ntir2dc.networks import CrossedDiscriminator, DomainClassifier, ForkDecoder
from ntir2dc.networks.blocks import ResidualBlock
from ntir2dc.optimizers import lr_factor
from ntir2dc.run.weights import load_translator
from ntir2dc.seeds import Stream, seeded
from ntir2dc.trainer import Trainer
from train_morngan import main as train

CROP = DataOptions(crop=36)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def data(folder: Path) -> TrainingData:
    return prepare_training_data(folder, folder.parent / "cache", CITYSCAPES, crop=36)


def test_sizes_of_the_published_networks() -> None:
    with torch.device("meta"):
        networks = Networks(make_config("flir", method="forkgan").networks, 0)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.named_children()}
    assert sizes == {
        **dict.fromkeys(("encoder_ab", "encoder_ba"), 6_282_304),
        **dict.fromkeys(
            (f"decoder_{kind}_{way}" for kind in ("translate", "reconstruct") for way in ("ab", "ba")), 5_101_120
        ),
        "classifier": 723_456,
        **dict.fromkeys(("discriminator_a", "discriminator_b"), 6 * 2_783_040),
    }
    assert sum(sizes.values()) == 67_089_024


def test_the_rate_falls_as_published() -> None:
    config = dataclasses.replace(make_config("flir", method="forkgan"), epochs=20)
    published = [1.0] * 10 + [(20 - e) / 10 for e in range(10, 20)]
    assert [lr_factor(config, e, 1) for e in range(20)] == pytest.approx(published)


def test_initial_weights() -> None:
    networks = Networks(make_config("demo", method="forkgan").networks, 0)
    blocks = [m for m in networks.modules() if isinstance(m, ResidualBlock)]
    residual = torch.cat([p.flatten() for block in blocks for p in block.parameters() if p.ndim == 4])
    inside = {id(p) for block in blocks for p in block.parameters()}
    others = torch.cat([p.flatten() for p in networks.parameters() if p.ndim == 4 and id(p) not in inside])
    assert residual.std().item() == pytest.approx(0.02, rel=0.02)
    assert residual.abs().max() > 0.06
    # a normal cut off at twice its deviation has 0.88 of it
    assert others.std().item() == pytest.approx(0.88 * 0.02, rel=0.02)
    assert others.abs().max() <= 0.04
    norms = [m for m in networks.modules() if isinstance(m, nn.InstanceNorm2d)]
    gains = torch.cat([m.weight for m in norms])
    assert (gains.mean().item(), gains.std().item()) == pytest.approx((1, 0.02), rel=0.1)
    assert all(m.bias.eq(0).all() for m in norms)
    assert not any(m.bias is not None for m in networks.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))


# ---- networks --------------------------------------------------------------------------------------------------------


def scattered(network: nn.Module) -> nn.Module:
    """Return a network in double precision, all its numbers random."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.double().parameters():
            p.copy_(torch.rand(p.shape, generator=generator, dtype=p.dtype) * 0.6 - 0.2)
    return network


def normed(y: Tensor, take: Iterator[Tensor]) -> Tensor:
    centered = y - y.mean((2, 3), keepdim=True)
    y = centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    return y * next(take)[:, None, None] + next(take)[:, None, None]


def same(y: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's padding, by kernel, stride and whether a side is odd."""
    zeros = {
        (3, 1, 0): (1, 1),
        (3, 1, 1): (1, 1),
        (3, 2, 0): (0, 1),
        (4, 1, 0): (1, 2),
        (4, 1, 1): (1, 2),
        (4, 2, 0): (1, 1),
        (4, 2, 1): (1, 2),
    }
    rows, columns = (zeros[weight.shape[-1], stride, side % 2] for side in y.shape[-2:])
    return F.conv2d(F.pad(y, (*columns, *rows)), weight, stride=stride)


def blocks(y: Tensor, n: int, take: Iterator[Tensor]) -> Tensor:
    for _ in range(n):
        inner = normed(same(y, next(take), 1), take).relu()
        y = y + normed(same(inner, next(take), 1), take)
    return y


def decoded(y: Tensor, n: int, take: Iterator[Tensor], noise: Tensor | float = 0.0) -> Tensor:
    y = blocks(blocks(y, 1, take) + noise, n - 1, take)
    for _ in range(2):
        weight = next(take)
        B, C, h, w = y.shape
        spread = torch.zeros(B, C, 2 * h + 3, 2 * w + 3, dtype=y.dtype)
        spread[..., 2:-2:2, 2:-2:2] = y
        y = F.conv2d(spread, weight.flip(2, 3).transpose(0, 1))[..., :-1, :-1]
        y = normed(y, take).relu()
    return F.conv2d(nn.ReflectionPad2d(3)(y), next(take)).tanh()


def encoded(x: Tensor, n: int, take: Iterator[Tensor]) -> Tensor:
    y = normed(F.conv2d(nn.ReflectionPad2d(3)(x), next(take)), take).relu()
    for _ in range(2):
        y = normed(same(y, next(take), 2), take).relu()
    return blocks(y, n, take)


@pytest.mark.parametrize("output", ["refined", "translated"])
def test_the_translator_equals_a_forward_written_out(output: str) -> None:
    translator = scattered(make_translator(4, 1, 2, output))  # type: ignore[arg-type]
    take = iter(translator.parameters())
    x = torch.rand(2, 3, 12, 20, dtype=torch.float64) * 2 - 1
    expected = decoded(encoded(x, 1, take), 2, take)
    if output == "refined":
        expected = decoded(encoded(expected, 1, take), 2, take)
    assert next(take, None) is None
    torch.testing.assert_close(translator(x), expected, rtol=1e-8, atol=1e-10)


def test_noise_joins_after_the_first_block() -> None:
    decoder = scattered(ForkDecoder(4, 2))
    features, noise = torch.randn(2, 1, 16, 3, 5, dtype=torch.float64)
    expected = decoded(features, 2, iter(decoder.parameters()), noise)
    torch.testing.assert_close(decoder(features, noise), expected, rtol=1e-8, atol=1e-10)


def leaky(y: Tensor, weight: Tensor, stride: int, take: Iterator[Tensor]) -> Tensor:
    y = normed(same(y, weight, stride), take)
    return torch.where(y > 0, y, 0.2 * y)


def test_the_discriminator_equals_a_forward_written_out() -> None:
    discriminator = scattered(CrossedDiscriminator(2))
    names = dict(discriminator.named_parameters())
    x = torch.rand(1, 3, 36, 52, dtype=torch.float64) * 2 - 1
    fine, coarse = x, x[..., 0::2, 0::2]
    for level in range(4):
        to_fine, to_coarse = (
            iter([p for name, p in names.items() if name.startswith(f"{stream}.{level}.")])
            for stream in ("to_fine", "to_coarse")
        )
        new_fine = leaky(coarse, next(to_fine), 1, to_fine)
        halved = leaky(fine, next(to_coarse), 2, to_coarse)
        fine, coarse = new_fine, leaky(halved, next(to_coarse), 2, to_coarse)
    expected = [same(fine, names["last_fine.weight"], 1), same(coarse, names["last_coarse.weight"], 1)]
    torch.testing.assert_close(discriminator(x), expected, rtol=1e-8, atol=1e-10)
    sides = [m.shape[2:] for m in CrossedDiscriminator(1)(torch.rand(1, 3, 256, 256))]
    assert sides == [(16, 16), (8, 8)]


def test_the_classifier_equals_a_forward_written_out() -> None:
    classifier = scattered(DomainClassifier(4))
    take = iter(classifier.parameters())
    y = x = torch.randn(2, 16, 9, 13, dtype=torch.float64)
    for _ in range(3):
        y = leaky(y, next(take), 2, take)
    expected = same(y, next(take), 1).mean((2, 3))
    assert expected.shape == (2, 2)
    torch.testing.assert_close(classifier(x), expected, rtol=1e-8, atol=1e-10)


# ---- a step ----------------------------------------------------------------------------------------------------------


def test_a_step_is_the_published_one_written_out(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="forkgan", precision="64-true", dataset=CROP, pool=0, seed=3)
    trainer = Trainer(config, data, say=quiet)
    trainer.step = 5
    batch = next(iter(trainer.loader(0, 0)))
    a, b = batch["real_a"].double(), batch["real_b"].double()
    networks = copy.deepcopy(trainer.method.networks)
    e_ab, e_ba, tr_ab, tr_ba, rec_ab, rec_ba, classifier, d_a, d_b = networks.children()

    def noise(use: int) -> Tensor:
        draws = torch.Generator().manual_seed(seeded(3, Stream.NOISE, 5, 0, use).initial_seed())
        return 0.02 * torch.randn(16, 9, 9, generator=draws)[None].double()

    def squares(judges: nn.Module, role: str, x: Tensor, target: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for discriminator in judges[role]:  # type: ignore[index]
            fine, coarse = discriminator(x)
            total = total + ((fine - target).square().mean() + (coarse - target).square().mean()) / 2
        return total

    def crossed(code: Tensor, domain: str) -> Tensor:
        of_a, of_b = classifier(code).sigmoid().unbind(1)
        return -((of_a.log() + (1 - of_b).log()) if domain == "a" else ((1 - of_a).log() + of_b.log())).mean() / 2

    code_a = e_ab(a) + noise(4)
    fake_b, own_a = tr_ab(e_ab(a)), rec_ab(code_a, noise(5))
    code_fb = e_ba(fake_b) + noise(6)
    cycle_a, refined_b = tr_ba(e_ba(fake_b)), rec_ba(code_fb, noise(7))
    code_b = e_ba(b) + noise(0)
    fake_a, own_b = tr_ba(e_ba(b)), rec_ba(code_b, noise(1))
    code_fa = e_ab(fake_a) + noise(2)
    cycle_b, refined_a = tr_ab(e_ab(fake_a)), rec_ab(code_fa, noise(3))
    kinds = {"translated": (fake_a, fake_b), "reconstructed": (own_a, own_b), "refined": (refined_a, refined_b)}

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean()

    terms = {
        name: (squares(d_a, role, kinds[role][0], 1) + squares(d_b, role, kinds[role][1], 1)) / 2
        for name, role in (("adv", "translated"), ("adv_rec", "reconstructed"), ("adv_ref", "refined"))
    }
    terms |= {
        "cyc": 10 * (distance(cycle_a, a) + distance(cycle_b, b)),
        "rec": 10 * (distance(own_a, a) + distance(own_b, b)),
        "per": distance(code_a.mean(1), code_fb.mean(1)) + distance(code_b.mean(1), code_fa.mean(1)),
        "cls": (crossed(code_fa, "a") + crossed(code_fb, "b")) / 2,
    }
    codes = ((code_a, "a"), (code_b, "b"), (code_fb, "a"), (code_fa, "b"))
    others = {"classifier": sum(crossed(code.detach(), domain) for code, domain in codes) / 4}
    for name, judges, real, place in (("disc_a", d_a, a, 0), ("disc_b", d_b, b, 1)):
        others[name] = sum(  # type: ignore[assignment]
            (squares(judges, role, real, 1) + squares(judges, role, fakes[place].detach(), 0)) / 2
            for role, fakes in kinds.items()
        )
    halves = [p for network in (e_ab, e_ba, tr_ab, tr_ba, rec_ab, rec_ba) for p in network.parameters()]
    helpers = [p for network in (classifier, d_a, d_b) for p in network.parameters()]
    expected = [
        *torch.autograd.grad(sum(terms.values()), halves),  # type: ignore[arg-type]
        *torch.autograd.grad(sum(others.values()), helpers),  # type: ignore[arg-type]
    ]
    values = trainer.training_step(batch, 0)
    assert set(values) == {*terms, *others, "total"}
    for name, term in {**terms, **others, "total": sum(terms.values())}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-12), name  # type: ignore[union-attr]
    for parameter, gradient in zip(trainer.method.networks.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)


def test_the_noise_and_the_gradients_stay_the_same(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="forkgan", precision="64-true", dataset=CROP, batch_size=2, networks=NETWORKS)
    checkpointing = dataclasses.replace(NETWORKS, checkpointing=True)
    plain, in_parts, twice = (
        gradients_of_a_step(dataclasses.replace(config, **changes), data, 0)  # type: ignore[arg-type]
        for changes in ({}, {"accumulate": 2}, {"networks": checkpointing})
    )
    torch.testing.assert_close(in_parts, plain, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(twice, plain, rtol=1e-8, atol=1e-12)


# ---- a run -----------------------------------------------------------------------------------------------------------


def test_a_crop_that_is_too_small_is_told(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.crop: expected at least 36, got 32"):
        Trainer(tiny_config(tmp_path, method="forkgan", dataset=DataOptions(crop=32)), data, say=quiet)


def test_a_stopped_run_goes_on_to_the_bit_and_is_used(folder: Path, tmp_path: Path) -> None:
    options = ["--preset=mini", "--method=forkgan", f"--data={folder}", *TINY]
    options += ["--dataset.crop=36", "--epochs=2", "--lr_decay_start=0"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train([*options, f"--out={whole}"]) == 0
    assert train([*options, f"--out={stopped}", "--max_steps=3"]) == 0  # where the learning rate falls
    assert train([*options, f"--out={stopped}", "--resume"]) == 0
    assert outcome(stopped) == outcome(whole)
    (row, *_) = rows_without_seconds(whole)
    terms = ("adv", "adv_rec", "adv_ref", "cyc", "rec", "per", "cls")
    assert list(row) == [*("step", "epoch", "phase"), *terms, "total", "classifier", "disc_a", "disc_b"]
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


def test_the_translation_alone_can_be_the_output(data: TrainingData, tmp_path: Path) -> None:
    base = tiny_config(tmp_path, method="forkgan", dataset=CROP)
    x = torch.rand(1, 3, 16, 8)
    outputs = []
    for output in ("refined", "translated"):
        options = dataclasses.replace(base.forkgan, output=output)
        config = dataclasses.replace(base, out=str(tmp_path / output), forkgan=options)
        trainer = Trainer(config, data, say=quiet)
        trainer.save()
        _, to_day = trainer.method.translators(trainer.method.generators())
        outputs.append(load_translator(tmp_path / output)(x))
        torch.testing.assert_close(outputs[-1], to_day(x))
    assert not torch.equal(*outputs)
