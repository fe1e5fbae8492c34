"""The study end to end with tiny networks; its mathematics against hand-made cases and simulated studies."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_folder import write_folder
from helpers.tiny_run import SHAPES, THRESHOLDS, tiny_config
from morn_losses import CITYSCAPES
from ntir2dc.config import ModuleOptions, make_config, to_dict
from ntir2dc.data.folders import prepare_training_data
from ntir2dc.evaluation import CLASSES_A, Scores
from ntir2dc.evaluation.formats import to_csv, to_latex, to_markdown
from ntir2dc.methods.morngan.method import TERMS
from ntir2dc.methods.morngan.schedule import Phase, Schedule
from ntir2dc.run.log import read_log
from ntir2dc.trainer import Trainer
from studies.ablation import main, read_base
from studies.ablations.contrasts import Estimate, estimate, image_counts, paired, verdict
from studies.ablations.design import (
    BASES,
    CONTRASTS,
    TABLES,
    apply,
    choose_rows,
    flatten,
    make_rows,
    published_readings,
)
from studies.ablations.frozen import Frozen
from studies.ablations.pictures import make_axis
from studies.ablations.results import update_docs
from studies.ablations.runs import Children, choose_next, codes_of, find_start, make_runs
from studies.ablations.scoring import load_scores, save_scores
from studies.ablations.stems import find_stem, first_steps, shared_steps, start_from, stem_steps
from studies.ablations.tables import class_cells, difference_cells, make_line
from studies.ablations.worker import main as train_and_score
from studies.ablations.worker import steps_done

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "judge_steps": 2,
    "epochs": 3,
    "steps_per_epoch": 1,
    "checkpoint_every": 1,
    "pool": 2,
    "networks": SHAPES,
    "dataset": {
        "crop": 32,
        "scene_height": 48,
        "scene_width": 56,
        "scenes_a": 2,
        "scenes_b": 2,
        "scenes_val": 3,
        "scenes_judge": 2,
    },
    "losses": {**THRESHOLDS, "aca_clusters": 2},
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run(out: Path, options: Path, **other: object) -> int:
    given = {"rows": "baseline,full", "seeds": 2, "jobs": 2, "device": "cpu", **other}
    return main(out, options=options, **given)  # type: ignore[arg-type]


def run_here(out: Path, options: Path, **other: object) -> int:
    """Do the same, with the work of the study's processes done in this one: nothing is imported a second time."""

    def call(self: Children, command: Sequence[str], log: Path) -> None:
        assert train_and_score(command[1]) == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Children, "call", call)
        return run(out, options, **{**other, "jobs": 1})


