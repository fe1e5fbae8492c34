from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import report as command
from ntir2dc.config import make_config, to_dict
from ntir2dc.data.images import DataError
from ntir2dc.report import (
    MAX_POINTS,
    Series,
    embed,
    make_report,
    moving_average,
    phase_starts,
    series,
    svg_curve,
    write_report,
)

COLUMNS = ["step", "epoch", "phase", "adv", "cyc", "aca", "total", "disc_a", "mined", "pair_shared", "pair_random"]
COLUMNS += ["aca_present_person", "aca_present_traffic_light", "seconds"]


def write_log(path: Path, steps: int = 60) -> None:
    rng = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for step in range(steps):
            last = step >= steps // 2
            row = {"step": step, "epoch": step // 10, "phase": 6 if last else 1, "seconds": 0.5}
            row |= {name: 1 / (1 + step) + rng.random() for name in ("adv", "cyc", "total", "disc_a")}
            if last:
                row |= {"aca": 0.5, "pair_shared": 1.0, "pair_random": 0.25, "mined": 0.75}
                row |= {"aca_present_person": int(step % 3 == 0), "aca_present_traffic_light": 0}
            writer.writerow(row)


def write_metrics(path: Path, name: str = "trained generator") -> None:
    def row(title: str, value: float) -> dict:
        figure = {"value": value, "error": 0.01}
        return {"name": title, "figures": {"miou_a": figure, "apce": figure}, "iou": {"road": value, "sky": None}}

    result = {
        "data": {"folder": "DATA", "images": 24},
        "judge": {"steps": 300, "seed": 7, "images": 240, "weights_sha256": "ab" * 32},
        "columns": [
            {"key": "miou_a", "title": "mIoU.A %", "scale": 100, "digits": 1},
            {"key": "apce", "title": "APCE", "scale": 1, "digits": 3},
        ],
        "rows": [row("input", 0.1234), row(name, 0.4321)],
        "notes": ["a note"],
    }
    path.write_text(json.dumps(result))


def noise(path: Path, size: tuple[int, int] = (40, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "tensorboard").mkdir()
    (run / "config.json").write_text(json.dumps(to_dict(make_config("demo", "published"))))
    write_log(run / "log.csv")
    write_metrics(run / "metrics.json")
    for step in (200, 400, 600, 800, 1000):
        noise(run / "panels" / f"step_{step:08d}.png")
    noise(run / "panels" / "evaluation.png", (400, 500))
    return run


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_holds_facts_metrics_curves_and_pictures(run: Path) -> None:
    path = write_report(run)
    assert path == run / "report.html"
    page = path.read_text()
    for text in (
        *("my run", "demo", "published", "procedural scenes", "30 s (0:00:30)", "torch"),
        *("mIoU.A %", "APCE", "12.3 ±1.0", "43.2 ±1.0", "0.432 ±0.010", "a note", "24 images of DATA", "abababababab"),
        *("IoU of each class", "<td>road</td><td>12.3</td><td>43.2</td>", "<td>sky</td><td>-</td>"),
        *("6 collaborate</td><td>30 to 59</td><td>0.50", "100% of these steps", "25% (pair_random)"),
        *("<td>person</td><td>10</td><td>30</td><td>33.3%", "<td>traffic light</td><td>0</td><td>30</td><td>0.0%"),
        *("After step 200", "After step 600", "After step 1000", "lambda_cyc"),
    ):
        assert text in page, text
    assert '<tr class="trained"><td>trained generator' in page
    assert "After step 400" not in page
    for name in ("adv", "cyc", "aca", "total", "disc_a", "mined", "seconds"):
        assert f"<b>{name}</b>" in page
    assert page.count("<svg") == 7
    assert "pair_shared</b>" not in page
    assert 'class="missing"' not in page
    assert [p.format for p in pictures(page)] == ["JPEG", "PNG", "PNG", "PNG"]


def test_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    page = make_report(run)
    for target in re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']([^"']*)""", page):
        assert target.startswith("data:image/")
    assert not re.search(r"<link|<script|@import|url\(|//", re.sub(r'src="data:[^"]*"', "", page))


def test_names_are_escaped(run: Path) -> None:
    evil = "<script>alert('x')</script>"
    write_metrics(run / "metrics.json", evil)
    config = to_dict(make_config("demo")) | {"data": evil}
    (run / "config.json").write_text(json.dumps(config))
    text = (run / "log.csv").read_text()
    (run / "log.csv").write_text(text.replace("disc_a", "<img src=x>"))
    other = run.rename(run.parent / "a <b> & c")
    page = make_report(other)
    assert "<script" not in page
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page
    assert page.count("&lt;script&gt;") == 4  # a row, a column of the other table, a fact, the options
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in page


def test_a_run_that_has_just_begun_gives_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert command.main(tmp_path) == 0
    page = (tmp_path / "report.html").read_text()
    for text in ("No config.json", "log.csv is missing", "No TensorBoard", "Not evaluated yet", "evaluate.py --run"):
        assert text in page
    assert "No sample panels" in page
    assert "evaluation.png is missing" in page
    assert page.count('class="missing"') == 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", "[]", "it holds no JSON object"),
        ("metrics.json", "nonsense", "metrics.json cannot be read"),
        ("metrics.json", '{"columns": []}', "metrics.json cannot be used"),
        ("metrics.json", '{"columns": 1, "rows": 2, "judge": 3, "data": 4, "notes": 5}', "metrics.json cannot be used"),
        ("panels/evaluation.png", "text", "evaluation.png: cannot be read as an image"),
        ("panels/step_00000200.png", "", "step_00000200.png: cannot be read as an image"),
        ("log.csv", "", "log.csv is missing or empty"),
        ("log.csv", "step,phase,adv\n", "log.csv is missing or empty"),
    ],
)
def test_damaged_files_are_named_and_the_rest_is_shown(run: Path, name: str, content: str, message: str) -> None:
    (run / name).write_text(content)
    page = make_report(run)
    assert page.count('class="missing"') == 1
    assert message in page
    assert "After step 1000" in page


def test_a_log_that_is_no_text(run: Path) -> None:
    (run / "log.csv").write_bytes(b"step,phase\n\xff\xfe,1\n")
    assert "log.csv is missing or empty" in make_report(run)


@pytest.mark.parametrize("kind", ["empty", "data", "notes"])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    if kind == "data":
        noise(tmp_path / "trainA" / "a.png")
    elif kind == "notes":
        (tmp_path / "notes.txt").write_text("loss 3.1")
    assert command.main(tmp_path) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"report: {tmp_path}: is not the folder of a run")
    assert captured.out == ""
    assert not (tmp_path / "report.html").exists()


def test_names_that_are_no_text_and_commands_that_can_be_typed(run: Path) -> None:
    (run / "metrics.json").unlink()
    config = to_dict(make_config("demo")) | {"data": os.fsdecode(b"caf\xe9")}
    (run / "config.json").write_text(json.dumps(config))
    other = run.rename(run.parent / os.fsdecode(b"my r\xfcn"))
    assert command.main(other) == 0
    page = (other / "report.html").read_text(encoding="utf-8")
    assert "caf\\udce9" in page
    assert f"evaluate.py --run &#39;{run.parent}/my r\\udcfcn&#39;" in page


def test_a_log_that_ends_in_half_a_line_or_holds_no_number(run: Path) -> None:
    with open(run / "log.csv", "a") as file:
        file.write("60,6,6,nan,inf,,1e999\n61,6")
    assert ">59</text>" not in make_report(run)
    assert ">61</text>" in make_report(run)


def test_a_run_without_the_last_phase_has_no_section_on_it(run: Path) -> None:
    lines = (run / "log.csv").read_text().splitlines()
    (run / "log.csv").write_text("\n".join(lines[:20]) + "\n")
    page = make_report(run)
    assert "collaborative attention</h2>" not in page
    assert "<b>aca</b>" not in page


def test_no_such_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(tmp_path / "none") == 1
    assert "no such folder" in capsys.readouterr().err


# ---- curves ----------------------------------------------------------------------------------------------------------


def test_moving_average_by_hand() -> None:
    assert moving_average(np.array([1.0, 3, 5, 7]), 2).tolist() == [1, 2, 4, 6]
    values = np.random.default_rng(0).random(50)
    expected = [values[max(0, i - 6) : i + 1].mean() for i in range(50)]
    np.testing.assert_allclose(moving_average(values, 7), expected)
    assert moving_average(np.empty(0), 3).size == 0


def test_empty_cells_and_odd_ones_are_left_out() -> None:
    rows = [
        {"step": "0", "x": "1.5"}, {"step": "1", "x": ""}, {"step": "2", "x": "nan"}, {"step": "3", "x": "-2"},
        {"step": "4"}, {"step": "", "x": "1"},
    ]  # fmt: skip
    found = series(rows, "x")
    assert (found.steps.tolist(), found.values.tolist()) == ([0, 3], [1.5, -2.0])


def test_phases_start_where_the_log_says() -> None:
    rows = [{"step": str(10 + i), "phase": p} for i, p in enumerate("112266")]
    assert phase_starts(rows) == [(10, 1), (12, 2), (14, 6)]
    assert phase_starts([]) == []


def points(svg: str, kind: str) -> np.ndarray:
    text = re.search(rf'class="{kind}" points="([^"]*)"', svg)
    assert text
    return np.array([[float(v) for v in p.split(",")] for p in text[1].split()])


def test_a_curve_is_thinned_and_keeps_its_ends() -> None:
    n = 5000
    svg = svg_curve(Series(np.arange(n), np.linspace(2, 1, n)), (0, n - 1), [(0, 1), (2500, 4)], 10)
    raw = points(svg, "raw")
    assert len(raw) == MAX_POINTS
    assert raw[0, 0] == 46
    assert raw[-1, 0] == 334
    assert (np.diff(raw[:, 0]) > 0).all()
    assert (np.diff(raw[:, 1]) >= 0).all()  # a falling curve falls: y points down
    assert raw[-1, 1] - raw[0, 1] == pytest.approx(150 - 14 - 18, abs=0.2)
    assert svg.count('<line class="phase"') == 1
    boundary = float(re.search(r'class="phase" x1="([\d.]+)"', svg)[1])
    assert boundary == pytest.approx(46 + 288 * 2500 / 4999, abs=0.1)
    assert ">1</text>" in svg
    assert ">4</text>" in svg


def test_a_term_that_starts_late_is_drawn_where_it_starts() -> None:
    svg = svg_curve(Series(np.arange(50, 100), np.arange(50.0)), (0, 100), [(0, 1)], 5)
    assert points(svg, "raw")[0, 0] == pytest.approx(46 + 288 / 2, abs=0.1)


def test_a_spike_is_cut_and_a_flat_curve_is_in_the_middle() -> None:
    values = np.sin(np.arange(400.0))
    values[200] = 1e6
    svg = svg_curve(Series(np.arange(400), values), (0, 399), [(0, 1)], 2)
    raw = points(svg, "raw")
    assert raw[:, 1].min() >= 14
    assert raw[:, 1].max() <= 132
    assert np.ptp(np.delete(raw[:, 1], 200)) > 100
    for value in (0.0, 3.0, -2.0):
        flat = points(svg_curve(Series(np.arange(3), np.full(3, value)), (0, 2), [(0, 1)], 2), "raw")
        assert flat[:, 1].tolist() == [pytest.approx(73, abs=0.1)] * 3
    single = svg_curve(Series(np.array([5]), np.array([1.0])), (5, 5), [(5, 1)], 2)
    assert all(math.isfinite(v) for v in points(single, "raw").flat)


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_only_a_large_picture_becomes_a_jpeg(tmp_path: Path) -> None:
    noise(tmp_path / "small.png", (30, 40))
    noise(tmp_path / "large.png", (400, 400))
    small, large = (embed(tmp_path / f"{name}.png", name) for name in ("small", "large"))
    assert (
        small["source"] == "data:image/png;base64," + base64.b64encode((tmp_path / "small.png").read_bytes()).decode()
    )
    assert large["source"].startswith("data:image/jpeg;base64,")
    assert len(large["source"]) < (tmp_path / "large.png").stat().st_size
    (picture,) = pictures(f'src="{large["source"]}"')
    assert picture.size == (400, 400)
    (tmp_path / "large.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"large\.png: cannot be read as an image"):
        embed(tmp_path / "large.png", "")


# ---- an evaluation ---------------------------------------------------------------------------------------------------


def write_evaluation(path: Path) -> None:
    """Metrics of two folders of pictures, with edges, objects and distances."""
    write_metrics(path, "peer <1>")
    result = json.loads(path.read_text())
    figure = {"value": 0.5, "error": None}
    result["edges"] = {
        "thresholds": [0.25, 0.5, 0.75, 1.0],
        "rows": {
            "input": {"apce": [1] * 4, "precision": [1] * 4, "f1": [1] * 4},
            "peer <1>": {"apce": [0.5, None, 1, 0], "precision": [None] * 4, "f1": [0.25] * 4},
        },
    }
    result["objects"] = {
        "columns": [{"key": "kept", "title": "objects kept %", "scale": 100, "digits": 1}],
        "rows": [{"name": "peer <1>", "figures": {"kept": figure},
                  "classes": {"car": {"objects": 8, "kept": 4, "invented": 3}}}],
        "notes": ["of objects"],
    }  # fmt: skip
    result["distances"] = {
        "columns": [{"key": "fd", "title": "FD", "scale": 1, "digits": 2}],
        "rows": [{"name": "peer <1>", "figures": {"fd": figure}}], "notes": ["of distances"],
    }  # fmt: skip
    path.write_text(json.dumps(result))


def test_an_evaluation_of_pictures_has_a_page_without_a_training(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "metrics.json")
    noise(tmp_path / "panels" / "evaluation.png")
    assert command.main(tmp_path) == 0
    page = (tmp_path / "report.html").read_text()
    assert 'class="missing"' not in page
    assert "an evaluation of pictures" in page
    for text in (
        *("objects kept %", "<td>50.0</td>", "<td>car</td><td>4 of 8, 3</td>", "of objects", "of distances"),
        *("<th>FD</th>", "Edges by threshold", "</i>peer &lt;1&gt;</span>", "<b>edge precision</b>"),
    ):
        assert text in page, text
    assert page.count('class="edges"') == 3  # a gap parts APCE in two, precision is undefined, F1 is whole
    lines = re.findall(r'class="edges" stroke="#\w+" points="([^"]*)"', page)
    assert lines[0] == "105.5,89.0"
    assert lines[1].split() == ["256.5,8.0", "332.0,170.0"]


@pytest.mark.parametrize("edges", [{}, {"thresholds": [0.5], "rows": {"x": {"apce": [1, 2]}}}, 3])
def test_edges_that_are_damaged_are_named(tmp_path: Path, edges: object) -> None:
    write_metrics(tmp_path / "metrics.json")
    result = json.loads((tmp_path / "metrics.json").read_text()) | {"edges": edges}
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    noise(tmp_path / "panels" / "evaluation.png")
    page = make_report(tmp_path)
    assert page.count('class="missing"') == 1
    assert "The edge curves of metrics.json cannot be used" in page
    assert "Edges by threshold" not in page
