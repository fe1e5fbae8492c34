from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluate
from ntir2dc.methods import METHODS
from ntir2dc.run.log import read_log
from studies import methods as command
from studies.comparing.runs import TITLES, make_runs, train

OPTIONS = {
    "networks": {
        "generator_width": 4,
        "encoder_blocks": 1,
        "decoder_blocks": 1,
        "discriminator_width": 4,
        "discriminator_layers": [3, 3, 2],
    },
    "dataset": {
        "scenes_a": 2,
        "scenes_b": 2,
        "scenes_val": 2,
        "scenes_judge": 0,
        "scene_height": 64,
        "scene_width": 64,
    },
}


def test_the_command_goes_on_and_its_table_is_what_evaluate_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options, pictures = tmp_path / "out", tmp_path / "options.json", tmp_path / "pictures"
    options.write_text(json.dumps(OPTIONS))
    given = {"methods": "unit,cyclegan", "seeds": 1, "epochs": 2, "crop": 64, "options": options, "device": "cpu"}

    # stopped after the first step of the second method
    def stopped(run):  # type: ignore[no-untyped-def]
        more = ("--max_steps=1",) if run.method == "unit" else ()
        return train(run.__class__(run.method, run.seed, run.folder, (*run.arguments, *more), run.config))

    with monkeypatch.context() as patch:
        patch.setattr(command, "train", stopped)
        assert command.main(out, steps=2, **given) == 130
    assert "unit/seed_0: stopped; the same command goes on" in capsys.readouterr().err
    assert not (out / "methods.md").exists()
    kept = (out / "cyclegan" / "seed_0" / "weights.safetensors").stat().st_mtime_ns

    for frame in (out / "scenes" / "valB").iterdir():
        pictures.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), "gray").save(pictures / f"{frame.stem}.png")
    assert command.main(out, steps=2, **given, results=[f"peer={pictures}"]) == 0
    assert "1 of 2 runs are done" in capsys.readouterr().out
    assert (out / "cyclegan" / "seed_0" / "weights.safetensors").stat().st_mtime_ns == kept
    assert [row["step"] for row in read_log(out / "unit" / "seed_0" / "log.csv")] == ["0", "1"]

    with open(out / "methods.csv", newline="") as file:
        table = {row["row"]: row for row in csv.DictReader(file)}
    assert list(table) == ["CycleGAN", "UNIT", "input", "tinted input", "peer", "true day image"]
    run = out / "unit" / "seed_0"
    assert evaluate.main(run, results=[f"peer={pictures}"], device="cpu") == 0
    measured = {row["name"]: row["figures"] for row in json.loads((run / "metrics.json").read_text())["rows"]}
    measured["UNIT"] = measured["trained generator"]
    for name in ("UNIT", "input", "tinted input", "peer"):
        for key, figure in measured[name].items():
            expected = np.nan if figure["value"] is None else figure["value"]
            assert float(table[name][key]) == pytest.approx(expected, rel=1e-6, nan_ok=True), (name, key)
    seconds = float(read_log(run / "log.csv")[1]["seconds"])
    assert float(table["UNIT"]["seconds"]) == seconds
    assert int(table["CycleGAN"]["parameters"]) > 0

    page, columns = (out / "methods.md").read_text(), 15 - 1
    assert page.splitlines()[0].count("|") == columns
    assert f"| {statistics.fmean([seconds]):.3f} |" in page
    assert r"\bottomrule" in (out / "methods.tex").read_text()
    with Image.open(out / "methods.png") as sheet:
        assert sheet.width > 5 * 190  # input, two methods, peer, true day

    assert command.main(out, steps=4, **given) == 1
    assert "steps_per_epoch: 1 in the run, 2 asked for; choose another --out" in capsys.readouterr().err


def test_every_method_has_its_row(tmp_path: Path) -> None:
    assert set(TITLES) == set(METHODS)
    runs = make_runs(tmp_path, list(TITLES), 1, ["--epochs=20", "--steps_per_epoch=100"])
    assert [(run.method, run.seed) for run in runs] == [(method, 0) for method in TITLES]
    assert all((run.config.method, run.config.seed, run.steps) == (run.method, run.seed, 2000) for run in runs)


def test_what_cannot_be_compared_is_named_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, named in (({"methods": "unit,gan"}, "'gan'"), ({"steps": 3, "epochs": 2}, "a multiple of epochs")):
        assert command.main(tmp_path / "out", **wrong) == 1  # type: ignore[arg-type]
        assert named in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))
