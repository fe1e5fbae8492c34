"""The recipes run for a few steps, and do what their pages say."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import compare
import crops
import cut
import cyclegan
import segmenters
import thresholds
from helpers.image_files import exif_of
from helpers.small_folder import write_folder
from morn_losses import CITYSCAPES, ACALoss, ACATerms, LabelFusion, SemanticDenoiser
from ntir2dc.data.images import DataError, load_color, read_color, read_labels
from ntir2dc.evaluation import COLUMNS, INPUT, TRUTH, Figure, Row

SOURCE = Path(cyclegan.__file__)
TINY = ["--steps=3", "--crop=32", "--width=4", "--segmenter_steps=2"]


@pytest.fixture
def flags(data_folder: Path, tmp_path: Path) -> list[str]:
    return [f"--data={data_folder}", f"--segmenter={tmp_path / 'segmenter.pt'}", *TINY]


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


# ---- cyclegan.py and cut.py ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("morn", [False, True], ids=["plain", "morn"])
@pytest.mark.parametrize("recipe", [cyclegan, cut], ids=["cyclegan", "cut"])
def test_a_run_leaves_a_generator_and_pictures(recipe, morn: bool, flags: list[str], tmp_path: Path) -> None:
    chosen = ["--morn"] if morn else []
    trained = recipe.main([*flags, f"--out={tmp_path / 'run'}", *chosen])
    generator = cyclegan.Generator(4)
    before = weights(generator)
    generator.load_state_dict(torch.load(tmp_path / "run" / "generator.pt", weights_only=True))
    assert weights(generator).equal(weights(trained))
    assert not weights(generator).equal(before)
    with Image.open(tmp_path / "run" / "translations.png") as picture:
        assert picture.width > 2 * 48
    again = recipe.main([*flags, f"--out={tmp_path / 'again'}", *chosen])
    assert weights(again).equal(weights(trained))
    other = recipe.main([*flags, f"--out={tmp_path / 'other'}", *chosen, "--seed=1"])
    assert not weights(other).equal(weights(trained))


@pytest.mark.parametrize("recipe", [cyclegan, cut], ids=["cyclegan", "cut"])
def test_morn_changes_what_is_learned(recipe, flags: list[str], tmp_path: Path) -> None:
    plain = recipe.main([*flags, f"--out={tmp_path / 'plain'}"])
    assert not (tmp_path / "segmenter.pt").exists()
    morn = recipe.main([*flags, f"--out={tmp_path / 'morn'}", "--morn"])
    assert (tmp_path / "segmenter.pt").is_file()
    assert not weights(plain).equal(weights(morn))


def test_without_its_marked_lines_the_recipe_is_a_plain_cyclegan(flags: list[str], tmp_path: Path) -> None:
    text = SOURCE.read_text()
    marked = [line for line in text.splitlines() if line.endswith("# morn")]
    assert len(marked) <= 24
    plain = "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith("# morn"))
    code = plain.split('"""', 2)[2]
    for name in ("morn_losses", "aca", "cgr", "segmenter", ".morn"):
        assert name not in code.lower().replace("cyclegan", ""), name
    names: dict[str, object] = {"__name__": "plain_cyclegan", "__doc__": "A plain CycleGAN."}
    exec(compile(code, "plain_cyclegan", "exec", flags=annotations_flag()), names)
    made = names["main"]([*flags, f"--out={tmp_path / 'a'}"])  # type: ignore[operator]
    assert weights(made).equal(weights(cyclegan.main([*flags, f"--out={tmp_path / 'b'}"])))


def annotations_flag() -> int:
    import __future__

    return __future__.annotations.compiler_flag


def test_plain_runs_need_no_labels(data_folder: Path, flags: list[str], tmp_path: Path) -> None:
    for name in ("labels_pred1", "labels_pred2"):
        shutil.rmtree(data_folder / name)
    cyclegan.main([*flags, f"--out={tmp_path / 'run'}"])
    with pytest.raises(DataError, match="a0.png: has no map of its name in .*labels_pred1"):
        cyclegan.main([*flags, f"--out={tmp_path / 'morn'}", "--morn"])