# ---- end to end ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_grows_goes_on_and_runs_again_what_has_changed(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert run_here(out, tiny, seeds=1) == 0
    capsys.readouterr()
    first = (out / "rows" / "full" / "seed_0" / "scores.npz").stat().st_mtime_ns

    assert run(out, tiny) == 0
    said = capsys.readouterr().out
    assert "2 of 4 runs are done, 2 to go" in said
    assert (out / "rows" / "full" / "seed_0" / "scores.npz").stat().st_mtime_ns == first
    frozen = json.loads((out / "frozen.json").read_text())
    results = out / "results"
    for hashed in frozen.values():
        assert hashed in said
        assert hashed[:12] in (results / "table5.md").read_text()
        assert hashed[:12] in (results / "table5.tex").read_text()
        assert hashed in (results / "table5.csv").read_text()
    rows = read_csv(results / "figures.csv")
    assert [(r["row"], r["seed"]) for r in rows] == [(n, s) for n in ("baseline", "full") for s in ("0", "1")]
    means = {r["row"]: r for r in read_csv(results / "table5.csv")}
    assert float(means["baseline"]["apce_mean"]) == pytest.approx(np.mean([float(r["apce"]) for r in rows[:2]]))
    assert float(means["baseline"]["apce_sd"]) == pytest.approx(np.std([float(r["apce"]) for r in rows[:2]], ddof=1))
    contrast = read_csv(results / "contrasts.csv")[0]
    difference = 100 * np.mean(
        [float(b["miou_a"]) - float(a["miou_a"]) for a, b in zip(rows[:2], rows[2:], strict=True)]
    )
    assert float(contrast["difference"]) == pytest.approx(difference, abs=0.051)
    for name in ("table5.png", "panels.png"):
        with Image.open(results / name) as picture:
            assert len(picture.convert("L").getcolors() or []) > 10
    assert not (results / "table7.md").exists()
    assert not (out / "rows" / "full" / "seed_0" / "checkpoints").exists()

    options = out / "other.json"
    options.write_text(json.dumps({**TINY, "losses": {**TINY["losses"], "aca_phi_local": 0.8}}))  # type: ignore[dict-item]
    assert run_here(out, options, seeds=1, rows="full") == 0
    said = capsys.readouterr().out
    assert "losses.aca_phi_local: 0.9 in the run, 0.8 asked for" in said
    assert "0 of 1 runs are done, 1 to go" in said
    assert (out / "rows" / "full" / "seed_0_outdated_0" / "weights.safetensors").is_file()

    options.write_text(json.dumps({**TINY, "judge": "trained"}))
    assert run(out, options, seeds=1, jobs=1, dry_run=True) == 0
    said = capsys.readouterr().out
    assert "full seed 0: outdated" in said
    assert json.loads((out / "frozen.json").read_text())["scenes_sha256"] == frozen["scenes_sha256"]
    assert json.loads((out / "frozen.json").read_text())["judge_sha256"] != frozen["judge_sha256"]


