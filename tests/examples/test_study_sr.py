from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studies.cards.sr import inconsistency, resize
from studies.cards.standins import SkipTranslator, Translator, train_segmenter, train_translator
from studies.cards.streets import render_streets


@pytest.mark.parametrize(("scale", "size"), [(0.5, (16, 24)), (0.75, (24, 36)), (1.5, (48, 72))])
def test_sides_stay_multiples_of_four(scale: float, size: tuple[int, int]) -> None:
    assert resize(torch.zeros(1, 3, 32, 48), scale).shape[-2:] == size


@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_a_translation_that_commutes_with_resizing_is_consistent(scale: float) -> None:
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    levels, structure = inconsistency(lambda x: -x, images, scale)
    assert levels == pytest.approx(0, abs=1e-4)
    assert structure == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("scale", "levels"), [(0.5, 0.16), (2.0, 0.32), (1.25, 0.08)])
def test_the_difference_is_in_gray_levels(scale: float, levels: float) -> None:
    def by_size(x: Tensor) -> Tensor:
        return torch.full_like(x, x.shape[-2] / 100)  # 0.32 at the original height

    found = inconsistency(by_size, torch.zeros(1, 3, 32, 48), scale)[0]
    assert found == pytest.approx(levels * 127.5, rel=1e-4)


def test_two_translators_differ_in_nothing_but_the_loss() -> None:
    streets = render_streets(0, 0, 2, (48, 64))
    night, day = streets.night, streets.day
    start, robust_start = (
        train_translator(Translator(1), night, day, steps=0, seed=1, robust=r) for r in (False, True)
    )
    for a, b in zip(start.parameters(), robust_start.parameters(), strict=True):
        assert torch.equal(a, b)
    plain, again, robust = (
        train_translator(Translator(1), night, day, steps=2, seed=1, robust=r)(night) for r in (False, False, True)
    )
    assert torch.equal(plain, again)
    assert not torch.equal(plain, robust)
    assert not torch.equal(plain, start(night))


def test_a_segmenter_learns_from_tensors() -> None:
    streets = render_streets(0, 0, 2, (48, 64))
    labels = streets.labels.clone()
    labels[:, :4] = 255
    a, b = (train_segmenter(streets.day, labels, steps=2, seed=0)(streets.day) for _ in range(2))
    assert a.shape == (2, 19, 48, 64)
    assert torch.equal(a, b)


def test_the_translator_with_skips_learns_and_repeats_itself() -> None:
    streets = render_streets(0, 0, 2, (48, 64))
    a, b = (
        train_translator(SkipTranslator(1), streets.night, streets.day, steps=steps, seed=1)(streets.night)
        for steps in (20, 0)
    )
    again = train_translator(SkipTranslator(1), streets.night, streets.day, steps=20, seed=1)(streets.night)
    assert torch.equal(a, again)
    assert float((a - streets.day).abs().mean()) < 0.9 * float((b - streets.day).abs().mean())
