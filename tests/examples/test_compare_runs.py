from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import auto_cli
from PIL import Image
from scipy import stats
from test_evaluate import NETWORKS, write_run, write_scenes

import compare_runs as command
from morn_losses import CITYSCAPES
from ntir2dc.evaluation import COLUMNS, SECOND, UNTRAINED, Figure, Scores, weighted_figures
from ntir2dc.evaluation.comparison import cells, compare, format_figure, to_json, with_error
from ntir2dc.methods.morngan.networks import Networks
from ntir2dc.run.weights import save_weights

N = 6


def random_scores(seed: int, n: int = N) -> list[Scores]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        confusion = np.zeros((19, 19), np.int64)
        confusion[:14, :14] = rng.integers(0, 50, (14, 14))
        confusion[[0, 11], [0, 11]] += int(100 * rng.random())
        confusion[:, 15] = 0
        found.append(Scores(rng.random((3, 9)), 10 + i + rng.normal(), rng.random(), confusion))
    return found


def by_key(first: list[Scores], second: list[Scores]) -> dict:
    return {one.column.key: one for one in compare(first, second, CITYSCAPES)}


def test_means_over_frames_have_the_usual_error_and_t_interval() -> None:
    first, second = random_scores(0), random_scores(1)
    found = by_key(first, second)
    for key, of in (("psnr", lambda s: s.psnr), ("ssim", lambda s: s.ssim), ("apce", lambda s: s.edges[0].mean())):
        x, y = (np.array([of(s) for s in scores]) for scores in (first, second))
        one = found[key]
        assert one.first.value == pytest.approx(x.mean())
        assert one.second.error == pytest.approx(stats.sem(y))
        assert one.value.value == pytest.approx((x - y).mean())
        assert one.value.error == pytest.approx(stats.sem(x - y))
        expected = stats.ttest_rel(x, y).confidence_interval(0.95)
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high))
        assert (one.ahead, one.frames) == ((x > y).sum(), N)


def test_miou_is_that_of_the_set_and_its_error_leaves_out_each_frame() -> None:
    first, second = random_scores(2), random_scores(3)
    one = by_key(first, second)["miou_all"]

    def miou(scores: list[Scores]) -> float:
        return float(weighted_figures(scores, np.ones((1, len(scores))), CITYSCAPES)["miou_all"][0])

    without = [miou(first[:i] + first[i + 1 :]) - miou(second[:i] + second[i + 1 :]) for i in range(N)]
    mean = sum(without) / N
    assert one.value.value == pytest.approx(miou(first) - miou(second))
    assert one.value.error == pytest.approx(math.sqrt((N - 1) / N * sum((x - mean) ** 2 for x in without)))
    assert one.ahead == sum(miou([a]) > miou([b]) for a, b in zip(first, second, strict=True))


def test_against_itself_nothing_differs_and_nothing_is_ahead() -> None:
    for one in compare(random_scores(0), random_scores(0), CITYSCAPES):
        assert (one.value, one.low, one.high, one.ahead, one.even, one.frames) == (Figure(0.0, 0.0), 0, 0, 0, N, N)


def test_frames_that_are_even_are_told_from_those_behind() -> None:
    first, second = random_scores(0), random_scores(1)
    first[3] = dataclasses.replace(first[3], ssim=second[3].ssim)
    found = compare(first, second, CITYSCAPES)
    (one,) = (one for one in found if one.column.key == "ssim")
    ahead = sum(a.ssim > b.ssim for a, b in zip(first, second, strict=True))
    assert (one.ahead, one.even) == (ahead, 1)
    shown = {row[0]: row[-1] for row in cells(found, ("a", "b"), {}, CITYSCAPES)}
    assert shown["SSIM"] == f"{ahead} of {N}, 1 even"
    assert "even" not in shown["PSNR dB"]


def test_one_frame_has_no_interval() -> None:
    first, second = random_scores(0, 1), random_scores(1, 1)
    found = compare(first, second, CITYSCAPES)
    assert [one.column for one in found] == [c for c in COLUMNS if c.key not in SECOND]
    for one in found:
        assert math.isfinite(one.value.value)
        assert all(math.isnan(x) for x in (one.first.error, one.second.error, one.value.error, one.low, one.high))
        assert one.frames == 1
    _, *rows = cells(found, ("a", "b"), {"c": first}, CITYSCAPES)
    assert all("±" not in cell for row in rows for cell in row)
    assert {row[-2] for row in rows} == {"-"}
    assert to_json(found)["psnr"]["difference"]["low"] is None