@pytest.mark.slow
def test_stopped_or_killed_it_ends_as_if_it_had_not_been(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = tmp_path / "tiny.json"
    options.write_text(json.dumps({**TINY, "steps_per_epoch": 6}))
    assert run_here(tmp_path / "whole", options, rows="full", seeds=1) == 0

    out = tmp_path / "stopped"
    command = [sys.executable, str(ROOT / "examples" / "studies" / "ablation.py"), f"--out={out}"]
    command += [f"--options={options}", "--rows=full", "--seeds=1", "--device=cpu"]
    folder = out / "rows" / "full" / "seed_0"
    for signum in (signal.SIGINT, signal.SIGKILL):
        before = steps_done(folder)
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None and steps_done(folder) < before + 3:
            time.sleep(0.02)
        process.send_signal(signum)
        said = process.communicate()[0]
        assert process.returncode == (130 if signum == signal.SIGINT else -signal.SIGKILL), said
        assert before < steps_done(folder) < 18
        # the trainer that a killed study leaves behind holds the lock until it is done
        if signum == signal.SIGKILL:
            assert run(out, options, rows="full", seeds=1) == 1
            with open(out / ".lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
    assert run_here(out, options, rows="full", seeds=1) == 0
    assert "resumed after step" in capsys.readouterr().out
    whole = tmp_path / "whole" / "rows" / "full" / "seed_0"
    assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert (folder / "scores.npz").read_bytes() == (whole / "scores.npz").read_bytes()
    assert [row["total"] for row in read_log(folder / "log.csv")] == [
        row["total"] for row in read_log(whole / "log.csv")
    ]


@pytest.mark.slow
def test_a_run_that_starts_from_another_ends_as_if_it_had_not(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data")
    options = {**TINY, "epochs": 6, "data": str(data), "dataset": {"crop": 32}}
    base = apply(make_config("mini"), {k: v for k, v in flatten(options).items() if k != "judge_steps"})
    rows = make_rows(base)
    assert stem_steps(base, 1) == [4, 5]

    def train(name: str, row: str, stem: Path | None = None) -> Path:
        folder = tmp_path / name
        config = dataclasses.replace(apply(base, rows[row].changes), out=str(folder))
        folder.mkdir()
        (folder / "options.json").write_text(json.dumps(to_dict(config)))
        if stem:
            start_from(stem, folder, config)
        task = {"run": str(folder), "steps": 6, "stems": stem_steps(config, 1), "data": str(data)}
        assert train_and_score(json.dumps({**task, "judge": None, "judge_steps": 0, "device": "cpu"})) == 0
        return folder

    donor = train("donor", "sdp")
    for row, shared in (("full", 4), ("cgr", 5)):
        alone, begun = train(f"{row}_alone", row), train(f"{row}_begun", row, donor / "stems" / f"{shared:08d}")
        assert (alone / "weights.safetensors").read_bytes() == (begun / "weights.safetensors").read_bytes()
        assert (alone / "weights.safetensors").read_bytes() != (donor / "weights.safetensors").read_bytes()
        logs = [
            [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(f / "log.csv")]
            for f in (alone, begun)
        ]
        assert logs[0] == logs[1]
        assert len(logs[0]) == 6


def test_runs_share_the_steps_before_what_sets_them_apart(tmp_path: Path) -> None:
    base = BASES["small"].config
    rows = {name: apply(base, row.changes) for name, row in make_rows(base).items()}
    starts = first_steps(base, 30)
    for one, other, shared in (
        ("baseline", "sc", 0),
        ("sc", "sdp", 0),
        ("sdp", "mgca", starts[Phase.COLLABORATE]),
        ("mgca", "cgr", starts[Phase.COLLABORATE]),
        ("sdp", "full", starts[Phase.DISTILL]),
        ("full", "aca1", starts[Phase.COLLABORATE]),
        ("full", "full", base.epochs * 30),
    ):
        assert shared_steps(rows[one], rows[other], 30) == shared_steps(rows[other], rows[one], 30) == shared, one
    assert shared_steps(base, dataclasses.replace(base, seed=1), 30) == 0

    donor = tmp_path / "donor"
    for step in (starts[Phase.DISTILL], starts[Phase.COLLABORATE]):
        (donor / "stems" / f"{step:08d}").mkdir(parents=True)
    hashes = {"scenes_sha256": "a", "code_sha256": "b"}
    (donor / "started.json").write_text(json.dumps({"identity": hashes, "options": to_dict(rows["sdp"])}))
    found = {name: find_stem(config, hashes, [donor, tmp_path], 30) for name, config in rows.items()}
    assert found["cgr"] == (donor / "stems" / f"{starts[Phase.COLLABORATE]:08d}", starts[Phase.COLLABORATE])
    assert found["full"] == (donor / "stems" / f"{starts[Phase.DISTILL]:08d}", starts[Phase.DISTILL])
    assert found["baseline"] is None
    assert find_stem(rows["cgr"], {**hashes, "code_sha256": "c"}, [donor], 30) is None


def test_a_run_that_was_set_aside_gives_its_beginning_and_the_code_that_made_it(tmp_path: Path) -> None:
    base = BASES["small"].config
    frozen = Frozen(tmp_path, "a", "auto", tmp_path / "judge", 0, None, None)
    (run,) = make_runs(tmp_path, base, [make_rows(base)["full"]], [1], frozen)
    aside = run.folder.with_name("seed_1_outdated_0")
    stem = aside / "stems" / f"{first_steps(base, 30)[Phase.COLLABORATE]:08d}"
    stem.mkdir(parents=True)
    run.folder.with_name("seed_10").mkdir()
    held = dataclasses.replace(run.config, losses=dataclasses.replace(base.losses, theta_frozen="person=0.2"))
    started = {"identity": {**frozen.hashes(), "code_sha256": "older"}, "options": to_dict(held)}
    (aside / "started.json").write_text(json.dumps(started))
    assert find_start(run, frozen, 160, same_code=True) is None
    assert find_start(run, frozen, 160, same_code=False) == (stem, int(stem.name))
    assert codes_of(stem) == ["older"]
    (aside / "started.json").write_text(json.dumps({**started, "began_with": ["oldest"]}))
    assert codes_of(stem) == ["older", "oldest"]


def test_a_run_waits_for_the_steps_that_another_is_about_to_save_it(tmp_path: Path) -> None:
    base = BASES["small"].config
    frozen = Frozen(tmp_path, "a", "auto", tmp_path / "judge", 0, None, None)
    rows = make_rows(base)
    runs = {
        (run.row.name, run.seed): run
        for run in make_runs(tmp_path, base, [rows[n] for n in ("baseline", "sdp", "mgca")], range(2), frozen)
    }
    waiting = [runs["mgca", 0], runs["baseline", 1]]
    assert choose_next(waiting, [runs["sdp", 0]], frozen, 160, same_code=True) is runs["baseline", 1]
    assert choose_next(waiting, [runs["sdp", 1]], frozen, 160, same_code=True) is runs["mgca", 0]
    assert choose_next(waiting[:1], [runs["sdp", 0]], frozen, 160, same_code=True) is runs["mgca", 0]


@pytest.mark.slow
def test_real_frames_need_no_labels_to_compare_edges(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_folder(tmp_path / "data"), tmp_path / "study"
    assert run_here(out, tiny, seeds=1, rows="baseline", data=data) == 0
    assert "judge  None" in capsys.readouterr().out
    (line,) = (r for r in read_csv(out / "results" / "figures.csv"))
    assert math.isnan(float(line["miou_a"]))
    assert 0 < float(line["apce"]) < 1
    assert "IoU %" not in (out / "results" / "table5.md").read_text().replace("mIoU", "")
    done = out / "rows" / "baseline" / "seed_0" / "done.json"
    record = json.loads(done.read_text())
    record["identity"]["code_sha256"] = "other"
    done.write_text(json.dumps(record))
    for same_code, state in ((False, "done"), (True, "outdated")):
        run(out, tiny, seeds=1, rows="baseline", data=data, dry_run=True, same_code=same_code)
        assert f"baseline seed 0: {state}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = tmp_path / "options.json"
    options.write_text(json.dumps({**TINY, "dataset": {**TINY["dataset"], "crop": 64}}))  # type: ignore[dict-item]
    assert run(tmp_path / "study", options, seeds=1, jobs=1) == 1
    said = capsys.readouterr().out
    assert "baseline seed 0: failed: ended with status 1" in said
    assert "smaller than the training crop of 64" in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base": "huge"}, "base: expected one of small, night, gpu, got 'huge'"),
        ({"tables": "table9"}, "tables: expected some of table5"),
        ({"rows": "aca2"}, "rows: expected some of baseline, sc, sdp, mgca, cgr, full, got 'aca2'"),
        ({"seeds": 0}, "seeds of at least 1"),
    ],
)
def test_wrong_options_are_named(
    wrong: dict[str, object], message: str, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "study", tiny, **wrong) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


# ---- design ----------------------------------------------------------------------------------------------------------


def test_table_5_switches_the_papers_modules_on_one_by_one() -> None:
    base = BASES["small"].config
    rows = make_rows(base)
    order = ("sc", "sdp", "mgca", "cgr", "sr")
    for count, name in enumerate(TABLES["table5"].rows):
        config = apply(base, rows[name].changes)
        assert config.modules == ModuleOptions(**{m: i < count for i, m in enumerate(order)})
        # the same budget, networks, data and weights
        assert apply(base, {f"modules.{m}": True for m in order}) == apply(
            config, {f"modules.{m}": True for m in order}
        )


def test_table_7_changes_the_clusters_alone_and_shares_the_full_row() -> None:
    base = BASES["small"].config
    rows = make_rows(base)
    clusters = [apply(base, rows[name].changes).losses.aca_clusters for name in TABLES["table7"].rows]
    assert clusters == [1, 2, 3, 4, 5, 6]
    for name in TABLES["table7"].rows:
        assert apply(apply(base, rows[name].changes), {"losses.aca_clusters": 4}) == base


def test_every_row_of_every_table_and_contrast_exists_and_can_be_built() -> None:
    for base in BASES.values():
        rows = make_rows(base.config)
        for table in TABLES.values():
            for name in table.rows:
                apply(base.config, rows[name].changes)
        for contrast in CONTRASTS:
            assert any({contrast.row, contrast.against} <= set(table.rows) for table in TABLES.values())
    chosen = choose_rows(["table5", "lineage"], [], make_rows(BASES["small"].config))
    assert len({row.name for row in chosen}) == len(chosen)


def test_the_terms_of_the_baseline_are_added_one_at_a_time() -> None:
    base = BASES["small"].config
    rows = make_rows(base)
    weights = {}
    for name in TABLES["terms"].rows:
        config = apply(base, rows[name].changes)
        weights[name] = config.losses.lambda_sga, config.losses.lambda_thermal
        restored = {"losses.lambda_sga": 0.5, "losses.lambda_thermal": 0.5}
        assert apply(config, restored) == apply(base, rows["baseline"].changes)
    assert weights == {"todaygan_tir": (0, 0), "sga": (0.5, 0), "thermal": (0, 0.5), "baseline": (0.5, 0.5)}


def test_published_rows_change_readings_alone_and_together_all_of_them() -> None:
    base = BASES["small"].config
    rows = make_rows(base)
    readings = published_readings()
    assert {"losses.aca_metric", "losses.mine_frozen_alone", "losses.cycle_distance"} < set(readings)
    assert readings["losses.aca_metric"] == "cosine"
    assert readings["networks.segmenter_variant"] == "published"
    paper = {name: value for name, value in flatten(to_dict(base)).items() if name in readings}
    for name, against in (("published", "full"), ("baseline_published", "baseline")):
        config = apply(base, rows[name].changes)
        assert all(flatten(to_dict(config))[key] == value for key, value in readings.items())
        assert apply(config, {"variant": "paper", **paper}) == apply(base, rows[against].changes)
    for name in ("mine_both", "aca_published"):
        ours, of_cgr = (flatten(to_dict(apply(base, rows[r].changes))) for r in (name, "cgr"))
        changed = {key for key in ours if ours[key] != of_cgr[key]}
        assert changed
        assert changed < set(readings)


def test_differences_are_paired_and_only_of_rows_that_share_seeds() -> None:
    def scores(apce: float) -> list[Scores]:
        return [Scores(np.full((3, 99), apce), 10.0, 0.5, np.eye(19, dtype=np.int64)) for _ in range(4)]

    found = {"a": {0: scores(0.1), 1: scores(0.9)}, "b": {1: scores(0.4), 2: scores(0.3)}, "c": {5: scores(0.1)}}
    cells = difference_cells([("a", "b"), ("a", "c"), ("a", "d")], found, CITYSCAPES)
    assert [row[:2] for row in cells[1:]] == [["a minus b", "1"]]
    assert cells[1][cells[0].index("APCE")] == "+0.500"


def test_dlamgan_mines_with_one_threshold_and_denoises_nothing() -> None:
    base = BASES["small"].config
    config = apply(base, make_rows(base)["dlamgan"].changes)
    assert config.losses.theta_bg == config.losses.theta_fg == base.losses.theta_fg
    assert config.modules == ModuleOptions(sc=True, sdp=False, mgca=False, cgr=False, sr=False)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("cyclegan", {"adv", "cyc"}),
        ("todaygan", {"adv", "cyc"}),
        ("todaygan_tir", {"adv", "cyc", "tv"}),
        ("baseline", {"adv", "cyc", "tv", "sga", "mono", "temp"}),
        ("dlamgan", {"adv", "cyc", "tv", "sga", "mono", "temp", "seg_fb", "seg_fa"}),
    ],
)
def test_each_ancestor_is_trained_with_its_own_terms(name: str, terms: set[str], tmp_path: Path) -> None:
    data = prepare_training_data(write_folder(tmp_path / "data"), tmp_path / "cache", CITYSCAPES, crop=32)
    base = tiny_config(tmp_path)
    trainer = Trainer(apply(base, make_rows(base)[name].changes), data, say=lambda _: None)
    trainer.method.enter_epoch(5)
    batch = next(iter(trainer.loader(5, 0)))
    values = trainer.training_step(batch, 5)
    assert {term for term in TERMS if term in values} == terms


