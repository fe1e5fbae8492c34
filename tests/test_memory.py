from __future__ import annotations

import copy
import io
import math
import multiprocessing
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from helpers.ranks import in_two_ranks
from morn_losses.memory import MemoryBank, MemorySampler, descriptor_similarity, semantic_descriptor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full_bank(descriptors: Tensor, payload_size: int = 0) -> MemoryBank:
    bank = MemoryBank(*descriptors.shape, payload_size)
    payload = torch.arange(len(descriptors) * payload_size).view(-1, payload_size) if payload_size else None
    bank.write(torch.arange(len(descriptors)), descriptors, payload)
    return bank


# --- descriptors ------------------------------------------------------------------------------------------------------


def descriptor_by_loops(labels: np.ndarray, classes: Sequence[Any]) -> list[float]:
    H, W = labels.shape
    shares = []
    for c in classes:
        ids = c if isinstance(c, tuple) else (c,)
        shares.append(sum(1 for i in range(H) for j in range(W) if labels[i, j] in ids) / (H * W))
    mean = sum(shares) / len(shares) if len(shares) > 1 else 0.0
    return [s - mean for s in shares]


@pytest.mark.parametrize("classes", [(1, 3, 5), (2,), ((1, 2), 4), [[0, 1, 2], 3, (4,)], (6, 255)])
def test_descriptor_equals_loops(classes: Sequence[Any]) -> None:
    labels = torch.randint(0, 7, (4, 6, 5))
    labels[torch.rand(4, 6, 5) < 0.2] = 255
    classes_of_tuples = [tuple(c) if isinstance(c, list) else c for c in classes]
    expected = [descriptor_by_loops(labels[b].numpy(), classes_of_tuples) for b in range(4)]
    value = semantic_descriptor(labels, classes)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, torch.tensor(expected))


def test_descriptor_by_hand() -> None:
    labels = torch.tensor([[[6, 6, 6, 7], [0, 255, 255, 255]]])
    torch.testing.assert_close(semantic_descriptor(labels, (6, 7)), torch.tensor([[1 / 8, -1 / 8]]))
    torch.testing.assert_close(semantic_descriptor(labels, (6, 7, 8, 9)), torch.tensor([[2.0, 0, -1, -1]]) / 8)
    torch.testing.assert_close(semantic_descriptor(labels, (6,)), torch.tensor([[3 / 8]]))
    torch.testing.assert_close(semantic_descriptor(labels, ((6, 0), 7)), torch.tensor([[3 / 16, -3 / 16]]))


def test_descriptor_is_zero_where_no_class_occurs() -> None:
    labels = torch.full((3, 7, 7), 255)
    labels[1] = 2
    labels[2, 0, 0] = 6
    value = semantic_descriptor(labels, (6, 7, 11))
    assert not value[:2].any()
    assert value[2].all()
    assert semantic_descriptor(labels, (6,)).tolist() == [[0.0], [0.0], [pytest.approx(1 / 49)]]


@pytest.mark.parametrize("n", [3, 6, 7, 11])
def test_equal_shares_leave_exactly_nothing(n: int) -> None:
    labels = torch.arange(n).repeat_interleave(7).view(1, n, 7)
    assert not semantic_descriptor(labels, range(n)).any()


def test_descriptor_compiles_as_one_graph() -> None:
    labels = torch.randint(0, 5, (2, 4, 4))
    compiled = torch.compile(lambda x: semantic_descriptor(x, (1, (2, 3))), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(labels), semantic_descriptor(labels, (1, (2, 3))))


def test_descriptor_errors() -> None:
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(TypeError, match=r"labels: expected an integer dtype, got torch\.float32"):
        semantic_descriptor(labels.float(), (1,))
    with pytest.raises(ValueError, match=r"labels: expected \(B, H, W\)"):
        semantic_descriptor(labels[0], (1,))
    for classes in ((), ((),), (1, ())):
        with pytest.raises(ValueError, match="classes: expected at least one id"):
            semantic_descriptor(labels, classes)
    for classes in ((1, 1), ((1, 2), 2), ((1, 1),)):
        with pytest.raises(ValueError, match="classes: expected every id once"):
            semantic_descriptor(labels, classes)
    with pytest.raises(ValueError, match="classes: expected an int >= 0, got -1"):
        semantic_descriptor(labels, (-1,))
    for bad in ((1.0,), ("person",), (True,)):
        with pytest.raises(TypeError, match="classes: expected an int"):
            semantic_descriptor(labels, bad)  # type: ignore[arg-type]
    for bad in (1, "person"):
        with pytest.raises(TypeError, match="classes: expected a sequence"):
            semantic_descriptor(labels, bad)  # type: ignore[arg-type]


# --- similarity -------------------------------------------------------------------------------------------------------


