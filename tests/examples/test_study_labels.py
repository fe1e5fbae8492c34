from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from morn_losses import CITYSCAPES
from studies.cards.distillation import most_confident
from studies.cards.labels import DENOISED, Dropped, dropped, label_stages, mark_errors
from studies.cards.streets import Streets, count, pseudo_labels_of_day, render_streets

ROAD, POLE, TREE, SKY, PERSON = CITYSCAPES.ids("road", "pole", "vegetation", "sky", "person")
UNLABELED = CITYSCAPES.ignore_index


def test_counts_by_hand() -> None:
    truth = torch.tensor([[[0, 0, 0, 1, 1, 2]]])
    labels = torch.tensor([[[0, 0, 255, 0, 1, 255]]])
    counts = count(labels, truth, 3)
    assert counts.precision(0) == pytest.approx(2 / 3)
    assert counts.recall(0) == pytest.approx(2 / 3)
    assert counts.precision(1) == 1
    assert counts.recall(1) == 0.5
    assert math.isnan(counts.precision(2))
    assert counts.recall(2) == 0
    assert counts.precision() == 0.75
    assert counts.recall() == 0.5
    assert counts.precision(0, 1) == 0.75
    assert counts.coverage() == pytest.approx(4 / 6)


def test_what_is_dropped_by_hand() -> None:
    truth = torch.tensor([[[8, 8, 8, 10, 10, 8]]])
    before = torch.tensor([[[8, 8, 8, 8, 8, 10]]])
    after = torch.tensor([[[8, 8, 255, 8, 255, 255]]])
    assert dropped(before, after, truth, 8) == Dropped(2 / 5, 1 / 2, 1 / 3)
    nothing = dropped(before, before, truth, 8)
    assert nothing.dropped == 0
    assert math.isnan(nothing.wrong_of_dropped)


def test_denoising_drops_the_wrong_half_of_a_tree_that_grew_into_the_sky() -> None:
    truth = torch.tensor([[[TREE] * 4 + [SKY] * 8]])
    primary = torch.tensor([[[TREE] * 6 + [SKY] * 6]])
    day = torch.where(truth == SKY, 0.9, -0.5)[:, None].expand(1, 3, 1, 12)
    stages = label_stages(Streets(day, day, truth, primary, primary))
    assert torch.equal(stages[2], primary)
    assert stages[3].tolist() == [[[TREE] * 4 + [UNLABELED] * 2 + [SKY] * 6]]
    assert dropped(stages[2], stages[3], truth, TREE) == Dropped(1 / 3, 1.0, 0.0)


def test_fusion_keeps_a_person_that_both_see() -> None:
    primary = torch.tensor([[[PERSON, PERSON, ROAD, POLE]]])
    secondary = torch.tensor([[[PERSON, ROAD, PERSON, ROAD]]])
    image = torch.zeros(1, 3, 1, 4)
    fused = label_stages(Streets(image, image, primary, primary, secondary))[2]
    assert fused.tolist() == [[[PERSON, UNLABELED, ROAD, POLE]]]


def test_errors_are_colored() -> None:
    truth = torch.tensor([[0, 0, 0, 0, 0]])
    before = torch.tensor([[1, 1, 0, 0, 255]])
    after = torch.tensor([[1, 255, 255, 0, 255]])
    red, green, yellow, right, none = np.array(mark_errors(before, after, truth))[0].tolist()
    assert red[0] > 2 * red[1]
    assert green[1] > 2 * green[0]
    assert yellow[0] > 200
    assert yellow[1] > 150
    assert yellow[2] < 100
    assert right == [225] * 3
    assert none == [120] * 3


def test_the_surest_pixels_are_labeled() -> None:
    logits = torch.tensor([[3.0, 0.0, -5.0, 1.0]]).view(1, 1, 1, 4)
    logits = torch.cat((logits, -logits), 1)
    assert most_confident(logits, 2, 255).tolist() == [[[0, 255, 1, 255]]]
    assert most_confident(logits, 0, 255).tolist() == [[[255] * 4]]
    assert most_confident(logits, 4, 255).tolist() == [[[0, 0, 1, 0]]]


def test_streets_are_the_scenes_in_one_batch() -> None:
    streets = render_streets(3, 10, 2, (48, 64))
    again = render_streets(3, 11, 1, (48, 64))
    assert streets.day.shape == streets.night.shape == (2, 3, 48, 64)
    assert streets.labels.dtype == torch.int64
    assert float(streets.day.amin()) >= -1
    assert float(streets.day.amax()) <= 1
    assert torch.equal(streets.night[:, 0], streets.night[:, 2])
    for name in ("day", "night", "labels", "primary", "secondary"):
        assert torch.equal(getattr(streets, name)[1], getattr(again, name)[0])
    labels = pseudo_labels_of_day(streets)
    assert torch.equal(labels, label_stages(streets)[3])
    assert all(int((labels == c).sum()) <= int((streets.primary == c).sum()) for c in DENOISED)