def test_todaygan_and_cyclegan_differ_from_the_baseline_in_networks() -> None:
    base = BASES["small"].config
    rows = make_rows(base)
    todaygan, cyclegan = (apply(base, rows[name].changes) for name in ("todaygan", "cyclegan"))
    assert (todaygan.networks.decoder_norm, todaygan.networks.discriminator_norm) == ("instance", "instance")
    assert todaygan.networks.discriminator_views == "three"
    assert cyclegan.networks.discriminator_views == "color"
    assert (todaygan.losses.adversarial, cyclegan.losses.adversarial) == ("relativistic", "least_squares")
    # no SSIM in the cycle loss
    assert Schedule.from_options(todaygan.phases, todaygan.epochs).phase(todaygan.epochs - 1) is Phase.BASELINE


@pytest.mark.parametrize("name", ["modules.nosuch", "nosuch.sc", "modules", "epochs.x"])
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: is no option"):
        apply(make_config("demo"), {name: 1})


def test_a_file_of_options_goes_over_the_base(tiny: Path) -> None:
    base = read_base("small", tiny, "cpu")
    assert (base.judge_steps, base.config.epochs, base.config.losses.aca_clusters) == (2, 3, 2)
    assert base.config.lr == BASES["small"].config.lr


# ---- contrasts -------------------------------------------------------------------------------------------------------


