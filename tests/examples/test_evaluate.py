from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import auto_cli
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

import compare_runs
import evaluate as command
from helpers.image_files import exif_of
from helpers.tiny_run import NETWORKS
from morn_losses import CITYSCAPES
from morn_losses.image import to_gray
from morn_losses.metrics import apce, edge_scores
from ntir2dc.config import make_config, to_dict
from ntir2dc.data.images import DataError, to_image
from ntir2dc.evaluation import (
    CLASSES_A,
    CLASSES_S,
    COLUMNS,
    INPUT,
    TINTED,
    TRAINED,
    TRUTH,
    UNTRAINED,
    Case,
    Row,
    evaluate,
    format_cells,
    list_cases,
    measure,
    read_case,
    summarize,
    tint,
    true_day,
    weighted_figures,
)
from ntir2dc.judge import (
    Crops,
    class_iou,
    confusion_matrix,
    judge_pairs,
    load_or_train_judge,
    load_shipped,
    mean_iou,
    predict,
)
from ntir2dc.methods.morngan.networks import Networks
from ntir2dc.report.tables import metric_tables
from ntir2dc.run.contact_sheet import colorize_labels
from ntir2dc.run.weights import save_weights
from scenes import render_scene
from scenes import write_scenes as render_folder

H, W = 48, 64


def write_scenes(folder: Path, count: int = 3) -> Path:
    for i in range(count):
        val, other = render_scene(0, i, (H, W)), render_scene(0, 100 + i, (H, W))
        for name, array in (
            ("valB", val.thermal),
            ("valB_day", val.color),
            ("valB_labels", val.labels),
            ("judgeA", other.color),
            ("judgeA_labels", other.labels),
        ):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / name / f"{i:03d}.png")
    return folder


def write_run(run: Path, data: str | None = None) -> Path:
    """A run whose 'trained' generator is that of another seed."""
    config = dataclasses.replace(make_config("demo"), networks=NETWORKS, out=str(run), data=data)
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    model = Networks(NETWORKS, 19, seed=5, segmenters=False)
    names = ("encoder_a", "encoder_b", "decoder_a", "decoder_b")
    options = {"width": 4, "encoder_blocks": 1, "decoder_blocks": 1}
    save_weights(run / "weights.safetensors", {name: getattr(model, name) for name in names}, options)
    return run


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "tiny")
    write_scenes(run / "scenes")
    assert command.main(run, judge_steps=2, device="cpu") == 0
    return run


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return [read_case(files) for files in list_cases(write_scenes(tmp_path_factory.mktemp("scenes"), 4))]


