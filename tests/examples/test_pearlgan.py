"""PearlGAN as a method of the trainer: attention and losses written out, exact resume, and what a run is used for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
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
from morn_losses.functional import reconstruction_loss, sga_loss, total_variation_loss
from ntir2dc.config import DataOptions, PearlGANOptions, make_config
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.methods.adversarial import relativistic_loss
from ntir2dc.methods.pearlgan import Networks, PearlGAN, make_translator
from ntir2dc.methods.pearlgan.attention_losses import attention_diversity, cross_domain_similarity
from ntir2dc.networks.attention import GuidedAttention
from ntir2dc.run.weights import load_translator
from ntir2dc.seeds import Stream, seeded
from ntir2dc.trainer import Trainer
from train_morngan import main as train

CROP = DataOptions(crop=76)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data", size=(76, 84))


@pytest.fixture(scope="module")
def data(folder: Path) -> TrainingData:
    return prepare_training_data(folder, folder.parent / "cache", CITYSCAPES, crop=76)


def test_sizes_of_the_published_networks() -> None:
    with torch.device("meta"):
        networks = Networks(make_config("flir", method="pearlgan").networks, 0)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.named_children()}
    assert sizes == {
        **dict.fromkeys(("encoder_a", "encoder_b"), 5_167_244),
        **dict.fromkeys(("decoder_a", "decoder_b"), 6_634_255),
        **dict.fromkeys(("discriminator_a", "discriminator_b"), 16_698_201),
    }
    assert sum(sizes.values()) == 56_999_400
    assert sum(p.numel() for p in GuidedAttention(256).parameters()) == 68_101


def test_the_phases_and_thresholds_of_the_published_runs() -> None:
    flir, kaist = (make_config(preset, method="pearlgan") for preset in ("flir", "kaist"))
    assert flir.pearlgan.first_of_similarity(80) == 10
    assert kaist.pearlgan.first_of_similarity(120) == 30
    assert PearlGANOptions(similarity=7).first_of_similarity(120) == 7
    assert (flir.pearlgan.sga_threshold, kaist.pearlgan.sga_threshold) == (0.8, 0.44)
    assert (flir.lr, flir.lr_schedule, flir.lr_decay_start, flir.pool) == (2e-4, "linear_late", 0.5, 50)
    assert (flir.networks.decoder_norm, flir.networks.discriminator_norm) == ("group", "spectral")
    assert flir.dataset.replacement
    assert PearlGAN.needs_edges(flir)
    assert not PearlGAN.needs_labels(flir)


# ---- networks --------------------------------------------------------------------------------------------------------


def stretched(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear resizing by centers of pixels, one axis after the other."""
    for dim, wanted in zip((2, 3), size, strict=True):
        n = x.shape[dim]
        matrix = torch.zeros(wanted, n, dtype=x.dtype)
        for i in range(wanted):
            place = max((i + 0.5) * n / wanted - 0.5, 0.0)
            low = min(int(place), n - 1)
            matrix[i, low] += 1 - (place - low)
            matrix[i, min(low + 1, n - 1)] += place - low
        x = torch.movedim(torch.movedim(x, dim, -1) @ matrix.T, -1, dim)
    return x


def normed(y: Tensor, groups: int | None = None) -> Tensor:
    B, C, h, w = y.shape
    grouped = y.reshape(B, groups or C, -1)
    centered = grouped - grouped.mean(2, keepdim=True)
    return (centered / (centered.square().mean(2, keepdim=True) + 1e-5).sqrt()).reshape(B, C, h, w)


