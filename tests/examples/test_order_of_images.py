"""Every epoch takes the images in an order of its own and meets other partners; taken again, it is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.tiny_run import quiet, tiny_config, tiny_data
from ntir2dc.data.folders import TrainingData
from ntir2dc.trainer import Trainer

LENGTH = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("data"))


def images_of(data: TrainingData, out: Path, epoch: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Return which color images and which thermal images an epoch takes, in its order."""
    config = tiny_config(out, steps_per_epoch=LENGTH, seed=seed)
    crops = Trainer(config, data, say=quiet).method.crops(epoch, LENGTH)
    return crops._order_a.tolist(), crops._order_b.tolist()  # type: ignore[attr-defined]


def test_another_order_and_other_partners_in_every_epoch(data: TrainingData, tmp_path: Path) -> None:
    epochs = [images_of(data, tmp_path, epoch) for epoch in range(5)]
    for domain in range(2):
        assert len({tuple(epoch[domain]) for epoch in epochs}) == 5
    pairs = [list(zip(*epoch, strict=True)) for epoch in epochs]
    assert all(one != other for i, one in enumerate(pairs) for other in pairs[:i])
    # the same images meet others: sorted by color image, the thermal ones differ from epoch to epoch
    partners = {tuple(sorted(epoch)) for epoch in pairs}
    assert len(partners) == 5
    assert images_of(data, tmp_path, 2) == epochs[2]
    assert images_of(data, tmp_path, 2, seed=1) != epochs[2]


def test_crops_and_mirroring_differ_between_epochs(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path, steps_per_epoch=LENGTH), data, say=quiet)
    first, second, again = (trainer.method.crops(epoch, LENGTH) for epoch in (0, 1, 0))
    same = [torch.equal(first[i]["real_a"], again[i]["real_a"]) for i in range(LENGTH)]
    assert all(same)
    windows = [torch.stack([crops[i]["window_b"] for i in range(LENGTH)]) for crops in (first, second)]
    assert not torch.equal(*windows)
