from __future__ import annotations

import pytest
import torch

from studies.cards.aca import (
    BEFORE,
    COMPONENTS,
    LOCAL_ONLY,
    alike,
    choose_pairs,
    known_components,
    make_known,
    optimise,
)
from studies.cards.aca import nearest as nearest_components


def test_nearness_by_hand() -> None:
    components = torch.eye(3)[:2]
    positions = torch.tensor([[2.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.0, 0.6, 0.8]])
    assert nearest_components(components, positions) == pytest.approx(((1 + 0.6 + 0.6) / 3, (1 + 0.6) / 2, 0.5))


def test_likeness_by_hand() -> None:
    real = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    fake = torch.tensor([[2.0, 0.0], [4.0, 3.0], [1.0, 0.0]])
    assert alike(real, fake) == pytest.approx(((1 + 0.8 + 1) / 3, (1 + 0.6) / 2))


def test_the_known_object_is_made_of_its_components_and_the_fake_one_is_not() -> None:
    known = make_known(0)
    real, fake = (x[0].flatten(1).T for x in (known.real, known.fake))
    assert torch.allclose(known.components @ known.components.T, torch.eye(COMPONENTS), atol=1e-5)
    near, reached, covered = nearest_components(known.components, real)
    assert near > 0.8
    assert reached > 0.85
    assert covered == 1
    assert nearest_components(known.components, fake)[2] == 0
    counts = (known.components @ real.T).argmax(0).bincount(minlength=COMPONENTS)
    assert counts.tolist() == pytest.approx([26, 19, 13, 6], abs=1)
    assert torch.equal(make_known(0).fake, known.fake)
    assert not torch.equal(make_known(1).fake, known.fake)


def test_with_one_component_and_one_cluster_everything_moves_there() -> None:
    generator = torch.Generator().manual_seed(0)
    direction = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 4, 1, 1)
    real = direction.expand(1, 4, 4, 4)
    fake = torch.randn(1, 4, 4, 4, generator=generator)
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    moved = optimise(real, fake, labels, labels, [0], n_clusters=1, steps=300, seed=0)
    cosines = torch.nn.functional.cosine_similarity(moved, direction)
    # the loss is 0 once the mean is 0.9
    assert float(cosines.mean()) > 0.89
    other_class = optimise(real, fake, labels, labels + 1, [0], n_clusters=1, steps=3, seed=0)
    assert torch.equal(other_class, fake)


def test_every_number_of_clusters_is_measured() -> None:
    found = known_components(0, 1)
    assert list(found) == [BEFORE, *"123456", LOCAL_ONLY]
    assert all(len(values) == 3 for values in found.values())


def test_pairs_share_enough_of_a_class() -> None:
    def scene(class_id: int, side: int) -> torch.Tensor:
        y = torch.zeros(32, 32, dtype=torch.int64)
        y[:side, :side] = class_id
        return y

    day = torch.stack((scene(6, 16), scene(7, 16), scene(11, 8)))
    night = torch.stack((scene(7, 16), scene(11, 16), scene(6, 8)))
    # the partner of the first holds too little, of the third the day image does
    assert choose_pairs(day, night, (6, 7, 11)) == [(1, 0)]