def test_scenes_are_the_default_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(crops, "write_scenes", lambda folder, **numbers: asked.update(numbers, folder=folder))
    options = crops.parse("A recipe.", [f"--out={tmp_path}"])
    assert options.data == asked["folder"] == tmp_path / "scenes"
    assert asked["n_judge"] == 0


@pytest.mark.parametrize(
    "wrong", ["--crop=30", "--crop=24", "--steps=0", "--batch=0", "--segmenter_crop=8", "--stepz=3"]
)
def test_wrong_options_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        crops.parse("A recipe.", ["--data=x", wrong])
    assert "error" in capsys.readouterr().err


@torch.no_grad()
def test_patch_nce_equals_loops() -> None:
    encoder = cyclegan.Generator(4).encode
    nce = cut.PatchNCE((4, 8, 16, 16), n_patches=5, temperature=0.5)
    source, translation = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    torch.manual_seed(3)
    loss = nce(encoder, source, translation)
    torch.manual_seed(3)
    expected = []
    for head, x, y in zip(nce.heads, cut.look_into(encoder, source), cut.look_into(encoder, translation), strict=True):
        places = torch.randperm(x.shape[2] * x.shape[3])[:5]
        terms = []
        for b in range(2):
            keys = [head(x[b].flatten(1)[:, p]) for p in places]
            for i, p in enumerate(places):
                query = head(y[b].flatten(1)[:, p])
                scores = [float(torch.cosine_similarity(query, key, dim=0)) / 0.5 for key in keys]
                terms.append(math.log(sum(math.exp(s) for s in scores)) - scores[i])
        expected.append(sum(terms) / len(terms))
    assert loss.item() == pytest.approx(sum(expected) / 4, abs=1e-5)


# ---- data that cannot be used ----------------------------------------------------------------------------------------


def _spoil_nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def _spoil_ids(folder: Path) -> None:
    Image.new("L", (48, 40), 23).save(folder / "labels_pred2" / "a2.png")


def _spoil_size(folder: Path) -> None:
    Image.new("L", (48, 41)).save(folder / "labels_pred1" / "a2.png")


def _spoil_crop(folder: Path) -> None:
    Image.new("L", (31, 40)).save(folder / "trainB" / "b3.png")


def _spoil_tiny(folder: Path) -> None:
    Image.new("L", (7, 40)).save(folder / "valB" / "b4.png")


def _spoil_twin(folder: Path) -> None:
    Image.new("L", (48, 40)).save(folder / "labels_pred1" / "a2.bmp")


def _spoil_stack(folder: Path) -> None:
    pages = [Image.new("L", (48, 40))] * 2
    pages[0].save(folder / "trainB" / "b0.png", format="TIFF", save_all=True, append_images=pages[1:])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_spoil_nothing, "trainA: expected a folder with images, found none"),
        (_spoil_ids, r"labels_pred2/a2.png: holds ids [23]"),
        (_spoil_size, "labels_pred1/a2.png: is 48 x 41, its image"),
        (_spoil_crop, "trainB/b3.png: is 31 x 40, smaller than the crop of 32"),
        (_spoil_tiny, "valB/b4.png: is 7 x 40, smaller than the 8 x 8"),
        (_spoil_twin, "labels_pred1/a2.png: has the name of a2.bmp"),
        (_spoil_stack, "trainB/b0.png: holds 2 pictures"),
    ],
)
@pytest.mark.parametrize("recipe", [cyclegan, cut], ids=["cyclegan", "cut"])
def test_recipes_end_in_a_sentence_before_any_work(
    recipe, spoil, message: str, data_folder: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(data_folder)
    with pytest.raises(SystemExit, match="^error: .*" + re.escape(message)) as ended:
        crops.start(lambda: recipe.main([*flags, f"--out={tmp_path / 'run'}", "--morn"]))
    assert "\n" not in str(ended.value)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "segmenter.pt").exists()