def scores_of(psnr: float, confusion: list[list[int]] | None = None) -> Scores:
    counts = np.zeros((19, 19), np.int64)
    if confusion is not None:
        counts[:2, :2] = confusion
    return Scores(np.full((3, 99), 0.5), psnr, 0.5, counts)


def test_contrast_of_two_seeds_by_hand() -> None:
    # differences within the seeds: 2 and 4, the same in both images; so the images add nothing
    row = [[scores_of(12), scores_of(22)], [scores_of(15), scores_of(25)]]
    against = [[scores_of(10), scores_of(20)], [scores_of(11), scores_of(21)]]
    found = paired(row, against, "psnr", CITYSCAPES, resamples=100)
    assert found.by_seed == pytest.approx((2, 4))
    assert found.value == pytest.approx(3)
    # s = sqrt(2), standard error s / sqrt(2) = 1, one degree of freedom: t = 12.706
    assert found.high - found.value == pytest.approx(12.706, rel=1e-4)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_contrast_of_images_by_hand() -> None:
    # the same differences 0, 1, 2, 3 in both seeds: only the images count; their bootstrap variance is
    # (mean of squared deviations) / 4 = 1.25 / 4, and t has three degrees of freedom
    row = [[scores_of(10 + i + i) for i in range(4)] for _ in range(2)]
    against = [[scores_of(10 + i) for i in range(4)] for _ in range(2)]
    found = paired(row, against, "psnr", CITYSCAPES, resamples=5000)
    assert found.value == pytest.approx(1.5)
    assert found.high - found.value == pytest.approx(3.182 * math.sqrt(1.25 / 4), rel=0.03)