def test_the_translator_equals_a_forward_written_out() -> None:
    translator = make_translator(4, 1, 2, "group").double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in translator.parameters():
            p.copy_(torch.rand(p.shape, generator=generator, dtype=p.dtype) * 0.6 - 0.2)
    take = iter(translator.parameters())

    def conv(y: Tensor, reflect: int = 0, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(nn.ReflectionPad2d(reflect)(y) if reflect else y, next(take), next(take), stride, padding)

    def active(y: Tensor) -> Tensor:
        return torch.where(y > 0, y, next(take) * y)

    def blocks(y: Tensor, n: int) -> Tensor:
        for _ in range(n):
            y = y + normed(conv(active(normed(conv(y, 1))), 1))
        return y

    def attended(x: Tensor) -> Tensor:
        s = active(normed(conv(x))).split(4, 1)
        p = [
            part.unfold(2, 3, stride).unfold(3, 3, stride).mean((4, 5))
            for part, stride in zip(s, (2, 4, 8, 16), strict=True)
        ]
        a1 = normed(conv(p[3], 1)).sigmoid()
        a2 = normed(conv(p[2] * (1 + stretched(a1, p[2].shape[2:])), 1)).sigmoid()
        a3 = normed(conv(p[1] * (1 + stretched(a2, p[1].shape[2:])), 1)).sigmoid()
        a4 = normed(conv(p[0] * (1 + stretched(a3, p[0].shape[2:])), 1)).sigmoid()
        A1, A2, A3, A4 = (stretched(a, x.shape[2:]) for a in (a1, a2, a3, a4))
        return x + torch.cat((s[0] * A4, s[1] * A3, s[2] * A2, s[3] * A1), 1)

    def doubled(y: Tensor, groups: int) -> Tensor:
        y = F.conv_transpose2d(y, next(take), next(take), stride=2, padding=1)
        gain, bias = next(take), next(take)
        return active(normed(y, groups) * gain[:, None, None] + bias[:, None, None])

    x = torch.rand(2, 3, 76, 84, dtype=torch.float64, generator=generator) * 2 - 1
    y = active(normed(conv(x, reflect=3)))
    for _ in range(2):
        y = active(normed(conv(y, stride=2, padding=1)))
    y = blocks(attended(y), 1)
    y = blocks(attended(y), 2)
    expected = conv(doubled(doubled(y, 4), 2), reflect=3).tanh()
    assert next(take, None) is None
    torch.testing.assert_close(translator(x), expected, rtol=1e-8, atol=1e-10)


def test_maps_lie_between_0_and_1_around_a_half() -> None:
    attention = GuidedAttention(8)
    features, maps = attention(torch.randn(2, 8, 19, 24))
    assert features.shape == (2, 8, 19, 24)
    assert maps.shape == (2, 4, 19, 24)
    assert 0 < maps.min() < 0.5 < maps.max() < 1
    assert maps[:, 3].mean().item() == pytest.approx(0.5, abs=0.1)  # the finest, of the most pixels
    with pytest.raises(ValueError, match="at least 19, got 18 x 24"):
        attention(torch.randn(2, 8, 18, 24))


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_diversity_by_hand() -> None:
    maps = torch.tensor([[0.9, 0.9], [0.5, 1.0], [0.25, 0.0], [0.5, 0.0]]).reshape(1, 4, 1, 2)
    # finer maps: sums 1.25 and 1, largest 0.5 and 1
    assert attention_diversity(maps).item() == pytest.approx((0.0625 / 2 / 4 + 1 - 0.75) / 2)


def similarity_by_loops(features: Tensor, maps: Tensor, others: Tensor, maps_of_others: Tensor) -> Tensor:
    def vectors(f: Tensor, a: Tensor) -> list[Tensor]:
        found = []
        for k in (1, 2, 3):
            v = torch.stack([(a[k] * channel).sum() / a[k].sum() for channel in f])
            found.append(v / v.square().sum().sqrt())
        return found

    def alike(v: list[Tensor]) -> Tensor:
        between = sum(v[k].dot(v[j]) for k in range(3) for j in range(3) if k != j)
        return (between / 9).clamp_min(0)  # type: ignore[union-attr]

    totals = []
    for f, a, g, b in zip(features.detach(), maps, others.detach(), maps_of_others, strict=True):
        V, W = vectors(f, a), vectors(g, b)
        missed, weight = torch.zeros((), dtype=f.dtype), torch.zeros((), dtype=f.dtype)
        for k in range(3):
            m = min(a[k + 1].max(), b[k + 1].max())
            missed = missed + m * (max(V[k].dot(w) for w in W) - V[k].dot(W[k]))
            weight = weight + m
        totals.append(missed / (weight + 1e-6) + (alike(V) + alike(W)) / 4)
    return torch.stack(totals).mean()


@pytest.mark.parametrize("level", [0.0, 1.0], ids=["vectors_of_any_direction", "vectors_alike"])
def test_similarity_by_loops(level: float) -> None:
    generator = torch.Generator().manual_seed(1)
    shape = {"dtype": torch.float64, "generator": generator}
    features, others = (level + torch.randn(2, 5, 3, 4, **shape) for _ in range(2))  # type: ignore[arg-type]
    maps, maps_of_others = (torch.rand(2, 4, 3, 4, **shape).requires_grad_() for _ in range(2))  # type: ignore[arg-type]
    features.requires_grad_()
    loss = cross_domain_similarity(features, maps, others, maps_of_others)
    expected = similarity_by_loops(features, maps, others, maps_of_others)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    found = torch.autograd.grad(loss, (maps, maps_of_others))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (maps, maps_of_others)), rtol=1e-10, atol=1e-14)
    assert all(g[:, 0].eq(0).all() and g[:, 1:].ne(0).any() for g in found)
    assert torch.autograd.grad(
        cross_domain_similarity(features, maps, others, maps_of_others), features, allow_unused=True
    ) == (None,)


