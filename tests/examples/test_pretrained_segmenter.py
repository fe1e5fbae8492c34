"""A pretrained network as S_A: its logits and gradients, and runs that it takes part in."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.pretrained_networks import installed, write_segformer
from helpers.small_folder import write_folder
from helpers.tiny_run import (
    TINY,
    gradients_of_a_step,
    method_of,
    outcome,
    quiet,
    step_and_terms,
    tiny_config,
    tiny_data,
)
from morn_losses import CITYSCAPES
from ntir2dc.config import ModuleOptions, make_config
from ntir2dc.data.folders import TrainingData
from ntir2dc.data.samples import DataError
from ntir2dc.methods.morngan.schedule import Phase, active
from ntir2dc.pretrained import segmenter as pretrained
from ntir2dc.pretrained.segmenter import UNKNOWN, PretrainedSegmenter, input_of, join_logits, load_segmenter
from ntir2dc.pretrained.teacher import PretrainedTeacher, load_teacher
from ntir2dc.run.checkpoint import load_newest
from ntir2dc.trainer import Trainer
from train_morngan import main

CPU = torch.device("cpu")
NAMES = {0: "house", 1: "sky", 2: "person", 3: "cat", 4: "car", 5: "road", 6: "roof"}
NAMED = ("road", "building", "sky", "person", "car", "bus")
ROAD, BUILDING, SKY, PERSON, CAR, BUS = (CITYSCAPES.index(name) for name in NAMED)
IDS = {0: BUILDING, 1: SKY, 2: PERSON, 4: CAR, 5: ROAD, 6: BUILDING}


class Processor(SimpleNamespace):
    """What a processor says of its input."""

    def to_json_string(self) -> str:
        return "{}"


class Halves(nn.Module):
    """Labels pixels at half the size by their colors, as a network of ``transformers`` would."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, len(NAMES), 2, stride=2)
        self.config = SimpleNamespace(id2label=NAMES)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.layer(pixel_values))


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def processor(**changes: Any) -> Processor:
    said = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": STD}
    return Processor(**{**said, **changes})


@pytest.fixture
def segmenter() -> PretrainedSegmenter:
    return PretrainedSegmenter(PretrainedTeacher("halves", Halves().eval(), processor(), CPU), CITYSCAPES)


# ---- logits ----------------------------------------------------------------------------------------------------------


def test_probabilities_of_one_class_are_added_and_other_classes_count_as_nothing() -> None:
    logits = torch.randn(2, 7, 3, 4, dtype=torch.float64)
    found = join_logits(logits, IDS, 19).softmax(1)
    joined = torch.zeros(2, 19, 3, 4, dtype=torch.float64)
    for source, target in IDS.items():
        joined[:, target] += logits[:, source].exp()
    unknown = joined.sum(1, keepdim=True) * UNKNOWN
    expected = torch.where((joined == 0).all((0, 2, 3))[:, None, None], unknown, joined)
    torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True))


def test_a_class_that_the_network_does_not_know_teaches_nothing() -> None:
    logits = torch.randn(1, 7, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[BUS, BUS], [PERSON, BUS]]])
    losses = F.cross_entropy(join_logits(logits, IDS, 19), labels, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert losses[0, 0, 0].item() == pytest.approx(math.log((1 + 14 * UNKNOWN) / UNKNOWN))
    untouched = torch.tensor([[True, True], [False, True]])
    torch.testing.assert_close(gradient[..., untouched], torch.zeros(1, 7, 3, dtype=torch.float64))
    assert float(gradient[0, :, 1, 0].abs().max()) > 0.01


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, lambda pixels: (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]),
        ({"do_normalize": False}, lambda pixels: pixels / 255),
        ({"do_rescale": False, "image_mean": 128.0, "image_std": 64.0}, lambda pixels: (pixels - 128) / 64),
    ],
    ids=["all", "not normalized", "not rescaled"],
)
def test_the_input_is_that_of_the_processor(changes: dict[str, Any], expected: Any) -> None:
    scale, shift = input_of(processor(**changes))
    pixels = torch.randint(0, 256, (3, 4, 5)).float()
    torch.testing.assert_close(scale * (pixels / 127.5 - 1) + shift, expected(pixels))


def test_channels_may_be_reversed(segmenter: PretrainedSegmenter) -> None:
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    plain = processor(do_normalize=False)
    turned = processor(do_normalize=False, do_flip_channel_order=True)
    first, second = (
        PretrainedSegmenter(PretrainedTeacher("net", segmenter.model, said, CPU), CITYSCAPES)
        for said in (plain, turned)
    )
    torch.testing.assert_close(first(x.flip(1)), second(x))