def test_contrast_of_miou_sums_the_confusions_before_it_divides() -> None:
    # road and sidewalk; over both images IoU of road is 6/8 against 4/8, sidewalk is no class of mIoU.A
    row = [[scores_of(1, [[5, 0], [1, 4]]), scores_of(1, [[1, 1], [0, 8]])]] * 2
    against = [[scores_of(1, [[4, 1], [0, 5]]), scores_of(1, [[0, 2], [1, 7]])]] * 2
    assert paired(row, against, "miou_a", CITYSCAPES, resamples=10).value == pytest.approx(6 / 8 - 4 / 8)


def test_table_1_has_the_iou_of_each_class_over_seeds() -> None:
    # road: 6 of 8 pixels and 4 of 8 pixels in the two seeds; no other class of mIoU.A occurs
    by_seed = {0: [scores_of(1, [[6, 0], [2, 2]])], 3: [scores_of(1, [[4, 3], [1, 2]])]}
    line = make_line("x", by_seed, CITYSCAPES)
    assert line.seeds == (0, 3)
    assert line.iou["road"] == pytest.approx((6 / 8, 4 / 8))
    head, cells = class_cells([line])
    assert dict(zip(head, cells, strict=True)) | {"sky": "-"} == {
        **dict.fromkeys(CLASSES_A, "-"), "IoU %": "x", "road": "62.5 ±17.7", "mIoU.A": "62.5 ±17.7",
    }  # fmt: skip


