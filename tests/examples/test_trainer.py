from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_run import NETWORKS, method_of, quiet, rows_without_seconds, step_and_terms, tiny_config, tiny_data
from ntir2dc.config import ModuleOptions, from_stored
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.method import Part, Terms, Update
from ntir2dc.methods.morngan.method import TERMS
from ntir2dc.methods.morngan.objective import Step
from ntir2dc.methods.morngan.schedule import PAPER_PHASES, Phase
from ntir2dc.run.checkpoint import CheckpointError, list_checkpoints
from ntir2dc.run.finite import NonFiniteLossError
from ntir2dc.run.weights import load_translator
from ntir2dc.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole_run(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """One run that is never stopped."""
    trainer = Trainer(tiny_config(tmp_path_factory.mktemp("whole")), data, say=quiet)
    assert trainer.fit()
    return trainer


PHASE_TERMS = {
    Phase.BASELINE: {"adv", "cyc", "tv", "sga", "mono"},
    Phase.STRUCTURE: {"temp"},
    Phase.SEGMENT_A: {"seg_ra"},
    Phase.SEGMENT_B: {"seg_fb"},
    Phase.DISTILL: {"seg_rb", "sr"},
    Phase.COLLABORATE: {"aca", "cgr", "seg_fa"},
}


def test_each_phase_logs_its_terms_and_their_sum(whole_run: Trainer) -> None:
    """Eq. 23: which terms each phase has."""
    rows = rows_without_seconds(whole_run.out)
    assert [int(r["step"]) for r in rows] == list(range(12))
    assert [int(r["phase"]) for r in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [int(r["epoch"]) for r in rows] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    expected: set[str] = set()
    for phase in PAPER_PHASES:
        expected |= PHASE_TERMS[phase]
        if phase is Phase.COLLABORATE:
            expected -= {"seg_ra", "seg_rb"}  # the segmenters are frozen
        for row in rows[2 * phase - 2 : 2 * phase]:
            assert {name for name in TERMS if row[name]} == expected
            assert float(row["total"]) == pytest.approx(sum(float(row[name]) for name in expected), rel=1e-5)
            assert math.isfinite(float(row["disc_a"]))
            assert math.isfinite(float(row["disc_b"]))
    assert any(row["aca_present_person"] not in ("", "0") for row in rows[10:])
    assert all(row["mined"] for row in rows[8:])


def test_the_memory_is_filled_at_the_freeze_and_used(whole_run: Trainer) -> None:
    assert method_of(whole_run).memory.is_full
    rows = rows_without_seconds(whole_run.out)
    assert any(row["pair_shared"] for row in rows[10:])
    assert not any(row["pair_shared"] for row in rows[:10])


def test_stopped_after_every_step_and_resumed_equals_never_stopped(
    whole_run: Trainer, data: TrainingData, tmp_path: Path
) -> None:
    for stop in range(1, 13):
        trainer = Trainer(tiny_config(tmp_path, max_steps=stop), data, say=quiet)
        if stop > 1:
            torch.rand(stop)  # whatever else draws in the process must not matter
            trainer.resume()
        assert trainer.fit() == (stop == 12)
    assert rows_without_seconds(tmp_path) == rows_without_seconds(whole_run.out)
    for name, value in whole_run.method.networks.state_dict().items():
        assert torch.equal(value, trainer.method.networks.state_dict()[name]), name
    for name, value in method_of(whole_run).memory.state_dict().items():
        assert torch.equal(value, method_of(trainer).memory.state_dict()[name]), name


def test_rows_after_the_checkpoint_are_written_again(whole_run: Trainer, data: TrainingData, tmp_path: Path) -> None:
    Trainer(tiny_config(tmp_path, max_steps=5), data, say=quiet).fit()
    with open(tmp_path / "log.csv", "a") as file:
        file.write("5,2,3,0.1,not,the,truth")  # a killed process had gone further
    trainer = Trainer(tiny_config(tmp_path), data, say=quiet)
    trainer.resume()
    assert trainer.fit()
    assert rows_without_seconds(tmp_path) == rows_without_seconds(whole_run.out)


def test_published_variant_and_batches_run_through_all_phases(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, variant="published", batch_size=2), data, say=quiet)
    assert trainer.fit()
    assert "aca_present_car+truck+bus+train" in trainer.method.log.columns()
    assert all(float(row["total"]) for row in rows_without_seconds(tmp_path))


@pytest.mark.parametrize(
    ("switches", "missing"),
    [
        ({"sr": False}, {"sr"}),
        ({"cgr": False}, {"cgr"}),
        ({"mgca": False}, {"aca"}),
        ({"sdp": False}, set()),
        ({"sc": False, "sdp": False, "mgca": False}, {"seg_ra", "seg_fb", "seg_rb", "seg_fa", "aca"}),
    ],
)
def test_switches_of_table_5(data: TrainingData, tmp_path: Path, switches: dict[str, bool], missing: set[str]) -> None:
    trainer = Trainer(tiny_config(tmp_path, steps_per_epoch=1, modules=ModuleOptions(**switches)), data, say=quiet)
    assert trainer.fit()
    seen = {name for row in rows_without_seconds(tmp_path) for name in TERMS if row[name]}
    assert seen == set(TERMS) - missing - {"seg_la"}  # beyond the paper
    if "mgca" in switches:
        assert len(method_of(trainer).memory) == 0


@pytest.mark.parametrize("phase", PAPER_PHASES)
def test_each_term_of_eq_10_trains_its_networks(data: TrainingData, tmp_path: Path, phase: Phase) -> None:
    trainer = Trainer(tiny_config(tmp_path), data, say=quiet)
    _, terms = step_and_terms(trainer, phase)
    generators_ab, generators_ba = {"encoder_a", "decoder_b"}, {"encoder_b", "decoder_a"}
    trained = {
        "seg_ra": {"segmenter_a"},
        "seg_fb": {Phase.SEGMENT_B: {"segmenter_b"}, Phase.DISTILL: {"segmenter_b"} | generators_ab}.get(
            phase, generators_ab
        ),
        "seg_rb": {"segmenter_b"},
        "seg_fa": generators_ba,
        "cgr": generators_ba,
        "aca": generators_ba | {"encoder_a"},
    }
    for name in trained.keys() & terms.keys():
        trainer.method.networks.zero_grad(set_to_none=True)
        terms[name].backward(retain_graph=True)
        reached = {
            child
            for child, network in trainer.method.networks.named_children()
            if any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
        }
        if name == "aca" and terms[name].item() == 0:
            continue
        assert reached == trained[name], name


def test_the_generators_step_leaves_no_gradient_in_discriminators(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path), data, say=quiet)
    _, terms = step_and_terms(trainer, Phase.BASELINE)
    torch.stack(list(terms.values())).sum().backward(retain_graph=True)
    for network in trainer.method.networks.discriminators():
        assert all(p.grad is None for p in network.parameters())


