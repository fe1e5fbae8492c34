"""DRIT++ as a method of the trainer: networks, losses and a step written out, exact resume, and the use of a run."""

from __future__ import annotations

import copy
import dataclasses
import math
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
from ntir2dc.methods.adversarial import entropy_to
from ntir2dc.methods.drit import Networks, make_translator
from ntir2dc.methods.drit.method import divergence, judge, sameness
from ntir2dc.networks.drit import ContentDiscriminator, StyleEncoder
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


def leaky(y: Tensor, slope: float) -> Tensor:
    return torch.where(y > 0, y, slope * y)


def test_sizes_of_the_published_networks() -> None:
    config = make_config("flir", method="drit")
    with torch.device("meta"):
        networks = Networks(config)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.named_children()}
    assert sizes == {
        **dict.fromkeys(("encoder_a", "encoder_b"), 3_918_976),
        **dict.fromkeys(("encoder_shared", "decoder_shared"), 1_180_160),
        **dict.fromkeys(("decoder_a", "decoder_b"), 4_192_275),
        **dict.fromkeys(("style_a", "style_b"), 1_344_080),
        **dict.fromkeys(("discriminator_a", "discriminator_b", "second_a", "second_b"), 8_271_171),
        "content_discriminator": 10_683_649,
    }
    assert sum(sizes.values()) == 65_039_315
    assert sum(p.numel() for p in networks.saved().parameters()) == 18_582_822
    assert (config.lr, config.weight_decay, config.lr_schedule, config.batch_size) == (1e-4, 1e-4, "linear", 6)


