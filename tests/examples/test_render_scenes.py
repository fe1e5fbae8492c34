from __future__ import annotations

from pathlib import Path

import pytest

import render_scenes
from ntir2dc.config import make_config
from scenes import write_scenes


def test_it_renders_what_is_asked_for_and_leaves_it_the_next_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = {"train": 2, "val": 1, "height": 48, "width": 64, "seed": 5}
    assert render_scenes.main(tmp_path / "scenes", **tiny) == 0
    assert len(list((tmp_path / "scenes" / "trainA").iterdir())) == 2
    assert len(list((tmp_path / "scenes" / "valB_day").iterdir())) == 1
    assert "2 frames of each domain and 1 with their truth" in capsys.readouterr().out
    written = (tmp_path / "scenes" / "trainA" / "scene_00000.png").stat().st_mtime_ns
    assert render_scenes.main(tmp_path / "scenes", **tiny) == 0
    assert (tmp_path / "scenes" / "trainA" / "scene_00000.png").stat().st_mtime_ns == written


def test_by_default_they_are_those_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(render_scenes, "write_scenes", lambda folder, **options: asked.append(options))
    assert render_scenes.main(tmp_path) == 0
    assert asked == [{**make_config("demo").dataset.scenes(), "world": "a"}]


def test_what_is_in_the_way_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render_scenes.main(tmp_path) == 1
    assert "expected a new one or one of scenes" in capsys.readouterr().err
    write_scenes(tmp_path / "s", seed=0, n_train_a=0, n_train_b=0, n_val=0, n_judge=0, size=(48, 64))
    assert render_scenes.main(tmp_path / "s", train=0, val=0, height=48, width=80) == 1
    assert "holds other scenes: size" in capsys.readouterr().err
    assert render_scenes.main(tmp_path / "new", world="c") == 1  # type: ignore[arg-type]
    assert "world: expected one of a, b, got 'c'" in capsys.readouterr().err