def test_similarity_equals_loops_and_scikit_learn() -> None:
    a, b = torch.randn(4, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    value = descriptor_similarity(a, b)
    expected = torch.zeros(4, 5, dtype=torch.float64)
    for i in range(4):
        for j in range(5):
            dot = sum(float(x * y) for x, y in zip(a[i], b[j], strict=True))
            expected[i, j] = dot / math.sqrt(sum(float(x) ** 2 for x in a[i]) * sum(float(y) ** 2 for y in b[j]))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(value, torch.from_numpy(cosine_similarity(a.numpy(), b.numpy())))


def test_similarity_with_the_zero_vector_is_zero() -> None:
    """Eq. 11: an image without small-sample classes."""
    a = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert descriptor_similarity(a, a).tolist() == [[0.0, 0.0], [0.0, pytest.approx(1.0)]]
    assert not descriptor_similarity(torch.zeros(3, 1), torch.ones(2, 1)).any()


@pytest.mark.parametrize("scale", [1e-45, 1e-30, 1e30, 3e38])
def test_similarity_does_not_depend_on_the_length(scale: float) -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, -1.0]]) * scale
    expected = torch.tensor([[1.0, math.sqrt(0.5)], [math.sqrt(0.5), 1.0]])
    torch.testing.assert_close(descriptor_similarity(a, a), expected)
    torch.testing.assert_close(descriptor_similarity(-a, a / scale), -expected)


def test_similarity_stays_within_one() -> None:
    a = torch.randn(200, 3)
    assert descriptor_similarity(a, a).abs().max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_similarity_of_half_precision_is_float32(dtype: torch.dtype) -> None:
    a, b = torch.randn(3, 4).to(dtype), torch.randn(2, 4).to(dtype)
    expected = descriptor_similarity(a.float(), b.float())
    torch.testing.assert_close(descriptor_similarity(a, b), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(descriptor_similarity(a.float(), b.float()), expected, rtol=0, atol=0)
    assert descriptor_similarity(a, b.double()).dtype == torch.float64


def test_similarity_errors() -> None:
    a = torch.rand(2, 3)
    with pytest.raises(ValueError, match=r"b: expected \(Nb, n\) = \(4, 3\), got \(4, 2\)"):
        descriptor_similarity(a, torch.rand(4, 2))
    with pytest.raises(ValueError, match=r"a: expected \(Na, n\), got \(3,\)"):
        descriptor_similarity(a[0], a)
    with pytest.raises(ValueError, match=r"b: expected \(Nb, n\), got \(2, 0\)"):
        descriptor_similarity(a, a[:, :0])
    with pytest.raises(TypeError, match="b: expected a floating-point dtype"):
        descriptor_similarity(a, a.long())


# --- bank -------------------------------------------------------------------------------------------------------------


def test_a_new_bank_is_empty() -> None:
    bank = MemoryBank(5, 3, 2)
    assert (bank.capacity, bank.n_classes, bank.payload_size) == (5, 3, 2)
    assert (len(bank), bank.is_full, bank.unfilled().tolist()) == (0, False, [0, 1, 2, 3, 4])
    assert (bank.descriptors.shape, bank.descriptors.dtype) == ((5, 3), torch.float32)
    assert (bank.payload.shape, bank.payload.dtype) == ((5, 2), torch.int64)
    assert (bank.filled.shape, bank.filled.dtype) == ((5,), torch.bool)
    assert bank.unfilled().dtype == torch.int64
    assert MemoryBank(5, 3).payload.shape == (5, 0)
    assert not list(bank.parameters())
    assert set(bank.state_dict()) == {"descriptors", "payload", "filled"}
    assert repr(bank) == "MemoryBank(capacity=5, n_classes=3, payload_size=2)"


def test_write_fills_and_replaces() -> None:
    """Section 3.4.1: an image has one entry."""
    bank = MemoryBank(4, 2, 1)
    bank.write(torch.tensor([2, 0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[7], [8]]))
    assert bank.descriptors.tolist() == [[3, 4], [0, 0], [1, 2], [0, 0]]
    assert bank.payload.flatten().tolist() == [8, 0, 7, 0]
    assert (len(bank), bank.unfilled().tolist(), bank.is_full) == (2, [1, 3], False)
    bank.write(torch.tensor([2]), torch.tensor([[9.0, 9.0]]), torch.tensor([[-1]]))
    assert (bank.descriptors[2].tolist(), bank.payload[2].tolist(), len(bank)) == ([9, 9], [-1], 2)
    bank.write(torch.tensor([1, 3]), torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.long))
    assert (len(bank), bank.unfilled().tolist(), bank.is_full) == (4, [], True)