def test_the_translator_equals_a_forward_written_out() -> None:
    translator = scattered(make_translator(4, 2, 1, 3))
    take = iter(translator.parameters())

    def normed(y: Tensor, dims: tuple[int, ...] = (2, 3)) -> Tensor:
        centered = y - y.mean(dims, keepdim=True)
        return centered / (centered.square().mean(dims, keepdim=True) + 1e-5).sqrt()

    def conv(y: Tensor, reflect: int, stride: int = 1) -> Tensor:
        return F.conv2d(nn.ReflectionPad2d(reflect)(y), next(take), next(take), stride)

    def block(y: Tensor) -> Tensor:
        return y + normed(conv(normed(conv(y, 1)).relu(), 1))

    def doubled(y: Tensor) -> Tensor:
        """The adjoint of a 3x3 convolution of stride 2: zeros between, and a row and a column after."""
        weight, bias = next(take), next(take)
        B, C, h, w = y.shape
        spread = torch.zeros(B, C, 2 * h + 2, 2 * w + 2, dtype=y.dtype)
        spread[..., 1:-1:2, 1:-1:2] = y
        y = normed(F.conv2d(spread, weight.flip(2, 3).transpose(0, 1), bias), (1, 2, 3))
        return (y * next(take)[:, None, None] + next(take)[:, None, None]).relu()

    def styled(y: Tensor) -> Tensor:
        return torch.cat((y, *(torch.full_like(y[:, :1], number) for number in style)), 1)

    x = torch.rand(1, 3, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for style in ((0.0, 0.0, 0.0), (0.5, -1.0, 2.0)):
        take = iter(translator.parameters())
        y = leaky(conv(x, 3), 0.01)
        for _ in range(2):
            y = normed(conv(y, 1, stride=2)).relu()
        content = block(block(block(y)))  # two, and the shared one
        y = doubled(styled(doubled(styled(block(styled(block(content)))))))
        expected = F.conv2d(styled(y), next(take).transpose(0, 1), next(take)).tanh()
        assert next(take, None) is None
        assert isinstance(translator, nn.Sequential)
        encoder, shared, block_of_decoders, decoder = translator
        found = decoder(block_of_decoders(shared(encoder(x))), torch.tensor([style], dtype=torch.float64))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        if not any(style):
            torch.testing.assert_close(translator(x), expected, rtol=1e-9, atol=1e-11)


def test_styles_equal_a_forward_written_out() -> None:
    encoder = scattered(StyleEncoder(2, 3))
    take = iter(encoder.parameters())

    def conv(y: Tensor, reflect: int, stride: int = 1) -> Tensor:
        return F.conv2d(nn.ReflectionPad2d(reflect)(y), next(take), next(take), stride)

    def pooled(y: Tensor) -> Tensor:
        return (y[..., ::2, ::2] + y[..., 1::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4

    x = torch.rand(2, 3, 32, 16, dtype=torch.float64) * 2 - 1
    y = conv(x, 1, stride=2)
    for _ in range(3):
        inner = pooled(conv(leaky(conv(leaky(y, 0.2), 1), 0.2), 1))
        y = inner + conv(pooled(y), 0)
    features = leaky(y, 0.2).mean((2, 3))
    expected = tuple(features @ next(take).T + next(take) for _ in range(2))
    assert next(take, None) is None
    torch.testing.assert_close(encoder(x), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("padded", "side", "scores"), [(False, 53, 1), (False, 64, 2), (True, 16, 1), (True, 24, 2)])
def test_the_content_discriminator_equals_a_forward_written_out(padded: bool, side: int, scores: int) -> None:
    discriminator = scattered(ContentDiscriminator(1, padded=padded))
    take = iter(discriminator.parameters())
    content = y = torch.rand(2, 4, side, side, dtype=torch.float64) - 0.5
    for kernel, reflect in (*[(7, 3 if padded else 1)] * 3, (4, int(padded))):
        y = F.conv2d(nn.ReflectionPad2d(reflect)(y), next(take), next(take), 2 if kernel == 7 else 1)
        assert discriminator.state_dict()["layers.0.1.weight"].shape == (4, 4, 7, 7)
        y = leaky(y, 0.01)
    y = F.conv2d(y, next(take), next(take))
    assert y.shape == (2, 1, scores, scores)
    torch.testing.assert_close(discriminator(content), [[y]], rtol=1e-9, atol=1e-11)


def test_the_published_content_discriminator_needs_crops_of_212() -> None:
    config = make_config("flir", method="drit")
    for crop, padded in ((208, True), (212, False)):
        with torch.device("meta"):
            networks = Networks(type(config)(dataset=DataOptions(crop=crop)))
        assert (networks.content_discriminator.layers[0][0].padding == 3) == padded
    with pytest.raises(RuntimeError):
        ContentDiscriminator(1)(torch.zeros(1, 4, 52, 52))


def test_initial_biases_and_linear_layers_are_those_of_torch(tmp_path: Path) -> None:
    networks = Networks(tiny_config(tmp_path, method="drit", dataset=CROP))
    layer = networks.content_discriminator.layers[0][1]
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert 0.5 < layer.bias.abs().max().item() * math.sqrt(16 * 49) <= 1
    assert 0.9 < networks.style_a.mean.weight.abs().max().item() * math.sqrt(16) <= 1
    other = Networks(tiny_config(tmp_path, method="drit", dataset=CROP))
    assert all(torch.equal(p, q) for p, q in zip(networks.parameters(), other.parameters(), strict=True))


def test_losses_by_hand() -> None:
    def entropy(x: float, target: float) -> float:
        p = 1 / (1 + math.exp(-x))
        return -target * math.log(p) - (1 - target) * math.log(1 - p)

    maps = [[torch.tensor([0.0, 3.0])], [torch.tensor([-2.0])]]
    for target in (0, 0.5, 1):
        expected = (entropy(0, target) + entropy(3, target)) / 2 + entropy(-2, target)
        assert entropy_to(maps, target).item() == pytest.approx(expected, rel=1e-5)
    # a real image counts once for each fake
    score = nn.Module()
    score.forward = lambda x: [[x]]
    fakes = [torch.tensor([1.0]), torch.tensor([2.0])]
    expected = 2 * entropy(3, 1) + entropy(1, 0) + entropy(2, 0)
    assert judge(score, torch.tensor([3.0]), fakes).item() == pytest.approx(expected, rel=1e-5)

    mean, log_variance = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 0.0], [math.log(2), 0.0]])
    assert divergence(mean, log_variance).item() == pytest.approx((1 / 2 + (2 - 1 - math.log(2) + 4) / 2) / 2)

    r1, r2 = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.5)
    r2[1] = 0
    z1, z2 = torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    assert sameness(r1, r2, z1, z2).item() == pytest.approx((1 / (0.5 / 1 + 1e-5) + 1 / 1e-5) / 2)


