from __future__ import annotations

import math
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from morn_losses import LabelSpace
from ntir2dc.data.images import DataError, read_color, read_labels
from ntir2dc.judge import (
    Crops,
    Judge,
    class_iou,
    confusion_matrix,
    hash_files,
    hash_weights,
    judge_pairs,
    load_or_train_judge,
    mean_iou,
    predict,
    train_judge,
    training,
)

SPACE = LabelSpace(("ground", "box", "never"), small_sample=(1,), foreground=(1,), stuff=(0,))


def write_pairs(folder: Path, count: int = 4, size: tuple[int, int] = (24, 32)) -> list[tuple[Path, Path]]:
    """Blue ground with a red box; the last rows are unlabeled."""
    rng = np.random.default_rng(0)
    for name in ("judgeA", "judgeA_labels"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        top, left = rng.integers(0, size[0] - 12), rng.integers(0, size[1] - 8)
        labels = np.zeros(size, np.uint8)
        labels[top : top + 8, left : left + 8] = 1
        color = np.where(labels[..., None] == 1, np.uint8([200, 40, 40]), np.uint8([40, 40, 200]))
        labels[-2:] = 255
        Image.fromarray(color).save(folder / "judgeA" / f"{i}.png")
        Image.fromarray(labels).save(folder / "judgeA_labels" / f"{i}.png")
    return judge_pairs(folder)


# ---- confusion and IoU -----------------------------------------------------------------------------------------------


def test_confusion_and_iou_by_hand() -> None:
    truth = torch.tensor([[0, 0], [1, 255]])
    prediction = torch.tensor([[0, 1], [1, 2]])
    confusion = confusion_matrix(prediction, truth, SPACE)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    iou = class_iou(confusion)
    assert iou[:2].tolist() == [0.5, 0.5]
    assert math.isnan(iou[2])
    assert mean_iou(confusion, (0, 1, 2)) == 0.5


def test_confusion_and_iou_as_naive_loops() -> None:
    space = LabelSpace(tuple("abcdef"), small_sample=(), foreground=(), stuff=())
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 5, (9, 11)), rng.integers(0, 4, (9, 11))
    truth[0, :5] = 255
    confusion = confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(truth), space)
    expected = []
    for c in range(6):
        both = either = 0
        for t, p in zip(truth.flat, prediction.flat, strict=True):
            if t != 255:
                both += t == c and p == c
                either += t == c or p == c
        expected.append(both / either if either else math.nan)
    np.testing.assert_allclose(class_iou(confusion), expected)
    assert np.isnan(expected).tolist() == [False] * 5 + [True]
    assert mean_iou(confusion, (4, 5)) == expected[4] == 0  # in the truth and never predicted
    known = truth != 255
    oracle = jaccard_score(truth[known], prediction[known], labels=[0, 1, 2, 3, 4], average="macro")
    assert mean_iou(confusion, range(6)) == pytest.approx(oracle)


def test_iou_is_that_of_the_sum_not_the_mean_over_images() -> None:
    first, second = np.array([[9, 0], [1, 0]]), np.array([[0, 0], [0, 5]])
    assert class_iou(first + second).tolist() == [0.9, pytest.approx(5 / 6)]
    stacked = np.stack((first, second, first + second))
    np.testing.assert_allclose(class_iou(stacked), [class_iou(c) for c in stacked])
    np.testing.assert_allclose(mean_iou(stacked, (0, 1)), [0.45, 1.0, (0.9 + 5 / 6) / 2])


def test_mean_over_classes_that_never_occur_is_nan() -> None:
    assert np.isnan(mean_iou(np.array([[3, 0], [0, 0]]), (1,)))
    assert np.isnan(mean_iou(np.array([[3, 0], [0, 0]]), ()))