def test_what_is_written_is_a_copy_without_grad_in_float32() -> None:
    bank = MemoryBank(2, 2)
    descriptors = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    bank.write(torch.tensor([1]), descriptors)
    with torch.no_grad():
        descriptors.zero_()
    assert bank.descriptors.tolist() == [[0, 0], [1, 1]]
    assert bank.descriptors.dtype == torch.float32
    assert not bank.descriptors.requires_grad
    bank.write(torch.tensor([0]), torch.full((1, 2), 0.5, dtype=torch.float16))
    assert bank.descriptors[0].tolist() == [0.5, 0.5]


def test_writing_nothing_is_allowed() -> None:
    bank = MemoryBank(2, 2, 1)
    bank.write(torch.zeros(0, dtype=torch.long), torch.zeros(0, 2), torch.zeros(0, 1, dtype=torch.long))
    assert len(bank) == 0


ONE, TWO = torch.tensor([1]), torch.tensor([1, 2])
INTS = torch.zeros(2, 3, dtype=torch.long)
REFUSED: list[tuple[type[Exception], str, int, tuple[Any, ...]]] = [
    (IndexError, r"indices: expected ids in \[0, 4\), got \[4\]", 0, (torch.tensor([0, 4]), torch.zeros(2, 2))),
    (IndexError, r"indices: expected ids in \[0, 4\), got \[-1\]", 0, (torch.tensor([-1, 0]), torch.zeros(2, 2))),
    (ValueError, "indices: expected every id once", 0, (torch.tensor([1, 1]), torch.zeros(2, 2))),
    (ValueError, r"indices: expected \(B,\), got \(1, 2\)", 0, (TWO[None], torch.zeros(2, 2))),
    (TypeError, "indices: expected an integer dtype, got torch.float32", 0, (TWO.float(), torch.zeros(2, 2))),
    (TypeError, "indices: expected an integer dtype, got torch.bool", 0, (TWO.bool(), torch.zeros(2, 2))),
    (TypeError, "indices: expected a torch.Tensor, got list", 0, ([1, 2], torch.zeros(2, 2))),
    (ValueError, r"descriptors: expected \(B, n_classes\) = \(2, 2\), got \(2, 3\)", 0, (TWO, torch.zeros(2, 3))),
    (ValueError, r"descriptors: expected \(B, n_classes\) = \(2, 2\), got \(1, 2\)", 0, (TWO, torch.zeros(1, 2))),
    (ValueError, r"descriptors: expected .*, got \(2,\)", 0, (ONE, torch.zeros(2))),
    (ValueError, "descriptors: expected finite", 0, (TWO, torch.tensor([[0, 0], [0, math.nan]]))),
    (ValueError, "descriptors: expected finite", 0, (ONE, torch.tensor([[math.inf, 0]]))),
    (ValueError, "descriptors: expected finite", 0, (ONE, torch.full((1, 2), 1e300, dtype=torch.float64))),
    (TypeError, "descriptors: expected a floating-point dtype", 0, (ONE, torch.zeros(1, 2, dtype=torch.long))),
    (ValueError, "payload: expected None", 0, (TWO, torch.zeros(2, 2), INTS)),
    (ValueError, r"payload: expected \(B, payload_size\) = \(2, 3\), got None", 3, (TWO, torch.zeros(2, 2))),
    (ValueError, r"payload: .* = \(2, 3\), got \(2, 2\)", 3, (TWO, torch.zeros(2, 2), INTS[:, :2])),
    (ValueError, r"payload: .* = \(2, 3\), got \(1, 3\)", 3, (TWO, torch.zeros(2, 2), INTS[:1])),
    (ValueError, r"payload: .* = \(1, 3\), got \(3,\)", 3, (ONE, torch.zeros(1, 2), INTS[0])),
    (TypeError, "payload: expected an integer dtype, got torch.float32", 3, (TWO, torch.zeros(2, 2), INTS.float())),
    (IndexError, "indices", 3, (torch.tensor([0, 4]), torch.zeros(2, 2), INTS)),
]


@pytest.mark.parametrize(("error", "message", "payload_size", "arguments"), REFUSED)
def test_a_refused_write_changes_nothing(
    error: type[Exception], message: str, payload_size: int, arguments: tuple[Any, ...]
) -> None:
    bank = MemoryBank(4, 2, payload_size)
    payload = torch.full((1, payload_size), 5) if payload_size else None
    bank.write(torch.tensor([0]), torch.tensor([[1.0, 2.0]]), payload)
    before = copy.deepcopy(bank.state_dict())
    with pytest.raises(error, match=message):
        bank.write(*arguments)
    for name, buffer in bank.state_dict().items():
        assert torch.equal(buffer, before[name]), name


def test_bank_errors() -> None:
    for arguments, name in (((0, 2), "capacity"), ((2, 0), "n_classes"), ((2, 2, -1), "payload_size")):
        with pytest.raises(ValueError, match=f"{name}: expected an int"):
            MemoryBank(*arguments)
    with pytest.raises(TypeError, match="capacity: expected an int"):
        MemoryBank(2.0, 2)  # type: ignore[arg-type]