def test_a_step_is_the_published_one_written_out(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="drit", precision="64-true", dataset=CROP, seed=3)
    trainer = Trainer(config, data, say=quiet)
    trainer.step = 5
    batch = next(iter(trainer.loader(0, 0)))
    a, b = batch["real_a"].double(), batch["real_b"].double()
    mine = copy.deepcopy(trainer.method.networks)
    assert isinstance(mine, Networks)
    d_a, d_b, second_a, second_b = mine.discriminators()
    d_c = mine.content_discriminator

    def noise(use: int, *shape: int) -> Tensor:
        draws = torch.Generator().manual_seed(seeded(3, 7, 5, 0, use).initial_seed())
        return torch.randn(*shape, generator=draws)[None].double()

    def content(encoder: nn.Module, x: Tensor, use: int) -> Tensor:
        return mine.encoder_shared(encoder(x)) + noise(use, 16, 16, 16)  # type: ignore[no-any-return]

    def style(encoder: nn.Module, x: Tensor, use: int) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = encoder(x)
        return mean + log_variance.exp().sqrt() * noise(use, 8), mean, log_variance

    def image(decoder: nn.Module, c: Tensor, s: Tensor) -> Tensor:
        return decoder(mine.decoder_shared(c), s)  # type: ignore[no-any-return]

    def entropy(discriminator: nn.Module, x: Tensor, target: float) -> Tensor:
        p = [m.sigmoid() for (m,) in discriminator(x)]
        return -sum((target * m.log() + (1 - target) * (1 - m).log()).mean() for m in p)  # type: ignore[return-value]

    def step(optimizer: torch.optim.Optimizer, loss: Tensor, networks: list[nn.Module], clip: bool = False) -> None:
        parameters = [p for network in networks for p in network.parameters()]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))  # type: ignore[arg-type]
        optimizer.zero_grad()
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient * (5 / (norm + 1e-6)).clamp(max=1) if clip else gradient
        optimizer.step()

    def adam(networks: list[nn.Module], lr: float) -> torch.optim.Adam:
        parameters = [p for network in networks for p in network.parameters()]
        return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999), weight_decay=1e-4)

    translating, styles = list(mine.saved().children()), [mine.style_a, mine.style_b]
    of_contents, of_images = adam([d_c], 0.4 * config.lr), adam(mine.discriminators(), config.lr)
    of_generators = adam([*translating, *styles], config.lr)

    for place in (0, 2):
        c_a = content(mine.encoder_a, a[place : place + 1], 10 + place)
        c_b = content(mine.encoder_b, b[place : place + 1], 11 + place)
        step(of_contents, entropy(d_c, c_a.detach(), 0) + entropy(d_c, c_b.detach(), 1), [d_c], clip=True)

    a, b, other_a, other_b = a[4:5], b[4:5], a[5:6], b[5:6]
    c_a, c_b = content(mine.encoder_a, a, 0), content(mine.encoder_b, b, 1)
    (s_a, mean_a, log_a), (s_b, mean_b, log_b) = style(mine.style_a, a, 4), style(mine.style_b, b, 5)
    z1, z2 = noise(8, 8), noise(9, 8)
    u, v = image(mine.decoder_a, c_b, s_a), image(mine.decoder_b, c_a, s_b)
    r1_a, r2_a = image(mine.decoder_a, c_b, z1), image(mine.decoder_a, c_b, z2)
    r1_b, r2_b = image(mine.decoder_b, c_a, z1), image(mine.decoder_b, c_a, z2)
    disc = {
        "disc_a": entropy(d_a, a, 1) + entropy(d_a, u.detach(), 0),
        "disc_b": entropy(d_b, b, 1) + entropy(d_b, v.detach(), 0),
        "second_a": sum(entropy(second_a, other_a, 1) + entropy(second_a, r.detach(), 0) for r in (r1_a, r2_a)),
        "second_b": sum(entropy(second_b, other_b, 1) + entropy(second_b, r.detach(), 0) for r in (r1_b, r2_b)),
    }
    step(of_images, sum(disc.values()), mine.discriminators())  # type: ignore[arg-type]
    disc["disc_content"] = entropy(d_c, c_a.detach(), 0) + entropy(d_c, c_b.detach(), 1)
    step(of_contents, disc["disc_content"], [d_c], clip=True)

    again_a = image(mine.decoder_a, content(mine.encoder_b, v, 3), style(mine.style_a, u, 6)[0])
    again_b = image(mine.decoder_b, content(mine.encoder_a, u, 2), style(mine.style_b, v, 7)[0])
    own = ((mine.decoder_a, c_a, s_a, a), (mine.decoder_b, c_b, s_b, b))
    first = {
        "adv": entropy(d_a, u, 1) + entropy(d_b, v, 1),
        "adv_content": entropy(d_c, c_a, 0.5) + entropy(d_c, c_b, 0.5),
        "cyc": 10 * ((again_a - a).abs().mean() + (again_b - b).abs().mean()),
        "rec": 10 * sum((image(d, c, s) - x).abs().mean() for d, c, s, x in own),
        "kl": 0.01 * sum((m**2 + v.exp() - 1 - v).sum() / 2 for m, v in ((mean_a, log_a), (mean_b, log_b))),
        "size": 0.01 * ((c_a**2).mean() + (c_b**2).mean()),
    }
    apart = (z2 - z1).abs().mean()
    second = {
        "adv_random": sum(
            entropy(d, r, 1) for d, r in ((second_a, r1_a), (second_a, r2_a), (second_b, r1_b), (second_b, r2_b))
        ),
        "latent": 10 * ((mine.style_a(r1_a)[0] - z1).abs().mean() + (mine.style_b(r1_b)[0] - z1).abs().mean()),
        "mode": sum(1 / ((y - x).abs().mean() / apart + 1e-5) for x, y in ((r1_a, r2_a), (r1_b, r2_b))),
    }
    # the gradients of both before either step
    moved = [p for network in translating for p in network.parameters()]
    gradients = torch.autograd.grad(sum(second.values()), moved, retain_graph=True)  # type: ignore[arg-type]
    step(of_generators, sum(first.values()), [*translating, *styles])  # type: ignore[arg-type]
    of_generators.zero_grad()
    for p, gradient in zip(moved, gradients, strict=True):
        p.grad = gradient
    of_generators.step()

    values = trainer.training_step(batch, 0)
    total = sum(first.values()) + sum(second.values())
    for name, term in {**first, **second, **disc, "total": total}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-10), name
    found = dict(trainer.method.networks.named_parameters())
    for name, parameter in mine.named_parameters():
        torch.testing.assert_close(found[name], parameter, rtol=1e-7, atol=1e-9, msg=name)
        if not name.startswith("style"):  # which have no part in the last update
            torch.testing.assert_close(found[name].grad, parameter.grad, rtol=1e-7, atol=1e-11, msg=name)


