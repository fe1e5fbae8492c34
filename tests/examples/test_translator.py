"""The translator that is shipped: how it is made, and that the options it was made with are options."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import colorize
from helpers.tiny_run import SHAPES
from ntir2dc.run.shipped import TRANSLATOR, write_half
from ntir2dc.run.weights import WeightsError, load_translator, save_weights
from scenes import render_scene
from studies import translator
from train_morngan import parse

TINY = {
    "epochs": 1,
    "steps_per_epoch": 2,
    "networks": SHAPES,
    "dataset": {"crop": 32, "scene_height": 48, "scene_width": 64, "scenes_a": 2, "scenes_b": 2, "scenes_val": 1},
    "modules": dict.fromkeys(("sc", "sdp", "mgca", "cgr", "sr"), False),
}


def test_it_is_trained_by_its_options_and_kept_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = tmp_path / "options.json"
    options.write_text(json.dumps(TINY))
    monkeypatch.setattr(translator, "OPTIONS", options)
    out = tmp_path / "run"
    assert translator.main(out, max_steps=1) == 0
    assert translator.main(out, resume=True) == 0
    written = out / "translator.safetensors"
    assert f"SHA-256 {hashlib.sha256(written.read_bytes()).hexdigest()}" in capsys.readouterr().out
    whole, half = load_translator(out).state_dict(), load_translator(written).state_dict()
    assert written.stat().st_size < 0.4 * (out / "weights.safetensors").stat().st_size
    assert all(torch.allclose(whole[name], half[name], rtol=1e-3, atol=1e-6) for name in whole)
    assert any(not torch.equal(whole[name], half[name]) for name in whole)


def test_what_goes_wrong_in_the_training_is_its_status(tmp_path: Path) -> None:
    assert translator.main(tmp_path / "none", resume=True) == 1


def test_the_options_are_those_of_the_trainer() -> None:
    config, _ = parse(["--preset", "mini", "--config", str(translator.OPTIONS)])
    assert config.modules.looks
    assert config.data is None


def test_weights_of_another_method_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights.safetensors", {"generator_ba": torch.nn.Conv2d(1, 1, 1)}, {"method": "cyclegan"})
    with pytest.raises(WeightsError, match="expected a run of method morngan"):
        write_half(tmp_path, tmp_path / "half.safetensors")


def test_it_colorizes_where_no_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = render_scene(99, 0, (96, 128))
    Image.fromarray(scene.thermal).save(tmp_path / "night.png")
    assert colorize.main(tmp_path / "night.png", tmp_path / "day.png") == 0
    assert "by translator.safetensors, which was trained on procedural scenes" in capsys.readouterr().err
    with Image.open(tmp_path / "day.png") as picture:
        day = np.asarray(picture).astype(float)
    # a dark sky becomes the brightest part, as by day
    sky, road = (day[scene.labels == label].mean() for label in (10, 0))
    night_sky, night_road = (scene.thermal[scene.labels == label].mean() for label in (10, 0))
    assert night_sky < night_road
    assert sky > road


def test_its_card_tells_its_hash_and_size() -> None:
    content = TRANSLATOR.read_bytes()
    card = (TRANSLATOR.parent / "README.md").read_text()
    assert f"| `{TRANSLATOR.name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |" in card
    assert len(content) < 6e6
    files = [path.stat().st_size for path in TRANSLATOR.parent.glob("*.safetensors")]
    assert sum(files) < 10e6