def test_a_loaded_bank_samples_as_the_original() -> None:
    bank = MemoryBank(30, 4, 2)
    ids = torch.randperm(30)[:20]
    bank.write(ids, torch.randn(20, 4), torch.randint(0, 99, (20, 2)))
    file = io.BytesIO()
    torch.save(bank.state_dict(), file)
    file.seek(0)
    loaded = MemoryBank(30, 4, 2)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    queries = torch.randn(50, 4)
    drawn = MemorySampler(bank, k=5)(queries, generator(3))
    assert torch.equal(drawn, MemorySampler(loaded, k=5)(queries, generator(3)))
    assert torch.equal(bank.payload[drawn], loaded.payload[drawn])
    assert (len(loaded), loaded.unfilled().tolist()) == (20, bank.unfilled().tolist())
    sampler = MemorySampler(MemoryBank(30, 4, 2), k=5)
    sampler.load_state_dict(MemorySampler(bank, k=5).state_dict())
    assert torch.equal(drawn, sampler(queries, generator(3)))


def test_the_look_up_follows_what_is_written_and_loaded() -> None:
    bank = MemoryBank(40, 3)
    bank.write(torch.randperm(40)[:30], torch.randn(30, 3) * torch.logspace(-25, 25, 30)[:, None])
    bank.write(torch.tensor([5, 7]), torch.tensor([[0.0, 0.0, 0.0], [-1.0, 2.0, 2.0]]))
    copied = copy.deepcopy(bank)
    copied.write(torch.tensor([7]), torch.tensor([[2.0, 1.0, 2.0]]))
    loaded, assigned = MemoryBank(40, 3), MemoryBank(40, 3).to("meta")
    loaded.load_state_dict(bank.state_dict())
    assigned.load_state_dict(bank.state_dict(), assign=True)
    for one in (bank, copied, loaded, assigned):
        expected = torch.nn.functional.normalize(one.descriptors.double(), dim=1, eps=1e-300)
        torch.testing.assert_close(one.units.mT.double(), expected, rtol=1e-6, atol=1e-6)
    for one, best in ((bank, [-1.0, 2.0, 2.0]), (copied, [2.0, 1.0, 2.0])):
        assert MemorySampler(one, k=1)(torch.tensor([best], dtype=torch.float64) * 1e200).item() == 7


@pytest.mark.parametrize("n_entries", [50, 400, 1290, 3000])
@pytest.mark.parametrize("filled", [0.02, 1.0])
def test_a_long_memory_draws_among_the_k_most_similar(n_entries: int, filled: float) -> None:
    bank = MemoryBank(n_entries, 4)
    ids = torch.randperm(n_entries)[: max(1, int(filled * n_entries))]
    # few distinct vectors, so that many tie
    bank.write(ids, torch.randint(-2, 3, (len(ids), 4)).float())
    queries = torch.randn(40, 4)
    similarity = torch.full((40, n_entries), -math.inf, dtype=torch.float64)
    similarity[:, ids] = descriptor_similarity(queries.double(), bank.descriptors[ids].double())
    k = min(7, len(ids))
    last = similarity.sort(1, descending=True).values[:, k - 1 : k]
    seen = torch.stack([MemorySampler(bank, k=7)(queries, generator(i)) for i in range(60)], 1)
    drawn = similarity.gather(1, seen)
    assert (drawn >= last - 1e-6).all()
    # whoever is above rank k is drawn one time in k, whatever ties there
    shares = (drawn > last + 1e-6).double().mean() - ((similarity > last + 1e-6).sum(1) / k).mean()
    assert abs(shares) < 0.05


# --- sharing ----------------------------------------------------------------------------------------------------------


class Reads(Dataset[Tensor]):
    """Gives what a worker process sees of the bank: number filled, an entry's first value, its payload, a draw."""

    def __init__(self, bank: MemoryBank) -> None:
        self.bank = bank
        self.sampler = MemorySampler(bank, k=1)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        drawn = int(self.sampler(torch.tensor([[1.0, 0.0]])))
        payload = int(self.bank.payload[drawn].sum())
        return torch.tensor([len(self.bank), float(self.bank.descriptors[drawn, 0]), payload, drawn])


@pytest.mark.parametrize("payload_size", [0, 1])
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_see_later_writes(start: str, payload_size: int) -> None:
    bank = MemoryBank(3, 2, payload_size)
    assert bank.share_memory_() is bank
    assert all(buffer.is_shared() for buffer in (bank.descriptors, bank.filled))

    def payload(value: int) -> Tensor | None:
        return torch.full((1, 1), value) if payload_size else None

    bank.write(torch.tensor([0]), torch.tensor([[0.5, 0.5]]), payload(10))
    loader = DataLoader(
        Reads(bank), batch_size=2, num_workers=1, persistent_workers=True, multiprocessing_context=start
    )
    assert next(iter(loader)).tolist() == [[1, 0.5, 10 * payload_size, 0]] * 2
    bank.write(torch.tensor([2]), torch.tensor([[0.25, 0.0]]), payload(20))
    assert next(iter(loader)).tolist() == [[2, 0.25, 20 * payload_size, 2]] * 2
    # loading keeps the memory shared
    state = {name: torch.zeros_like(buffer) for name, buffer in bank.state_dict().items()}
    state["filled"][1] = True
    bank.load_state_dict(state)
    assert next(iter(loader)).tolist() == [[1, 0, 0, 1]] * 2


