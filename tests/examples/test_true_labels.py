"""The last phase with true thermal labels: they are true, lie where they belong, and the command compares the rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from test_ablation import TINY, run, run_here

from helpers.tiny_run import method_of, step_and_terms, tiny_config
from morn_losses import CITYSCAPES
from morn_losses.functional import semantic_descriptor
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.data.images import DataError, read_thermal
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.run.checkpoint import load_newest
from ntir2dc.trainer import Trainer
from scenes.folder import write_scenes
from scenes.render import render_scene
from studies.ablations.truth import true_labels, with_true_labels
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


def test_every_crop_comes_with_its_truth(scenes: Path, tmp_path: Path) -> None:
    data = prepare_training_data(scenes, tmp_path / "cache", CITYSCAPES, crop=32)
    data = with_true_labels(data, scenes, tmp_path / "labelsB")
    config = tiny_config(tmp_path / "run", batch_size=2)
    config = dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, flip=0.5))
    trainer, truth = Trainer(config, data, say=lambda _: None), true_labels(scenes)
    mirrored = set()
    for epoch in range(4):
        for batch in trainer.loader(epoch, 0):
            for labels, crop, index, (row, col, _, _) in zip(
                batch["labels_b"],
                batch["real_b"],
                batch["index_b"].tolist(),
                batch["window_b"].tolist(),
                strict=True,
            ):
                frame, window = read_thermal(data.b[index].image), (slice(row, row + 32), slice(col, col + 32))
                is_mirrored = torch.equal(frame.flip(-1)[(slice(None), *window)], crop)
                assert is_mirrored != torch.equal(frame[(slice(None), *window)], crop)
                mirrored.add(is_mirrored)
                whole = truth[index].flip(-1) if is_mirrored else truth[index]
                assert torch.equal(labels, whole[window])
    assert mirrored == {False, True}


def test_given_labels_fill_the_memory_and_reach_the_losses(scenes: Path, tmp_path: Path) -> None:
    data = prepare_training_data(scenes, tmp_path / "cache", CITYSCAPES, crop=32)
    data = with_true_labels(data, scenes, tmp_path / "labelsB")
    trainer = Trainer(tiny_config(tmp_path / "run"), data, say=lambda _: None)
    step, _ = step_and_terms(trainer, Phase.COLLABORATE)
    method, truth = method_of(trainer), true_labels(scenes)
    rows = [truth[i, r : r + 32, c : c + 32] for i, (r, c) in enumerate(method.memory.payload.tolist())]
    assert torch.equal(method.memory.descriptors, semantic_descriptor(torch.stack(rows), CITYSCAPES.small_sample))
    (index,) = next(iter(trainer.loader(5, 0)))["index_b"].tolist()
    row, col = step.window_b[0, :2].tolist()
    either = (truth[index], truth[index].flip(-1))
    assert any(torch.equal(step.labels_b[0], whole[row : row + 32, col : col + 32]) for whole in either)


@pytest.mark.slow
def test_the_command_goes_on_from_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, study = tmp_path / "options.json", tmp_path / "study"
    options.write_text(json.dumps({**TINY, "epochs": 6}))
    assert run_here(study, options, rows="sdp,mgca", seeds=1) == 0
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
