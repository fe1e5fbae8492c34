"""The translator that is shipped: how it is made, and that the options it was made with are options."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import colorize
from helpers.tiny_run import NETWORKS, SHAPES, quiet, tiny_config, tiny_data
from ntir2dc.config import ModuleOptions
from ntir2dc.run.beginning import read_networks
from ntir2dc.run.shipped import SEGMENTERS, TRANSLATOR, load_night_segmenter, write_segmenters, write_translator
from ntir2dc.run.weights import WeightsError, load_translator, save_weights
from ntir2dc.trainer import Trainer
from scenes import render_scene
from studies import regions, translator
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
        write_translator(tmp_path, tmp_path / "half.safetensors")


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


def test_segmenters_are_kept_to_begin_with(tmp_path: Path) -> None:
    networks = dataclasses.replace(NETWORKS, segmenter_variant="unet")
    trainer = Trainer(tiny_config(tmp_path / "run", max_steps=1, networks=networks), tiny_data(tmp_path), say=quiet)
    trainer.fit()
    file = tmp_path / "segmenters.safetensors"
    write_segmenters(tmp_path / "run", file)
    trained = trainer.method.networks.segmenter_b
    night = load_night_segmenter(file, 19)
    x = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(night(x), trained.eval()(x), atol=1e-2)
    other = tiny_config(tmp_path / "other", networks=networks, seed=1)
    begun = Trainer(other, tiny_data(tmp_path), say=quiet)
    said: list[str] = []
    begun.say = said.append
    begun.begin_with(read_networks(file))
    assert said[0].startswith("begins with segmenter_a, segmenter_b of")
    state = begun.method.networks.segmenter_b.state_dict()
    assert all(torch.allclose(state[name], x, rtol=1e-3, atol=1e-6) for name, x in trained.state_dict().items())


def test_runs_without_segmenters_or_of_other_kinds_are_refused(tmp_path: Path) -> None:
    off = ModuleOptions(sc=False, sdp=False, mgca=False)
    Trainer(tiny_config(tmp_path / "run", max_steps=1, modules=off), tiny_data(tmp_path), say=quiet).fit()
    with pytest.raises(WeightsError, match="has no segmenters"):
        write_segmenters(tmp_path / "run", tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="holds no U-Net called segmenter_b"):
        load_night_segmenter(TRANSLATOR, 19)
    with pytest.raises(WeightsError, match="does not fit"):
        load_night_segmenter(SEGMENTERS, 5)


def test_regions_are_drawn_on_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        path = tmp_path / "frames" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(render_scene(99, index, (96, 128)).thermal).save(path)
    out = tmp_path / "out"
    assert regions.main(tmp_path / "frames", out, label="sky", threshold=0.3, count=1) == 0
    assert re.match(r"\d+ regions of sky in 2 frames", capsys.readouterr().out)
    with Image.open(out / "regions.png") as sheet:
        assert sheet.size == (regions.SIDE, regions.SIDE)
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert ((pixels[..., 0] - pixels[..., 1]) > 100).any()  # the red border
    assert regions.main(tmp_path / "frames", out, label="train", threshold=1.0) == 1
    assert regions.main(tmp_path / "frames", out, label="people") == 1
    assert "label: expected one of road, " in capsys.readouterr().err


@pytest.mark.parametrize("file", [TRANSLATOR, SEGMENTERS])
def test_its_card_tells_its_hash_and_size(file: Path) -> None:
    content = file.read_bytes()
    card = (file.parent / "README.md").read_text()
    assert f"| `{file.name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |" in card
    assert len(content) < 6e6
    assert sum(path.stat().st_size for path in file.parent.glob("*.safetensors")) < 10e6
