"""The judges that are shipped, when they are used, and that they still see what they saw when they were marked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from morn_losses import CITYSCAPES, LabelSpace
from ntir2dc.data.images import DataError
from ntir2dc.evaluation import CLASSES_A, CLASSES_S
from ntir2dc.judge import (
    SHIPPED,
    Judge,
    confusion_matrix,
    find_judges,
    hash_weights,
    load_shipped,
    mean_iou,
    predict,
    shipped,
)
from ntir2dc.judge.dilated import DilatedNet
from ntir2dc.judge.shipped import from_half, to_half
from ntir2dc.networks.unet import ResidualUNet, repeat_to_multiple
from scenes import render_scene, write_scenes
from scenes.folder import LOOKS

UNSEEN = 9900
"""A seed of its own: neither judge was trained or marked on it."""
SCENES = (5, 8, 10, 16, 19, 24)
"""Between them every class of mIoU.S occurs, by the true labels."""


@pytest.fixture(scope="module")
def unseen() -> list[tuple[torch.Tensor, torch.Tensor]]:
    scenes = [render_scene(UNSEEN, index, (96, 128)) for index in SCENES]
    return [(torch.from_numpy(s.color).permute(2, 0, 1) / 127.5 - 1, torch.from_numpy(s.labels).long()) for s in scenes]


@pytest.mark.parametrize("name", SHIPPED)
def test_each_judge_reads_scenes_that_it_never_saw(name: str, unseen: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    judge = load_shipped(name)
    assert not judge.training
    assert not any(p.requires_grad for p in judge.parameters())
    confusion = np.sum([confusion_matrix(predict(judge, x), y, CITYSCAPES) for x, y in unseen], axis=0)
    occurring = set(np.flatnonzero(confusion.sum(1)).tolist())
    for classes, floor in ((CLASSES_A, 0.50), (CLASSES_S, 0.25)):
        ids = [i for i in CITYSCAPES.ids(*classes) if i in occurring]
        assert len(ids) == len(classes)
        assert mean_iou(confusion, ids) > floor


def test_weights_are_small_and_know_the_scenes_as_they_look_now() -> None:
    assert shipped.LOOKS == LOOKS, "scenes look otherwise: train the judges anew"
    for one in SHIPPED.values():
        assert (shipped.FOLDER / one.file).stat().st_size <= 2_000_000
    assert len({one.make for one in SHIPPED.values()}) == 2


def test_the_card_names_the_files_that_are_there() -> None:
    card = (shipped.FOLDER / "README.md").read_text()
    for one in SHIPPED.values():
        assert one.file in card
        assert one.sha256 in card


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"judge_a\.safetensors: cannot be read .*comes with the repository"):
        load_shipped("a")
    (tmp_path / "judge_a.safetensors").write_bytes(to_half(ResidualUNet(19).state_dict()))
    with pytest.raises(DataError, match=r"judge_a\.safetensors: is not the judge that was shipped"):
        load_shipped("a")


@pytest.mark.parametrize("make", [ResidualUNet, DilatedNet])
def test_weights_survive_their_file_but_for_the_rounding(make: type[ResidualUNet] | type[DilatedNet]) -> None:
    network = make(19)
    again = from_half(to_half(network.state_dict()), dataclasses.replace(SHIPPED["a"], make=make))
    for name, value in again.state_dict().items():
        assert value.dtype == network.state_dict()[name].dtype
        assert torch.allclose(value, network.state_dict()[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [ResidualUNet, DilatedNet])
@pytest.mark.parametrize("size", [(8, 8), (17, 23), (96, 128)])
def test_any_size_is_read_and_an_image_by_itself(
    make: type[ResidualUNet] | type[DilatedNet], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    judge = make(5).eval()
    x = torch.rand(2, 3, *size) * 2 - 1
    with torch.inference_mode():
        logits = judge(x)
        assert logits.shape == (2, 5, *size)
        assert torch.allclose(logits[1:], judge(x[1:]), atol=1e-4)
        assert not torch.allclose(logits, judge(x * 0.5), atol=1e-2)  # its own colors count


@pytest.mark.parametrize("size", [(8, 16), (9, 15), (1, 1), (4, 100)])
def test_images_are_padded_with_their_last_row_and_column(size: tuple[int, int]) -> None:
    x = torch.rand(2, 5, *size)
    padded = repeat_to_multiple(repeat_to_multiple(x, 8, dim=-1), 8, dim=-2)
    assert torch.equal(padded, F.pad(x, (0, -size[1] % 8, 0, -size[0] % 8), mode="replicate"))


# ---- which judge -----------------------------------------------------------------------------------------------------


def folder_of(path: Path, n_judge: int = 0, **changes: object) -> Path:
    """Scenes, whose parameters may be changed to say something else."""
    write_scenes(path, seed=0, n_train_a=0, n_train_b=0, n_val=1, n_judge=n_judge, size=(48, 64))
    held = json.loads((path / "scenes.json").read_text())
    (path / "scenes.json").write_text(json.dumps(held | changes))
    return path


def test_scenes_are_read_by_both_judges_that_are_shipped(tmp_path: Path) -> None:
    judges = find_judges(folder_of(tmp_path / "scenes"), tmp_path / "kept", CITYSCAPES, steps=1)
    assert judges is not None
    assert judges.second is not None
    assert isinstance(judges.first, ResidualUNet)
    assert isinstance(judges.second, DilatedNet)
    assert judges.facts == {
        "shipped": "judge_a.safetensors, judge_b.safetensors",
        "weights_sha256": hash_weights(judges.first),
        "second_weights_sha256": hash_weights(judges.second),
    }
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("changes", [{"looks": LOOKS - 1}, {"world": "b"}])
def test_other_scenes_need_a_judge_of_their_own(tmp_path: Path, changes: dict[str, object]) -> None:
    assert find_judges(folder_of(tmp_path / "none", **changes), tmp_path / "kept", CITYSCAPES, steps=1) is None
    judges = find_judges(folder_of(tmp_path / "some", 1, **changes), tmp_path / "kept", CITYSCAPES, steps=1)
    assert judges is not None
    assert isinstance(judges.first, Judge)
    assert judges.second is None
    assert judges.facts["steps"] == 1


def test_the_choice_may_be_made_by_hand(tmp_path: Path) -> None:
    scenes, kept = folder_of(tmp_path / "scenes", 1), tmp_path / "kept"
    judges = find_judges(scenes, kept, CITYSCAPES, choice="trained", steps=1)
    assert judges is not None
    assert isinstance(judges.first, Judge)
    assert kept.is_file()
    frames = tmp_path / "frames"
    (frames / "valB").mkdir(parents=True)
    Image.new("L", (64, 48)).save(frames / "valB" / "x.png")
    assert find_judges(frames, kept, CITYSCAPES) is None
    judges = find_judges(frames, kept, CITYSCAPES, choice="shipped")
    assert judges is not None
    assert judges.second is not None


def test_judges_of_other_classes_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    scenes, space = folder_of(tmp_path / "scenes"), LabelSpace(("road", "sky"), (), (), ())
    assert find_judges(scenes, tmp_path / "kept", space) is None
    with pytest.raises(DataError, match="the 19 classes of Cityscapes"):
        find_judges(scenes, tmp_path / "kept", space, choice="shipped")
    with pytest.raises(DataError, match="expected one of auto, shipped, trained, got 'best'"):
        find_judges(scenes, tmp_path / "kept", CITYSCAPES, choice="best")  # type: ignore[arg-type]
