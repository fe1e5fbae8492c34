from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studies.cards.memory import CLASSES, draw, holdings, imperfect_labels_of_night, measure
from studies.cards.streets import Streets

SIGN, PERSON, BUS = CLASSES[1], CLASSES[2], CLASSES[4]


def labels(**areas: tuple[int, int]) -> Tensor:
    """Return road with blocks at the top: name of a class to (height, width)."""
    names = {"sign": SIGN, "person": PERSON, "bus": BUS}
    y = torch.zeros(32, 32, dtype=torch.int64)
    left = 0
    for name, (height, width) in areas.items():
        y[:height, left : left + width] = names[name]
        left += 8
    return y


def test_holdings_by_hand() -> None:
    pixels, positions = holdings(labels(sign=(8, 8), person=(4, 8))[None])
    assert pixels[0].tolist() == [0, 64, 32, 0, 0, 0]
    assert positions[0].tolist() == [0, 4, 2, 0, 0, 0]


def test_partners_by_hand() -> None:
    day = torch.stack((labels(sign=(8, 8), person=(4, 8)), labels(bus=(16, 8))))
    night = torch.stack((labels(sign=(4, 8)), labels(bus=(8, 8)), labels(person=(8, 8))))
    # the sign meets a sign (64 pixels) and then nothing; the bus meets nothing and then a bus (128)
    met = measure(day, night, torch.tensor([[0, 1], [0, 1]]))
    assert met.pixels == pytest.approx((64 + 128) / (2 * (64 + 32 + 128)))
    # of sign (4 positions) and bus (8), twice each, only the bus finds enough of itself, once
    assert met.classes == pytest.approx(1 / 4)
    assert met.favorite == 0.5
    assert met.distinct == pytest.approx(2 / 3)


def test_the_memory_finds_the_image_of_the_same_classes() -> None:
    night = torch.stack([labels(), labels(sign=(8, 8)), labels(bus=(16, 8)), labels(person=(8, 8))])
    queries = torch.stack([labels(bus=(8, 8)), labels(sign=(12, 8))])
    partners = draw(queries, night, 1, 5, torch.Generator().manual_seed(0))
    assert partners.tolist() == [[2] * 5, [1] * 5]
    assert measure(queries, night, partners).pixels == 1
    everything = draw(queries, night, 4, 200, torch.Generator().manual_seed(0))
    assert measure(queries, night, everything).pixels == pytest.approx(0.25, abs=0.08)


def test_imperfect_labels_are_the_intersection() -> None:
    both = torch.tensor([[[PERSON, 0, 0, SIGN]]])
    other = torch.tensor([[[PERSON, 0, 1, 0]]])
    image = torch.zeros(1, 3, 1, 4)
    assert imperfect_labels_of_night(Streets(image, image, both, both, other)).tolist() == [[[PERSON, 0, 255, 255]]]
