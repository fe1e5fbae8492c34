from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from morn_losses import CITYSCAPES, MemoryBank, MemorySampler
from morn_losses.functional import semantic_descriptor
from ntir2dc.data.folders import TrainingData, prepare_training_data, read_edges
from ntir2dc.data.images import read_color, read_labels, read_thermal
from ntir2dc.data.pairing import MemoryCrops, PairedCrops, corner_at_class, cut, order
from ntir2dc.seeds import psi, seeded


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
                            row_in, col_in, height, width = sample["window_a"].tolist()
                            assert (height, width) == (40, 48)
                            mirrored = image.flip(-1) if flip else image
                            assert torch.equal(mirrored[:, row_in:, col_in:][:, :32, :32], sample["real_a"])
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
            assert sample["window_b"].tolist() == [5, 7, 40, 48]
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
    crop = crop_set[2]
    row, col, *size = crop["window_b"].tolist()
    assert int(crop["index_b"]) == 2
    assert size == [40, 48]
    assert torch.equal(cut(read_thermal(data.b[2].image), (row, col), 32, False), crop["real_b"])
    assert torch.equal(crop_set[2]["window_b"], crop["window_b"])
    assert len({tuple(crop_set[i]["window_b"].tolist()) for i in range(4)}) > 1
    assert "labels_b" not in crop


def test_psi_is_uniform_and_fixed_by_seed_and_epoch() -> None:
    draws = torch.tensor([psi(0, e) for e in range(400)])
    assert psi(0, 5) == draws[5].item()
    assert psi(1, 5) != psi(0, 5)
    assert 0.42 < (draws < 0.5).float().mean() < 0.58


def test_extra_crops_leave_the_pair_alone_and_stay_with_their_labels(data: TrainingData) -> None:
    alone, helped = crops(data), crops(data, extra=4)
    for position in range(4):
        sample, plain = helped[position], alone[position]
        assert plain["extra_windows_a"].shape == (0, 4)
        for image, (row, col, _, _) in zip(sample["extra_a"], sample["extra_windows_a"].tolist(), strict=True):
            frames = [read_color(frame.image) for frame in data.a]
            views = [x[:, row : row + 32, col : col + 32] for frame in frames for x in (frame, frame.flip(-1))]
            assert any(torch.equal(view, image) for view in views)
        assert plain["extra_a"].shape == (0, 3, 32, 32)
        assert plain["extra_labels_a"].shape == (0, 32, 32)
        assert all(torch.equal(torch.as_tensor(plain[k]), torch.as_tensor(sample[k])) for k in ("real_a", "real_b"))
        assert sample["extra_a"].shape == (4, 3, 32, 32)
        # the blocks of the test images have a color for each class
        for image, labels in zip(sample["extra_a"], sample["extra_labels_a"], strict=True):
            sky, road = image[:, labels == 10], image[:, labels == 0]
            if sky.shape[1] > 50 and road.shape[1] > 50:
                assert sky.std(1).max() < 0.15
                assert road.std(1).max() < 0.15
    assert torch.equal(helped[3]["extra_a"], crops(data, extra=4)[3]["extra_a"])
    assert not torch.equal(helped[3]["extra_a"], helped[2]["extra_a"])


def test_every_second_extra_crop_is_around_a_small_class(data: TrainingData) -> None:
    dataset = crops(data, extra=2, length=40, crop=8)
    held = torch.stack([(dataset[i]["extra_labels_a"] == 11).flatten(1).any(1) for i in range(40)])
    assert held[:, 0].all()  # every image of the folder holds a person
    assert not held[:, 1].all()


def test_a_corner_at_a_class_is_even_among_the_classes_held() -> None:
    labels = torch.zeros(30, 40, dtype=torch.long)
    labels[:20] = 11  # many pixels of one class
    labels[29, 39] = 6  # one of another
    labels[5, 5] = 10  # not asked for
    generator = seeded(0)
    found = [corner_at_class(labels, (6, 11, 14), 4, generator) for _ in range(400)]
    assert all(0 <= row <= 26 and 0 <= col <= 36 for row, col in found)
    seen = [{6, 11} & set(cut(labels, corner, 4, False).unique().tolist()) for corner in found]
    assert all(seen)
    assert 0.4 < sum(6 in s for s in seen) / 400 < 0.6
    # the pixel lies anywhere in the crop
    rows = {row for row, col in found if row > 20}
    assert rows == {26}  # cut off at the border
    middle = torch.zeros(30, 40, dtype=torch.long)
    middle[15, 20] = 11
    corners = {corner_at_class(middle, (11,), 4, generator) for _ in range(400)}
    assert corners == {(r, c) for r in range(12, 16) for c in range(17, 21)}


def test_a_corner_at_a_class_that_is_not_there_is_anywhere() -> None:
    corners = {corner_at_class(torch.zeros(6, 6, dtype=torch.long), (11,), 4, seeded(i)) for i in range(100)}
    assert corners == {(r, c) for r in range(3) for c in range(3)}