def test_frozen_segmenters_do_not_change(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, max_steps=10), data, say=quiet)
    trainer.fit()
    before = {k: v.clone() for k, v in trainer.method.networks.state_dict().items()}
    trainer = Trainer(tiny_config(tmp_path), data, say=quiet)
    trainer.resume()
    trainer.fit()
    changed = {
        k.split(".")[0] for k, v in trainer.method.networks.state_dict().items() if not torch.equal(v, before[k])
    }
    assert changed == {*("encoder_a", "encoder_b", "decoder_a", "decoder_b", "discriminator_a", "discriminator_b")}


@pytest.mark.parametrize("term", ["cgr", "sga", "disc_b"])
def test_a_non_finite_loss_stops_with_its_name_and_keeps_the_last_good_state(
    whole_run: Trainer, data: TrainingData, tmp_path: Path, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(whole_run.out, tmp_path / "run")
    list_checkpoints(out / "checkpoints")[-1].unlink()  # as it was after step 9
    trainer = Trainer(tiny_config(out), data, say=quiet)
    trainer.resume()
    checked = trainer.checked

    def spoil(terms: dict[str, float], stepped: Sequence[str]) -> dict[str, float]:
        if term in terms and trainer.step >= 10:
            terms = {**terms, term: terms[term] * math.nan}
        return checked(terms, stepped)

    monkeypatch.setattr(trainer, "checked", spoil)
    with pytest.raises(NonFiniteLossError, match=f"step 10: the loss term '{term}' is nan; nothing was updated"):
        trainer.fit()
    assert [path.name for path in list_checkpoints(out / "checkpoints")] == ["step_00000009.pt"]
    resumed = Trainer(tiny_config(out), data, say=quiet)
    resumed.resume()
    assert resumed.step == 9
    assert resumed.fit()
    assert rows_without_seconds(out) == rows_without_seconds(whole_run.out)


def test_a_non_finite_loss_of_a_later_update_says_what_was_updated(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny_config(tmp_path, method="cyclegan"), data, say=quiet)
    method = trainer.method

    def of(names: tuple[str, ...], factor: float) -> Callable[[Part], Iterator[Terms]]:
        def losses(part: Part) -> Iterator[Terms]:
            for terms in method.losses(part):
                taken = {name: value * factor for name, value in terms.items() if name in names}
                if taken:
                    yield taken

        return losses

    generators = Update(("generators",), of(("adv", "cyc", "idt"), 1))
    discriminators = Update(("discriminators",), of(("disc_a", "disc_b"), math.nan))
    monkeypatch.setattr(method, "updates", lambda epoch: (generators, discriminators))
    before = {k: v.clone() for k, v in method.networks.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match="'disc_a' is nan; generators were updated in it already"):
        trainer.fit()
    moved = {k.split(".")[0] for k, v in method.networks.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"generator_ab", "generator_ba"}


def test_a_run_takes_the_numbers_of_numpy(data: TrainingData, tmp_path: Path) -> None:
    numbers = {"seed": np.int64(3), "lr": np.float32(1e-3), "batch_size": np.uint8(1), "pool": np.int16(3)}
    config = tiny_config(tmp_path, max_steps=np.int64(1), deterministic=np.bool_(False), **numbers)
    trainer = Trainer(config, data, say=quiet)
    trainer.save_config()
    trainer.fit()
    kept = from_stored(json.loads((tmp_path / "config.json").read_text()))
    assert kept == dataclasses.replace(config, max_steps=0)  # which belongs to its call
    resumed = Trainer(dataclasses.replace(config, max_steps=np.int32(2)), data, say=quiet)
    resumed.resume()
    resumed.fit()
    assert resumed.step == 2


def test_non_finite_weights_are_never_saved(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path), data, say=quiet)
    with torch.no_grad():
        next(trainer.method.networks.decoder_a.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match="decoder_a"):
        trainer.save()
    assert not list_checkpoints(tmp_path / "checkpoints")