# ---- a step ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 5], ids=["baseline", "similarity"])
def test_a_step_is_the_published_one_written_out(data: TrainingData, tmp_path: Path, epoch: int) -> None:
    config = tiny_config(tmp_path, method="pearlgan", precision="64-true", dataset=CROP, pool=0, seed=3)
    trainer = Trainer(config, data, say=quiet)
    trainer.step = 2 * epoch
    batch = next(iter(trainer.loader(epoch, 0)))
    a, b = batch["real_a"].double(), batch["real_b"].double()
    networks = copy.deepcopy(trainer.method.networks)
    e_a, e_b, dec_a, dec_b, d_a, d_b = networks.children()
    h_a, A = e_a.attend(a)  # type: ignore[operator]
    h_b, B = e_b.attend(b)  # type: ignore[operator]
    fake_b, fake_a = dec_b(h_a), dec_a(h_b)
    h_fake_b, h_fake_a = e_b(fake_b), e_a(fake_a)
    late = epoch == 5

    def cycle(there_and_back: Tensor, real: Tensor) -> Tensor:
        return reconstruction_loss(there_and_back, real, weight_ssim=float(late))

    def aligned(fake: Tensor, edges: Tensor, use: int) -> Tensor:
        draw = seeded(3, Stream.PATCH, trainer.step, 0, use)
        return sga_loss(fake, edges, patches="random", padding_mode="zeros", generator=draw)

    # a pass of a discriminator moves its spectral norms on: the real images are its first
    scores_a, scores_b = d_a(a), d_b(b)
    terms = {
        "adv": relativistic_loss(scores_b, d_b(fake_b), "generator")
        + relativistic_loss(scores_a, d_a(fake_a), "generator"),
        "cyc": cycle(dec_a(h_fake_b), a) + cycle(dec_b(h_fake_a), b),
        "tv": 5 * (total_variation_loss(fake_b) + total_variation_loss(fake_a)),
        "sga": 0.5 * (aligned(fake_b, batch["edges_a"], 0) + aligned(fake_a, batch["edges_b"], 1)),
        "ad": attention_diversity(A) + attention_diversity(B),
    }
    if late:
        terms["accs"] = similarity_by_loops(h_a, A, h_fake_a, B) + similarity_by_loops(h_b, B, h_fake_b, A)
    disc = {
        "disc_a": relativistic_loss(scores_a, d_a(fake_a.detach()), "discriminator") / 2,
        "disc_b": relativistic_loss(scores_b, d_b(fake_b.detach()), "discriminator") / 2,
    }
    halves = [p for network in (e_a, e_b, dec_a, dec_b) for p in network.parameters()]
    discriminators = [p for d in (d_a, d_b) for p in d.parameters()]
    expected = [
        *torch.autograd.grad(sum(terms.values()), halves),  # type: ignore[arg-type]
        *torch.autograd.grad(sum(disc.values()), discriminators),  # type: ignore[arg-type]
    ]
    values = trainer.training_step(batch, epoch)
    assert set(values) == {*terms, *disc, "total"}
    assert values["sga"] > 0
    for name, term in {**terms, **disc, "total": sum(terms.values())}.items():
        assert values[name] == pytest.approx(term.item(), rel=1e-12), name  # type: ignore[union-attr]
    for parameter, gradient in zip(trainer.method.networks.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)


def test_the_patches_and_the_gradients_stay_the_same(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path, method="pearlgan", precision="64-true", dataset=CROP, batch_size=2, networks=NETWORKS
    )
    checkpointing = dataclasses.replace(NETWORKS, checkpointing=True)
    plain, in_parts, twice = (
        gradients_of_a_step(dataclasses.replace(config, **changes), data, 5)  # type: ignore[arg-type]
        for changes in ({}, {"accumulate": 2}, {"networks": checkpointing})
    )
    torch.testing.assert_close(in_parts, plain, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(twice, plain, rtol=1e-8, atol=1e-12)


# ---- a run -----------------------------------------------------------------------------------------------------------


def test_a_crop_that_is_too_small_is_told(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.crop: expected at least 76, got 72"):
        Trainer(tiny_config(tmp_path, method="pearlgan", dataset=DataOptions(crop=72)), data, say=quiet)


def test_a_stopped_run_goes_on_to_the_bit_and_is_used(folder: Path, tmp_path: Path) -> None:
    options = ["--preset=mini", "--method=pearlgan", f"--data={folder}", *TINY]
    options += ["--dataset.crop=76", "--epochs=4", "--pearlgan.similarity=2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train([*options, f"--out={whole}"]) == 0
    assert train([*options, f"--out={stopped}", "--max_steps=3"]) == 0  # before the second phase
    assert train([*options, f"--out={stopped}", "--resume", "--max_steps=5"]) == 0  # in it
    assert train([*options, f"--out={stopped}", "--resume"]) == 0
    assert outcome(stopped) == outcome(whole)
    first, last = (rows_without_seconds(whole)[i] for i in (3, 4))
    terms = ("adv", "cyc", "tv", "sga", "ad", "accs")
    assert list(first) == [*("step", "epoch", "phase"), *terms, "total", "disc_a", "disc_b"]
    assert (first["phase"], first["accs"], last["phase"]) == ("1", "", "2")
    assert float(last["total"]) == pytest.approx(sum(float(last[name]) for name in terms))

    night = folder / "valB"
    assert colorize(night, tmp_path / "day", whole) == 0
    assert len(list((tmp_path / "day").iterdir())) == len(list(night.iterdir()))
    translator: Callable[[Tensor], Tensor] = load_translator(whole)
    assert translator(torch.zeros(1, 3, 76, 80)).shape == (1, 3, 76, 80)
    with pytest.raises(ValueError, match="at least 76"):
        translator(torch.zeros(1, 3, 72, 80))
    assert evaluate(whole) == 0
    assert (whole / "metrics.md").is_file()
