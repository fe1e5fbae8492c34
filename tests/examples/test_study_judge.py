"""The training of the judges that are shipped, in small."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import studies.judge as command
from morn_losses import CITYSCAPES
from ntir2dc.judge import SHIPPED, Crops, Pair
from ntir2dc.judge.dilated import DilatedNet
from ntir2dc.judge.shipped import from_half
from studies.judging import training
from studies.judging.marks import format_marks, marks
from studies.judging.scenes import MARKS_SEED, TRAINING, TRAINING_SEEDS, Batch, marks_pairs, training_pairs
from studies.judging.training import Options, RunningAverage, rate_at, train

SIZE = (48, 64)
FEW = (Batch(SIZE, 2, 2), Batch((52, 64), 1, 1))
SHORT = Options(steps=6, batch=2, crop=32, warmup=2, seconds_between_checkpoints=0.0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return training_pairs(tmp_path_factory.mktemp("scenes"), "a", FEW)


class Interrupted(Crops):
    """Crops that end in a Ctrl-C."""

    left = 3

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().batch(size)


def test_training_goes_on_where_it_was_killed_and_ends_the_same(pairs: list[Pair], tmp_path: Path) -> None:
    def run(name: str, kind: type[Crops] = Crops) -> dict[str, torch.Tensor]:
        crops = kind(pairs, CITYSCAPES, SHORT.crop, 1, keep=True)
        return train(DilatedNet(19, 8, (1, 2)), crops, CITYSCAPES, tmp_path / name, SHORT, seed=1, say=said.append)

    said: list[str] = []
    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("parts", Interrupted)
    said.clear()
    parts = run("parts")
    assert said[0] == "going on from step 3"
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_crops_that_are_kept_are_those_of_the_files(pairs: list[Pair]) -> None:
    read, kept = (Crops(pairs, CITYSCAPES, 32, 5, keep=keep) for keep in (False, True))
    for _ in range(3):
        (x, labels), (y, again) = read.batch(4), kept.batch(4)
        assert torch.allclose(x, y, atol=1e-5)
        assert torch.equal(labels, again)


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    options = Options(steps=1000, warmup=100, decay=0.4)
    rates = np.array([rate_at(step, options) for step in range(1001)])
    assert rates[[0, 49, 99]] == pytest.approx([0.01, 0.5, 1])
    assert np.all(rates[99:600] == 1)
    assert np.all(np.diff(rates[601:]) < 0)
    assert rates[[800, 1000]] == pytest.approx([0.5, 0])


def test_the_average_follows_the_weights_and_forgets_the_start() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 4.0)
    average = RunningAverage(layer, 0.9)
    torch.nn.init.constant_(layer.weight, 0.0)
    average.update(layer, 1)
    assert average.values["weight"].item() == pytest.approx(4 * 2 / 11)
    average.update(layer, 1000)
    assert average.values["weight"].item() == pytest.approx(4 * 2 / 11 * 0.9)


def test_no_scene_trains_both_judges_or_marks_one() -> None:
    number = sum(batch.folders for batch in TRAINING)
    seeds = {name: set(range(first, first + number)) for name, first in TRAINING_SEEDS.items()}
    assert not seeds["a"] & seeds["b"]
    assert MARKS_SEED not in seeds["a"] | seeds["b"]
    assert min(seeds["a"] | seeds["b"] | {MARKS_SEED}) >= 9000  # tables use small ones


def test_marks_are_means_over_the_classes_that_occur() -> None:
    confusion = np.zeros((19, 19), np.int64)
    person, sign, road = CITYSCAPES.ids("person", "traffic sign", "road")
    confusion[person, person], confusion[person, road], confusion[road, road] = 3, 1, 6
    confusion[sign, road] = 3
    found = marks(confusion, CITYSCAPES)
    assert found["mIoU.S"] == pytest.approx(100 * (3 / 4 + 0) / 2)
    assert found["mIoU.A"] == pytest.approx(100 * (3 / 4 + 0 + 6 / 10) / 3)
    assert found["small-sample"] == found["mIoU.S"]
    page = format_marks({"judge a": {(96, 128): confusion}}, CITYSCAPES)
    assert "| %" in page
    assert "judge a, 96 x 128" in page
    assert "| person | 75.0 |" in page
    assert "| sky | - |" in page


def test_the_command_writes_weights_and_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "training_pairs", partial(training_pairs, batches=FEW))
    monkeypatch.setattr(command, "marks_pairs", partial(marks_pairs, batches=(Batch(SIZE, 1, 1),)))
    assert command.main("b", tmp_path, steps=2) == 0
    content = (tmp_path / "judge_b.safetensors").read_bytes()
    facts = json.loads((tmp_path / "judge_b.json").read_text())
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert set(facts["marks"]) == {"48x64"}
    assert (tmp_path / "judge_b.md").read_text() in capsys.readouterr().out
    assert not from_half(content, SHIPPED["b"]).training
    assert command.main("b", tmp_path, steps=2) == 0
    assert "going on from step 2" in capsys.readouterr().out
    assert (tmp_path / "judge_b.safetensors").read_bytes() == content
    assert command.main("b", tmp_path, steps=-1) == 1
    assert "steps: expected at least 0" in capsys.readouterr().err