def _write_in_a_child(bank: MemoryBank) -> None:
    bank.write(torch.tensor([1]), torch.tensor([[3.0, 4.0]]), torch.tensor([[5]]))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_childs_writes_are_seen(start: str) -> None:
    bank = MemoryBank(2, 2, 1).share_memory_()
    process = mp.get_context(start).Process(target=_write_in_a_child, args=(bank,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert (bank.descriptors[1].tolist(), bank.payload[1].tolist(), bank.filled.tolist()) == (
        [3, 4],
        [5],
        [False, True],
    )


def test_a_bank_that_is_not_shared_is_not_seen() -> None:
    bank = MemoryBank(2, 2, 1)
    process = multiprocessing.get_context("fork").Process(target=_write_in_a_child, args=(bank,))
    process.start()
    process.join(60)
    assert (process.exitcode, len(bank)) == (0, 0)


# --- inside a model ---------------------------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.sampler = MemorySampler(MemoryBank(4, 2, 1), k=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def written() -> Model:
    model = Model()
    model.sampler.bank.write(torch.tensor([1, 3]), angles(0, 90), torch.tensor([[7], [8]]))
    return model


def test_a_model_saves_loads_and_moves_its_memory() -> None:
    model, other = written(), Model()
    keys = {f"sampler.bank.{name}" for name in ("descriptors", "payload", "filled")}
    assert keys == {key for key in model.state_dict() if "bank" in key}
    other.load_state_dict(model.state_dict())
    assert other.sampler(angles(80, 5)).tolist() == [3, 1]
    assert other.sampler.bank.payload.flatten().tolist() == [0, 7, 0, 8]
    assert model.to("meta").sampler.bank.filled.is_meta
    assert other.double().sampler.bank.descriptors.dtype == torch.float64


def test_a_state_that_does_not_fit_is_named() -> None:
    state = written().state_dict()
    bank = {name.removeprefix("sampler.bank."): x for name, x in state.items() if "bank" in name}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "filled"'):
        MemoryBank(4, 2, 1).load_state_dict({name: x for name, x in bank.items() if name != "filled"})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "units"'):
        MemoryBank(4, 2, 1).load_state_dict({**bank, "units": torch.zeros(2, 4)})
    with pytest.raises(RuntimeError, match="size mismatch for descriptors"):
        MemoryBank(5, 2, 1).load_state_dict(bank)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "sampler.bank.filled"'):
        Model().load_state_dict({name: x for name, x in state.items() if "filled" not in name})


@pytest.mark.parametrize("use_buffers", [False, True])
def test_an_average_of_models_leaves_the_memory_alone(use_buffers: bool) -> None:
    model = written()
    averaged = AveragedModel(model, use_buffers=use_buffers)
    model.sampler.bank.write(torch.tensor([0, 1]), angles(180, 270), torch.tensor([[5], [6]]))
    before = model.layer.weight.clone()
    for _ in range(3):
        with torch.no_grad():
            model.layer.weight.add_(1)
        averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module.layer.weight, before + 2)
    bank = averaged.module.sampler.bank
    assert torch.equal(bank.descriptors, written().sampler.bank.descriptors)
    assert (bank.payload.flatten().tolist(), bank.filled.tolist()) == ([0, 7, 0, 8], [False, True, False, True])
    averaged.module.load_state_dict(model.state_dict())
    assert bank.payload.flatten().tolist() == [5, 6, 0, 8]


def test_inference_mode_leaves_a_memory_that_can_be_written_to() -> None:
    with torch.inference_mode():
        made = MemoryBank(4, 2, 1)
        made.write(torch.tensor([1]), angles(0), torch.tensor([[7]]))
        moved = copy.deepcopy(made).double().float()
        assigned = MemoryBank(4, 2, 1)
        assigned.load_state_dict({name: x.clone() for name, x in made.state_dict().items()}, assign=True)
    for bank in (made, moved, assigned):
        bank.write(torch.tensor([3]), angles(90), torch.tensor([[8]]))
        assert MemorySampler(bank, k=1)(angles(80, 5)).tolist() == [3, 1]
        bank.load_state_dict(made.state_dict())
        with torch.inference_mode():
            bank.write(torch.tensor([0]), angles(180), torch.tensor([[9]]))
        assert bank.filled.tolist() == [True, True, False, True]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16])