def test_what_is_undefined_is_left_out() -> None:
    first, second = random_scores(0), random_scores(1)
    nothing = np.zeros((19, 19), np.int64)
    first[2] = dataclasses.replace(first[2], psnr=math.inf)
    first, second = ([dataclasses.replace(s, ssim=math.nan, confusion=nothing) for s in x] for x in (first, second))
    assert list(by_key(first, second)) == ["apce", "edge_precision", "edge_f1"]


def test_a_class_in_a_single_frame_alone_leaves_no_error() -> None:
    first, second = random_scores(0), random_scores(1)
    for scores in (first, second):
        for i, s in enumerate(scores):
            confusion = np.zeros_like(s.confusion)
            if i == 0:
                confusion[CITYSCAPES.index("bus"), CITYSCAPES.index("bus")] = 5
            scores[i] = dataclasses.replace(s, confusion=confusion)
    one = by_key(first, second)["miou_s"]
    assert (one.first.value, one.frames) == (1, 1)
    assert math.isnan(one.value.error)
    assert math.isnan(one.low)


def test_other_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the scores of the same frames, got 6 and 5"):
        compare(random_scores(0), random_scores(1)[:5], CITYSCAPES)
    with pytest.raises(ValueError, match="got 0 and 0"):
        compare([], [], CITYSCAPES)


def test_figures_are_shown_as_their_column_rounds_them() -> None:
    percent = COLUMNS[0]
    assert format_figure(Figure(0.1234, 0.0456), percent) == "12.3 ±4.6"
    assert format_figure(Figure(0.1234, math.nan), percent, "+") == "+12.3"
    assert format_figure(Figure(math.nan, math.nan), percent) == "-"
    assert with_error(np.array([2.0, 1.0, 3.0]), 2) == Figure(2.0, 1.0)


# ---- the command -----------------------------------------------------------------------------------------------------


def write_other(run: Path, data: str | None = None) -> Path:
    """A run whose generator is that of yet another seed."""
    write_run(run, data)
    model = Networks(NETWORKS, 19, seed=7, segmenters=False)
    options = {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1}
    networks = {name: getattr(model, name) for name in ("encoder_a", "encoder_b", "decoder_a", "decoder_b")}
    save_weights(run / "weights.safetensors", networks, options)
    return run


