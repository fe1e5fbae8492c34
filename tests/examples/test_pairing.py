from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from morn_losses import CITYSCAPES, MemoryBank, MemorySampler
from morn_losses.functional import semantic_descriptor
from morngan.data.folders import TrainingData, prepare_training_data, read_edges
from morngan.data.images import read_color, read_labels, read_thermal
from morngan.data.pairing import MemoryCrops, PairedCrops, cut, order, psi, seeded


@pytest.fixture
def data(data_folder: Path, tmp_path: Path) -> TrainingData:
    return prepare_training_data(data_folder, tmp_path / "cache", CITYSCAPES, crop=32)


def crops(data: TrainingData, **options: object) -> PairedCrops:
    base = PairedCrops(data, length=8, epoch=0, seed=3, crop=32, flip=0.5, classes=CITYSCAPES.small_sample)
    return dataclasses.replace(base, **options)  # type: ignore[arg-type]


def same(a: dict[str, object], b: dict[str, object]) -> bool:
    return all(torch.equal(torch.as_tensor(a[k]), torch.as_tensor(b[k])) for k in a)


def test_a_sample_depends_on_seed_epoch_and_position_only(data: TrainingData) -> None:
    first = crops(data)
    torch.rand(17)
    again = crops(data)
    assert all(same(first[i], again[i]) for i in reversed(range(8)))
    assert not all(same(first[i], crops(data, epoch=1)[i]) for i in range(8))
    assert not all(same(first[i], crops(data, seed=4)[i]) for i in range(8))


def test_image_edges_and_labels_are_cut_alike(data: TrainingData) -> None:
    dataset = crops(data, flip=0.5)
    seen = set()
    for position in range(8):
        sample = dataset[position]
        for frame in data.a:
            image, edges, labels = read_color(frame.image), read_edges(frame.edges), read_labels(frame.labels)
            for row in range(40 - 32 + 1):
                for col in range(48 - 32 + 1):
                    for flip in (False, True):
                        if torch.equal(cut(image, (row, col), 32, flip), sample["real_a"]):
                            assert torch.equal(cut(edges, (row, col), 32, flip), sample["edges_a"])
                            assert torch.equal(cut(labels, (row, col), 32, flip), sample["labels_a"])
                            seen.add((position, flip))
    assert {p for p, _ in seen} == set(range(8))
    assert {f for _, f in seen} == {False, True}


def test_every_image_is_used_before_one_comes_back() -> None:
    indices = order(10, 4, seeded(0)).tolist()
    assert sorted(indices[:4]) == sorted(indices[4:8]) == [0, 1, 2, 3]
    assert len(indices) == 10


def test_the_memory_chooses_the_partner_and_replays_its_crop(data: TrainingData) -> None:
    bank = MemoryBank(4, 6, payload_size=2)
    person = torch.zeros(1, 40, 48, dtype=torch.long)
    person[:, :10, :10] = 11
    truck = person.where(person == 0, 14)
    bank.write(
        torch.arange(4),
        semantic_descriptor(torch.cat([truck, person, truck, truck]), CITYSCAPES.small_sample),
        torch.tensor([[0, 0], [5, 7], [1, 1], [2, 2]]),
    )
    dataset = crops(data, sampler=MemorySampler(bank, k=1), flip=0.0)
    expected = cut(read_thermal(data.b[1].image), (5, 7), 32, False)
    with_person = 0
    for position in range(8):
        sample = dataset[position]
        if (sample["labels_a"] == 11).any():
            with_person += 1
            assert sample["index_b"] == 1
            assert torch.equal(sample["real_b"], expected)
    assert with_person > 0


def test_a_loader_with_workers_gives_the_same(data: TrainingData) -> None:
    dataset = crops(data)
    (alone, helped) = (
        list(DataLoader(dataset, batch_size=2, sampler=range(2, 8), num_workers=n, generator=seeded(0))) for n in (0, 2)
    )
    assert len(alone) == len(helped) == 3
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_memory_crops_are_fixed(data: TrainingData) -> None:
    crop_set = MemoryCrops(data, seed=3, crop=32)
    index, real_b, corner = crop_set[2]
    assert index == 2
    assert torch.equal(cut(read_thermal(data.b[2].image), tuple(corner.tolist()), 32, False), real_b)
    assert torch.equal(crop_set[2][2], corner)
    assert len({tuple(crop_set[i][2].tolist()) for i in range(4)}) > 1


def test_psi_is_uniform_and_fixed_by_seed_and_epoch() -> None:
    draws = torch.tensor([psi(0, e) for e in range(400)])
    assert psi(0, 5) == draws[5].item()
    assert psi(1, 5) != psi(0, 5)
    assert 0.42 < (draws < 0.5).float().mean() < 0.58
