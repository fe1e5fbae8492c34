"""Runs that begin with the networks of another one, or of a weights file."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.small_folder import write_folder
from helpers.tiny_run import TINY, outcome, quiet, tiny_config, tiny_data
from ntir2dc.data.folders import TrainingData
from ntir2dc.run.beginning import read_networks
from ntir2dc.run.checkpoint import load_newest
from ntir2dc.trainer import Trainer
from train_morngan import main, parse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    """A finished run with a running average, which differs from its last state."""
    out = folder.parent / "first"
    assert main(["--preset=mini", f"--data={folder}", f"--out={out}", *TINY, "--epochs=2"]) == 0
    return out


@pytest.fixture(scope="module")
def data(folder: Path) -> TrainingData:
    return tiny_data(folder.parent / "again")


def networks_of(run: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = load_newest(run / "checkpoints")["model"]
    return model


def test_a_run_begins_with_all_networks_of_another_and_with_its_options(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[dict[str, torch.Tensor]] = []

    def fit(trainer: Trainer) -> bool:
        began.append(trainer.method.networks.state_dict())
        assert trainer.averaged is not None
        trainer.save()  # as one that is interrupted at once
        return False

    monkeypatch.setattr(Trainer, "fit", fit)
    out = tmp_path / "second"
    assert main([f"--init_from={first}", f"--out={out}", "--lr=0.0001"]) == 0
    told = capsys.readouterr().out
    assert "begins with encoder_a, encoder_b, decoder_a, decoder_b, discriminator_a, discriminator_b, " in told
    assert f"segmenter_a, segmenter_b of {first} after step 4; all else starts anew" in told
    assert "not taken" not in told
    average, last = load_file(first / "weights.safetensors"), networks_of(first)
    assert any(not torch.equal(average[name], last[name]) for name in average)
    for name, value in began[0].items():
        assert torch.equal(value, average.get(name, last[name])), name
    # the average begins there too
    assert (out / "weights.safetensors").read_bytes() == (first / "weights.safetensors").read_bytes()
    config, before = (json.loads((run / "config.json").read_text()) for run in (out, first))
    assert config == {**before, "out": str(out), "lr": 1e-4, "init_from": str(first)}


def test_what_does_not_fit_is_named_and_starts_anew(first: Path, data: TrainingData, tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run")
    networks = dataclasses.replace(
        config.networks,
        segmenter_width=8,
        segmenter_norm="batch",
        segmenter_coordinates="frame",
        discriminator_norm="none",
    )
    config = dataclasses.replace(config, networks=networks)
    told: list[str] = []
    new, untouched = (Trainer(config, data, say=say) for say in (told.append, quiet))
    new.begin_with(read_networks(first))
    text = "\n".join(told)
    assert "begins with encoder_a, encoder_b, decoder_a, decoder_b of" in text
    assert "segmenter_a: layers.1.weight is (4, 5, 7, 7) instead of (8, 5, 7, 7)" in text
    assert "discriminator_a: color.first.0.weight is missing" in text
    assert "networks.segmenter_coordinates: 'crop' in the run, 'frame' asked for" in text
    assert "segmenter_init" not in text
    average, began, fresh = (
        load_file(first / "weights.safetensors"),
        *(trainer.method.networks.state_dict() for trainer in (new, untouched)),
    )
    for name, value in began.items():
        assert torch.equal(value, average.get(name, fresh[name])), name


def test_a_weights_file_gives_the_generators(first: Path, data: TrainingData, tmp_path: Path) -> None:
    weights = first / "weights.safetensors"
    told: list[str] = []
    trainer = Trainer(tiny_config(tmp_path / "run"), data, say=told.append)
    trainer.begin_with(read_networks(weights))
    assert f"begins with encoder_a, encoder_b, decoder_a, decoder_b of {weights}; all else starts anew" in told[-1]
    assert "segmenter_b: none of this name is there" in told[-1]
    assert "options of networks" not in told[-1]
    for name, value in load_file(weights).items():
        assert torch.equal(value, trainer.method.networks.state_dict()[name]), name


def test_a_run_that_began_so_goes_on_to_the_bit_without_its_origin(
    first: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(first, origin)
    arguments = [f"--init_from={origin}", "--epochs=6"]
    assert main([*arguments, f"--out={tmp_path / 'whole'}"]) == 0
    assert main([*arguments, f"--out={tmp_path / 'parts'}", "--max_steps=5"]) == 0
    shutil.rmtree(origin)
    capsys.readouterr()
    assert main([f"--out={tmp_path / 'parts'}", "--resume"]) == 0
    assert "begins with" not in capsys.readouterr().out
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    # and it is another training than one from the beginning
    assert main(["--preset=mini", f"--data={folder}", f"--out={tmp_path / 'anew'}", *TINY]) == 0
    assert outcome(tmp_path / "parts") != outcome(tmp_path / "anew")


def test_a_preset_that_is_named_counts(first: Path, tmp_path: Path) -> None:
    kept, _ = parse([f"--init_from={first}", f"--out={tmp_path}"])
    assert (kept.preset, kept.epochs, kept.networks.generator_width) == ("mini", 2, 4)
    named, _ = parse([f"--init_from={first}", f"--out={tmp_path}", "--preset=flir"])
    assert (named.preset, named.epochs, named.networks.generator_width) == ("flir", 80, 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("empty", "empty: holds no weights.safetensors, expected the folder of a run or a weights file"),
        ("text.safetensors", "text.safetensors: cannot be read as safetensors"),
        ("other.safetensors", "other.safetensors: holds no networks"),
        ("wide.safetensors", "none of its networks fits this run"),
    ],
)
def test_what_cannot_be_begun_with_ends_in_a_sentence(
    name: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"mean": torch.zeros(3)}, tmp_path / "other.safetensors")
    save_file({"encoder_a.layers.0.1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "wide.safetensors")
    out = tmp_path / "run"
    assert main(["--preset=mini", *TINY, f"--data={folder}", f"--out={out}", f"--init_from={tmp_path / name}"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (out / "checkpoints").exists()