def test_gradients_are_those_of_a_loop_by_hand(segmenter: PretrainedSegmenter) -> None:
    x = (torch.rand(2, 3, 8, 12) * 2 - 1).requires_grad_()
    labels = torch.tensor([ROAD, BUILDING, SKY, PERSON, CAR, 255])[torch.randint(0, 6, (2, 8, 12))]
    loss = F.cross_entropy(segmenter(x), labels, ignore_index=255)
    (found,) = torch.autograd.grad(loss, x)

    normal = torch.stack([((x[:, c] + 1) / 2 - MEAN[c]) / STD[c] for c in range(3)], 1)
    own = F.interpolate(segmenter.model(normal).logits, (8, 12), mode="bilinear", align_corners=False).exp()
    total = own[:, list(IDS)].sum(1) * (1 + 14 * UNKNOWN)
    terms = []
    for b, row, column in (labels != 255).nonzero().tolist():
        mine = [source for source, target in IDS.items() if target == labels[b, row, column]]
        share = torch.stack([own[b, source, row, column] for source in mine]).sum() / total[b, row, column]
        terms.append(-share.log())
    expected_loss = torch.stack(terms).mean()
    (expected,) = torch.autograd.grad(expected_loss, x)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(found, expected)
    assert not any(p.requires_grad for p in segmenter.model.parameters())