def test_confusion_refuses_other_shapes_and_ids() -> None:
    labels = torch.zeros(2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"prediction: expected \(2, 2\), got \(2, 3\)"):
        confusion_matrix(torch.zeros(2, 3), labels, SPACE)
    with pytest.raises(ValueError, match=r"truth: expected ids in \[0, 3\)"):
        confusion_matrix(labels, labels + 3, SPACE)
    with pytest.raises(ValueError, match=r"prediction: expected ids in \[0, 3\)"):
        confusion_matrix(labels - 1, labels, SPACE)


# ---- the network and its training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (1, 3), (48, 64)])
def test_judge_keeps_the_size_of_an_image(size: tuple[int, int]) -> None:
    judge = Judge(5, width=4).eval()
    assert judge(torch.rand(2, 3, *size)).shape == (2, 5, *size)
    labels = predict(judge, torch.rand(3, *size))
    assert labels.shape == size
    assert labels.dtype == torch.int64


def test_a_judge_learns_what_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WIDTH", 4)
    pairs = write_pairs(tmp_path)
    judge = train_judge(pairs, SPACE, steps=60)
    total = np.zeros((3, 3), np.int64)
    for image, labels in pairs:
        total += confusion_matrix(predict(judge, read_color(image)), read_labels(labels), SPACE)
    assert mean_iou(total, (0, 1)) > 0.9


def test_the_seed_decides_and_the_global_state_is_left_alone(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path)
    before = torch.get_rng_state()
    first = train_judge(pairs, SPACE, steps=2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert hash_weights(first) == hash_weights(train_judge(pairs, SPACE, steps=2, seed=3))
    assert hash_weights(first) != hash_weights(train_judge(pairs, SPACE, steps=2, seed=4))
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())


def test_only_the_judges_own_folders_are_read(tmp_path: Path) -> None:
    expected = hash_weights(train_judge(write_pairs(tmp_path / "clean"), SPACE, steps=1))
    write_pairs(tmp_path / "full")
    for name in ("valB", "valB_day", "valB_labels", "trainA", "trainB"):
        (tmp_path / "full" / name).mkdir()
        (tmp_path / "full" / name / "0.png").write_bytes(b"reading this is an error")
    assert hash_weights(train_judge(judge_pairs(tmp_path / "full"), SPACE, steps=1)) == expected


def test_weights_are_one_over_the_root_of_the_share(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 1)
    crops = Crops(pairs, SPACE, crop=16, seed=0)
    n = 22 * 32
    shares = np.array([(n - 64) / n, 64 / n])
    weights = crops.class_weights().numpy()
    assert weights[1] / weights[0] == pytest.approx(math.sqrt(shares[0] / shares[1]), rel=1e-5)
    assert (weights[:2] * shares).sum() == pytest.approx(1, rel=1e-5)
    assert np.isfinite(weights).all()


def test_crops_hold_matching_labels_and_every_other_one_a_rare_class(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path)
    crops = Crops(pairs, SPACE, crop=16, seed=0)
    sizes, boxes, starts = set(), [], set()
    for _ in range(40):
        images, labels = crops.batch(2)
        sizes.add((images.shape, labels.shape))
        reddest = (images[:, 0] > images[:, 2]) & (labels != 255)
        assert torch.equal(reddest, labels == 1)
        boxes.append((labels == 1).flatten(1).any(1).tolist())
        starts.add((round(float(images[0, 3, 0, 0]), 3), round(float(images[0, 4, 0, 0]), 3)))
    assert sizes == {((2, 5, 16, 16), (2, 16, 16))}
    assert len(starts) > 20
    anywhere, centred = np.array(boxes).mean(0)
    assert centred > anywhere
    assert {float(Crops(pairs, SPACE, 99, 0).batch(1)[0].shape[-1])} == {32.0}


