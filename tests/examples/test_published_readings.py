"""What the published code does otherwise and an option reaches: each changes what it says, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.small_folder import write_folder
from helpers.tiny_run import method_of, quiet, step_and_terms, tiny_config, tiny_data
from morn_losses import CITYSCAPES
from morn_losses import functional as M
from ntir2dc.config import make_config
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.data.images import read_labels
from ntir2dc.data.pairing import order
from ntir2dc.methods.morngan.objective import Step
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.seeds import seeded
from ntir2dc.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def with_losses(out: Path, data: TrainingData, **changes: Any) -> Trainer:
    config = tiny_config(out)
    return Trainer(dataclasses.replace(config, losses=dataclasses.replace(config.losses, **changes)), data, say=quiet)


def unlabeled_half(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    labels = batch["labels_a"].clone()
    labels[..., :16] = 255
    return {**batch, "labels_a": labels}


@pytest.mark.parametrize("phase", [Phase.SEGMENT_B, Phase.DISTILL, Phase.COLLABORATE])
@pytest.mark.parametrize("published", [False, True])
def test_filled_labels_teach_s_b_and_are_those_of_aca(
    data: TrainingData, tmp_path: Path, phase: Phase, published: bool
) -> None:
    trainer = with_losses(tmp_path, data, published_fill=published)
    method, epoch = method_of(trainer), int(phase) - 1
    method.enter_epoch(epoch)
    batch = unlabeled_half(next(iter(trainer.loader(epoch, 0))))
    step, seen = Step.of(trainer.moved(batch)), []
    aca = method.objective.aca.forward
    method.objective.aca.forward = lambda *x: (seen.append(x[2]), aca(*x))[1]  # type: ignore[method-assign]
    terms = {k: v for piece in method.forward.generate(step, method.on(epoch), 0.5) for k, v in piece.items()}
    filled = step.filled_a is not None and bool((step.filled_a[..., :16] != 255).any())
    assert filled == (published or phase < Phase.COLLABORATE)
    taught = step.filled_a if published else step.labels_a
    assert step.logits_fake_b is not None
    expected = M.class_balanced_cross_entropy(step.logits_fake_b, taught)
    torch.testing.assert_close(terms["seg_fb"], expected)
    if phase is Phase.COLLABORATE:
        assert torch.equal(seen[0], taught)
        # the temperature term looks at the labels as they came
        expected = 0.5 * M.temperature_regularization(step.fake_b, step.labels_a)
        torch.testing.assert_close(terms["temp"], expected)


@pytest.mark.parametrize("on", [False, True])
def test_dropout_where_segmenters_label(data: TrainingData, tmp_path: Path, on: bool) -> None:
    trainer = with_losses(tmp_path, data, label_with_dropout=on)
    method, dropping = method_of(trainer), []
    for segmenter in method.networks.segmenters():
        dropout = next(m for m in segmenter.modules() if isinstance(m, torch.nn.Dropout))
        dropout.register_forward_hook(lambda m, *_: dropping.append(m.training))
    method.enter_epoch(int(Phase.COLLABORATE) - 1)  # fills the memory
    step_and_terms(trainer, Phase.COLLABORATE)
    # 4 thermal images fill the memory; a step segments x_b, G_BA(x_b) and G_AB(x_a)
    assert len(dropping) >= 3
    assert set(dropping) == {on}
    dropping.clear()
    step_and_terms(trainer, Phase.DISTILL)
    # S_A labels G_BA(x_b); what learns has its dropout on in either case, and one pass serves both purposes
    assert dropping.count(False) == (0 if on else 1)


def test_s_a_mines_in_eval_mode_while_it_learns(data: TrainingData, tmp_path: Path) -> None:
    trainer = with_losses(tmp_path, data)
    method = method_of(trainer)
    modes: list[tuple[bool, bool]] = []
    method.networks.segmenter_a.register_forward_hook(
        lambda m, x, y: modes.append((m.training, torch.is_grad_enabled()))
    )
    step_and_terms(trainer, Phase.DISTILL)
    # it learns from x_a with dropout, and labels G_BA(x_b) without
    assert sorted(modes) == [(False, False), (True, True)]
    assert method.networks.segmenter_a.training


def test_what_segmenters_see_is_resized_until_they_are_frozen(data: TrainingData, tmp_path: Path) -> None:
    trainer = with_losses(tmp_path, data, resize_segmented=True)
    method, sides = method_of(trainer), set()
    for segmenter in method.networks.segmenters():
        segmenter.register_forward_hook(lambda m, x, y: sides.add(tuple(x[0].shape[-2:])))
    drawn = []
    for trainer.step in range(40):
        drawn.append(method.segmented_side(trainer.part({}, 4), method.on(4)))
    assert set(drawn) == {4 * n for n in range(4, 10)}  # 0.5 to 1.234 of 32
    for trainer.step in range(3):
        sides.clear()
        method.enter_epoch(4)
        batch = next(iter(trainer.loader(4, 0)))
        values = trainer.training_step(batch, 4)
        assert sides == {(drawn[trainer.step],) * 2}
        assert all(torch.isfinite(torch.tensor(v)) for v in values.values())
    assert method.segmented_side(trainer.part({}, 5), method.on(5)) is None
    sides.clear()
    method.enter_epoch(5)
    trainer.training_step(next(iter(trainer.loader(5, 0))), 5)
    assert sides == {(32, 32)}


def test_images_with_replacement_or_in_passes() -> None:
    passes = order(12, 4, seeded(1)).view(3, 4).sort(1).values
    assert (passes == torch.arange(4)).all()
    drawn = order(4000, 4, seeded(1), replacement=True)
    assert (drawn.view(-1, 4).sort(1).values != torch.arange(4)).any()
    assert torch.bincount(drawn).float().div(4000).sub(0.25).abs().max() < 0.03


def test_the_published_variant_chooses_all_of_them() -> None:
    for preset in ("demo", "mini", "flir", "kaist"):
        config = make_config(preset, "published")
        assert config.losses.published_fill
        assert config.losses.label_with_dropout
        assert config.losses.resize_segmented
        assert config.dataset.replacement


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    losses = dataclasses.replace(config.losses, resize_segmented=True)
    networks = dataclasses.replace(config.networks, segmenter_coordinates="frame")
    with pytest.raises(ValueError, match="resize_segmented: needs networks.segmenter_coordinates crop"):
        dataclasses.replace(config, losses=losses, networks=networks)
    losses = dataclasses.replace(config.losses, label_with_dropout=True)
    networks = dataclasses.replace(config.networks, segmenter_norm="batch")
    with pytest.raises(ValueError, match="label_with_dropout: needs networks.segmenter_norm"):
        dataclasses.replace(config, losses=losses, networks=networks)


def test_small_classes_and_boundaries_of_the_segmentation_losses(data: TrainingData, tmp_path: Path) -> None:
    config = make_config("flir", "published")
    assert (config.losses.small_pixels, config.losses.clear_ignored) == (1024, False)
    trainer = with_losses(tmp_path, data, small_pixels=17, clear_ignored=False)
    method = method_of(trainer)
    method.enter_epoch(3)
    step = Step.of(trainer.moved(unlabeled_half(next(iter(trainer.loader(3, 0))))))
    terms = {k: v for piece in method.forward.generate(step, method.on(3), 0.5) for k, v in piece.items()}
    assert step.logits_real_a is not None
    assert step.filled_a is not None
    expected = M.class_balanced_cross_entropy(step.logits_real_a, step.filled_a, small_pixels=17)
    expected = expected + 0.5 * M.boundary_loss(step.logits_real_a, step.filled_a, clear_ignored=False)
    torch.testing.assert_close(terms["seg_ra"], expected)


def test_riders_of_the_second_prediction_stay(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", n_a=1)
    for name in ("labels_pred1", "labels_pred2"):
        (path,) = (folder / name).iterdir()
        labels = np.full((40, 48), 12 if name.endswith("2") else 11, np.uint8)
        labels[:, 24:] = 12
        Image.fromarray(labels).save(path)
    maps = {}
    for published in (False, True):
        made = prepare_training_data(
            folder, tmp_path / f"cache{published}", CITYSCAPES, crop=32, denoise=False, published_fusion=published
        )
        assert made.a[0].labels is not None
        maps[published] = read_labels(made.a[0].labels)
    # left person and rider: no agreement either way; right both rider: a rider, or (published) a person alone
    assert set(maps[False][:, :24].unique().tolist()) == set(maps[True][:, :24].unique().tolist()) == {255}
    assert maps[False][:, 24:].unique().tolist() == [12]
    assert maps[True][:, 24:].unique().tolist() == [255]
