from __future__ import annotations

import math

import pytest
import torch

from morn_losses.functional import cgr_loss
from studies.cards.cgr import STATES, TV_WEIGHT, blur, measure, repair, states
from studies.cards.streets import render_streets


def test_an_image_keeps_all_of_its_own_edges() -> None:
    streets = render_streets(0, 0, 2, (48, 64))
    background = streets.labels < 11
    found = measure(streets.night, streets.night, background, streets.day)
    assert (found.strong, found.weak, found.foreground) == pytest.approx((1, 1, 1))
    assert found.recall == found.precision == 1
    same = measure(streets.night, streets.day, background, streets.day)
    assert same.psnr == math.inf


def test_kept_gradients_by_hand() -> None:
    night = torch.full((1, 3, 16, 16), -1.0)
    night[..., 8:] = 1.0  # columns 7 and 8 have a gradient of 1
    fake = torch.zeros(1, 3, 16, 16)
    fake[..., 8:] = 0.5  # a quarter of it
    background = torch.ones(1, 16, 16, dtype=torch.bool)
    background[:, 8:] = False
    found = measure(night, fake, background, fake - 0.2)
    assert found.strong == pytest.approx(0.25, abs=2e-3)
    assert found.foreground == pytest.approx(0.25, abs=2e-3)
    assert math.isnan(found.weak)  # the source is flat elsewhere
    assert found.recall == found.precision == 1
    assert found.psnr == pytest.approx(20, abs=1e-3)  # 0.1 in [0, 1]


def test_what_is_kept_is_one_minus_the_loss() -> None:
    streets = render_streets(0, 0, 1, (48, 64))
    background = streets.labels < 11
    fake = blur(streets.day)
    found = measure(streets.night, fake, background, streets.day)
    assert found.strong == pytest.approx(1 - float(cgr_loss(streets.night, fake, background)), abs=1e-5)


def test_repair_lowers_what_it_is_given_and_nothing_else() -> None:
    streets = render_streets(0, 0, 1, (48, 64))
    background, start = streets.labels < 11, blur(streets.day)
    assert torch.equal(repair(streets.night, start, background, steps=2, cgr=0.0, tv=0.0), start)
    nowhere = torch.zeros_like(background)
    assert torch.equal(repair(streets.night, start, nowhere, steps=2, cgr=1.0, tv=0.0), start)
    repaired = repair(streets.night, start, background, steps=20, cgr=1.0, tv=0.0)
    assert float(repaired.abs().amax()) <= 1
    before, after = (float(cgr_loss(streets.night, x, background)) for x in (start, repaired))
    assert after < 0.8 * before
    assert list(states(streets, 1)) == list(STATES)
    assert TV_WEIGHT == 5