def test_equal_rows_differ_by_exactly_nothing() -> None:
    rng = np.random.default_rng(0)
    row = [[scores_of(p, rng.integers(1, 9, (2, 2)).tolist()) for p in rng.normal(10, 1, 5)] for _ in range(3)]
    for key in ("psnr", "miou_a", "apce"):
        found = paired(row, row, key, CITYSCAPES, resamples=50)
        assert (found.value, found.low, found.high) == (0, 0, 0)
        assert verdict(found, None) == "undecided"
        assert verdict(found, 0.01) == "holds"


def test_one_seed_has_no_interval() -> None:
    found = paired([[scores_of(2), scores_of(3)]], [[scores_of(1), scores_of(1)]], "psnr", CITYSCAPES, resamples=10)
    assert found.value == pytest.approx(1.5)
    assert math.isnan(found.low)
    assert verdict(found, None) == "not known"


def test_rows_of_other_seeds_or_images_are_refused() -> None:
    one, two = [scores_of(1)], [scores_of(1), scores_of(2)]
    for row, against in (([one], [two]), ([one, one], [one]), ([], [])):
        with pytest.raises(ValueError, match="the same seeds and the same images"):
            paired(row, against, "psnr", CITYSCAPES)


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.1, 0.3, None, "holds"),
        (-0.1, 0.3, None, "undecided"),
        (-0.3, -0.1, None, "does not hold"),
        (-0.005, 0.3, 0.01, "holds"),
        (-0.02, 0.3, 0.01, "undecided"),
        (-0.3, -0.005, 0.01, "undecided"),
        (-0.3, -0.02, 0.01, "does not hold"),
    ],
)
def test_verdicts(low: float, high: float, margin: float | None, expected: str) -> None:
    assert verdict(Estimate((low + high) / 2, low, high, (low, high)), margin) == expected


