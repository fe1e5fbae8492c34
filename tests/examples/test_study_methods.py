from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import evaluate
from ntir2dc.data.images import DataError
from ntir2dc.detector import Detector
from ntir2dc.files import write_atomically
from ntir2dc.judge.shipped import to_half
from ntir2dc.methods import METHODS
from ntir2dc.run.log import read_log
from scenes import write_scenes
from studies import methods as command
from studies.comparing import budget, measuring, steps
from studies.comparing.measuring import Timing
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
    other, detector = tmp_path / "other", tmp_path / "detector.safetensors"
    write_atomically(detector, to_half(Detector().state_dict()))
    write_scenes(other, seed=3, n_train_a=0, n_train_b=0, n_val=2, n_judge=0, size=(48, 64))
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
    more = {"results": [f"peer={pictures}"], "tested_on": [f"other={other}"], "detector": detector}
    assert command.main(out, steps=2, **given, **more) == 0
    assert "1 of 2 runs are done" in capsys.readouterr().out
    assert (out / "cyclegan" / "seed_0" / "weights.safetensors").stat().st_mtime_ns == kept
    assert [row["step"] for row in read_log(out / "unit" / "seed_0" / "log.csv")] == ["0", "1"]

    run, rows = out / "unit" / "seed_0", ["CycleGAN", "UNIT", "input", "tinted input", "peer", "true day image"]
    table = read(out / "methods.csv")
    assert list(table) == rows
    compare_with_evaluate(table, rows[1:5], run, results=more["results"], detector=detector)
    elsewhere = read(out / "methods_on_other.csv")
    assert list(elsewhere) == [name for name in rows if name != "peer"]
    compare_with_evaluate(elsewhere, rows[1:4], run, data=other, detector=detector)
    assert "and are tested on other data" in (out / "methods_on_other.md").read_text()

    page = (out / "methods.md").read_text()
    assert page.splitlines()[0].split(" | ")[-2:] == ["missed a frame", "invented a frame |"]
    assert "| IoU % | road |" in page
    assert "2 steps a method, preset demo, crops of 64" in page
    assert page.endswith((out / "costs.md").read_text())
    assert "Untrained" not in page
    assert r"\bottomrule" in (out / "methods.tex").read_text()
    spent = read(out / "costs.csv")
    assert list(spent) == ["CycleGAN", "UNIT"]
    assert float(spent["CycleGAN"]["step_ms_ratio"]) == 1
    assert all(float(value) > 0 for cost in spent.values() for key, value in cost.items() if key != "row")
    with Image.open(out / "methods.png") as sheet:
        assert sheet.width > 5 * 190  # input, two methods, peer, true day

    assert command.main(out, steps=4, **given) == 1
    assert "steps_per_epoch: 1 in the run, 2 asked for; choose another --out" in capsys.readouterr().err


def read(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="") as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def compare_with_evaluate(table: dict[str, dict[str, str]], rows: list[str], run: Path, **options: Any) -> None:
    """The figures of a run are those that evaluate.py finds, classes and objects included."""
    assert evaluate.main(run, device="cpu", **options) == 0
    result = json.loads((run / "metrics.json").read_text())
    for part, some in ((result, {"miou_s", "apce", "iou car"}), (result["objects"], {"ap all", "kept", "invented"})):
        measured = {row["name"]: row for row in part["rows"]}
        measured["UNIT"] = measured["trained generator"]
        for name in rows:
            figures = {key: figure["value"] for key, figure in measured[name]["figures"].items()}
            figures |= {f"iou {key}": value for key, value in measured[name].get("iou", {}).items()}
            compared = figures.keys() & table[name].keys()
            assert some <= compared
            for key in compared:
                expected = np.nan if figures[key] is None else figures[key]
                assert float(table[name][key]) == pytest.approx(expected, rel=1e-6, nan_ok=True), (name, key)


def test_costs_can_be_measured_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "ROUNDS", 1)
    monkeypatch.setattr(steps, "EPOCHS", 1)
    options, out = tmp_path / "options.json", tmp_path / "out"
    options.write_text(json.dumps(OPTIONS))
    given = {"methods": "todaygan,morngan", "epochs": 2, "steps": 2, "crop": 64, "options": options}
    assert command.main(out, **given, device="cpu", only_costs=True) == 0
    assert "Untrained: ToDayGAN, MornGAN;" in capsys.readouterr().out
    spent = read(out / "costs.csv")
    morn, base = spent["MornGAN"], spent["ToDayGAN"]
    assert morn["macs"] == base["macs"]  # but for norms the same network
    assert int(morn["step_bytes"]) > int(base["step_bytes"])
    assert not list(out.glob("*/*/checkpoints"))
    assert not (out / "methods.md").exists()


