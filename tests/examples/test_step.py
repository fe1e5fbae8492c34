"""A training step computes what one plain backward pass over everything would, and nothing else."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.tiny_run import NETWORKS, method_of, quiet, tiny_config, tiny_data
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase
from ntir2dc.trainer import Trainer
from studies.comparing.measuring import peak_memory
from tests.benchmarks import published_step

GENERATORS = {"encoder_a", "encoder_b", "decoder_a", "decoder_b"}
DISCRIMINATORS = {"discriminator_a", "discriminator_b"}
TRAINED = {
    Phase.BASELINE: GENERATORS | DISCRIMINATORS,
    Phase.STRUCTURE: GENERATORS | DISCRIMINATORS,
    Phase.SEGMENT_A: GENERATORS | DISCRIMINATORS | {"segmenter_a"},
    Phase.SEGMENT_B: GENERATORS | DISCRIMINATORS | {"segmenter_a", "segmenter_b"},
    Phase.DISTILL: GENERATORS | DISCRIMINATORS | {"segmenter_a", "segmenter_b"},
    Phase.COLLABORATE: GENERATORS | DISCRIMINATORS,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def in_phase(
    data: TrainingData, out: Path, phase: Phase, networks: dict[str, Any], **changes: Any
) -> tuple[Trainer, dict[str, Tensor]]:
    """Return a trainer that has entered a phase, and a batch of it."""
    trainer = Trainer(tiny_config(out, networks=dataclasses.replace(NETWORKS, **networks), **changes), data, say=quiet)
    trainer.method.enter_epoch(int(phase) - 1)
    return trainer, next(iter(trainer.loader(int(phase) - 1, 0)))


def gradients_in_float64(
    data: TrainingData, out: Path, phase: Phase, scale: float, *, published: bool, **networks: Any
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the gradients that a step leaves, and its terms."""
    trainer, batch = in_phase(data, out, phase, {"dropout": 0.0, **networks}, batch_size=2)
    trainer.method.networks.double()
    for discriminator in trainer.method.networks.discriminators():
        discriminator.eval()  # each pass in training mode moves the power iteration of the spectral norm on
    batch = {name: x.double() if x.is_floating_point() else x for name, x in batch.items()}
    method_of(trainer).scale = lambda part: scale  # type: ignore[method-assign]
    torch.manual_seed(7)  # of the k-means in ACA
    take = published_step.training_step if published else Trainer.training_step
    terms = take(trainer, batch, int(phase) - 1)
    return {n: p.grad for n, p in trainer.method.networks.named_parameters() if p.grad is not None}, terms


@pytest.mark.parametrize(
    ("phase", "scale"), [*((phase, 0.5) for phase in PAPER_PHASES), (Phase.DISTILL, 1.5), (Phase.COLLABORATE, 1.5)]
)
def test_gradients_are_those_of_one_plain_backward_pass(
    data: TrainingData, tmp_path: Path, phase: Phase, scale: float
) -> None:
    expected, expected_terms = gradients_in_float64(data, tmp_path, phase, scale, published=True)
    found, terms = gradients_in_float64(data, tmp_path, phase, scale, published=False)
    assert {name.split(".")[0] for name in found} == TRAINED[phase]
    for name, gradient in found.items():
        largest = expected[name].abs().max()
        assert torch.allclose(gradient, expected[name], rtol=1e-8, atol=1e-10 * float(largest)), name
    assert {n for n, g in found.items() if g.abs().sum() > 0} >= {n for n in found if n.endswith("layers.1.weight")}
    for name, value in expected_terms.items():
        assert terms[name] == pytest.approx(value, rel=1e-9), name
    assert terms["total"] == pytest.approx(sum(v for n, v in expected_terms.items() if n[:4] != "disc"), rel=1e-9)


@pytest.mark.parametrize("phase", [Phase.SEGMENT_B, Phase.DISTILL, Phase.COLLABORATE])
def test_checkpointing_gives_the_same_gradients_in_less_memory(
    data: TrainingData, tmp_path: Path, phase: Phase
) -> None:
    expected, _ = gradients_in_float64(data, tmp_path, phase, 0.5, published=False)
    found, _ = gradients_in_float64(data, tmp_path, phase, 0.5, published=False, checkpointing=True)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-10, atol=1e-14), name
    peaks = []
    for checkpointing in (False, True):
        trainer, batch = in_phase(data, tmp_path, phase, {"checkpointing": checkpointing, "generator_width": 16})
        peaks.append(peak_memory(lambda t=trainer, b=batch: t.training_step(b, int(phase) - 1)))
    assert peaks[1] < 0.8 * peaks[0]