def test_bad_training_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="judgeA"):
        train_judge([], SPACE, steps=1)
    pairs = write_pairs(tmp_path)
    with pytest.raises(ValueError, match="steps"):
        train_judge(pairs, SPACE, steps=0)
    Image.new("L", (31, 24)).save(pairs[0][1])
    with pytest.raises(DataError, match=r"judgeA_labels.0\.png: is 31 x 24, its image .*judgeA.0\.png is 32 x 24"):
        train_judge(pairs[:1], SPACE, steps=1)
    Image.new("L", (32, 24), 7).save(pairs[0][1])
    with pytest.raises(DataError, match=r"0\.png: holds ids \[7\], which are neither in \[0, 3\)"):
        train_judge(pairs, SPACE, steps=1)
    Image.new("L", (32, 24), 255).save(pairs[0][1])
    with pytest.raises(DataError, match="no labeled pixel"):
        train_judge(pairs[:1], SPACE, steps=1)
    pairs[1][1].unlink()
    with pytest.raises(DataError, match=r"judgeA.1\.png: has no label map"):
        judge_pairs(tmp_path)
    assert judge_pairs(tmp_path / "nothing") == []


def test_unusable_pairs_are_named_before_the_first_step(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path)
    said: list[str] = []
    Image.new("L", (31, 24)).save(pairs[-1][1])
    with pytest.raises(DataError, match="is 31 x 24, its image"):
        train_judge(pairs, SPACE, steps=99, say=said.append)
    assert said == []


def test_the_smallest_pairs_and_numpys_numbers_train_a_judge(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "image.png")
    Image.new("L", (1, 1), 1).save(tmp_path / "labels.png")
    pairs = [(tmp_path / "image.png", tmp_path / "labels.png")]
    first = train_judge(pairs, SPACE, steps=2, seed=3)
    assert all(bool(torch.isfinite(value).all()) for value in first.state_dict().values())
    assert hash_weights(train_judge(pairs, SPACE, steps=np.int64(2), seed=np.int64(3))) == hash_weights(first)
    _, settings = load_or_train_judge(pairs, tmp_path / "kept", SPACE, steps=np.int64(1), seed=np.int32(3))
    assert load_or_train_judge(pairs, tmp_path / "kept", SPACE, steps=1, seed=3)[1] == settings


# ---- the kept judge --------------------------------------------------------------------------------------------------


def test_a_kept_judge_is_used_only_for_the_same_settings_and_data(tmp_path: Path) -> None:
    pairs, cache = write_pairs(tmp_path), tmp_path / "judge.safetensors"
    said: list[str] = []

    def get(seed: int = 0, steps: int = 1) -> tuple[str, bool]:
        said.clear()
        judge, settings = load_or_train_judge(pairs, cache, SPACE, steps=steps, seed=seed, say=said.append)
        assert (settings["steps"], settings["seed"]) == (steps, seed)
        assert not judge.training
        assert not any(p.requires_grad for p in judge.parameters())
        return hash_weights(judge), any("taken from" in line for line in said)

    weights, taken = get()
    assert not taken
    assert get() == (weights, True)
    assert not get(seed=1)[1]
    assert not get(steps=2)[1]
    assert get(steps=2)[1]
    cache.write_bytes(cache.read_bytes()[:100])
    assert get() == (weights, False)
    cache.write_bytes(b"{}")
    assert not get()[1]
    pixels = np.array(Image.open(pairs[0][0]))
    pixels[0, 0] += 1
    Image.fromarray(pixels).save(pairs[0][0])
    assert not get()[1]


def test_hashes_see_names_contents_and_values(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"12")
    b.write_bytes(b"12")
    assert hash_files([a]) != hash_files([b])
    assert hash_files([a, b]) != hash_files([b, a])
    twins = [tmp_path / form / unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    for twin in (*twins, tmp_path / os.fsdecode(b"\xe9")):
        twin.parent.mkdir(exist_ok=True)
        twin.write_bytes(b"12")
    assert hash_files(twins[:1]) != hash_files([tmp_path / os.fsdecode(b"\xe9")])
    moved = twins[1].rename(twins[0].with_name(twins[1].name))
    assert hash_files(twins[:1]) == hash_files([moved])
    before = hash_files([a])
    a.write_bytes(b"13")
    assert hash_files([a]) != before
    judge = Judge(2, width=4)
    before = hash_weights(judge)
    with torch.no_grad():
        judge.head.bias[0] += 1
    assert hash_weights(judge) != before
