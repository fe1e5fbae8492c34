from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.small_folder import write_folder
from helpers.tiny_run import tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.config import LossOptions, ModuleOptions
from ntir2dc.data.folders import TrainingData, prepare_training_data
from ntir2dc.data.images import DataError
from ntir2dc.trainer import Trainer
from studies.teaching.pseudo_labels import (
    SHOWN,
    STAGES,
    THRESHOLDS,
    Counts,
    acting,
    as_option,
    by_rule,
    choose,
    chosen,
    count,
    load_method,
    positions,
    tables,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two test images with day and labels: person on the left half, road on the right, a corner unlabeled."""
    folder = write_folder(tmp_path / "data", single=True)
    (folder / "valB" / "b4.png").unlink()
    labels = np.full((16, 16), 0, np.uint8)
    labels[:, :8] = 11
    labels[:2, :2] = 255
    for name, content in (("valB_labels", labels), ("valB", labels), ("valB_day", np.stack([labels] * 3, 2))):
        (folder / name).mkdir(exist_ok=True)
        for i in range(2):
            Image.fromarray(content).save(folder / name / f"v{i}.png")
    return folder


def train(folder: Path, out: Path, modules: ModuleOptions | None = None) -> Trainer:
    data: TrainingData = prepare_training_data(folder, out / "cache", CITYSCAPES, crop=32, denoise=False)
    config = tiny_config(out, max_steps=1, modules=modules or ModuleOptions(sdp=False))
    trainer = Trainer(config, data, say=lambda _: None)
    trainer.fit()
    return trainer


class Always(nn.Module):
    """Logits that are sure of a class everywhere."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(x), 19, *x.shape[2:])
        logits[:, self.label] = 20
        return logits


def test_precision_and_recall_by_hand(folder: Path, tmp_path: Path) -> None:
    train(folder, tmp_path / "run")
    method = load_method(tmp_path / "run" / "checkpoints", folder)
    method.networks.segmenter_a, method.networks.segmenter_b = Always(11), Always(0)  # type: ignore[assignment]
    counts = count(method, folder)
    person, road = 2 * (16 * 8 - 4), 2 * 16 * 8
    assert list(counts) == [*STAGES, *by_rule(THRESHOLDS)]
    assert all(counts[stage][11, 11] == person for stage in STAGES[:3])
    for stage in STAGES[3:5]:
        assert counts[stage][0, 0] == road
        assert counts[stage][11, 0] == person
    # the two segmenters agree nowhere: nothing is mined; S_B alone is sure of the road
    for name in ("mined", "both above 0.3"):
        assert counts[name][0, 19] == road
        assert counts[name][11, 19] == person
    assert counts["S_B above 0.95"][11, 0] == person
    precision, recall, swaps, precision_by_rule, recall_by_rule = (
        dict(table.rows) for table in tables([counts, counts])
    )
    assert list(precision) == ["all pixels", "road", "person"]
    share = person / (person + road)
    assert [cell[0] for cell in precision["person"][:3]] == [share] * 3
    assert np.isnan([cell[0] for cell in precision["person"][3:]]).all()
    assert [cell[0] for cell in recall["person"]] == [1, 1, 1, 0, 0, 0]
    assert [cell[0] for cell in recall["road"]] == [0, 0, 0, 1, 1, 0]
    assert [cell[1] for cell in recall["all pixels"]] == [share, share, share, 1 - share, 1 - share, 0]
    assert np.isnan(precision["all pixels"][5][0])
    assert {name: [cell[0] for cell in row] for name, row in swaps.items()} == {
        "road as person": [1, 1, 1, 0, 0],
        "person as road": [0, 0, 0, 1, 1],
    }
    assert precision_by_rule["road"][0][0] == 1 - share
    assert [cell[0] for cell in recall_by_rule["road"]] == [1] * len(SHOWN) + [0] * len(SHOWN)


def test_the_networks_are_those_of_the_run(folder: Path, tmp_path: Path) -> None:
    trained = train(folder, tmp_path / "run")
    loaded = load_method(tmp_path / "run" / "checkpoints", folder)
    for name, value in trained.method.networks.state_dict().items():
        assert torch.equal(loaded.networks.state_dict()[name], value)
    assert not any(module.training for module in loaded.networks.modules())


def counted(right: dict[float, int], wrong: dict[float, int]) -> Counts:
    """Return counts of 10 pixels of persons, and of cars that are taken for persons, by S_B above thresholds."""
    counts = {name: np.zeros((19, 20), np.int64) for name in (*STAGES, *by_rule(THRESHOLDS))}
    counts[STAGES[0]][11, 11] = 10
    for t in THRESHOLDS:
        counts[f"S_B above {t}"][11, 11] = right.get(t, 0)
        counts[f"S_B above {t}"][11, 19] = 10 - right.get(t, 0)
        counts[f"S_B above {t}"][13, 11] = wrong.get(t, 0)
    return counts


def test_the_lowest_threshold_that_is_precise_enough_is_chosen() -> None:
    one = counted({0.2: 9, 0.3: 8, 0.5: 6}, {0.2: 9, 0.3: 4, 0.5: 0})
    other = counted({0.2: 9, 0.3: 8, 0.5: 6}, {0.2: 9, 0.3: 0, 0.5: 4})
    assert choose([one], "S_B", 0.7)["person"] == 0.5
    assert choose([one, other], "S_B", 0.7)["person"] == 0.3  # 16 of 20 over both
    assert choose([one], "S_B", 0.7)["car"] == 1
    assert choose([one], "both", 0.1)["person"] == 1
    assert as_option({"person": 0.5, "traffic light": 1.0}) == "person=0.5, traffic light=1"
    table = dict(chosen([one, other], "S_B", 0.7).rows)
    assert list(table) == ["person"]
    assert table["person"][0] == (0.3,)
    assert table["person"][1] == pytest.approx((100 * 8 / 12, 100))
    assert table["person"][2] == (80, 80)
    never = dict(chosen([one], "both", 0.7).rows)["person"]
    assert never == ((), (), ())


def test_the_positions_that_strides_leave(folder: Path) -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[:4, :16] = 11  # a row of 4 positions at a stride of 4, of 2 at 8
    Image.fromarray(labels).save(folder / "valB_labels" / "v0.png")
    table = dict(positions(folder).rows)
    assert table == {"person": ((2,), (100,), (100,), (100,), (0,))}


def test_how_often_aca_acts_is_of_the_last_phase(tmp_path: Path) -> None:
    for name in ("one", "none"):
        (tmp_path / name).mkdir()
    head = "step,phase,aca,aca_present_person,aca_present_traffic_light\n"
    (tmp_path / "one" / "log.csv").write_text(head + "0,5,,,\n1,6,1,1,0\n2,6,0,0,0\n3,6,1,1,1\n4,6,1,0,2\n")
    table = acting([tmp_path / "one"])
    assert table is not None
    assert dict(table.rows) == {"any": ((0.75,),), "person": ((0.5,),), "traffic light": ((0.5,),)}
    of_its_stem = acting([tmp_path / "one" / "stems" / "00000001"])
    assert of_its_stem is not None
    assert of_its_stem.rows == table.rows
    assert acting([tmp_path / "none"]) is None


def test_the_command(folder: Path, tmp_path: Path) -> None:
    train(folder, tmp_path / "run")
    command = [sys.executable, str(ROOT / "examples" / "studies" / "pseudo_labels.py"), f"--data={folder}"]
    command += [f'--runs=["{tmp_path / "run"}"]', f"--out={tmp_path / 'found'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found" / "pseudo_labels.json").read_text())
    assert [table["title"] for table in found["tables"]] == [
        "precision, %",
        "recall, %",
        "taken for another class, % of its pixels",
        "precision by rule of mining, %",
        "recall by rule of mining, %",
        "S_B: thresholds for a precision of 70%",
        "both: thresholds for a precision of 70%",
        "thermal images with at least 4 positions of a class, % of those that hold it",
    ]
    assert LossOptions(theta=found["theta"]["S_B"]).thresholds().keys() == set(CITYSCAPES.names)
    assert f'--losses.theta "{found["theta"]["both"]}"' in done.stdout
    assert (tmp_path / "found" / "pseudo_labels.md").read_text() in done.stdout

    for path in (folder / "valB_day").iterdir():
        path.unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "has no true labels or no true day image" in done.stderr


def test_a_run_without_segmenters_is_refused(folder: Path, tmp_path: Path) -> None:
    off = ModuleOptions(sc=False, sdp=False, mgca=False)
    train(folder, tmp_path / "run", off)
    with pytest.raises(DataError, match="no segmenters"):
        load_method(tmp_path / "run" / "checkpoints", folder)
