"""The detector of persons and cars: its network, its targets, and its training in small."""

from __future__ import annotations

import hashlib
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import studies.detector as command
from ntir2dc.detector import CLASSES, Detector, FrameBoxes, detect, frame_boxes
from ntir2dc.detector.network import corners_of
from ntir2dc.detector.weights import from_half
from studies.detecting import training
from studies.detecting.marks import marks_of
from studies.detecting.scenes import MARKS_SEED, TRAINING, TRAINING_SEED, Draws, Known, marks_scenes, training_scenes
from studies.detecting.targets import middle_loss, side_loss, targets_of
from studies.judging.scenes import MARKS_SEED as JUDGES_MARKS_SEED
from studies.judging.scenes import TRAINING as JUDGES_TRAINING
from studies.judging.scenes import TRAINING_SEEDS, Batch
from studies.judging.training import Options

SIZE = (48, 64)
FEW = (Batch(SIZE, 1, 3), Batch((52, 64), 1, 1))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Known]:
    return training_scenes(tmp_path_factory.mktemp("scenes"), FEW)


def sides_to(corners: Tensor) -> Tensor:
    """What a detector says that finds these corners ``(4, H, W)``."""
    return (corners - corners_of(torch.zeros_like(corners))) * torch.tensor([-1.0, -1, 1, 1])[:, None, None]


class Knowing(nn.Module):
    """Says of the pictures, one after the other, what is there."""

    def __init__(self, truths: list[FrameBoxes]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))
        self.truths = iter(truths)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        targets = targets_of(next(self.truths), x.shape[-2:])
        return torch.logit(0.001 + 0.998 * targets.middles)[None], sides_to(targets.corners)[None]


def test_what_is_learned_gives_the_boxes_back(scenes: list[Known]) -> None:
    truths = [truth for _, truth in scenes]
    for (image, truth), found in zip(scenes, [detect(Knowing([t]), x / 127.5 - 1) for x, t in scenes], strict=True):
        wanted = truth.corners[~truth.passed]
        assert len(found.scores) == len(wanted)
        assert np.allclose(np.sort(found.corners, 0), np.sort(wanted, 0), atol=1e-3), image.shape
    assert sum(len(truth.scores) for truth in truths) > 3
    assert all(mark == pytest.approx(100) or math.isnan(mark) for mark in marks_of(Knowing(truths), scenes).values())


def test_of_two_on_one_place_the_surer_stays_and_classes_do_not_meet() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            middles = torch.full((1, 2, *SIZE), -9.0)
            middles[0, 0, 20, 20], middles[0, 0, 20, 24], middles[0, 1, 20, 22] = 3.0, 2.0, 1.0
            corners = torch.tensor([10.0, 10, 70, 30])[:, None, None].expand(4, *SIZE)
            return middles, sides_to(corners)[None]

    found = detect(Doubled(), torch.zeros(3, *SIZE))
    assert found.classes.tolist() == [0, 1]
    assert found.scores == pytest.approx(torch.tensor([3.0, 1.0]).sigmoid().tolist())
    assert found.corners.tolist() == [pytest.approx([10, 10, 64, 30])] * 2  # cut at the border


@pytest.mark.parametrize("size", [(8, 8), (17, 23), (96, 128)])
def test_any_size_is_read(size: tuple[int, int]) -> None:
    detector = Detector((4, 4, 4, 4)).eval()
    with torch.inference_mode():
        middles, sides = detector(torch.rand(2, 3, *size) * 2 - 1)
    assert middles.shape == (2, len(CLASSES), *size)
    assert sides.shape == (2, 4, *size)
    assert (sides > 0).all()


def test_targets_by_hand() -> None:
    truth = frame_boxes([[8, 8, 24, 40], [30, 10, 34, 20], [0, 0, 4, 4]], [0, 1, 0], None, [False, False, True])
    targets = targets_of(truth, SIZE)
    assert (targets.middles == 1).nonzero().tolist() == [[0, 24, 16], [1, 15, 32]]
    assert targets.middles[0, 28, 16] == pytest.approx(math.exp(-0.5))  # an eighth of 32 away
    assert targets.corners[:, 24, 16].tolist() == [8, 8, 24, 40]
    assert targets.corners[:, 15, 33].tolist() == [30, 10, 34, 20]
    assert targets.counted[0, :5, :5].sum() == 0
    assert targets.counted.sum() == 2 * math.prod(SIZE) - 25


