"""The tutorial: every command of the page, in its order, on small trees; and the numbers of the page of questions."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import label
from helpers.bright_teacher import Bright
from helpers.tiny_run import TINY
from helpers.trees import SIZE, color, write_camera, write_flir_v1, write_flir_v2, write_kaist

GUIDES = Path(__file__).resolve().parents[1] / "docs" / "guides"
BLOCKS = re.findall(r"```bash\n(.*?)```", (GUIDES / "tutorial.md").read_text(), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.startswith("python ")]

# what makes the commands small; of an option that is given twice the last one counts
SMALL = {
    "prepare_data.py": ["--cover", "60x48", "--crop", "48x40"],
    "train_morngan.py": [*TINY, "--max_steps=2"],
    "evaluate.py": ["--limit=1"],
}


@dataclass(frozen=True)
class Done:
    """A command that was run: its status and what it said."""

    status: int
    told: str


def is_of_a_video(command: str) -> bool:
    return ".mp4" in command


def write_clip(path: Path) -> None:
    av = importlib.import_module("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(color(60 + 20 * number), format="rgb24")))
        container.mux(stream.encode())


def run(command: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Done:
    """Run a command of the page in this process, made small."""
    _, script, *arguments = shlex.split(command, comments=True)
    name = Path(script).name
    module = importlib.import_module(Path(script).stem)
    arguments += SMALL.get(name, [])
    if name == "train_morngan.py":
        status = module.main(arguments)
    else:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        status = module.call(module.main)
    captured = capsys.readouterr()
    return Done(status, captured.out + captured.err)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the user stands: the trees as they were downloaded, two networks."""
    place = tmp_path_factory.mktemp("tutorial")
    write_flir_v2(place / "FLIR_ADAS_v2")
    write_flir_v1(place / "FLIR_ADAS_1_3" / "FLIR_ADAS")
    write_kaist(place / "KAIST", 2)
    write_camera(place / "camera")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        teachers = {"models/cityscapes": Bright(), "models/coco": Bright(digest="two")}
        patch.setattr(label, "load_teacher", lambda name, device, *, offline: teachers[name])
        yield place


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_tutorial_runs(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if is_of_a_video(command):
        if importlib.util.find_spec("av") is None:
            pytest.skip("comes with the extra video")
        write_clip(folder / "clip.mp4")
    done = run(command, monkeypatch, capsys)
    assert done.status == 0, done.told
    written = re.search(r"--out(?:put)? (\S+)", command)
    if written is not None:
        assert (folder / written[1]).exists() == ("--dry_run" not in command)
    if "--labels none" in command:
        assert "becomes black" in done.told
        assert "--thermal.polarity" not in done.told  # which is what a warning would ask for


def test_the_tutorial_left_what_its_page_says(folder: Path) -> None:
    if not (folder / "colored" / "mine").is_dir():
        pytest.skip("goes with the commands before it")
    data = folder / "data"
    for name in ("flir", "flir_v1", "kaist"):
        for kind in ("trainA", "trainB", "valB"):
            with Image.open(next((data / name / kind).iterdir())) as image:
                assert image.size == (48, 40)
        assert (data / name / "boxes" / "valB.json").is_file()
    assert (data / "flir_v1" / "day_night.png").is_file()
    assert sorted(path.stem for path in (data / "mine" / "trainB").iterdir())[::9] == [
        *("drive 0_FLIR0001_p0000", "drive 1_FLIR0001_p0004"),
    ]
    with Image.open(data / "mine" / "valB" / "night_p0001.png") as image:
        assert np.array(image).dtype == np.uint16
    for name in ("labels.png", "labels_pred1", "labels_pred2"):
        assert (data / "flir" / name).exists()
    assert (folder / "runs" / "flir" / "report.html").is_file()
    assert len(list((folder / "colored" / "mine").iterdir())) == 2


def test_a_black_hot_camera_is_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = (command for command in COMMANDS if "polarity" in command)
    if not (folder / "data" / "mine" / "trainA").is_dir():
        pytest.skip("goes with the commands before it")
    done = run(command.replace("--thermal.polarity black", "").replace("runs/mine", "runs/hot"), monkeypatch, capsys)
    assert "in 10 of 10 frames looked at the upper third is brighter than the lower one" in done.told


def test_the_widths_of_the_page_of_questions_are_counted() -> None:
    text = (GUIDES / "faq.md").read_text()
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    rows = re.findall(r"^\| (\d+)[^|]*\| (\d+) \| (\d+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["16", "32", "64"]
    for width, large, small, millions in rows:
        parameters = sum(p.numel() for p in names["make_translator"](int(width), 4, 5).parameters())
        counted = [names["gmac"](int(width), frame) for frame in ((640, 512), (360, 288))]
        assert [f"{value:.0f}" for value in counted] == [large, small]
        assert f"{parameters / 1e6:.1f}" == millions