def test_ctrl_c_saves_and_says_how_to_go_on(
    whole_run: Trainer, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    trainer = Trainer(tiny_config(tmp_path), data, say=told.append)
    training_step = trainer.training_step

    def press(*arguments: Any) -> dict[str, Any]:
        if trainer.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return training_step(*arguments)

    monkeypatch.setattr(trainer, "training_step", press)
    assert not trainer.fit()
    assert "interrupted after 5 of 12 steps" in told[-1]
    assert f"--out {tmp_path} --resume" in told[-1]
    resumed = Trainer(tiny_config(tmp_path), data, say=quiet)
    resumed.resume()
    assert resumed.fit()
    assert rows_without_seconds(tmp_path) == rows_without_seconds(whole_run.out)


def test_a_run_in_a_thread_is_the_same(whole_run: Trainer, data: TrainingData, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: Trainer(tiny_config(tmp_path), data, say=quiet).fit()).result()
    assert rows_without_seconds(tmp_path) == rows_without_seconds(whole_run.out)


def test_resuming_with_other_options_lists_them(data: TrainingData, tmp_path: Path) -> None:
    Trainer(tiny_config(tmp_path, max_steps=1), data, say=quiet).fit()
    other = Trainer(tiny_config(tmp_path, lr=1e-3, batch_size=2, max_steps=4), data, say=quiet)
    with pytest.raises(CheckpointError, match="lr: 0.0004 in the run, 0.001 asked for") as caught:
        other.resume()
    assert "batch_size: 1 in the run, 2 asked for" in str(caught.value)
    assert "max_steps" not in str(caught.value)


def test_a_checkpoint_older_than_an_option_is_resumed(data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", max_steps=1)
    Trainer(config, data, say=quiet).fit()
    (path,) = list_checkpoints(tmp_path / "run" / "checkpoints")
    state = torch.load(path, weights_only=True)
    del state["config"]["networks"]["discriminator_norm"]
    torch.save(state, path)
    trainer = Trainer(config, data, say=quiet)
    trainer.resume()
    assert trainer.step == 1


def test_panels_and_weights_are_written(whole_run: Trainer) -> None:
    assert (whole_run.out / "panels" / "step_00000012.png").is_file()
    assert (whole_run.out / "weights.safetensors").is_file()
    assert list((whole_run.out / "tensorboard").iterdir())


def test_psi_is_drawn_once_an_epoch_or_every_step(data: TrainingData, tmp_path: Path) -> None:
    """Eq. 22: when the scale is drawn."""
    paper = Trainer(tiny_config(tmp_path / "a"), data, say=quiet)
    by_epoch = []
    for epoch in range(30):
        scales = set()
        for paper.step in range(2 * epoch, 2 * epoch + 2):
            scales.add(method_of(paper).scale(paper.part({}, epoch)))
        assert len(scales) == 1
        by_epoch += scales
    assert set(by_epoch) == {0.5, 1.5}
    published = Trainer(tiny_config(tmp_path / "b", variant="published"), data, say=quiet)
    draws = []
    for published.step in range(30):
        draws.append(method_of(published).scale(published.part({}, 0)))
    assert set(draws) == {0.5, 1.5}


def test_extra_crops_teach_the_segmenters_alone(data: TrainingData, tmp_path: Path) -> None:
    """A step with extra crops gives the generators the gradient it would give them without, in every phase."""

    def gradients(crops: int, phase: Phase) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        modules = ModuleOptions(sr=False)
        networks = dataclasses.replace(NETWORKS, dropout=0.0)
        config = tiny_config(tmp_path, segmenter_crops=crops, networks=networks, modules=modules)
        trainer = Trainer(config, data, say=quiet)
        step, terms = step_and_terms(trainer, phase)
        torch.stack(list(terms.values())).sum().backward()
        taught = {
            name: 0 if logits is None else len(logits)
            for name, logits in (("s_a", step.logits_real_a), ("s_b", step.logits_fake_b))
        }
        return {n: p.grad for n, p in trainer.method.networks.named_parameters() if p.grad is not None}, taught

    for phase, expected in (
        (Phase.STRUCTURE, {"s_a": 0, "s_b": 0}),
        (Phase.SEGMENT_A, {"s_a": 3, "s_b": 0}),
        (Phase.SEGMENT_B, {"s_a": 3, "s_b": 3}),
        (Phase.DISTILL, {"s_a": 3, "s_b": 3}),
    ):
        one, _ = gradients(1, phase)
        three, taught = gradients(3, phase)
        assert taught == expected
        assert one.keys() == three.keys()
        for name, gradient in one.items():
            same = torch.allclose(three[name], gradient, rtol=1e-4, atol=1e-5)
            teaches = (name.startswith("segmenter_a") and expected["s_a"]) or (
                name.startswith("segmenter_b") and expected["s_b"]
            )
            if not teaches:
                assert same, (phase, name)
        if phase is Phase.DISTILL:
            for segmenter in ("segmenter_a", "segmenter_b"):
                last = max(n for n in one if n.startswith(segmenter) and n.endswith("weight"))
                assert not torch.allclose(three[last], one[last], rtol=1e-2)


@pytest.mark.parametrize("coordinates", ["crop", "frame"])
def test_segmenters_are_told_where_their_crops_lie(coordinates: Any, data: TrainingData, tmp_path: Path) -> None:
    networks = dataclasses.replace(NETWORKS, segmenter_coordinates=coordinates)
    trainer = Trainer(tiny_config(tmp_path, batch_size=2, segmenter_crops=2, networks=networks), data, say=quiet)
    seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []
    for segmenter in trainer.method.networks.segmenters():
        segmenter.register_forward_pre_hook(lambda _, given: seen.append((given[0], given[1])))
    for phase in PAPER_PHASES[2:]:
        epoch = int(phase) - 1
        trainer.method.enter_epoch(epoch)
        if phase is Phase.COLLABORATE:
            assert [len(x) for x, _ in seen] == [2, 2] * (len(data.b) // 2)
            swept = [w for _, w in seen[::2]]
            if coordinates == "frame":
                corners = torch.cat([w[:, :2] for w in swept if w is not None])
                assert torch.equal(corners, method_of(trainer).memory.payload)
        seen.clear()
        batch = next(iter(trainer.loader(epoch, 0)))
        step = Step.of(trainer.moved(batch))
        method = method_of(trainer)
        assert all(method.forward.generate(step, method.on(epoch), 0.5))
        windows = {
            id(step.real_b): batch["window_b"],
            id(step.fake_a): batch["window_b"],
            id(step.fake_b): batch["window_a"],
        }
        taught = torch.cat((batch["window_a"], batch["extra_windows_a"].flatten(0, 1)))
        assert len(seen) == {3: 1, 4: 2, 5: 4, 6: 3}[phase]
        for x, window in seen:
            if coordinates == "crop":
                assert window is None
            else:
                assert window is not None
                assert torch.equal(window, windows.get(id(x), taught))
                assert len(window) == len(x)
        seen.clear()


def test_extra_crops_run_through_all_phases_and_resume(data: TrainingData, tmp_path: Path) -> None:
    options = {"segmenter_crops": 3, "batch_size": 2, "ema_decay": 0.5}
    whole = Trainer(tiny_config(tmp_path / "whole", **options), data, say=quiet)
    assert whole.fit()
    for stop in (5, 9, 12):
        trainer = Trainer(tiny_config(tmp_path / "parts", max_steps=stop, **options), data, say=quiet)
        if stop > 5:
            trainer.resume()
        trainer.fit()
    assert rows_without_seconds(tmp_path / "parts") == rows_without_seconds(whole.out)
    weights = [(run / "weights.safetensors").read_bytes() for run in (whole.out, tmp_path / "parts")]
    assert weights[0] == weights[1]


def test_the_running_average_is_what_inference_gets(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, ema_decay=0.75), data, say=quiet)
    name = "layers.1.weight"
    seen = []
    for step, batch in enumerate(trainer.loader(0, 0)):
        trainer.step = step
        trainer.training_step(batch, 0)
        seen.append(trainer.method.networks.encoder_b.state_dict()[name].clone())
    trainer.save()
    # the average starts from the weights after the first step
    expected = 0.75 * seen[0] + 0.25 * seen[1]
    assert not torch.equal(seen[0], seen[1])
    found = load_translator(tmp_path).encoder_b.state_dict()[name]
    assert torch.allclose(found, expected, atol=1e-7)
    plain = Trainer(tiny_config(tmp_path / "plain"), data, say=quiet)
    assert plain.for_inference()["encoder_b"] is plain.method.networks.encoder_b


def test_the_boundary_weight_and_he_s_start_reach_the_segmenters(data: TrainingData, tmp_path: Path) -> None:
    losses = []
    for weight in (0.0, 0.5, 1.0):
        config = tiny_config(tmp_path)
        config = dataclasses.replace(config, losses=dataclasses.replace(config.losses, boundary_weight=weight))
        trainer = Trainer(config, data, say=quiet)
        _, terms = step_and_terms(trainer, Phase.SEGMENT_B)
        losses.append(terms["seg_ra"].item())
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)
    assert losses[1] > losses[0]

    plain = Trainer(tiny_config(tmp_path), data, say=quiet).method.networks.state_dict()
    he = dataclasses.replace(NETWORKS, segmenter_init="he")
    for name, value in (
        Trainer(tiny_config(tmp_path, networks=he), data, say=quiet).method.networks.state_dict().items()
    ):
        drawn = name.startswith("segmenter") and value.ndim == 4
        assert torch.equal(value, plain[name]) != drawn, name


def test_batch_norm_in_segmenters_resumes_exactly_and_stands_still_once_frozen(
    data: TrainingData, tmp_path: Path
) -> None:
    options = {"networks": dataclasses.replace(NETWORKS, segmenter_norm="batch"), "segmenter_crops": 2}
    whole = Trainer(tiny_config(tmp_path / "whole", **options), data, say=quiet)
    assert whole.fit()
    parts = Trainer(tiny_config(tmp_path / "parts", max_steps=10, **options), data, say=quiet)
    parts.fit()
    before = {k: v.clone() for k, v in parts.method.networks.state_dict().items() if k.startswith("segmenter")}
    assert any("running_mean" in name for name in before)
    parts = Trainer(tiny_config(tmp_path / "parts", **options), data, say=quiet)
    parts.resume()
    parts.fit()
    assert all(torch.equal(parts.method.networks.state_dict()[name], value) for name, value in before.items())
    assert rows_without_seconds(tmp_path / "parts") == rows_without_seconds(whole.out)
