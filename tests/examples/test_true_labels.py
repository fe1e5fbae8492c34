"""The last phase with true thermal labels: they are true, lie where they belong, and the command compares the rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from test_ablation import TINY, run

from helpers.tiny_run import tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.images import DataError, read_thermal
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.run.checkpoint import load_newest
from scenes.folder import write_scenes
from scenes.render import render_scene
from studies.ablations.truth import KnowingTrainer, Places, true_labels
from studies.true_labels import main

SIZE = (48, 56)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "scenes"
    write_scenes(folder, seed=3, n_train_a=2, n_train_b=3, n_val=1, n_judge=0, size=SIZE)
    return folder


def test_true_labels_are_those_of_the_scenes(scenes: Path, tmp_path: Path) -> None:
    labels = true_labels(scenes)
    assert labels.shape == (3, *SIZE)
    scene = render_scene(3, 1_000_001, SIZE)
    assert torch.equal(labels[1], torch.from_numpy(scene.labels).long())
    with pytest.raises(DataError, match="no folder of procedural scenes"):
        true_labels(tmp_path)


def test_pictures_of_other_scenes_are_refused(scenes: Path, tmp_path: Path) -> None:
    other = tmp_path / "scenes"
    write_scenes(other, seed=4, n_train_a=0, n_train_b=1, n_val=0, n_judge=0, size=SIZE)
    parameters = json.loads((other / "scenes.json").read_text())
    (other / "scenes.json").write_text(json.dumps({**parameters, "seed": 3}))
    with pytest.raises(DataError, match="is not the scene of its number"):
        true_labels(other)


def test_crops_are_found_where_they_were_cut() -> None:
    images = torch.rand(3, 30, 40)
    places = Places(images)
    assert places.find(images[2, 4:24, 7:27]) == (2, False, 4, 7)
    assert places.find(images[1].flip(-1)[3:23, 9:29]) == (1, True, 3, 9)
    changed = images[0, :20, :20].clone()
    changed[-1, -1] += 1
    with pytest.raises(ValueError, match="not cut out of any"):
        places.find(changed)


def test_the_trainer_mines_the_truth_of_every_crop(scenes: Path, tmp_path: Path) -> None:
    data = prepare_training_data(scenes, tmp_path / "cache", CITYSCAPES, crop=32)
    config = tiny_config(tmp_path / "run", batch_size=2)
    config = dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, flip=0.5))
    trainer = KnowingTrainer(config, data, say=lambda _: None)
    truth = true_labels(scenes)
    trainer.know(truth)
    mirrored = set()
    for epoch in range(4):
        for batch in trainer.loader(epoch, 0, Phase.BASELINE):
            found = trainer.mine(torch.empty(0), torch.empty(0), batch["real_b"])
            for labels, crop, index, (row, col, _, _) in zip(
                found, batch["real_b"], batch["index_b"].tolist(), batch["window_b"].tolist(), strict=True
            ):
                frame, window = read_thermal(data.b[index].image), (slice(row, row + 32), slice(col, col + 32))
                is_mirrored = torch.equal(frame.flip(-1)[(slice(None), *window)], crop)
                assert is_mirrored != torch.equal(frame[(slice(None), *window)], crop)
                mirrored.add(is_mirrored)
                whole = truth[index].flip(-1) if is_mirrored else truth[index]
                assert torch.equal(labels, whole[window])
    assert mirrored == {False, True}


@pytest.mark.slow
def test_the_command_goes_on_from_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, study = tmp_path / "options.json", tmp_path / "study"
    options.write_text(json.dumps({**TINY, "epochs": 6}))
    assert run(study, options, rows="sdp,mgca", seeds=1, jobs=1) == 0
    capsys.readouterr()
    assert main(study, "sdp,mgca", (0,)) == 0
    said = capsys.readouterr().out
    assert "mgca seed 0: the last phase with true labels" in said
    table = (study / "results" / "true_labels.md").read_text()
    for line in ("| sdp, mined labels |", "| sdp, true labels |", "| mgca, true labels minus sdp, true labels |"):
        assert line in table
    assert run(study, options, rows="sdp,mgca", seeds=1, jobs=0) == 0
    said = capsys.readouterr().out
    assert "### The last phase with true thermal labels" in said
    assert table.strip() in said
    weights = study / "true_labels" / "sdp" / "seed_0" / "weights.safetensors"
    assert weights.read_bytes() != (study / "rows" / "sdp" / "seed_0" / "weights.safetensors").read_bytes()

    assert main(study, "sdp", (0,)) == 0
    assert "the last phase" not in capsys.readouterr().out
    assert main(study, "sdp", (1,)) == 1
    assert "error:" in capsys.readouterr().err

    assert main(study, clusters=(0, 1, 3), seeds=(0,)) == 0
    said = capsys.readouterr().out
    assert "mgca seed 0, 3 clusters: the last phase with true labels" in said
    table = (study / "results" / "true_labels_clusters.md").read_text()
    for line in ("| without ACA |", "| 1 cluster |", "| 3 clusters minus without ACA |"):
        assert line in table
    losses = {
        n: load_newest(study / "true_labels" / f"mgca_{n}_clusters" / "seed_0" / "checkpoints")["config"]["losses"]
        for n in (0, 1, 3)
    }
    assert [losses[n]["lambda_aca"] for n in (0, 1, 3)] == [0, 1, 1]
    assert [losses[n]["aca_clusters"] for n in (1, 3)] == [1, 3]
    assert run(study, options, rows="sdp,mgca", seeds=1, jobs=0) == 0
    assert "### Table 7 with true thermal labels" in capsys.readouterr().out
