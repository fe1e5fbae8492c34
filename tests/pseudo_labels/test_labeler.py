from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.ranks import in_two_ranks
from morn_losses import LabelMiner, OnlineSemanticDistillation, PseudoLabeler, SemanticDenoiser
from morn_losses.functional import class_balanced_cross_entropy, denoise_labels

THRESHOLDS = (0.5, 0.4, 0.35)
RULES = [(0, (1,)), (2, (0,))]


class Network(nn.Module):
    """A small segmenter with what a mode changes: batch norm and dropout; logits at a half or at all of the size."""

    def __init__(self, channels: int = 3, stride: int = 2, wrap: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3, stride=stride, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5)
        )
        self.head = nn.Conv2d(6, 3, 1)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        logits = 3 * self.head(self.body(x))
        return SimpleNamespace(logits=logits) if self.wrap else logits


def distillation(ignore_index: int = 255) -> OnlineSemanticDistillation:
    return OnlineSemanticDistillation(
        LabelMiner(THRESHOLDS, ignore_index=ignore_index), SemanticDenoiser(RULES, ignore_index=ignore_index)
    )


def labeler(**options: Any) -> PseudoLabeler:
    return PseudoLabeler(Network(), distillation(), student=Network(wrap=True), **options)


def images(batch: int = 2, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Real B and its translation, fake B and the labels of its source."""
    real_b, fake_a, fake_b = torch.rand(3, batch, 3, 8, 10, dtype=dtype) * 2 - 1
    labels_a = torch.randint(0, 4, (batch, 8, 10))
    return real_b, fake_a, fake_b, torch.where(labels_a == 3, 255, labels_a)


def resized_by_loops(x: Tensor, H: int, W: int) -> Tensor:
    """Bilinear, corners not aligned: the centers of the pixels of both sizes lie in one frame."""
    h, w = x.shape[1:]
    out = torch.zeros(len(x), H, W, dtype=x.dtype)
    for i in range(H):
        for j in range(W):
            top, left = max((i + 0.5) * h / H - 0.5, 0), max((j + 0.5) * w / W - 0.5, 0)
            a, b = int(top), int(left)
            for k, vertical in ((a, 1 - (top - a)), (min(a + 1, h - 1), top - a)):
                for m, horizontal in ((b, 1 - (left - b)), (min(b + 1, w - 1), left - b)):
                    out[:, i, j] += vertical * horizontal * x[:, k, m]
    return out


def mined_by_loops(student: Tensor, teacher: Tensor) -> Tensor:
    """Section 3.3.3 up to the denoising, of logits ``(K, H, W)`` of one image, pixel by pixel."""
    K, H, W = student.shape
    labels = torch.full((H, W), 255)
    for i in range(H):
        for j in range(W):
            best = -1.0
            for c in range(K):
                shares = [
                    math.exp(float(z[c, i, j])) / sum(math.exp(float(z[k, i, j])) for k in range(K))
                    for z in (student, teacher)
                ]
                if min(shares) >= THRESHOLDS[c] and min(shares) > best:
                    best, labels[i, j] = min(shares), c
    return labels


def test_labels_equal_the_section_written_with_loops() -> None:
    label = labeler().double()
    # a student that agrees with the teacher here and there, and no class that is always the surest
    label.student.load_state_dict(label.teacher.state_dict())
    for network in (label.student, label.teacher):
        network.head.bias.data.zero_()
        network.head.weight.data += 0.2 * torch.randn_like(network.head.weight) - network.head.weight.mean(0)
        network.head.weight.data *= 3
    real_b = 3 * images(3, torch.float64)[0]
    fake_a = real_b + 0.2 * torch.randn_like(real_b)
    found = label(real_b, fake_a)
    assert (found.dtype, found.shape) == (torch.int64, (3, 8, 10))
    label.eval()
    with torch.no_grad():
        of_student, of_teacher = label.student(real_b).logits, label.teacher(fake_a)
    assert of_student.shape[2:] == (4, 5)
    mined = torch.stack(
        [mined_by_loops(*(resized_by_loops(z[b], 8, 10) for z in (of_student, of_teacher))) for b in range(3)]
    )
    assert mined.unique().numel() > 2
    assert torch.equal(found, denoise_labels(mined, real_b, RULES))


class Fixed(nn.Module):
    """Gives the same logits whatever it sees."""

    def __init__(self, *classes: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(classes).log().T[None, :, None, :])

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1, -1, -1)


def test_labels_by_hand() -> None:
    student = Fixed([0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1])
    teacher = Fixed([0.8, 0.2], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1], [0.9, 0.1])
    distill = OnlineSemanticDistillation(LabelMiner(0.7), SemanticDenoiser([(0, (1,))]))
    label = PseudoLabeler(teacher, distill, student=student)
    # both sure, no agreement, at the threshold, the student unsure, and sure but as bright as the other class
    image = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.9]).view(1, 1, 1, 5)
    assert label(image, image).tolist() == [[[0, 255, 1, 255, 255]]]
    # the teacher alone: 0, 1, 1, 0, 0, the last one again as bright as class 1
    image = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.9]).view(1, 1, 1, 5)
    loss = label.student_loss_from_teacher(image, image)
    p = [0.9, 0.1, 0.8, 0.5]  # of these classes, by the student; classes of at most 1/64 of the image do not occur
    assert loss.item() == pytest.approx(-sum(math.log(x) for x in p) / 4)
    known = label.student_loss(image, torch.tensor([[[1, 255, 0, 255, 0]]]))
    assert known.item() == pytest.approx(-(math.log(0.1) + math.log(0.2) + math.log(0.9)) / 3)


def test_losses_are_those_of_the_students_logits() -> None:
    label = labeler().eval()
    real_b, fake_a, fake_b, labels_a = images()

    def expected(image: Tensor, labels: Tensor) -> Tensor:
        logits = F.interpolate(label.student(image).logits, size=(8, 10), mode="bilinear")
        return class_balanced_cross_entropy(logits, labels)

    torch.testing.assert_close(label.student_loss(fake_b, labels_a), expected(fake_b, labels_a))
    of_teacher = F.interpolate(label.teacher(fake_a), size=(8, 10), mode="bilinear")
    sure = label.distill(of_teacher, of_teacher, real_b)
    assert (sure != 255).any()
    torch.testing.assert_close(label.student_loss_from_teacher(real_b, fake_a), expected(real_b, sure))


def test_a_student_learns_what_it_is_taught() -> None:
    label = labeler()
    optimizer = torch.optim.Adam(label.student.parameters(), lr=0.05)
    fake_b = torch.rand(4, 3, 8, 10)
    labels_a = (fake_b[:, 0] > fake_b[:, 1]).long()
    losses = []
    for _ in range(60):
        loss = label.student_loss(fake_b, labels_a)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("training", [True, False])
def test_labels_come_from_eval_mode_and_every_part_keeps_its_own(training: bool) -> None:
    label = labeler().train(training)
    label.student.body[1].eval()  # a norm that its owner froze
    modes = {name: module.training for name, module in label.named_modules()}
    state = copy.deepcopy(label.state_dict())
    real_b, fake_a, _, _ = images()
    found = label(real_b, fake_a)
    assert torch.equal(found, label(real_b, fake_a)), "dropout is on"
    label.student_loss_from_teacher(real_b, fake_a)
    assert {name: module.training for name, module in label.named_modules()} == modes
    for name, x in label.state_dict().items():
        assert torch.equal(x, state[name]), name


def test_modes_are_restored_after_an_error() -> None:
    label = labeler()
    real_b, fake_a, _, _ = images()
    label.teacher.head = nn.Conv2d(5, 3, 1)
    with pytest.raises(RuntimeError):
        label(real_b, fake_a)
    assert all(module.training for module in label.modules())
    assert torch.is_autocast_cache_enabled()


def test_no_gradient_reaches_a_generator_or_the_teacher() -> None:
    label = labeler()
    real_b, fake_a, fake_b, labels_a = images()
    translate = nn.Conv2d(3, 3, 1)
    labels = label(real_b, translate(fake_a))
    assert not labels.requires_grad
    for loss in (
        label.student_loss(translate(fake_b), labels_a),
        label.student_loss_from_teacher(translate(real_b), translate(fake_a)),
    ):
        label.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in label.student.parameters())
        assert all(p.grad is None and not p.requires_grad for p in label.teacher.parameters())
        assert all(p.grad is None for p in translate.parameters())


def test_without_a_student_it_is_a_trainable_copy_of_the_teacher() -> None:
    teacher = Network().eval().requires_grad_(False)
    label = PseudoLabeler(teacher, distillation())
    assert label.teacher is teacher
    assert label.student is not teacher
    for ours, theirs in zip(label.student.parameters(), teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.requires_grad
        assert ours.data_ptr() != theirs.data_ptr()
    assert label.student.training


def test_state_is_whole_and_a_copy_is_apart() -> None:
    label, other = labeler(), labeler()
    real_b, fake_a, fake_b, labels_a = images()
    label.student_loss(fake_b, labels_a)  # moves the running statistics
    other.load_state_dict(label.state_dict())
    assert torch.equal(other(real_b, fake_a), label(real_b, fake_a))
    assert {name.split(".")[0] for name in label.state_dict()} == {"teacher", "student"}
    copied = copy.deepcopy(label)
    copied.student.head.bias.data[0] += 50
    assert not torch.equal(copied.eval().student(real_b).logits, label.eval().student(real_b).logits)
    assert torch.equal(other(real_b, fake_a), label(real_b, fake_a))
    assert [p for p in label.parameters() if p.requires_grad] == list(label.student.parameters())


def test_batch_equals_one_by_one() -> None:
    label = labeler()
    real_b, fake_a, _, _ = images(3)
    whole = label(real_b, fake_a)
    for b in range(3):
        assert torch.equal(label(real_b[b : b + 1], fake_a[b : b + 1])[0], whole[b])


def test_channels_and_resolutions_of_the_two_may_differ() -> None:
    label = PseudoLabeler(Network(3, stride=1), distillation(), student=Network(1, stride=4))
    gray, fake_a = torch.rand(2, 1, 8, 10), torch.rand(2, 3, 8, 10)
    assert label(gray, fake_a).shape == (2, 8, 10)
    assert label.student_loss(gray, torch.zeros(2, 8, 10, dtype=torch.uint8)).isfinite()


def test_the_ignore_index_is_that_of_the_miner() -> None:
    label = labeler()
    other = PseudoLabeler(label.teacher, distillation(-1), student=label.student)
    real_b, fake_a, fake_b, labels_a = images()
    found = label(real_b, fake_a)
    assert (found == 255).any()
    assert torch.equal(other(real_b, fake_a), torch.where(found == 255, -1, found))
    label.eval()
    minus = torch.where(labels_a == 255, -1, labels_a)
    assert other.student_loss(fake_b, minus).item() == label.student_loss(fake_b, labels_a).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_networks_of_another_precision(dtype: torch.dtype) -> None:
    label = labeler().to(dtype)
    real_b, fake_a, fake_b, labels_a = images(dtype=dtype)
    assert label(real_b, fake_a).dtype == torch.int64
    loss = label.student_loss(fake_b, labels_a)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    loss.backward()
    assert label.student.head.weight.grad is not None


def test_under_autocast_the_weights_of_the_labels_pass_do_not_serve_the_loss() -> None:
    label = labeler()
    real_b, fake_a, fake_b, labels_a = images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        label(real_b, fake_a)
        loss = label.student_loss(fake_b, labels_a)
    loss.backward()
    assert loss.dtype == torch.float32
    for name, p in label.student.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_a_student_without_a_label_learns_nothing_and_stays_finite() -> None:
    label = labeler()
    _, _, fake_b, labels_a = images()
    loss = label.student_loss(fake_b, torch.full_like(labels_a, 255))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.abs().max() == 0 for p in label.student.parameters())


def test_errors_name_the_argument() -> None:
    label = labeler()
    real_b, fake_a, fake_b, labels_a = images()
    with pytest.raises(ValueError, match=r"fake_a: expected \(B, C, H, W\) = \(2, 3, 8, 10\), got \(1, 3, 8, 10\)"):
        label(real_b, fake_a[:1])
    with pytest.raises(ValueError, match=r"fake_a: .* = \(2, 3, 8, 10\), got \(2, 3, 8, 5\)"):
        label.student_loss_from_teacher(real_b, fake_a[..., :5])
    with pytest.raises(TypeError, match="real_b: expected a torch.Tensor, got list"):
        label([real_b], fake_a)
    with pytest.raises(ValueError, match=r"labels_a: expected \(B, H, W\) = \(2, 8, 10\), got \(1, 8, 10\)"):
        label.student_loss(fake_b, labels_a[:1])
    with pytest.raises(TypeError, match=r"labels_a: expected an integer dtype, got torch.float32; .*\.long\(\)"):
        label.student_loss(fake_b, labels_a.float())
    with pytest.raises(ValueError, match=r"labels_a: expected class ids in \[0, 3\) or 255, got \[3\]"):
        label.student_loss(fake_b, torch.full_like(labels_a, 3))
    for network, error, message in (
        (nn.Sequential(Network(), nn.Softmax(1)), ValueError, "expected logits, got probabilities .*softmax off"),
        (nn.Sequential(Network(), nn.Flatten()), ValueError, r"expected \(B, C, H, W\), got \(2, 60\)"),
        (Gives(lambda x: {"out": x}), TypeError, "expected a network that gives a tensor or something with .logits"),
        (Gives(lambda x: x[:1]), ValueError, r"expected logits \(B, K, h, w\) = \(2, 3, 8, 10\), got \(1, 3, 8, 10\)"),
        (Gives(lambda x: x.long()), TypeError, "expected a floating-point dtype"),
    ):
        with pytest.raises(error, match=f"^teacher: {message}"):
            PseudoLabeler(network, distillation(), student=Network())(real_b, fake_a)
        with pytest.raises(error, match=f"^student: {message}"):
            PseudoLabeler(Network(), distillation(), student=network).student_loss(fake_b, labels_a)
    with pytest.raises(ValueError, match=r"teacher: expected logits .* = \(2, 3, 8, 10\), got \(2, 4, 8, 10\)"):
        PseudoLabeler(nn.Conv2d(3, 4, 1), distillation(), student=Network())(real_b, fake_a)


class Gives(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Any:
        return self.what(x)


def _train_in_ddp(rank: int, folder: str, whole: bool) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        teacher, student = Network(), Network()
        if whole:
            label = PseudoLabeler(teacher, distillation(), student=student)
            wrapped = DistributedDataParallel(label)
        else:
            label = wrapped = PseudoLabeler(teacher, distillation(), student=DistributedDataParallel(student))
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        torch.manual_seed(1 + rank)
        for _ in range(2):
            real_b, fake_a, fake_b, labels_a = images()
            labels = wrapped(real_b, fake_a)
            assert (labels.shape, labels.requires_grad) == ((2, 8, 10), False)
            optimizer.zero_grad()
            label.student_loss(fake_b, labels_a).backward()
            optimizer.step()
        torch.save([p.detach() for p in student.parameters()], f"{folder}/{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["all of it wrapped", "the student wrapped"])
def test_students_of_two_ranks_learn_the_same(tmp_path: Path, whole: bool) -> None:
    in_two_ranks(_train_in_ddp, str(tmp_path), whole)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    torch.manual_seed(0)
    _, start = Network(), Network()
    for a, b, before in zip(first, second, start.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, before)


def test_the_student_alone_labels_as_its_logits_in_both_places() -> None:
    real_b, fake_a, _, _ = images()
    alone = labeler(agree=False)
    both = PseudoLabeler(alone.teacher, alone.distill, student=alone.student)
    with torch.no_grad():
        logits = F.interpolate(alone.student.eval()(real_b).logits, size=(8, 10), mode="bilinear")
    alone.student.train()
    assert torch.equal(alone(real_b, fake_a), alone.distill(logits, logits, real_b))
    assert torch.equal(alone(real_b, fake_a), alone(real_b, -fake_a))
    assert not torch.equal(alone(real_b, fake_a), both(real_b, fake_a))
    assert alone.student.training