def test_what_is_counted_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measuring.multiply_adds(nn.Conv2d(3, 4, 3, padding=1), torch.zeros(1, 3, 8, 8)) == 3 * 4 * 9 * 8 * 8
    now, order = [0.0], list[str]()

    def takes(name: str, seconds: float) -> None:
        now[0] += seconds
        order.append(name)

    monkeypatch.setattr(measuring, "clock", lambda _: now[0])
    seconds = measuring.in_turns({"a": lambda: takes("a", 2), "b": lambda: takes("b", 3)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": [2, 2, 2], "b": [3, 3, 3]}
    first, second = measuring.timings_of({"a": [1, 2, 4], "b": [2, 6, 4]})
    assert (first.low, first.median, first.high, first.ratio) == (1500, 2000, 3000, 1)
    assert (second.median, second.ratio) == (4000, 2)


def test_a_round_takes_steps_all_over_the_last_phase() -> None:
    def trainer(epochs: int) -> Any:
        method = SimpleNamespace(phase=lambda epoch: "last" if epoch >= 14 else "before")
        return SimpleNamespace(config=SimpleNamespace(epochs=epochs), method=method)

    assert steps.last_phase(trainer(20)) == [14, 15, 16, 17, 18, 19]
    assert steps.last_phase(trainer(80)) == [19, 30, 41, 52, 63, 74]
    assert steps.whole_run(trainer(20)) == [1, 5, 8, 11, 15, 18]


def test_equal_time_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def time_steps(runs: Any, epochs_of: Any, say: Any) -> tuple[dict[str, Timing], dict[str, int]]:
        asked.append([run.method for run in runs])
        return {run.method: Timing(run.method, 500.0 if run.method == "unit" else 7e6, 0, 0, 1) for run in runs}, {}

    monkeypatch.setattr(budget, "time_steps", time_steps)
    few = make_runs(tmp_path, {"unit": 1}, 1, ["--epochs=20"])
    assert budget.steps_that_fit(tmp_path, 10, few, print) == {"unit": 60}
    runs = make_runs(tmp_path, {"unit": 1, "cyclegan": 1}, 1, ["--epochs=20"])
    for _ in range(2):
        assert budget.steps_that_fit(tmp_path, 10, runs, print) == {"unit": 60, "cyclegan": 1}
    assert asked == [["unit"], ["cyclegan"]]
    with pytest.raises(DataError, match="begun with .*10.*choose another --out"):
        budget.steps_that_fit(tmp_path, 5, runs, print)
    fitting = make_runs(tmp_path, {"unit": 60, "cyclegan": 1}, 1, ["--epochs=20"])
    assert [(run.method, run.steps) for run in fitting] == [("unit", 1200), ("cyclegan", 20)]


def test_every_method_has_its_row(tmp_path: Path) -> None:
    assert set(TITLES) == set(METHODS)
    runs = make_runs(tmp_path, dict.fromkeys(TITLES, 100), 1, ["--epochs=20"])
    assert [(run.method, run.seed) for run in runs] == [(method, 0) for method in TITLES]
    assert all((run.config.method, run.config.seed, run.steps) == (run.method, run.seed, 2000) for run in runs)


def test_what_cannot_be_compared_is_named_before_any_work(
    tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_scenes = {"data": data_folder, "detector": tmp_path / "detector.safetensors"}
    for wrong, told in (
        ({"methods": "unit,gan"}, "'gan'"),
        ({"steps": 3, "epochs": 2}, "a multiple of epochs"),
        ({"minutes": -1.0}, "minutes of at least 0"),
        ({"data": data_folder, "tested_on": [f"other={tmp_path}"]}, "expected night thermal images to evaluate on"),
        ({"tested_on": [str(tmp_path)], "data": data_folder}, "tested_on: expected NAME=PATH"),
        (no_scenes, f"and {data_folder} holds none"),
    ):
        assert command.main(tmp_path / "out", **{"methods": "unit", "seeds": 1, **wrong}) == 1  # type: ignore[arg-type]
        assert told in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("out/*"))