@pytest.mark.parametrize("wrong", ["out", "segmenter", "scenes"])
def test_files_in_the_wrong_place_end_a_recipe_in_a_sentence(wrong: str, flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "run" / "scenes").mkdir(parents=True)
    arguments = [*flags, f"--out={tmp_path / ('file' if wrong == 'out' else 'run')}", "--morn"]
    if wrong == "segmenter":
        arguments.append(f"--segmenter={tmp_path / 'file'}")
    if wrong == "scenes":  # of another kind
        arguments = [argument for argument in arguments if not argument.startswith("--data")]
    with pytest.raises(SystemExit, match=f"^error: .*{'scenes' if wrong == 'scenes' else 'file'}"):
        crops.start(lambda: cyclegan.main(arguments))


def test_label_maps_lie_on_a_turned_photograph(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", n_a=1, size=(32, 40))
    Image.open(folder / "trainA" / "a0.png").save(folder / "trainA" / "a0.png", exif=exif_of(6))
    turned = crops.Crops(folder, 1, crop=32, seed=0, labels=True)
    image, source = load_color(folder / "trainA" / "a0.png")
    assert image.shape == (3, 40, 32)
    (maps,) = turned.predictions
    first, second = (read_labels(path, source)[None] for path in maps)
    expected = turned.denoise(turned.fuse(first, second), image[None])[0]
    _, labels, _ = turned[0]
    held = [expected[row : row + 32] for row in range(9)]
    assert any(labels.equal(one) or labels.equal(one.flip(-1)) for one in held)


# ---- crops.py and segmenters.py --------------------------------------------------------------------------------------


def test_labels_are_two_predictions_fused_and_denoised(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", n_a=1, size=(32, 32))
    real_a, labels_a, real_b = crops.Crops(folder, 1, crop=32, seed=0, labels=True)[0]
    first, second = (read_labels(folder / f"labels_pred{i}" / "a0.png")[None] for i in (1, 2))
    color = read_color(folder / "trainA" / "a0.png")
    expected = SemanticDenoiser.visible(CITYSCAPES)(LabelFusion.visible(CITYSCAPES)(first, second), color[None])[0]
    mirrored = not real_a.equal(color)
    assert real_a.equal(color.flip(-1) if mirrored else color)
    assert labels_a.equal(expected.flip(-1) if mirrored else expected)
    assert (labels_a == 255).any()
    assert real_b.shape == (3, 32, 32)
    assert crops.Crops(folder, 1, crop=32, seed=0, labels=False)[0][1].eq(255).all()


def test_problems_of_the_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="trainA: expected a folder with images, found none"):
        crops.Crops(tmp_path, 1, crop=32, seed=0, labels=False)
    folder = write_folder(tmp_path / "data", size=(32, 40))
    with pytest.raises(DataError, match=r"png: is 40 x 32, smaller than the crop of 40"):
        crops.Crops(folder, 1, crop=40, seed=0, labels=False)[0]


def test_every_second_crop_may_seek_a_small_class(tmp_path: Path) -> None:
    """The car of the folder is common, the person of 6 pixels is what is sought."""
    folder = write_folder(tmp_path / "data", n_a=1, size=(96, 128), single=False)
    sought, free = (crops.Crops(folder, 40, crop=32, seed=0, labels=True, seeking=s) for s in (True, False))
    person = CITYSCAPES.index("person")
    holds = [[bool((crop[1] == person).any()) for crop in (c[i] for i in range(40))] for c in (sought, free)]
    assert all(holds[0][1::2])
    assert not all(holds[1][1::2])
    assert holds[0][::2] == holds[1][::2]


def test_the_night_segmenter_is_taught_once_and_reads_looks(data_folder: Path, tmp_path: Path) -> None:
    options = crops.parse("", [f"--data={data_folder}", f"--out={tmp_path}", "--crop=32", "--segmenter_steps=20"])
    taught = segmenters.night_segmenter(options)
    again = segmenters.night_segmenter(options)
    assert weights(again).equal(weights(taught))
    assert all(again.state_dict()[key].equal(value) for key, value in taught.state_dict().items())
    image, labels, _ = crops.Crops(data_folder, 1, crop=32, seed=5, labels=True)[0]
    known = labels != 255
    look = segmenters.RandomThermalLook.from_label_space(CITYSCAPES)
    logits = taught.eval()(look(image[None], labels[None], torch.Generator().manual_seed(0)))
    right = (logits.argmax(1)[0] == labels)[known].float().mean()
    assert right > 0.6


def test_the_segmenter_may_have_a_crop_of_its_own(data_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[int] = []

    def teach(folder: Path, *, crop: int, **others: Any) -> nn.Module:
        asked.append(crop)
        return nn.Identity()

    monkeypatch.setattr(segmenters, "teach_with_looks", teach)
    for more in ([], ["--segmenter_crop=40"]):
        out = tmp_path / str(len(more))
        segmenters.night_segmenter(crops.parse("", [f"--data={data_folder}", f"--out={out}", "--crop=32", *more]))
    assert asked == [32, 40]


def test_night_labels_are_the_students_by_the_thresholds_of_the_table(data_folder: Path, tmp_path: Path) -> None:
    options = crops.parse("", [f"--data={data_folder}", f"--out={tmp_path}", "--crop=32", "--segmenter_steps=1"])
    label, look = segmenters.night_labeler(options)
    thresholds = dict(zip(CITYSCAPES.names, label.distill.miner.thresholds, strict=True))
    assert {n: t for n, t in thresholds.items() if t != segmenters.UNTRIED} == segmenters.THRESHOLDS
    assert not label.agree
    state = torch.random.get_rng_state()
    looks = look(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))
    assert not looks[0].equal(looks[1])
    assert torch.random.get_rng_state().equal(state)
    assert weights(label.student).equal(weights(label.teacher))
    # its batch norm stays as it is while it learns
    before = {key: value.clone() for key, value in label.student.named_buffers()}
    label.student_loss(torch.rand(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.long)).backward()
    assert all(value.equal(before[key]) for key, value in label.student.named_buffers())


def test_shares_by_hand(tmp_path: Path) -> None:
    aca = ACALoss.from_label_space(CITYSCAPES, merge=[segmenters.VEHICLES], return_terms=True)
    shares = segmenters.Shares(aca)
    names = ["traffic light", "traffic sign", "person", "motorcycle", "car/truck/bus/train"]
    assert shares.names == names
    features = torch.rand(2, 4, 8, 8)
    person, nothing = torch.full((2, 8, 8), 11), torch.full((2, 8, 8), 255)
    one = torch.stack((nothing[0], person[0]))
    bus = torch.full((2, 8, 8), CITYSCAPES.index("bus"))
    for real, fake in ((person, person), (person, nothing), (person, one), (bus, bus)):
        shares.add(aca(features, features, real, fake)[1])
    expected = {"any": 0.75, **dict.fromkeys(names, 0.0), "person": 0.5, "car/truck/bus/train": 0.25}
    assert shares.last() == expected
    assert shares.last(2) == expected | {"any": 1.0, "person": 0.5, "car/truck/bus/train": 0.5}
    assert shares.say(2).startswith("any 100%, traffic light 0%")
    shares.save(tmp_path / "aca.json")
    saved = json.loads((tmp_path / "aca.json").read_text())
    assert saved["all"] == expected
    assert [part["any"] for part in saved["tenths"]] == [1, 0, 1, 1]


# ---- thresholds.py ---------------------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """Gives the same logits to every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


def test_precision_and_recall_of_both_stages_by_hand(tmp_path: Path) -> None:
    person, road = 11, 0
    scenes = tmp_path / "scenes"
    true = np.zeros((8, 8), np.uint8)
    true[:, :4], true[0] = person, 255
    for name in ("valB", "valB_day", "valB_labels"):
        (scenes / name).mkdir(parents=True)
        Image.fromarray(true if name == "valB_labels" else np.zeros_like(true)).save(scenes / name / "s.png")
    # a person, at 0.7, is first seen in the left three quarters, then, at 0.45, in the left half
    first, last = torch.full((1, 19, 8, 8), -30.0), torch.full((1, 19, 8, 8), -30.0)
    first[:, person, :, :6], first[:, road, :, :6] = math.log(0.7), math.log(0.3)
    first[:, road, :, 6:] = 30
    last[:, person, :, :4], last[:, [2, 8], :, :4] = math.log(0.45), math.log(0.275)
    last[:, road, :, 4:] = 30
    counts = thresholds.count((Fixed(first), Fixed(last)), scenes)
    before, after = thresholds.STAGES
    assert counts[before, 0.6][:, person].tolist() == [28, 42, 28]
    assert counts[before, 0.8][:, person].tolist() == [0, 0, 28]
    assert counts[after, 0.4][:, person].tolist() == [28, 28, 28]
    assert counts[after, 0.5][:, person].tolist() == [0, 0, 28]
    assert thresholds.choose(counts, before, person, 0.6) == 0.05
    assert thresholds.choose(counts, before, person, 0.7) is None
    (line,) = (x for x in thresholds.table(counts, after, 0.7) if x[0] == "person")
    assert line[1 + thresholds.SHOWN.index(0.3)] == "100 / 100"
    assert line[1 + thresholds.SHOWN.index(0.5)] == "-"
    assert line[-1] == "0.05"


@pytest.mark.slow
def test_thresholds_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thresholds.main([f"--out={tmp_path}", "--n_train=2", "--images=2", *TINY])
    result = json.loads((tmp_path / "thresholds.json").read_text())
    assert set(result["chosen"]) == set(thresholds.STAGES)
    assert (tmp_path / "thresholds.md").read_text() in capsys.readouterr().out
    drawn = json.loads((tmp_path / "scenes" / "scenes.json").read_text())
    assert drawn["seed"] == thresholds.SCENES_SEED != 0


# ---- lightning_module.py ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed")
@pytest.mark.filterwarnings("ignore")  # those of lightning are its own
@pytest.mark.parametrize("chosen", [[], ["--morn", "--cgr=0.5"]], ids=["plain", "morn"])
def test_lightning_learns_what_the_plain_loop_learns(chosen: list[str], flags: list[str], tmp_path: Path) -> None:
    import lightning_module

    plain = cyclegan.main([*flags, f"--out={tmp_path / 'plain'}", *chosen])
    module = lightning_module.main([*flags, f"--out={tmp_path / 'run'}", *chosen])
    torch.testing.assert_close(weights(module.g_ba), weights(plain), rtol=1e-4, atol=1e-6)
    generator = cyclegan.Generator(4)
    generator.load_state_dict(torch.load(tmp_path / "run" / "generator.pt", weights_only=True))
    night = torch.rand(1, 3, 32, 32)
    assert generator(night).allclose(module(night))


@pytest.mark.parametrize("recipe", [cyclegan, cut], ids=["cyclegan", "cut"])
def test_each_loss_has_a_weight(recipe: Any, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Everywhere(nn.Module):
        """In the place of ACA, which finds no class in runs this short."""

        classes = (11,)

        @classmethod
        def from_label_space(cls, *args: Any, **options: Any) -> Everywhere:
            return cls()

        def forward(self, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, ACATerms]:
            terms = ACATerms(*[torch.zeros(len(real), 1)] * 5, present=torch.ones(len(real), 1, dtype=torch.bool))
            return (real.detach().mean() - fake.mean()).square(), terms

    monkeypatch.setattr(recipe, "ACALoss", Everywhere)

    def learned(*more: str) -> Tensor:
        return weights(recipe.main([*flags, f"--out={tmp_path / '_'.join(more)}", *more]))

    neither = learned("--morn", "--aca=0", "--cgr=0")
    torch.testing.assert_close(neither, learned(), rtol=0, atol=0)
    found = [neither, *(learned("--morn", *more) for more in ([], ["--aca=0"], ["--cgr=0"], ["--aca=0.5", "--cgr=0"]))]
    for i, one in enumerate(found):
        assert not any(one.equal(other) for other in found[:i]), i


@pytest.mark.parametrize("wrong", [["--morn", "--aca=-1"], ["--morn", "--cgr=nan"], ["--cgr=0"]])
def test_weights_that_mean_nothing_are_refused(wrong: list[str], flags: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        cyclegan.main([*flags, f"--out={tmp_path / 'run'}", *wrong])


# ---- compare.py ------------------------------------------------------------------------------------------------------


def test_the_table_shows_means_and_paired_differences() -> None:
    def row(name: str, value: float) -> Row:
        figures = {c.key: Figure(value, 0.0) for c in COLUMNS} | {"psnr": Figure(math.nan, math.nan)}
        return Row(name, figures, {}, np.zeros((3, 99)))

    def cells_of(*kinds: str) -> dict[str, list[str]]:
        lines = compare.table(rows, 2, kinds).splitlines()
        return {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines[2:]}

    plain, cgr, both = (compare.ROWS[name][0] for name in ("base", "cgr", "both"))
    rows = [row(INPUT, 0.5), row(TRUTH, 1.0)]
    for seed, values in enumerate(((0.1, 0.1, 0.2), (0.3, 0.4, 0.6))):
        rows += [row(f"{kind}, seed {seed}", value) for kind, value in zip((plain, cgr, both), values, strict=True)]
    cells = cells_of(plain, both)
    assert list(cells) == [INPUT, plain, both, "difference", TRUTH]
    assert cells[INPUT][0] == "50.0"
    assert cells[plain][0] == "20.0 ±14.1"
    assert cells[both][0] == "40.0 ±28.3"
    assert cells["difference"][0] == "20.0 ±14.1"
    assert cells["difference"][6] == "-"
    cells = cells_of(plain, cgr, both)
    assert list(cells) == [INPUT, plain, cgr, both, f"difference, {cgr}", f"difference, {both}", TRUTH]
    assert cells[f"difference, {cgr}"][0] == "5.0 ±7.1"
    assert cells[f"difference, {both}"][0] == "20.0 ±14.1"
    assert cells_of(both, plain)["difference"][0] == "-20.0 ±14.1"


@pytest.mark.slow
def test_a_comparison_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--images=2", "--n_train=2"]
    compare.main([f"--out={tmp_path}", "--seeds=1", "--rows=base,aca,cgr,both", *sizes, *TINY])
    result = json.loads((tmp_path / "compare.json").read_text())
    assert set(result["figures"]) == {INPUT, TRUTH, *(f"{kind}, seed 0" for kind, _ in compare.ROWS.values())}
    assert result["figures"][INPUT]["apce"] == 1
    assert result["training"] == TINY
    printed = capsys.readouterr().out
    assert (tmp_path / "compare.md").read_text() in printed
    assert printed.count("night segmenter: step 2/2") == 1  # one for all rows
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.height > 6 * 96

    def learned(row: str) -> dict[str, Tensor]:
        found: dict[str, Tensor] = torch.load(tmp_path / f"{row}_0" / "generator.pt", weights_only=True)
        return found

    # each row is the recipe with these flags
    flags = [f"--data={tmp_path / 'scenes'}", f"--segmenter={tmp_path / 'segmenter_0.pt'}", *TINY]
    alone = cyclegan.main([*flags, f"--out={tmp_path / 'alone'}", "--morn", "--aca=0"]).state_dict()
    torch.testing.assert_close(learned("cgr"), dict(alone), rtol=0, atol=0)
    assert not all(learned("base")[key].equal(value) for key, value in learned("cgr").items())


@pytest.mark.parametrize("rows", ["", "base,base", "base,all", "base, both"])
def test_unknown_rows_are_refused(rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main([f"--rows={rows}"])
    assert "expected different ones of base, aca, cgr, both" in capsys.readouterr().err


def test_modules_of_recipes_do_not_shadow_others() -> None:
    for name in ("crops", "cut", "cyclegan", "segmenters", "thresholds", "compare"):
        assert Path(sys.modules[name].__file__ or "").parent == SOURCE.parent
