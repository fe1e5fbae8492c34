from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny_run import tiny_config, tiny_data
from morn_losses import CITYSCAPES
from scenes import write_scenes
from studies import looks as command
from studies.teaching.looks import COLUMNS, ROWS, gray, score, study, views
from studies.teaching.segmenters import Options, method_for, teach


def test_a_view_keeps_shape_and_is_drawn_anew_at_every_call() -> None:
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.full((2, 16, 24), 8)
    for name, see in views(0, CITYSCAPES).items():
        seen = see(images, labels)
        assert seen.shape == images.shape
        assert torch.equal(seen[:, 0], seen[:, 2])
        assert torch.equal(seen, see(images, labels)) == (name == "gray")
        assert torch.equal(seen, views(0, CITYSCAPES)[name](images, labels))


def test_what_is_taught_is_what_was_seen(tmp_path: Path) -> None:
    data, seen = tiny_data(tmp_path), []

    def see(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append((images, labels))
        return gray(images, labels)

    options = Options(seeds=1, steps=3, score_every=1)
    method = method_for(tiny_config(tmp_path / "run", segmenter_crops=2), data, options, CITYSCAPES)
    before = {name: value.clone() for name, value in method.networks.state_dict().items()}
    assert list(teach(method, method.networks.segmenter_b, options, see)) == [1, 2, 3]
    assert all(images.shape == (2, 3, 32, 32) and labels.shape == (2, 32, 32) for images, labels in seen)
    moved = {name.split(".")[0] for name, x in method.networks.state_dict().items() if not torch.equal(x, before[name])}
    assert moved == {"segmenter_b"}


def test_the_command_trains_every_row_and_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny: dict[str, Any] = {"seeds": 1, "steps": 1, "score_every": 1, "images": 2, "tested": 2, "crop": 32}
    assert command.main(tmp_path / "out", **tiny) == 0
    (table,) = json.loads((tmp_path / "out" / "looks.json").read_text())["tables"]
    assert list(table["rows"]) == list(ROWS)
    assert list(table["rows"]["gray"]) == list(COLUMNS)
    assert all(0 <= cell["mean"] <= 1 for row in table["rows"].values() for cell in row.values() if cell["mean"])
    assert (tmp_path / "out" / "looks.md").read_text() in capsys.readouterr().out
    assert command.main(tmp_path / "out", **tiny, rows=("gray", "look, U-Net")) == 0
    (table,) = json.loads((tmp_path / "out" / "looks.json").read_text())["tables"]
    assert list(table["rows"]) == ["gray", "look, U-Net"]
    assert command.main(tmp_path / "out", **tiny, rows=("grey",)) == 1
    assert "rows: expected some of 'gray', " in capsys.readouterr().err


def test_scores_of_a_segmenter_that_is_known(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", seed=3, n_train_a=1, n_train_b=1, n_val=2, n_judge=0, size=(48, 64))
    method = method_for(tiny_config(tmp_path / "run"), tiny_data(tmp_path), Options(), CITYSCAPES)

    class Road(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.zeros(1, *x.shape[2:], dtype=torch.long), 19).movedim(3, 1)

    method.networks.segmenter_b = Road()  # type: ignore[assignment]
    accuracy, miou, small, precision, recall, buildings = score(method, tmp_path / "scenes", CITYSCAPES)
    assert 0.1 < accuracy < 0.6
    assert 0 < miou < accuracy
    assert small == recall == buildings == 0
    assert precision != precision  # nothing was called a person


def test_the_study_repeats_its_seeds(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    write_scenes(folder, seed=3, n_train_a=2, n_train_b=1, n_val=1, n_judge=0, size=(48, 64))
    data, options = tiny_data(tmp_path), Options(seeds=2, steps=1, score_every=1)
    tables = [study(tiny_config(tmp_path / "run"), data, folder, options, say=lambda _: None) for _ in range(2)]
    assert str(tables[0]) == str(tables[1])  # a precision may be undefined
    assert all(len(cell) == 2 for _, row in tables[0].rows for cell in row)