def test_parts_of_a_batch_and_checkpointing_leave_draws_and_weights(data: TrainingData, tmp_path: Path) -> None:
    def weights(accumulate: int = 1, checkpointing: bool = False) -> list[Tensor]:
        options = {"batch_size": 12, "accumulate": accumulate, "precision": "64-true", "dataset": CROP}
        trainer = Trainer(tiny_config(tmp_path, method="drit", **options), data, say=quiet)
        for network in trainer.method.generators().values():
            network.checkpointing = checkpointing
        torch.manual_seed(accumulate)
        trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
        return [p.detach() for p in trainer.method.networks.parameters()]

    plain = weights()
    for other in (weights(accumulate=2), weights(checkpointing=True)):
        for one, two in zip(plain, other, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-7, atol=1e-9)


def test_the_content_discriminators_gradients_are_scaled_down_to_a_norm(data: TrainingData, tmp_path: Path) -> None:
    norms = {}
    for limit in (1e-3, 5.0):
        trainer = Trainer(tiny_config(tmp_path, method="drit", dataset=CROP), data, say=quiet)
        assert trainer.groups["content"].max_norm == 5
        trainer.groups["content"] = dataclasses.replace(trainer.groups["content"], max_norm=limit)
        trainer.training_step(next(iter(trainer.loader(0, 0))), 0)
        held = [p.grad for network in trainer.groups["content"].networks for p in network.parameters()]
        norms[limit] = torch.cat([g.flatten() for g in held if g is not None]).norm().item()
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert 1e-2 < norms[5.0] < 5


def test_options_that_cannot_be_are_told(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.crop: expected at least 64, got 60"):
        Trainer(tiny_config(tmp_path, method="drit", dataset=DataOptions(crop=60)), data, say=quiet)
    with pytest.raises(ValueError, match="batch_size: expected a multiple of 12 for method drit, got 6"):
        Trainer(tiny_config(tmp_path, method="drit", dataset=CROP, accumulate=2), data, say=quiet)


def test_a_stopped_run_goes_on_to_the_bit_and_is_used(folder: Path, tmp_path: Path) -> None:
    options = ["--preset=mini", "--method=drit", f"--data={folder}", *TINY, "--dataset.crop=64", "--epochs=2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train([*options, f"--out={whole}"]) == 0
    assert train([*options, f"--out={stopped}", "--max_steps=2"]) == 0  # where the learning rate falls
    assert train([*options, f"--out={stopped}", "--resume"]) == 0
    assert outcome(stopped) == outcome(whole)
    (row, *_) = rows_without_seconds(whole)
    terms = ("adv", "adv_content", "cyc", "rec", "kl", "size", "adv_random", "latent", "mode")
    judges = ("disc_a", "disc_b", "second_a", "second_b", "disc_content")
    assert list(row) == [*("step", "epoch", "phase"), *terms, "total", *judges]
    assert float(row["total"]) == pytest.approx(sum(float(row[name]) for name in terms))

    night = folder / "valB"
    assert colorize(night, tmp_path / "day", whole) == 0
    assert len(list((tmp_path / "day").iterdir())) == len(list(night.iterdir()))
    translator: Callable[[Tensor], Tensor] = load_translator(whole)
    x = torch.rand(1, 3, 16, 8)
    assert translator(x).shape == x.shape
    assert torch.equal(translator(x), translator(x))  # one style, without noise
    assert evaluate(whole) == 0
    assert (whole / "metrics.md").is_file()
