from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.small_folder import write_folder
from helpers.tiny_run import method_of, tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.config import make_config
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.images import read_color, read_labels
from ntir2dc.trainer import Trainer
from studies.segmenters import main
from studies.teaching.segmenters import VARIANTS, Options, change, score, windows

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_changes_what_it_says() -> None:
    base = make_config("mini")
    assert change(base, {}) == base
    for name, changes in list(VARIANTS.items())[1:]:
        changed = change(base, changes)
        assert changed != base, name
        ((key, value),) = changes.items()
        assert value in {getattr(part, key, None) for part in (changed, changed.networks, changed.losses)}


def test_windows_cover_a_frame() -> None:
    corners = windows((50, 90), 32)
    assert len(corners) == 2 * 3
    covered = torch.zeros(50, 90, dtype=torch.bool)
    for row, col in corners:
        assert 0 <= row <= 50 - 32
        assert 0 <= col <= 90 - 32
        covered[row : row + 32, col : col + 32] = True
    assert covered.all()
    assert windows((32, 32), 32) == [(0, 0)]


class ByColor(nn.Module):
    """The class whose color is nearest: what the frames of the test folder can be read by."""

    def __init__(self, colors: dict[int, torch.Tensor]) -> None:
        super().__init__()
        self.colors = colors

    def forward(self, x: torch.Tensor, window: torch.Tensor | None = None) -> torch.Tensor:
        logits = torch.full((len(x), 19, *x.shape[2:]), -9.0)
        for label, color in self.colors.items():
            logits[:, label] = -(x - color.view(3, 1, 1)).square().sum(1)
        return logits


def test_scores_of_segmenters_that_are_known(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", single=True)
    data = prepare_training_data(folder, tmp_path / "cache", CITYSCAPES, crop=32, denoise=False)
    method = method_of(Trainer(tiny_config(tmp_path), data, say=lambda _: None))
    images, labels = (
        torch.stack([read(f) for f in files])
        for read, files in (
            (read_color, [f.image for f in data.a]),
            (read_labels, [f.labels for f in data.a if f.labels]),
        )
    )
    colors = {int(c): images.movedim(1, 3)[labels == c].mean(0) for c in labels.unique()}
    method.networks.segmenter_a = ByColor(colors)  # type: ignore[assignment]
    assert score(method, data, CITYSCAPES) == (1, 1, 1)

    method.networks.segmenter_a = ByColor({0: colors[0]})  # type: ignore[assignment]
    accuracy, miou, small = score(method, data, CITYSCAPES)
    corners = windows((40, 48), 32)
    seen = torch.cat([labels[:, r : r + 32, c : c + 32].flatten() for r, c in corners])
    assert accuracy == pytest.approx(float((seen == 0).float().mean()))
    assert miou == pytest.approx(accuracy / len(colors))
    assert small == 0


def test_the_command_runs_and_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, rows = write_folder(tmp_path / "data"), ("as it is", "coordinates of the frame")
    command = [sys.executable, str(ROOT / "examples" / "studies" / "segmenters.py"), f"--data={data}", "--crop=32"]
    flags = ["--options.seeds=1", "--options.steps=3", "--options.score_every=1", "--options.held_out=2"]
    flags += [f"--out={tmp_path / 'one'}", f"--options.rows={json.dumps(rows)}"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "coordinates of the frame" in done.stdout

    options = Options(seeds=1, steps=3, score_every=1, held_out=2, rows=rows)
    assert main(data, tmp_path / "two", crop=32, options=options) == 0
    found = [json.loads((tmp_path / name / "segmenters.json").read_text())["tables"] for name in ("one", "two")]
    assert found[0] == found[1]
    scores, differences = found[0]
    assert list(scores["rows"]) == ["as it is", "coordinates of the frame"]
    for column, cell in differences["rows"]["coordinates of the frame"].items():
        before, after = (scores["rows"][row][column]["mean"] for row in scores["rows"])
        assert cell["mean"] == pytest.approx(after - before)
    assert main(data, tmp_path, crop=32, options=Options(rows=("all",))) == 1
    assert "rows: expected some of as it is" in capsys.readouterr().err