def test_ids_of_any_integer_dtype(dtype: torch.dtype) -> None:
    bank = MemoryBank(4, 2, 1)
    bank.write(torch.tensor([1, 3]).to(dtype), angles(0, 90), torch.tensor([[7], [8]]).to(dtype))
    assert (bank.filled.tolist(), bank.payload.flatten().tolist()) == ([False, True, False, True], [0, 7, 0, 8])
    with pytest.raises(IndexError, match=r"indices: expected ids in \[0, 4\), got \[200\]"):
        bank.write(torch.tensor([200], dtype=torch.uint8), angles(0), torch.tensor([[7]]))


def _write_in_ddp(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    try:
        model = Model()
        wrapped = nn.parallel.DistributedDataParallel(model)
        for step in range(2):
            bank = model.sampler.bank
            bank.write(torch.tensor([2 * step + rank]), angles(90 * (2 * step + rank)), torch.tensor([[step]]))
            wrapped(torch.randn(3, 2)).sum().backward()
            assert len(bank) == step + 1
        bank.synchronize()
        torch.save(bank.state_dict(), f"{folder}/{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_what_each_rank_writes_inside_a_ddp_model_is_there_at_synchronize(tmp_path: Path) -> None:
    in_two_ranks(_write_in_ddp, str(tmp_path))
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert state["filled"].all()
        torch.testing.assert_close(state["descriptors"], angles(0, 90, 180, 270))
        assert state["payload"].flatten().tolist() == [0, 0, 1, 1]


# --- synchronize ------------------------------------------------------------------------------------------------------


def test_synchronize_without_a_group_does_nothing() -> None:
    bank = full_bank(torch.randn(3, 2), 1)
    before = copy.deepcopy(bank.state_dict())
    bank.synchronize()
    for name, buffer in bank.state_dict().items():
        assert torch.equal(buffer, before[name])


WRITTEN_BY = ((0,), (1,), (0, 1), (1, 0), (1,), ())


def _synchronize(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    try:
        for payload_size in (0, 2):
            bank = MemoryBank(6, 2, payload_size).share_memory_()
            ids = [i for i, ranks in enumerate(WRITTEN_BY) if rank in ranks]
            descriptors = torch.tensor([[rank + 0.125, i / 3] for i in ids])
            payload = torch.tensor([[rank, -i] for i in ids]) if payload_size else None
            bank.write(torch.tensor(ids), descriptors, payload)
            # what lies in an unfilled entry must not count
            bank.descriptors[~bank.filled] = math.nan
            bank.synchronize()
            assert bank.filled.is_shared()
            expected = torch.nn.functional.normalize(bank.descriptors[:5], dim=1)
            torch.testing.assert_close(bank.units.mT[:5], expected)
            torch.save(bank.state_dict(), f"{folder}/{payload_size}_{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_synchronize_merges_the_ranks_and_the_lowest_wins(tmp_path: Path) -> None:
    in_two_ranks(_synchronize, str(tmp_path))
    owners = [min(ranks) for ranks in WRITTEN_BY[:5]]
    for payload_size in (0, 2):
        for rank in range(2):
            state = torch.load(tmp_path / f"{payload_size}_{rank}.pt", weights_only=True)
            assert state["filled"].tolist() == [True] * 5 + [False]
            expected = [[owner + 0.125, i / 3] for i, owner in enumerate(owners)] + [[0, 0]]
            assert torch.equal(state["descriptors"], torch.tensor(expected))
            if payload_size:
                assert state["payload"].tolist() == [[owner, -i] for i, owner in enumerate(owners)] + [[0, 0]]


def test_synchronize_with_one_process_keeps_everything() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        bank = MemoryBank(4, 3, 2)
        bank.write(torch.tensor([3, 1]), torch.randn(2, 3), torch.tensor([[1, 2], [3, 4]]))
        before = copy.deepcopy(bank.state_dict())
        bank.synchronize()
        for name, buffer in bank.state_dict().items():
            assert torch.equal(buffer, before[name])
    finally:
        dist.destroy_process_group()


# --- sampler ----------------------------------------------------------------------------------------------------------

N_DRAWS = 20_000


def frequencies(bank: MemoryBank, query: Sequence[float], k: int, seed: int = 0) -> list[float]:
    drawn = MemorySampler(bank, k)(torch.tensor([query]).expand(N_DRAWS, -1), generator(seed))
    assert drawn.dtype == torch.int64
    assert drawn.shape == (N_DRAWS,)
    return (torch.bincount(drawn, minlength=bank.capacity) / N_DRAWS).tolist()


def assert_distribution(found: Sequence[float], expected: Sequence[float]) -> None:
    """Exact where nothing is expected; elsewhere chi-square under the 99.99 % quantile of up to 11 degrees."""
    assert sum(expected) == pytest.approx(1)
    assert all(f == 0 for f, e in zip(found, expected, strict=True) if e == 0), found
    chi2 = sum(N_DRAWS * (f - e) ** 2 / e for f, e in zip(found, expected, strict=True) if e > 0)
    assert chi2 < 37, (found, expected)


def angles(*degrees: float) -> Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack((radians.cos(), radians.sin()), 1)


def test_uniform_among_the_k_most_similar() -> None:
    """Section 3.4.1: which entries are drawn, and how often."""
    bank = full_bank(angles(90, 10, 180, -20, 45, 30))
    assert_distribution(frequencies(bank, (2.0, 0.0), 3), [0, 1 / 3, 0, 1 / 3, 0, 1 / 3])
    assert_distribution(frequencies(bank, (2.0, 0.0), 4), [0, 1 / 4, 0, 1 / 4, 1 / 4, 1 / 4])
    assert_distribution(frequencies(bank, (-1.0, 0.0), 2), [1 / 2, 0, 1 / 2, 0, 0, 0])


def test_default_k_is_ten() -> None:
    assert MemorySampler(MemoryBank(1, 1)).k == 10
    bank = full_bank(angles(*range(12)))
    assert_distribution(frequencies(bank, (1.0, 0.0), MemorySampler(bank).k), [0.1] * 10 + [0] * 2)


def test_ties_at_rank_k_are_broken_at_random() -> None:
    # one above, three tied for the second and third place: 2/3 of the mass in three parts
    bank = full_bank(angles(40, 0, 40, 90, -40))
    assert_distribution(frequencies(bank, (1.0, 0.0), 3), [2 / 9, 1 / 3, 2 / 9, 0, 2 / 9])
    assert_distribution(frequencies(bank, (1.0, 0.0), 2), [1 / 6, 1 / 2, 1 / 6, 0, 1 / 6])
    assert_distribution(frequencies(bank, (1.0, 0.0), 4), [1 / 4, 1 / 4, 1 / 4, 0, 1 / 4])


def test_entries_of_one_direction_tie_whatever_their_length() -> None:
    direction = torch.tensor([[0.7, -0.1, -0.6]])
    scales = torch.tensor([[1.0], [1 / 3], [0.07], [1e-4], [0.9]])
    bank = full_bank(torch.cat((scales * direction, torch.tensor([[0.7, 0.1, -0.6]]))))
    assert_distribution(frequencies(bank, (0.5, 0.2, -0.7), 2), [0.1] * 5 + [0.5])
    # the query as real labels give it
    labels = torch.tensor([[[6, 6, 7, 0, 0, 0, 0]]])
    single = semantic_descriptor(torch.tensor([[[6, 0, 0]], [[6, 6, 0]], [[7, 0, 0]]]), (6, 7, 11))
    query = semantic_descriptor(labels, (6, 7, 11))[0].tolist()
    assert_distribution(frequencies(full_bank(single), query, 1), [0.5, 0.5, 0])


def test_rounding_errors_do_not_break_ties() -> None:
    # all entries have the direction of one class, as images with one small-sample class do
    area = torch.arange(1, 41).view(-1, 1) / 997
    for n in range(3, 8):
        bank = full_bank(area * (torch.eye(n)[:1] - 1 / n))
        seen = MemorySampler(bank, k=1)(torch.rand(40, n).repeat_interleave(400, 0), generator())
        for drawn in seen.view(40, 400):
            assert drawn.unique().numel() > 35


def test_k_of_one_is_the_most_similar() -> None:
    bank = full_bank(torch.randn(40, 5))
    queries = torch.randn(60, 5)
    expected = descriptor_similarity(queries.double(), bank.descriptors.double()).argmax(1)
    assert torch.equal(MemorySampler(bank, k=1)(queries), expected)


def test_every_draw_is_among_the_k_most_similar() -> None:
    bank = MemoryBank(50, 4)
    bank.write(torch.arange(0, 50, 2), torch.randn(25, 4))
    queries = torch.randn(40, 4)
    similarity = descriptor_similarity(queries, bank.descriptors).masked_fill(~bank.filled, -2)
    best = similarity.topk(7, 1).indices
    seen = torch.stack([MemorySampler(bank, k=7)(queries, generator(i)) for i in range(150)], 1)
    for row, candidates in zip(seen, best, strict=True):
        assert set(row.tolist()) == set(candidates.tolist())


def test_unfilled_entries_are_never_drawn() -> None:
    bank = MemoryBank(6, 2)
    bank.write(torch.tensor([1, 4]), angles(180, 170))
    # an unfilled entry's descriptor is 0 and would be more similar than either
    assert_distribution(frequencies(bank, (1.0, 0.0), 1), [0, 0, 0, 0, 1, 0])
    assert_distribution(frequencies(bank, (1.0, 0.0), 5), [0, 0.5, 0, 0, 0.5, 0])
    bank.descriptors[0] = math.nan
    assert_distribution(frequencies(bank, (1.0, 0.0), 2), [0, 0.5, 0, 0, 0.5, 0])


def test_zero_descriptor_draws_among_all_filled() -> None:
    bank = MemoryBank(7, 2)
    bank.write(torch.tensor([0, 2, 3, 6]), torch.cat((angles(0, 90, 200), torch.zeros(1, 2))))
    for k in (1, 2, 10):
        assert_distribution(frequencies(bank, (0.0, 0.0), k), [0.25, 0, 0.25, 0.25, 0, 0, 0.25])


def test_zero_entries_rank_between_similar_and_opposite() -> None:
    bank = full_bank(torch.cat((angles(0), torch.zeros(1, 2), angles(180))))
    assert_distribution(frequencies(bank, (1.0, 0.0), 2), [0.5, 0.5, 0])


def test_samples_of_a_batch_are_drawn_independently() -> None:
    bank = full_bank(angles(0, 1))
    drawn = MemorySampler(bank)(angles(0, 0).repeat(N_DRAWS // 2, 1), generator()).view(-1, 2)
    joint = torch.bincount(drawn[:, 0] * 2 + drawn[:, 1], minlength=4) / len(drawn)
    assert_distribution(joint.tolist(), [0.25] * 4)


def test_a_batch_equals_one_by_one_with_the_same_generator() -> None:
    sampler = MemorySampler(full_bank(torch.randn(30, 4)), k=6)
    queries = torch.randn(12, 4)
    one_by_one = generator(1)
    expected = torch.cat([sampler(queries[i : i + 1], one_by_one) for i in range(12)])
    assert torch.equal(sampler(queries, generator(1)), expected)


def test_randomness_comes_from_the_generator_or_the_global_rng() -> None:
    sampler = MemorySampler(full_bank(torch.randn(50, 4)))
    queries = torch.randn(30, 4)
    first = sampler(queries, generator(5))
    state = torch.get_rng_state()
    assert torch.equal(sampler(queries, generator(5)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(sampler(queries, generator(6)), first)
    torch.manual_seed(5)
    again = sampler(queries)
    torch.manual_seed(5)
    assert torch.equal(sampler(queries), again)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_queries_of_any_floating_dtype(dtype: torch.dtype) -> None:
    sampler = MemorySampler(full_bank(angles(0, 60, 120)), k=1)
    assert sampler(angles(1, 58, 170).to(dtype)).tolist() == [0, 1, 2]


def test_sampler_errors() -> None:
    bank = MemoryBank(3, 2)
    sampler = MemorySampler(bank, k=2)
    assert repr(sampler).startswith("MemorySampler(\n  k=2\n")
    with pytest.raises(RuntimeError, match="bank: expected at least one filled entry"):
        sampler(torch.ones(1, 2))
    bank.write(torch.tensor([0]), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"descriptors: expected \(B, n_classes\) = \(B, 2\), got \(1, 3\)"):
        sampler(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"descriptors: .*got \(2,\)"):
        sampler(torch.ones(2))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="descriptors: expected finite values"):
            sampler(torch.tensor([[bad, 0.0]]))
    with pytest.raises(TypeError, match="descriptors: expected a floating-point dtype"):
        sampler(torch.ones(1, 2, dtype=torch.long))
    with pytest.raises(TypeError, match="generator: expected a torch.Generator"):
        sampler(torch.ones(1, 2), 3)
    with pytest.raises(ValueError, match="k: expected an int >= 1, got 0"):
        MemorySampler(bank, k=0)
    with pytest.raises(TypeError, match="bank: expected a MemoryBank"):
        MemorySampler(bank.descriptors)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_bank_and_queries_may_be_on_different_devices() -> None:
    bank = full_bank(angles(0, 60, 120))
    assert MemorySampler(bank, k=1)(angles(61).cuda()).tolist() == [1]
    bank.cuda()
    drawn = MemorySampler(bank, k=1)(angles(61).cuda(), generator(0))
    assert (drawn.tolist(), drawn.device.type) == ([1], "cuda")
    bank.write(torch.tensor([1]), angles(5))
    assert MemorySampler(bank, k=1)(angles(5)).tolist() == [1]


def test_the_bank_lists_its_state_and_a_model_that_holds_it_does_not() -> None:
    bank = MemoryBank(3, 2, payload_size=1)
    assert {"descriptors", "payload", "filled"} <= dict(bank.named_buffers()).keys()
    assert dict(bank.named_buffers("bank"))["bank.filled"] is bank.filled
    model = torch.nn.Sequential(bank, torch.nn.BatchNorm1d(2))
    assert {name.split(".")[0] for name, _ in model.named_buffers()} == {"1"}
    assert {"0.descriptors", "0.payload", "0.filled"} <= model.state_dict().keys()
