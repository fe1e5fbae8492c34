"""The command line as a user meets it, in processes of their own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.small_folder import write_folder
from helpers.tiny_run import TINY, outcome, rows_without_seconds, start, wait_for_rows
from ntir2dc.config import to_dict
from ntir2dc.run.checkpoint import save_checkpoint
from ntir2dc.run.faults import how_to_go_on
from train_morngan import main, parse


@pytest.mark.slow
def test_killed_and_resumed_equals_never_stopped(
    folder: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = tmp_path / "killed"
    begin, go_on = ["--preset=mini", f"--data={folder}", *TINY, f"--out={killed}"], [f"--out={killed}", "--resume"]
    for arguments, rows_seen in ((begin, 4), (go_on, 11)):  # in the middle of phase 3, and after the freeze
        process = start(*arguments)
        wait_for_rows(killed, rows_seen, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert main(go_on) == 0
    assert "resumed after step" in capsys.readouterr().out
    # what processes of their own have begun ends as in this one
    assert outcome(killed) == outcome(finished)


def test_scenes_are_the_default_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    scenes = ["scene_height=48", "scene_width=64", "scenes_a=3", "scenes_b=3", "scenes_val=1", "scenes_judge=1"]
    flags = [f"--dataset.{option}" for option in scenes]
    assert main(["--preset=demo", f"--out={out}", "--max_steps=1", *TINY, *flags]) == 0
    assert "max_steps reached after 1 of 12 steps" in capsys.readouterr().out
    assert len(list((out / "scenes" / "trainA").iterdir())) == 3
    assert json.loads((out / "config.json").read_text())["dataset"]["scenes_a"] == 3


def test_flags_go_over_the_preset_and_the_run_over_both(tmp_path: Path) -> None:
    config, resume = parse(["--preset", "kaist", "--variant", "published", "--seed", "7", "--losses.lambda_tv", "2"])
    assert (config.preset, config.epochs, config.seed, config.losses.lambda_tv) == ("kaist", 160, 7, 2)
    assert config.losses.cycle_distance == "smooth_l1"
    assert not resume
    (tmp_path / "config.json").write_text(json.dumps({**to_dict(config), "out": str(tmp_path)}))
    again, resume = parse(["--out", str(tmp_path), "--resume", "--max_steps", "9"])
    assert resume
    assert (again.preset, again.seed, again.max_steps, again.losses) == ("kaist", 7, 9, config.losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "nosuch"], "preset"),
        (["--epochz", "3"], "epochz"),
        (["--epochs", "many"], "epochs"),
        (["--modules.sc", "false"], "modules.sdp"),
        (["--dataset.crop", "30"], "dataset.crop: expected a multiple of 4 >= 32, got 30"),
        (["--losses.memory_k", "0"], "losses.memory_k: expected a number >= 1, got 0"),
        (["--losses.sr_alpha", "2"], "losses.sr_alpha: expected a number in (0, 1], got 2"),
        (["--networks.generator_width", "6"], "networks.generator_width: expected a multiple of 4"),
        (["--networks.discriminator_layers", "[1, 0, 1]"], "networks.discriminator_layers"),
        (["--dataset.edge_low", "0.9"], "dataset.edge_low: expected at most dataset.edge_high"),
        (["--data", "here", "--out", "./here"], "out: expected another folder than that of the data"),
        (["--max_step", "6"], "max_step"),
    ],
)
def test_wrong_flags_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") <= 3


def test_without_labels_the_trainer_says_what_to_do_before_it_computes_edges(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data_folder / "labels_pred2")
    common = ["--preset=mini", f"--data={data_folder}", *TINY, "--max_steps=1"]
    assert main([*common, f"--out={tmp_path / 'run'}"]) == 1
    told = capsys.readouterr().err
    assert f"python examples/label.py --input {data_folder / 'trainA'} --teacher NETWORK" in told
    assert told.endswith("--labels none trains without them\n")
    assert not (tmp_path / "run" / "cache").exists()
    shutil.rmtree(data_folder / "labels_pred1")
    assert main([*common, f"--out={tmp_path / 'free'}", "--labels=none"]) == 0
    stored = json.loads((tmp_path / "free" / "config.json").read_text())["modules"]
    assert [name for name, on in stored.items() if on] == ["cgr", "sr"]
    # the run keeps that
    assert main([f"--out={tmp_path / 'free'}", "--resume", "--max_steps=2"]) == 0


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    for flag in ("--preset", "--variant", "--data", "--out", "--epochs", "--steps_per_epoch", "--max_steps", "--seed"):
        assert flag in text
    assert "--resume" in text
    assert "weight of total variation" in text


def test_problems_end_with_one_line_and_status_1(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "a")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert main(["--data", str(data_folder), "--out", str(tmp_path / "b"), "--resume", *TINY]) == 1
    assert "no checkpoint to resume from" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    image = data_folder / "trainB" / "b1.png"
    image.write_bytes(image.read_bytes()[:50])
    assert main(["--data", str(data_folder), "--out", str(tmp_path / "c"), *TINY]) == 1
    error = capsys.readouterr().err
    assert "b1.png" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "c" / "log.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "nosuch"], "device nosuch: cannot be used"),
        (["--phases.distill", "0.01"], "phases.distill: expected a start at or after that of segment_b"),
    ],
)
def test_options_that_do_not_go_together_end_before_the_first_step(
    arguments: list[str], message: str, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--data={data_folder}", f"--out={tmp_path / 'run'}", *TINY, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_max_steps_belongs_to_a_call_and_not_to_the_run(
    folder: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--preset=mini", f"--data={folder}", *TINY]
    out = tmp_path / "parts"
    for arguments in ([*common, "--max_steps=2"], ["--resume", "--max_steps=7"]):
        assert main([f"--out={out}", *arguments]) == 0
        assert "max_steps" not in json.loads((out / "config.json").read_text())
    # a run of an earlier trainer kept it
    (out / "config.json").write_text(json.dumps({**json.loads((out / "config.json").read_text()), "max_steps": 7}))
    capsys.readouterr()
    assert main([f"--out={out}", "--resume"]) == 0
    assert "resumed after step 7 of 12" in capsys.readouterr().out
    assert outcome(out) == outcome(finished)


def test_a_run_says_how_it_goes_on_and_that_it_is_finished(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["--preset=mini", f"--data={data_folder}", f"--out={out}", *TINY, "--max_steps=1"]) == 0
    assert capsys.readouterr().out.endswith(f"--out {out} --resume\n")
    (out / "config.json").unlink()
    assert main([f"--out={out}", "--resume"]) == 0
    assert "config.json: passed over" in capsys.readouterr().err
    assert json.loads((out / "config.json").read_text())["preset"] == "mini"
    assert main([f"--out={out}", "--resume"]) == 0
    told = capsys.readouterr().out
    assert "the run is finished: all 12 steps are done" in told
    assert f"--init_from {out} --out ANOTHER" in told
    before = outcome(out)
    assert main([f"--out={out}", "--resume", "--epochs=9"]) == 1  # a finished run is not made longer
    error = capsys.readouterr().err
    assert "epochs: 6 in the run, 9 asked for" in error
    assert f"--init_from {out} --out ANOTHER" in error
    assert outcome(out) == before


@pytest.mark.parametrize("preset", ["flir", "kaist"])
def test_a_preset_of_a_data_set_never_trains_on_scenes(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--preset={preset}", f"--out={tmp_path / 'run'}"]) == 2
    captured = capsys.readouterr()
    assert f"--preset {preset} needs --data" in captured.err
    assert f"--output data/{preset}\n" in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("sh") is None, reason="asks a shell")
@pytest.mark.parametrize("name", ["my run", "~/run", "it's", "$HOME", "plain"])
def test_what_to_type_reads_the_same_in_a_shell(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(Path(name) / "checkpoints", {"step": 1}, keep=1)
    command = how_to_go_on(Path(name)).splitlines()[-1]
    shown = subprocess.run(
        ["sh", "-c", command.replace("python", "printf '%s\\n'", 1)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == ["examples/train_morngan.py", "--out", name, "--resume"]


def test_no_state_is_named_where_there_is_none(tmp_path: Path) -> None:
    assert how_to_go_on(tmp_path) == "There is no checkpoint yet: start the run again."
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_best.pt").touch()
    assert "--resume" not in how_to_go_on(tmp_path)


def test_a_copy_among_the_checkpoints_does_not_turn_a_run_back(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preset=mini", f"--data={data_folder}", f"--out={tmp_path / 'run'}", *TINY]
    checkpoints = tmp_path / "run" / "checkpoints"
    assert main([*arguments, "--max_steps=2"]) == 0
    shutil.copy(checkpoints / "step_00000002.pt", checkpoints / "step_best.pt")
    for steps in (4, 5, 6):
        assert main([f"--out={tmp_path / 'run'}", "--resume", f"--max_steps={steps}"]) == 0
    assert "resumed after step 5" in capsys.readouterr().out
    names = ["step_00000005.pt", "step_00000006.pt", "step_best.pt"]
    assert sorted(path.name for path in checkpoints.iterdir()) == names


def test_a_run_is_never_overwritten(data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--preset=mini", f"--data={data_folder}", f"--out={tmp_path / 'run'}", *TINY]
    assert main([*arguments, "--max_steps=1"]) == 0
    assert main(arguments) == 1
    assert "holds a run already; go on with --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--lr=1"]) == 1
    error = capsys.readouterr().err
    assert "lr: 0.0004 in the run, 1" in error
    assert f"--init_from {tmp_path / 'run'} --out ANOTHER" in error


def test_batches_of_two_from_images_of_odd_size(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", size=(37, 45))
    arguments = [f"--data={folder}", f"--out={tmp_path / 'run'}", "--preset=mini", *TINY, "--batch_size=2"]
    assert main([*arguments, "--max_steps=2"]) == 0
    assert len(rows_without_seconds(tmp_path / "run")) == 2