def test_losses_are_those_of_their_equations() -> None:
    torch.manual_seed(0)
    truth = frame_boxes([[8, 8, 24, 40], [30, 10, 38, 20]], [0, 1])
    targets = targets_of(truth, SIZE)
    logits = torch.randn(1, 2, *SIZE)
    total = 0.0
    for p, y in zip(logits.double().sigmoid().flatten().tolist(), targets.middles.flatten().tolist(), strict=True):
        total -= (1 - p) ** 2 * math.log(p) if y == 1 else (1 - y) ** 4 * p**2 * math.log(1 - p)
    found = middle_loss(logits, targets.middles[None], targets.counted[None])
    assert float(found) == pytest.approx(total / 2, rel=1e-4)
    assert float(middle_loss(logits, targets.middles[None], 0 * targets.counted[None])) < float(found)
    right = sides_to(targets.corners)[None]
    assert float(side_loss(right, targets.corners[None], targets.near[None])) == pytest.approx(0, abs=1e-5)
    # every box twice as high as it should be
    height = targets.corners[3] - targets.corners[1]
    taller = right + torch.stack((0 * height, height, 0 * height, 0 * height))
    value = float(side_loss(taller, targets.corners[None], targets.near[None]))
    weights = targets.near[targets.near > 0.3]
    assert value == pytest.approx(math.log(2) * float(weights.sum()) / max(1, float(weights.sum())), rel=1e-4)


def test_crops_keep_what_they_show_of_an_object() -> None:
    picture = torch.zeros(3, 48, 64, dtype=torch.uint8)
    picture[:, 10:30, 20:40] = 255
    truth = frame_boxes([[20, 10, 40, 30]], [1])
    draws = Draws([(picture, truth)], (40, 40), 0)
    whole = 0
    for _ in range(10):
        images, windows, targets = draws.batch(1)
        shown = (images[0].mean(0) > 0).nonzero()
        high, wide = (int(shown[:, axis].max() - shown[:, axis].min()) + 1 for axis in (0, 1))
        middles = (targets.middles[0] == 1).nonzero().tolist()
        assert len(middles) == (high * wide >= 200)
        if middles:
            corners = targets.corners[0, :, middles[0][1], middles[0][2]].tolist()
            assert corners == [*shown.amin(0).flip(0).tolist(), *(shown.amax(0) + 1).flip(0).tolist()]
        whole += high * wide == 400
        assert windows[0, 2:].tolist() == [48, 64]
    assert whole > 0


def test_no_scene_trains_the_detector_and_marks_it_or_a_judge() -> None:
    mine = set(range(TRAINING_SEED, TRAINING_SEED + sum(batch.folders for batch in TRAINING))) | {MARKS_SEED}
    number = sum(batch.folders for batch in JUDGES_TRAINING)
    judges = {seed for first in TRAINING_SEEDS.values() for seed in range(first, first + number)}
    assert not mine & (judges | {JUDGES_MARKS_SEED})
    assert MARKS_SEED not in range(TRAINING_SEED, TRAINING_SEED + len(mine) - 1)


def test_the_command_writes_weights_and_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "training_scenes", partial(training_scenes, batches=FEW))
    monkeypatch.setattr(training, "SIZE", SIZE)
    monkeypatch.setattr(training, "OPTIONS", Options(batch=1))
    monkeypatch.setattr(command, "marks_scenes", partial(marks_scenes, batches=(Batch(SIZE, 1, 1),)))
    assert command.main(tmp_path, steps=2) == 0
    content = (tmp_path / "detector.safetensors").read_bytes()
    facts = json.loads((tmp_path / "detector.json").read_text())
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["bytes"] <= 1_000_000
    assert set(facts["marks"]) == {"48x64"}
    printed = capsys.readouterr().out
    assert (tmp_path / "detector.md").read_text() in printed
    assert not from_half(content).training
    assert command.main(tmp_path, steps=2) == 0
    assert "going on from step 2" in capsys.readouterr().out
    assert (tmp_path / "detector.safetensors").read_bytes() == content
    assert command.main(tmp_path, steps=-1) == 1
    assert "steps: expected at least 0" in capsys.readouterr().err