@pytest.mark.parametrize(
    ("seed_sd", "image_sd", "noise_sd"), [(1.0, 0.5, 0.5), (0.02, 2.0, 1.0), (0.2, 1.5, 1.5), (0.0, 0.0, 1.0)]
)
@pytest.mark.parametrize("n_seeds", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(
    seed_sd: float, image_sd: float, noise_sd: float, n_seeds: int
) -> None:
    """Studies of 3 or 5 seeds and 40 images whose true difference is 0.3, with effects of seeds, images and both."""
    rng = np.random.default_rng(3)
    studies, n = 600, 40
    counts = image_counts(n, 300)
    covered = 0
    for _ in range(studies):
        truth = 0.3 + seed_sd * rng.normal(size=(n_seeds, 1)) + image_sd * rng.normal(size=n)
        differences = truth + noise_sd * rng.normal(size=(n_seeds, n))
        found = estimate(differences @ counts.T / n, n)
        covered += found.low <= 0.3 <= found.high
    # three standard errors of this simulation are 2.7%
    assert 0.923 <= covered / studies <= 0.99


def test_percentiles_of_three_seeds_would_not_cover() -> None:
    """Why the interval is not the percentiles of the draws: those never leave the range of the three seeds."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 3, (2000, 3))
    covered = 0
    for _ in range(400):
        seeds = rng.normal(size=3)
        low, high = np.percentile(seeds[draws].mean(1), (2.5, 97.5))
        covered += low <= 0 <= high
    assert covered / 400 < 0.82


def test_draws_that_a_figure_leaves_undefined_are_left_out() -> None:
    differences = np.array([[1.0, 1.0, np.nan, 3.0], [1.0, 1.0, 5.0, 3.0]])
    assert estimate(differences, 4) == estimate(np.delete(differences, 2, axis=1), 4)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_scores_survive_their_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = [
        Scores(rng.random((3, 99)), math.inf if i else 12.5, math.nan, rng.integers(0, 9, (19, 19))) for i in range(2)
    ]
    scores[0].edges[0, :5] = np.nan
    save_scores(tmp_path / "s.npz", scores)
    for saved, loaded in zip(scores, load_scores(tmp_path / "s.npz"), strict=True):
        np.testing.assert_array_equal(saved.edges, loaded.edges)
        np.testing.assert_array_equal(saved.confusion, loaded.confusion)
        assert repr((saved.psnr, saved.ssim)) == repr((loaded.psnr, loaded.ssim))


def test_formats() -> None:
    cells = [["", "mIoU %"], ["a_b", "1.0 ±0.1"]]
    assert to_markdown(cells) == "|  | mIoU % |\n| --- | ---: |\n| a_b | 1.0 ±0.1 |"
    assert to_latex(cells).splitlines()[0] == r"\begin{tabular}{lr}"
    assert r" & mIoU \% \\" in to_latex(cells)
    assert r"a\_b & 1.0 $\pm$0.1 \\" in to_latex(cells)
    assert to_csv([["a,b", 1]]) == '"a,b",1\n'


@pytest.mark.parametrize(("low", "high"), [(0, 1), (22.4, 22.9), (-3, 17), (5, 5), (0, 0), (-250, 990)])
def test_axes_hold_their_values_and_a_few_round_ticks(low: float, high: float) -> None:
    axis = make_axis([low, high], 10, 110)
    assert 10 <= axis(low) <= axis(high) <= 110
    assert 3 <= len(axis.ticks()) <= 7
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())


def test_results_are_put_between_the_marks_of_the_page(tmp_path: Path) -> None:
    docs, results = tmp_path / "docs", tmp_path / "results"
    for folder in (docs, results):
        folder.mkdir()
    page = docs / "night.md"
    page.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    Image.new("L", (4, 4)).save(results / "table5.png")
    Image.new("L", (4, 4)).save(results / "unused.png")
    update_docs("new ![x](PICTUREStable5.png)", results, page)
    text = page.read_text()
    assert text.startswith("before\n<!-- results: begin -->\n\nnew ![x](pictures/night_table5.png)")
    assert text.endswith("<!-- results: end -->\nafter\n")
    assert "old" not in text
    assert [p.name for p in (docs / "pictures").iterdir()] == ["night_table5.png"]
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected the marks"):
        update_docs("new", results, page)


def test_the_page_states_the_contrasts_of_the_code() -> None:
    text = (ROOT / "docs" / "ablation.md").read_text()
    stated = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    claims = {None: "more than 0", 0.01: "more than -0.01"}
    assert stated == [(c.row, c.against, c.key, claims[c.margin]) for c in CONTRASTS]