def test_a_step_holds_much_less_than_one_plain_backward_pass(data: TrainingData, tmp_path: Path) -> None:
    peaks = []
    for take in (Trainer.training_step, published_step.training_step):
        trainer, batch = in_phase(data, tmp_path, Phase.COLLABORATE, {"generator_width": 16})
        peaks.append(peak_memory(lambda t=trainer, b=batch, take=take: take(t, b, 5)))
    assert peaks[0] < 0.6 * peaks[1]


def test_checkpointing_may_change_when_a_run_goes_on(data: TrainingData, tmp_path: Path) -> None:
    Trainer(tiny_config(tmp_path, max_steps=1), data, say=quiet).fit()
    networks = dataclasses.replace(NETWORKS, checkpointing=True)
    trainer = Trainer(tiny_config(tmp_path, max_steps=2, networks=networks), data, say=quiet)
    trainer.resume()
    assert trainer.step == 1


# every pass through every network in a step of each phase: encoder A, B, decoder A, B, discriminator A, B, segmenter
# A, B. A discriminator scores the real image, the fake and the one from the pool; SR adds one pass of each half.
NAMES = ("encoder_a", "encoder_b", "decoder_a", "decoder_b")
PASSES = {
    Phase.BASELINE: (2, 2, 2, 2, 3, 3, 0, 0),
    Phase.STRUCTURE: (2, 2, 2, 2, 3, 3, 0, 0),
    Phase.SEGMENT_A: (2, 2, 2, 2, 3, 3, 1, 0),  # S_A(x_a)
    Phase.SEGMENT_B: (2, 2, 2, 2, 3, 3, 1, 1),  # and S_B(fake_b)
    Phase.DISTILL: (3, 3, 3, 3, 3, 3, 2, 2),  # and S_A(fake_a), S_B(x_b)
    Phase.COLLABORATE: (3, 3, 3, 3, 3, 3, 1, 2),  # without S_A(x_a)
}
BY_BATCH = {
    # what becomes labels takes a pass of its own in eval mode
    Phase.SEGMENT_B: {"segmenter_a": 1},
    Phase.DISTILL: {"segmenter_a": 1, "segmenter_b": 1},
}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("phase", PAPER_PHASES)
def test_every_pass_of_a_phase(data: TrainingData, tmp_path: Path, phase: Phase, norm: str) -> None:
    trainer, batch = in_phase(data, tmp_path, phase, {"segmenter_norm": norm})
    passes: Counter[str] = Counter()
    for name, network in trainer.method.networks.named_children():
        network.register_forward_hook(lambda *_, name=name: passes.update([name]))
    trainer.training_step(batch, int(phase) - 1)
    names = (*NAMES, "discriminator_a", "discriminator_b", "segmenter_a", "segmenter_b")
    expected = Counter(dict(zip(names, PASSES[phase], strict=True)))
    if norm == "batch":
        expected.update(BY_BATCH.get(phase, {}))
    assert passes == expected


@pytest.mark.parametrize("weight", ["tv", "sga", "thermal", "aca", "cgr", "sr"])
def test_a_term_of_weight_zero_is_not_computed(
    data: TrainingData, tmp_path: Path, weight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, batch = in_phase(data, tmp_path, Phase.COLLABORATE, {})
    losses = dataclasses.replace(trainer.config.losses, **{f"lambda_{weight}": 0.0})
    method_of(trainer).objective.weights = losses
    dropped = {
        "tv": ["total_variation"],
        "sga": ["sga"],
        "thermal": ["monochromatic", "temperature"],
        "aca": ["aca"],
        "cgr": ["cgr"],
        "sr": ["scale_robustness"],
    }[weight]
    for name in dropped:

        def never(*_: Any, name: str = name) -> None:
            raise AssertionError(f"{name} was computed")

        monkeypatch.setattr(getattr(method_of(trainer).objective, name), "forward", never)
    assert trainer.training_step(batch, 5)["total"]