def test_double_and_mixed_precision_see_single_precision(segmenter: PretrainedSegmenter) -> None:
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    expected = segmenter(x)
    assert segmenter(x.double()).dtype == torch.float64
    torch.testing.assert_close(segmenter(x.double()).float(), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(segmenter(x), expected)


# ---- phases and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [False, True])
def test_segmenters_that_learn_by_phase(looks: bool) -> None:
    modules = ModuleOptions(looks=looks)
    own, given = ([active(phase, modules, pretrained=on) for phase in Phase] for on in (False, True))
    taught = {Phase.WARM_UP, Phase.SEGMENT_A, Phase.SEGMENT_B, Phase.DISTILL}
    assert {phase for phase, on in zip(Phase, own, strict=True) if on.learning} == taught
    left = taught if looks else {Phase.SEGMENT_B, Phase.DISTILL}
    assert {phase for phase, on in zip(Phase, given, strict=True) if on.learning} == left
    for before, after in zip(own, given, strict=True):
        assert dataclasses.replace(before, seg_ra=False) == after


@pytest.mark.parametrize("change", [{"method": "unit"}, {"modules": ModuleOptions(False, False, False)}])
def test_only_methods_with_segmenters_take_one(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"segmenter_a: needs modules\.sc of method morngan or dlamgan"):
        dataclasses.replace(make_config("mini"), segmenter_a="net", **change)


# ---- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    installed()
    torch.manual_seed(0)
    return write_segformer(tmp_path_factory.mktemp("network") / "segformer", NAMES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def test_pixels_are_read_as_by_its_own_processor(network: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    said: list[str] = []
    segmenter = load_segmenter(str(network), CITYSCAPES, 32, CPU, said.append)
    assert said == [
        f"S_A is {network}, which does not learn: 6 of its 7 classes are known here\n  count as nothing: cat\n"
        "  it does not know: sidewalk, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, rider, "
        "truck, bus, train, motorcycle, bicycle"
    ]
    teacher = load_teacher(str(network), CPU)
    teacher.processor.do_resize = False
    scores = teacher.scores([image])[:, list(IDS)]
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float() / 127.5 - 1
    found = segmenter(x)
    assert found.shape == (1, 19, 32, 48)
    expected = scores[:, 1] / scores.sum(1)
    known = found[:, sorted(set(IDS.values()))].logsumexp(1)
    torch.testing.assert_close((found[:, SKY] - known).exp(), expected, rtol=0, atol=1e-3)  # large weights


def test_a_step_moves_the_generators_and_not_the_network(data: TrainingData, network: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, segmenter_a=str(network))
    trainer = Trainer(config, data, say=quiet)
    networks = method_of(trainer).networks
    s_a = networks.segmenter_a
    assert isinstance(s_a, PretrainedSegmenter)
    held, before = {k: v.clone() for k, v in s_a.model.state_dict().items()}, None
    for phase in (Phase.SEGMENT_B, Phase.DISTILL, Phase.COLLABORATE):
        epoch = int(phase) - 1
        method_of(trainer).enter_epoch(epoch)
        before = {k: v.clone() for k, v in networks.state_dict().items()}
        values = trainer.training_step(next(iter(trainer.loader(epoch, 0))), epoch)
        assert "seg_ra" not in values
        moved = {k.split(".")[0] for k, v in networks.state_dict().items() if not torch.equal(v, before[k])}
        assert "decoder_a" in moved
        assert ("segmenter_b" in moved) == (phase is not Phase.COLLABORATE)
        assert not any(name.startswith("segmenter_a") for name in before)
    assert values["seg_fa"] > 0
    assert all(torch.equal(v, held[k]) for k, v in s_a.model.state_dict().items())
    assert not s_a.model.training


def test_the_loss_of_the_last_phase_reaches_the_generator_through_it(
    data: TrainingData, network: Path, tmp_path: Path
) -> None:
    trainer = Trainer(tiny_config(tmp_path, segmenter_a=str(network)), data, say=quiet)
    step, terms = step_and_terms(trainer, Phase.COLLABORATE)
    method = method_of(trainer)
    last = method.networks.decoder_a.parameters()
    *_, weight = last
    (found,) = torch.autograd.grad(terms["seg_fa"], weight, retain_graph=True)

    fake = method.networks.translate_ba(step.real_b)
    assert step.labels_b is not None
    known = step.labels_b != CITYSCAPES.ignore_index
    assert bool(known.any())
    losses = []
    for logits, labels in zip(method.networks.segmenter_a(fake), step.labels_b, strict=True):
        kept = labels != CITYSCAPES.ignore_index
        counts = torch.bincount(labels[kept], minlength=19)
        weights = torch.where(counts < labels.numel() / 64, 7.0, 1.0)[labels[kept]]
        nll = -logits.log_softmax(0)[:, kept].gather(0, labels[kept][None])[0]
        losses.append((weights * nll).sum() / weights.sum())
    by_hand = trainer.config.losses.lambda_seg * torch.stack(losses).mean()
    torch.testing.assert_close(terms["seg_fa"], by_hand)
    torch.testing.assert_close(found, torch.autograd.grad(by_hand, weight)[0])


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_take_a_step(data: TrainingData, network: Path, tmp_path: Path, precision: Any) -> None:
    config = tiny_config(tmp_path, segmenter_a=str(network), precision=precision)
    gradients = gradients_of_a_step(config, data, int(Phase.DISTILL) - 1)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


def test_published_labels_are_filled_by_it(data: TrainingData, network: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, segmenter_a=str(network), variant="published")
    losses = dataclasses.replace(config.losses, fill_threshold=0.0)
    trainer = Trainer(dataclasses.replace(config, losses=losses), data, say=quiet)
    step, _ = step_and_terms(trainer, Phase.SEGMENT_B)
    assert step.filled_a is not None
    assert bool((step.taught_labels_a == 255).any())
    assert not bool((step.filled_a == 255).any())


def test_resuming_is_exact_and_another_network_is_refused(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, own = write_folder(tmp_path / "data"), tmp_path / "net"
    shutil.copytree(network, own)
    arguments = ["--preset=mini", f"--data={folder}", *TINY, f"--segmenter_a={own}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*arguments, f"--out={whole}"]) == 0
    assert main([*arguments, f"--out={parts}", "--max_steps=9"]) == 0
    state = load_newest(parts / "checkpoints")
    assert state["segmenter_a"].keys() == {"name", "digest"}
    assert not any(name.startswith("segmenter_a") for name in state["model"])
    moved = own.rename(tmp_path / "moved")
    assert main([f"--out={parts}", "--resume", f"--segmenter_a={moved}"]) == 0
    assert outcome(parts) == outcome(whole)

    capsys.readouterr()
    said = json.loads((moved / "config.json").read_text())
    said["id2label"]["3"] = "bus"
    (moved / "config.json").write_text(json.dumps(said))
    assert main([f"--out={parts}", "--resume", f"--segmenter_a={moved}"]) == 1
    assert f"segmenter_a: {moved} is not the network that the run began with" in capsys.readouterr().err

    begun = tmp_path / "begun"
    assert main([f"--init_from={whole}", f"--out={begun}", f"--segmenter_a={moved}", "--max_steps=1"]) == 0
    told = capsys.readouterr().out
    assert "segmenter_b of" in told
    assert "segmenter_a" not in told


def test_networks_that_cannot_be_s_a(monkeypatch: pytest.MonkeyPatch) -> None:
    class Masks(Halves):
        def forward(self, pixel_values: Tensor) -> SimpleNamespace:
            return SimpleNamespace(masks_queries_logits=pixel_values)

    def use(model: nn.Module, names: dict[int, str]) -> None:
        model.config = SimpleNamespace(id2label=names)
        teacher = PretrainedTeacher("net", model, processor(), CPU)
        monkeypatch.setattr(pretrained, "load_teacher", lambda name, device: teacher)

    for model, names, message in (
        (Masks(), NAMES, r"net: cannot be S_A, which labels the pixels of pictures of any size, .* \('types"),
        (Halves(), {0: "road"}, "net: gives 7 classes, its id2label names 1"),
        (Halves(), {i: f"LABEL_{i}" for i in NAMES}, r"no names .*; write them into id2label in its config\.json$"),
    ):
        use(model, names)
        with pytest.raises(DataError, match=message):
            load_segmenter("net", CITYSCAPES, 32, CPU, quiet)


def test_without_transformers_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    folder = write_folder(tmp_path / "data")
    arguments = ["--preset=mini", f"--data={folder}", *TINY, "--segmenter_a=net", f"--out={tmp_path / 'run'}"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == "error: net: a pretrained network needs: pip install 'morn-losses[teacher]'\n"