class ByColor(nn.Module):
    """A judge that needs no training: sky where it is blue, vegetation where it is green, else road."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros(x.shape[0], 19, *x.shape[2:])
        logits[:, 0] = 0.05 + x[:, 0]
        logits[:, 8] = x[:, 1]
        logits[:, 10] = x[:, 2]
        return logits


def figures(result: dict, name: str) -> dict[str, float | None]:
    (row,) = (row for row in result["rows"] if row["name"] == name)
    return {key: figure["value"] for key, figure in row["figures"].items()}


# ---- a run -----------------------------------------------------------------------------------------------------------


def test_a_run_gets_its_table_its_json_and_its_picture(evaluated: Path) -> None:
    result = json.loads((evaluated / "metrics.json").read_text())
    assert [row["name"] for row in result["rows"]] == [INPUT, TINTED, UNTRAINED, TRAINED, TRUTH]
    keys = [column["key"] for column in result["columns"]]
    assert keys == ["miou_a", "miou_s", "miou_all", "apce", "edge_precision", "edge_f1", "psnr", "ssim"]
    for row in result["rows"]:
        assert list(row["iou"]) == list(CITYSCAPES.names)
        assert set(row["figures"]) == set(keys)
        assert row["figures"]["apce"]["value"] is not None
    assert result["judge"]["steps"] == 2
    assert result["judge"]["images"] == 3
    hashes = [v for part in ("judge", "data") for k, v in result[part].items() if k.endswith("sha256")]
    assert [len(value) for value in hashes] == [64] * 4
    assert (result["preset"], result["data"]["images"]) == ("demo", 3)

    markdown = (evaluated / "metrics.md").read_text()
    assert "| trained generator |" in markdown
    assert "| traffic sign |" in markdown
    assert "tinted copy" in markdown
    with Image.open(evaluated / "panels" / "evaluation.png") as panel:
        assert panel.size == (7 * (W + 4) + 4, 16 + 3 * (H + 4) + 4)  # five rows of the table, judged, true labels


def test_the_rows_are_what_they_are_called(evaluated: Path) -> None:
    result = json.loads((evaluated / "metrics.json").read_text())
    files = list_cases(evaluated / "scenes")
    mornings = [read_case(f) for f in files]
    ways = {UNTRAINED: Networks(NETWORKS, 19, seed=0), TRAINED: Networks(NETWORKS, 19, seed=5)}
    for name, model in ways.items():
        with torch.no_grad():
            images = [model.eval().translate_ba(case.night[None])[0] for case in mornings]
        expected = apce([case.night for case in mornings], images).value
        assert figures(result, name)["apce"] == pytest.approx(expected, abs=1e-6)
    assert figures(result, UNTRAINED) != figures(result, TRAINED)
    for name in (INPUT, TINTED):
        assert [figures(result, name)[key] for key in ("apce", "edge_precision", "edge_f1")] == [1, 1, 1]
    truth = figures(result, TRUTH)
    assert truth["psnr"] is None
    assert truth["ssim"] == pytest.approx(1)
    assert truth["apce"] < 1


def test_the_picture_shows_what_its_titles_say(evaluated: Path) -> None:
    case = read_case(list_cases(evaluated / "scenes")[1])
    judge, _ = load_or_train_judge(
        judge_pairs(evaluated / "scenes"), evaluated / "judge.safetensors", CITYSCAPES, steps=2
    )
    translated = []
    for seed in (0, 5):
        with torch.no_grad():
            translated.append(Networks(NETWORKS, 19, seed=seed).eval().translate_ba(case.night[None])[0])
    expected = [to_image(x) for x in (case.night, tint(case.night), *translated, case.day)]
    expected += [colorize_labels(labels, CITYSCAPES) for labels in (predict(judge, translated[1]), case.labels)]
    with Image.open(evaluated / "panels" / "evaluation.png") as panel:
        for column, picture in enumerate(expected):
            left, top = 4 + column * (W + 4), 16 + 4 + (H + 4)
            found = np.asarray(panel.crop((left, top, left + W, top + H))).astype(int)
            assert np.abs(found - np.asarray(picture)).max() <= 1, column


def test_again_gives_the_same_with_the_kept_judge(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (evaluated / "metrics.json").read_bytes()
    assert auto_cli(
        command.main, args=["--run", str(evaluated), "--judge_steps", "2", "--device", "cpu"], as_positional=False
    ) == 0  # fmt: skip
    assert (evaluated / "metrics.json").read_bytes() == before
    printed = capsys.readouterr().out
    assert "judge: taken from" in printed
    for text in ("tinted input", "untrained generator", "true day image", "mIoU.A %", "edge F1", "±", "motorcycle"):
        assert text in printed


def test_scenes_are_read_by_the_judges_that_are_shipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    render_folder(run / "scenes", seed=0, n_train_a=0, n_train_b=0, n_val=2, n_judge=0, size=(H, W))
    assert command.main(run, device="cpu") == 0
    result = json.loads((run / "metrics.json").read_text())
    keys = [column["key"] for column in result["columns"]]
    assert keys == [column.key for column in COLUMNS]
    for row in result["rows"]:
        assert list(row["figures"]) == keys
    truth = figures(result, TRUTH)
    assert truth["miou_a"] != truth["miou_a_second"]
    cases = [read_case(files) for files in list_cases(run / "scenes")]
    for key, name in (("miou_a", "a"), ("miou_a_second", "b")):
        judge = load_shipped(name)
        confusion = np.sum([confusion_matrix(predict(judge, c.day), c.labels, CITYSCAPES) for c in cases], axis=0)
        assert truth[key] == pytest.approx(float(mean_iou(confusion, CITYSCAPES.ids(*CLASSES_A))))
    printed = capsys.readouterr().out
    assert "judge: step" not in printed
    assert "Judge b is a network of another architecture" in printed
    assert not (run / "judge.safetensors").exists()
    assert metric_tables(result, []) is not None
    assert command.main(run, judge="trained", device="cpu") == 0
    assert json.loads((run / "metrics.json").read_text())["judge"] is None  # there is no judgeA


def test_data_without_truth_leaves_columns_out_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "real" / "valB"
    folder.mkdir(parents=True)
    for i in range(2):
        Image.fromarray(render_scene(0, i, (H + 2, W + 3)).thermal).save(folder / f"{i}.png")
    run = write_run(tmp_path / "run", data=str(tmp_path / "real"))
    assert command.main(run, device="cpu") == 0
    result = json.loads((run / "metrics.json").read_text())
    assert [row["name"] for row in result["rows"]] == [INPUT, TINTED, UNTRAINED, TRAINED]
    assert result["judge"] is None
    for row in result["rows"]:
        values = {key: figure["value"] for key, figure in row["figures"].items()}
        assert {key for key, value in values.items() if value is None} == {
            "miou_a", "miou_s", "miou_all", "psnr", "ssim",
        }  # fmt: skip
    printed = capsys.readouterr().out
    assert "mIoU is left out (-): the data has no judgeA and no valB_labels." in printed
    assert "left out (-): the data has no valB_day" in printed
    assert not (run / "judge.safetensors").exists()
    assert format_cells(result)[1][0][1:5] == ["-", "-", "-", "1.000 ±0.000"]
    with Image.open(run / "panels" / "evaluation.png") as panel:
        assert panel.size[0] == 4 * (W + 4) + 4


def test_other_data_and_fewer_images(evaluated: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert command.main(run, data=evaluated / "scenes", judge_steps=1, limit=1, device="cpu") == 0
    result = json.loads((run / "metrics.json").read_text())
    assert result["data"]["images"] == 1
    assert result["rows"][0]["figures"]["psnr"]["error"] is None  # one image has no spread
    note = f"The run was trained on {run / 'scenes'} and is evaluated on other data, {evaluated / 'scenes'}."
    assert result["notes"][-1] == note
    assert "other data" not in (evaluated / "metrics.md").read_text()
    assert "±" not in "".join(format_cells(result)[1][0])


def _without_weights(run: Path) -> None:
    (run / "weights.safetensors").unlink()


def _without_config(run: Path) -> None:
    (run / "config.json").unlink()


def _odd_config(run: Path) -> None:
    (run / "config.json").write_text('{"preset": "demo", "losses": {"gone": 3}}')


def _without_partner(run: Path) -> None:
    (run / "scenes" / "valB_day" / "001.png").unlink()


def _twin(folder: str) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        path = run / "scenes" / folder / "001.png"
        Image.open(path).save(path.with_suffix(".bmp"))

    return spoil


def _with_ids(folder: str) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        Image.new("L", (W, H), 23).save(run / "scenes" / folder / "001.png")  # Cityscapes' labelIds

    return spoil


def _tiny(run: Path) -> None:
    for folder in ("valB", "valB_day", "valB_labels"):
        Image.new("RGB" if folder == "valB_day" else "L", (9, 7)).save(run / "scenes" / folder / "001.png")


def _judge_of_other_size(run: Path) -> None:
    Image.new("L", (W, H + 1)).save(run / "scenes" / "judgeA_labels" / "001.png")


def _stack(run: Path) -> None:
    pages = [Image.new("L", (W, H), value) for value in (1, 2)]
    pages[0].save(run / "scenes" / "valB" / "001.png", format="TIFF", save_all=True, append_images=pages[1:])


def _other_size(run: Path) -> None:
    Image.new("L", (W, H + 1)).save(run / "scenes" / "valB_labels" / "001.png")


def _without_images(run: Path) -> None:
    for path in (run / "scenes" / "valB").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_weights, "holds no weights.safetensors"),
        (_without_config, "config.json: no such file; expected the folder of a run"),
        (_odd_config, "config.json: cannot be used (losses.gone: no option of this trainer)"),
        (_without_partner, "001.png: has no partner of its name in"),
        (_other_size, "001.png: is 64 x 49, its image"),
        (_without_images, "valB: expected night thermal images to evaluate on, found none"),
        (_twin("valB"), "valB/001.png: has the name of 001.bmp, and files are joined by their names"),
        (_twin("valB_day"), "valB_day/001.png: has the name of 001.bmp"),
        (_twin("valB_labels"), "valB_labels/001.png: has the name of 001.bmp"),
        (_twin("judgeA"), "judgeA/001.png: has the name of 001.bmp"),
        (_twin("judgeA_labels"), "judgeA_labels/001.png: has the name of 001.bmp"),
        (_with_ids("valB_labels"), "valB_labels/001.png: holds ids [23]"),
        (_with_ids("judgeA_labels"), "judgeA_labels/001.png: holds ids [23]"),
        (_judge_of_other_size, "judgeA_labels/001.png: is 64 x 49, its image"),
        (_tiny, "valB/001.png: is 9 x 7, smaller than the 8 x 8 that the networks take"),
        (_stack, "valB/001.png: holds 2 pictures, expected one"),
    ],
)
def test_what_is_wrong_is_named_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], message: str
) -> None:
    run = write_run(tmp_path / "run")
    write_scenes(run / "scenes", 2)
    damage(run)
    assert command.main(run, judge_steps=1, device="cpu") == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "judge: step" not in captured.out
    assert not (run / "metrics.json").exists()


@pytest.mark.parametrize("options", [{"judge_steps": 0}, {"limit": -1}, {"judge_seed": -1}])
def test_impossible_options(tmp_path: Path, options: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(tmp_path, **options) == 1
    assert "expected judge_steps of at least 1" in capsys.readouterr().err


def test_a_device_that_is_not_there(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(evaluated, device="nosuch") == 1
    assert "device nosuch: cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(8, 8), (11, 9)])
def test_the_smallest_images_are_measured(tmp_path: Path, size: tuple[int, int]) -> None:
    run = write_run(tmp_path / "run")
    write_scenes(run / "scenes", 2)
    rng = np.random.default_rng(0)
    for folder in ("valB", "valB_day", "valB_labels"):
        for path in (run / "scenes" / folder).iterdir():
            shape = (*size, 3) if folder == "valB_day" else size
            Image.fromarray(rng.integers(0, 19, shape, dtype=np.uint8)).save(path)
    assert command.main(run, judge_steps=1, device="cpu") == 0


@pytest.mark.parametrize("blocked", ["metrics.json", "metrics.md", "panels/evaluation.png"])
def test_one_file_that_cannot_be_written_leaves_the_others(
    evaluated: Path, tmp_path: Path, blocked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    (run / blocked).mkdir(parents=True)
    assert command.main(run, data=evaluated / "scenes", judge_steps=1, limit=1, device="cpu") == 1
    captured = capsys.readouterr()
    assert captured.err == f"error: {run / blocked}: cannot be written (Is a directory)\n"
    assert "trained generator" in captured.out
    others = {"metrics.json", "metrics.md", "panels/evaluation.png"} - {blocked}
    assert all((run / name).is_file() for name in others)
    assert all(str(run / name) in captured.out.splitlines()[-1] for name in others)
    assert str(run / blocked) not in captured.out.splitlines()[-1]


def test_maps_of_a_turned_frame_lie_on_it(tmp_path: Path) -> None:
    scene = render_scene(0, 0, (H, W))
    for name, array in (
        ("valB", scene.thermal),
        ("valB_day", np.rot90(scene.color, -1)),
        ("valB_labels", scene.labels),
        ("judgeA", scene.color),
        ("judgeA_labels", scene.labels),
    ):
        (tmp_path / name).mkdir()
        exif = exif_of(6 if name in ("valB", "judgeA") else 1)
        Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / name / "x.png", exif=exif)
    turned = np.rot90(scene.labels, -1)
    case = read_case(list_cases(tmp_path)[0])
    assert case.night.shape == case.day.shape == (3, W, H)
    assert np.array_equal(case.labels, turned)
    assert np.array_equal(np.asarray(to_image(case.night))[..., 0], np.rot90(scene.thermal, -1))
    images, labels = Crops(judge_pairs(tmp_path), CITYSCAPES, crop=99, seed=0).batch(1)
    mirrored = not np.array_equal(labels[0], turned)
    assert np.array_equal(labels[0].flip(-1) if mirrored else labels[0], turned)
    assert images.shape[2:] == (W, H)
    Image.fromarray(turned).save(tmp_path / "valB_labels" / "x.png")
    assert np.array_equal(read_case(list_cases(tmp_path)[0]).labels, turned)


def test_names_are_joined_however_their_accents_are_composed(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    for i, name in enumerate(("valB", "valB_day", "valB_labels", "judgeA", "judgeA_labels")):
        form = ("NFC", "NFD")[i % 2]
        (tmp_path / name / "001.png").rename(tmp_path / name / unicodedata.normalize(form, "été.png"))
    first, second = list_cases(tmp_path)
    assert [path.parent.name for path in second.values()] == ["valB", "valB_day", "valB_labels"]
    assert {unicodedata.normalize("NFC", path.stem) for path in second.values()} == {"été"}
    assert {path.stem for path in first.values()} == {"000"}
    assert [unicodedata.normalize("NFC", y.stem) for _, y in judge_pairs(tmp_path)] == ["000", "été"]


def test_names_that_are_no_text_are_evaluated(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / os.fsdecode(b"d\xe4ten"), 1)
    for path in [*folder.rglob("*.png")]:
        path.rename(path.with_name(os.fsdecode(b"caf\xe9.png")))
    run = write_run(tmp_path / os.fsdecode(b"l\xe4uf"))
    assert command.main(run, data=folder, judge_steps=1, device="cpu") == 0
    assert json.loads((run / "metrics.json").read_text())["data"]["folder"] == str(folder)
    assert (run / "judge.safetensors").is_file()


def test_data_named_from_another_folder_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scenes(tmp_path / "data", 1)
    run = write_run(tmp_path / "run", data="data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command.main(run, judge_steps=1, device="cpu") == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'elsewhere' / 'data'}: no such folder" in error
    assert "data is a path from where training was started; name it with --data" in error
    assert command.main(run, data=tmp_path / "data", judge_steps=1, device="cpu") == 0
    monkeypatch.chdir(tmp_path)
    assert command.main(Path("run"), judge_steps=1, device="cpu") == 0
    gone = write_run(tmp_path / "gone", data=str(tmp_path / "nowhere"))
    assert command.main(gone, device="cpu") == 1
    assert "no such folder. The run was trained on it; name it with --data" in capsys.readouterr().err


def test_numbers_may_be_numpys(evaluated: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    numbers = {"judge_steps": np.int64(2), "judge_seed": np.int32(0), "limit": np.int64(1)}
    assert command.main(run, data=evaluated / "scenes", device="cpu", **numbers) == 0
    assert json.loads((run / "metrics.json").read_text())["judge"]["steps"] == 2


@pytest.mark.parametrize("narrow", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_narrow_terminal_ends_nothing(evaluated: Path, tmp_path: Path, narrow: dict[str, str]) -> None:
    run = write_run(tmp_path / "läuf")
    script = str(Path(command.__file__))
    arguments = ["--run", str(run), "--data", str(evaluated / "scenes"), "--judge_steps", "1", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(script).parents[1]), "OMP_NUM_THREADS": "1", **narrow},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"trained generator" in done.stdout
    assert done.stdout.isascii()
    assert "±" in (run / "metrics.md").read_text(encoding="utf-8")


# ---- the figures -----------------------------------------------------------------------------------------------------


def test_an_oracle_gets_the_score_of_the_true_day_image(cases: list[Case]) -> None:
    ways = {"oracle": lambda case: case.day.clone(), TRUTH: true_day, TINTED: lambda case: tint(case.night)}
    oracle, truth, tinted = evaluate(cases, ways, ByColor().eval(), CITYSCAPES)
    assert oracle.figures["miou_all"].value == truth.figures["miou_all"].value > tinted.figures["miou_all"].value
    assert oracle.figures["psnr"].value == math.inf
    assert repr(oracle.figures) == repr(truth.figures)


def test_counts_take_an_image_more_than_once_or_not_at_all(cases: list[Case]) -> None:
    judge = ByColor().eval()
    scores = [measure(case, case.day.roll(3, -1) * 0.7, judge, CITYSCAPES) for case in cases]
    counts = np.array([[1.0] * 4, [2, 0, 1, 1]])
    found = weighted_figures(scores, counts, CITYSCAPES)
    for index, taken in enumerate((scores, [scores[0], scores[0], scores[2], scores[3]])):
        expected = summarize("x", taken, CITYSCAPES).figures
        for column in COLUMNS:
            assert found[column.key][index] == pytest.approx(expected[column.key].value, nan_ok=True)


def test_figures_are_those_of_the_whole_set(cases: list[Case]) -> None:
    judge = ByColor().eval()

    def darker(case: Case) -> Tensor:
        return case.day.roll(1, -1) * 0.8 - 0.1

    (row,) = evaluate(cases, {"darker": darker}, judge, CITYSCAPES)
    images = [darker(case) for case in cases]
    scores = edge_scores([case.night for case in cases], images)
    assert row.figures["apce"].value == pytest.approx(scores.recall)
    assert row.figures["edge_precision"].value == pytest.approx(scores.precision)
    assert row.figures["edge_f1"].value == pytest.approx(scores.f1)

    total = sum(
        confusion_matrix(predict(judge, image), case.labels, CITYSCAPES)
        for image, case in zip(images, cases, strict=True)
    )
    for key, names in (("miou_a", CLASSES_A), ("miou_s", CLASSES_S), ("miou_all", CITYSCAPES.names)):
        expected = float(mean_iou(total, CITYSCAPES.ids(*names)))
        assert row.figures[key].value == pytest.approx(expected, nan_ok=True)
    assert row.figures["miou_a"].value > 0
    np.testing.assert_allclose(list(row.iou.values()), class_iou(total))

    psnr, ssim = [], []
    for image, case in zip(images, cases, strict=True):
        x, y = ((i.permute(1, 2, 0).double().numpy() + 1) / 2 for i in (image, case.day))
        psnr.append(peak_signal_noise_ratio(y, x, data_range=1))
        ssim.append(
            structural_similarity(
                x, y, channel_axis=-1, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
        )
    assert row.figures["psnr"].value == pytest.approx(np.mean(psnr), rel=1e-5)
    assert row.figures["ssim"].value == pytest.approx(np.mean(ssim), abs=0.02)  # they treat the border differently
    assert row.figures["psnr"].error == pytest.approx(np.std(psnr) / math.sqrt(len(psnr)), rel=0.15)


def test_the_small_sample_classes_are_the_last_five() -> None:
    assert CLASSES_S == ("traffic sign", "person", "motorcycle", "truck", "bus")
    assert len(CITYSCAPES.ids(*CLASSES_A)) == 9


def test_values_beyond_the_range_count_as_the_picture_shows_them(cases: list[Case]) -> None:
    loud, judge = cases[0].day * 3, ByColor().eval()
    a, b = measure(cases[0], loud, judge, CITYSCAPES), measure(cases[0], loud.clamp(-1, 1), judge, CITYSCAPES)
    assert (a.psnr, a.ssim) == (b.psnr, b.ssim)
    assert np.array_equal(a.confusion, b.confusion)
    assert np.array_equal(a.edges, b.edges, equal_nan=True)


def test_a_translation_of_another_size_is_refused(cases: list[Case]) -> None:
    with pytest.raises(ValueError, match=r"000: expected a translation of \(3, 48, 64\)"):
        measure(cases[0], cases[0].night[..., 1:], None, CITYSCAPES)
    with pytest.raises(ValueError, match="x: has no true day image"):
        true_day(Case("x", cases[0].night))


def test_a_tinted_copy_keeps_every_edge_and_invented_edges_cost_precision(cases: list[Case]) -> None:
    tinted = tint(cases[0].night)
    assert tinted.abs().max() <= 1
    assert (tinted[2] - tinted[0]).abs().max() > 0.1  # it is no gray image
    gray, night = to_gray(tinted[None]).flatten(), cases[0].night[0].flatten()
    order = night.argsort(stable=True)
    assert (gray[order].diff() >= -1e-6).all()
    rng = np.random.default_rng(0)

    def noisy(case: Case) -> Tensor:
        return case.night + 0.1 * torch.from_numpy(rng.uniform(-1, 1, (1, H, W))).float()

    rows = evaluate(cases, {"tinted": lambda case: tint(case.night), "noisy": noisy}, None, CITYSCAPES)
    first, second = (row.figures for row in rows)
    assert first["apce"].value == first["edge_precision"].value == first["edge_f1"].value == 1
    assert first["apce"].error == 0
    assert second["edge_precision"].value < 0.9
    assert math.isnan(first["miou_a"].value)


def test_an_image_without_edges_is_skipped(cases: list[Case]) -> None:
    flat = Case("flat", torch.zeros(3, H, W))
    scores = [measure(case, case.night, None, CITYSCAPES) for case in (flat, cases[0])]
    assert summarize("x", scores, CITYSCAPES).figures["apce"].value == 1
    assert math.isnan(summarize("x", scores[:1], CITYSCAPES).figures["apce"].value)


def test_cells_are_scaled_rounded_and_dashed() -> None:
    def figure(value: float | None, error: float | None) -> dict[str, float | None]:
        return {"value": value, "error": error}

    row = Row("name", {}, {}, np.empty((3, 0)))
    result = {
        "columns": [dataclasses.asdict(c) for c in COLUMNS[:4]],
        "rows": [
            {
                "name": row.name,
                "figures": {
                    "miou_a": figure(0.3194, 0.0123),
                    "miou_s": figure(None, None),
                    "miou_all": figure(0.5, None),
                    "apce": figure(0.12345, 0.01),
                },
            }
        ],
    }
    head, (cells,) = format_cells(result)
    assert head == ["", "mIoU.A %", "mIoU.S %", "mIoU.all %", "APCE"]
    assert cells == ["name", "31.9 ±1.2", "-", "50.0", "0.123 ±0.010"]


def test_sizes_are_cut_to_multiples_of_four(tmp_path: Path) -> None:
    scene = render_scene(0, 0, (51, 66))
    for name, array in (("valB", scene.thermal), ("valB_day", scene.color), ("valB_labels", scene.labels)):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / "x.png")
    case = read_case(list_cases(tmp_path)[0])
    assert case.night.shape == case.day.shape == (3, 48, 64)
    assert torch.equal(case.labels, torch.from_numpy(scene.labels[:48, :64]).long())
    assert np.array_equal(np.asarray(to_image(case.day)), scene.color[:48, :64])
    with pytest.raises(DataError, match="found none"):
        list_cases(tmp_path / "valB")


def test_frames_are_read_as_the_run_has_learned_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turned, plain = (write_run(tmp_path / name) for name in ("turned", "plain"))
    load = load_file(turned / "weights.safetensors")
    thermal = json.dumps({"range": "7000,7510", "polarity": "black"})
    config = json.dumps({"method": "morngan", "width": 4, "encoder_blocks": 1, "decoder_blocks": 1})
    save_file(load, turned / "weights.safetensors", metadata={"config": config, "thermal": thermal})
    results = []
    for run in (turned, plain):
        data = write_scenes(run / "scenes", 2)
        for path in (data / "valB").iterdir() if run == turned else ():
            with Image.open(path) as image:
                counts = 7000 + 2 * (255 - np.array(image.convert("L")).astype(np.uint16))
            Image.fromarray(counts).save(path)
        assert command.main(run, judge_steps=1, device="cpu") == 0
        results.append(json.loads((run / "metrics.json").read_text()))
    assert figures(results[0], INPUT) == figures(results[1], INPUT)
    assert figures(results[0], TRAINED) == figures(results[1], TRAINED)
    assert "7000 becomes black and 7510 white" in capsys.readouterr().out


def test_runs_that_read_frames_differently_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name) for name in "ab"]
    weights = runs[1] / "weights.safetensors"
    config = json.dumps({"method": "morngan", "width": 4, "encoder_blocks": 1, "decoder_blocks": 1})
    note = {"config": config, "thermal": json.dumps({"polarity": "black"})}
    save_file(load_file(weights), weights, metadata=note)
    assert compare_runs.main(*runs, data=write_scenes(tmp_path / "scenes", 1), judge_steps=1, device="cpu") == 1
    assert "have learned from frames read in two ways" in capsys.readouterr().err