def test_two_runs_get_their_table_with_and_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mini, baseline = write_run(tmp_path / "mini"), write_other(tmp_path / "baseline")
    # rendered twice, by each run for itself
    for run in (mini, baseline):
        write_scenes(run / "scenes")
    arguments = ["--run", str(mini), "--against", str(baseline), "--judge_steps", "1", "--device", "cpu"]
    assert auto_cli(command.main, args=arguments, as_positional=False) == 0
    printed = capsys.readouterr().out
    for text in ("mini minus baseline", "95% interval", "of 3", "One training of each", UNTRAINED):
        assert text in printed
    assert "Not in the table" not in printed
    page = (mini / "comparison.md").read_text()
    assert page.startswith(f"|  | {UNTRAINED} | baseline | mini | mini minus baseline | 95% interval |")
    result = json.loads((mini / "comparison.json").read_text())
    assert list(result["figures"]) == [c.key for c in COLUMNS if c.key not in SECOND]
    assert (result["first"], result["second"], result["data"]["images"]) == ("mini", "baseline", 3)
    psnr = result["figures"]["psnr"]
    with (mini / "comparison.csv").open() as file:
        lines = list(csv.DictReader(file))
    alone = {way: [float(x["psnr"]) for x in lines if x["way"] == way] for way in ("mini", "baseline", UNTRAINED)}
    assert np.mean(alone["mini"]) == pytest.approx(psnr["first"]["value"])
    differences = np.subtract(alone["mini"], alone["baseline"])
    assert stats.sem(differences) == pytest.approx(psnr["difference"]["error"])
    assert (differences > 0).sum() == psnr["ahead"]
    assert alone[UNTRAINED] != alone["mini"]
    assert [x["frame"] for x in lines if x["way"] == "mini"] == ["000", "001", "002"]

    for folder in ("judgeA", "judgeA_labels", "valB_labels", "valB_day"):
        for path in (mini / "scenes" / folder).iterdir():
            path.unlink()
    out = tmp_path / "out"
    assert command.main(mini, baseline, data=mini / "scenes", out=out, limit=1, device="cpu") == 0
    assert list(json.loads((out / "comparison.json").read_text())["figures"]) == [
        "apce", "edge_precision", "edge_f1",
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert "Not in the table, for the data lacks what they need: mIoU.A, mIoU.S, mIoU.all, PSNR, SSIM." in printed
    assert "One frame has no spread." in printed
    assert "±" not in (out / "comparison.md").read_text()


def test_what_is_wrong_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mini, baseline = write_run(tmp_path / "mini"), write_other(tmp_path / "baseline", str(tmp_path / "data"))
    write_scenes(mini / "scenes", 2)
    write_scenes(tmp_path / "data", 3)

    def error_of(*arguments: object, **options: object) -> str:
        assert command.main(*arguments, device="cpu", **options) == 1  # type: ignore[arg-type]
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    error = error_of(mini, baseline)
    for text in (str(mini / "scenes" / "valB"), str(tmp_path / "data" / "valB"), "hold different frames", "--data"):
        assert text in error
    assert "expected judge_steps of at least 1" in error_of(mini, baseline, limit=-1)
    # as many frames of the same names
    Image.new("L", (64, 48)).save(tmp_path / "data" / "valB" / "001.png")
    assert "hold different frames" in error_of(mini, baseline, limit=2)
    assert "found none" in error_of(mini, baseline, data=tmp_path)
    assert "config.json: no such file; expected the folder of a run" in error_of(mini, tmp_path / "nothing")
    (baseline / "weights.safetensors").unlink()
    assert "holds no weights.safetensors" in error_of(mini, baseline, data=mini / "scenes", judge_steps=1)
    assert not (mini / "comparison.md").exists()


def _small_runs(tmp_path: Path, count: int = 2) -> tuple[Path, Path]:
    mini, baseline = write_run(tmp_path / "mini"), write_other(tmp_path / "baseline")
    write_scenes(mini / "scenes", count)
    return mini, baseline


@pytest.mark.parametrize("blocked", ["md", "json", "csv"])
def test_one_file_that_cannot_be_written_leaves_the_others(
    tmp_path: Path, blocked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mini, baseline = _small_runs(tmp_path, 1)
    (mini / f"comparison.{blocked}").mkdir()
    assert command.main(mini, baseline, data=mini / "scenes", judge_steps=1, device="cpu") == 1
    assert "cannot be written (Is a directory)" in capsys.readouterr().err
    assert all((mini / f"comparison.{kind}").is_file() for kind in {"md", "json", "csv"} - {blocked})


def test_labels_of_another_space_are_named_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mini, baseline = _small_runs(tmp_path)
    Image.new("L", (64, 48), 23).save(mini / "scenes" / "valB_labels" / "001.png")
    assert command.main(mini, baseline, data=mini / "scenes", judge_steps=1, device="cpu") == 1
    captured = capsys.readouterr()
    assert "valB_labels/001.png: holds ids [23]" in captured.err
    assert captured.out == ""
    Image.new("L", (64, 48)).save(mini / "scenes" / "valB" / "001.bmp")
    assert command.main(mini, baseline, data=mini / "scenes", judge_steps=1, device="cpu") == 1
    assert "has the name of 001.bmp" in capsys.readouterr().err


def test_names_that_are_no_text_reach_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mini, baseline = _small_runs(tmp_path, 1)
    for path in [*(mini / "scenes").rglob("*.png")]:
        path.rename(path.with_name(os.fsdecode(b"caf\xe9.png")))
    mini = mini.rename(tmp_path / os.fsdecode(b"l\xe4uf"))
    numbers = {"judge_steps": np.int64(1), "limit": np.int64(1)}
    assert command.main(mini, baseline, data=mini / "scenes", device="cpu", **numbers) == 0
    assert "caf\\udce9,l\\udce4uf," in (mini / "comparison.csv").read_text(encoding="utf-8")
    assert json.loads((mini / "comparison.json").read_text())["first"] == mini.name
    assert "l\\udce4uf minus baseline" in (mini / "comparison.md").read_text(encoding="utf-8")
    assert "written: " in capsys.readouterr().out


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    assert command.short_names(tmp_path / "a" / "x", tmp_path / "a" / "y") == ("x", "y")
    assert command.short_names(tmp_path / "a", tmp_path / "b" / "a") == (str(tmp_path / "a"), str(tmp_path / "b" / "a"))
