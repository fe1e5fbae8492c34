from __future__ import annotations

import copy

import pytest
import torch

from morn_losses import CITYSCAPES
from morn_losses.pseudo_labels.look import ANY, KNOWN, RandomThermalLook, random_thermal_look

LOOK = RandomThermalLook.from_label_space(CITYSCAPES)


def look(images: torch.Tensor, labels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    made: torch.Tensor = LOOK(images, labels, torch.Generator().manual_seed(seed))
    return made


def test_a_look_is_gray_in_range_and_drawn_by_its_generator() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 3, 24, 40, generator=generator) * 2 - 1
    labels = torch.randint(0, 19, (3, 24, 40), generator=generator)
    labels[:, :4] = CITYSCAPES.ignore_index
    made = look(images, labels)
    assert made.shape == images.shape
    assert made.dtype == images.dtype
    assert torch.equal(made[:, 0], made[:, 1])
    assert torch.equal(made[:, 0], made[:, 2])
    assert made.abs().max() <= 1
    assert torch.equal(made, look(images, labels))
    assert not torch.equal(made, look(images, labels, seed=1))


def test_a_class_loses_its_brightness_and_keeps_what_is_known_of_it() -> None:
    sky, building, person = (CITYSCAPES.index(name) for name in ("sky", "building", "person"))
    images = torch.full((64, 3, 16, 48), 0.5)  # of one color: nothing but the labels tells the classes apart
    labels = torch.full((64, 16, 48), sky)
    labels[:, :, 16:32], labels[:, :, 32:] = building, person
    gray = (look(images, labels)[:, 0, 4:-4] + 1) / 2
    of_sky, of_building, of_person = (gray[:, :, first : first + 8].mean((1, 2)) for first in (4, 20, 36))
    assert (of_sky < of_person).all()
    # gain and offset come after the class's own gray value
    low, high = KNOWN["sky"]
    assert 0.8 * low - 0.15 <= of_sky.min()
    assert of_sky.max() <= 1.2 * high + 0.15
    assert of_building.std() > 0.1
    assert 0.2 < (of_building > of_building.median()).float().mean() < 0.8


def test_texture_survives_with_either_sign() -> None:
    x = torch.arange(48) % 4 < 2
    images = (x.float() - 0.5).expand(200, 3, 16, 48)
    labels = torch.full((200, 16, 48), CITYSCAPES.index("vegetation"))
    made = look(images, labels)[:, 0]
    along = ((made - made.mean((1, 2), keepdim=True)) * (images[:, 0] - images[:, 0].mean())).mean((1, 2))
    assert 0.2 < (along < 0).float().mean() < 0.6
    assert (along.abs() > 1e-3).float().mean() > 0.9


def test_by_loops_over_pixels() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 6, 5, generator=generator, dtype=torch.float64) * 2 - 1
    labels = torch.randint(0, 3, (2, 6, 5), generator=generator)
    labels[0, 0, 0] = 255
    ranges = [(0.0, 0.1), (0.4, 0.6), (0.9, 1.0)]
    made = random_thermal_look(images, labels, ranges, generator=torch.Generator().manual_seed(5))

    draws = torch.Generator().manual_seed(5)
    mixture = torch.rand(2, 3, 1, 1, generator=draws).double()[..., 0, 0]
    part, size, sign = (torch.rand(2, 4, generator=draws).double() for _ in range(3))
    blur = torch.rand(2, 1, 1, generator=draws).double()
    noise = torch.randn(2, 6, 5, generator=draws).double()
    contrast, brightness, grain = (torch.rand(2, 1, 1, generator=draws).double() for _ in range(3))
    for b in range(2):
        gray = torch.zeros(6, 5, dtype=torch.float64)
        for row in range(6):
            for col in range(5):
                weights = mixture[b] / mixture[b].sum()
                gray[row, col] = sum(weights[c] * (images[b, c, row, col] + 1) / 2 for c in range(3))

        def around(x: torch.Tensor, row: int, col: int, radius: int) -> torch.Tensor:
            steps = range(-radius, radius + 1)
            near = [x[min(max(row + i, 0), 5), min(max(col + j, 0), 4)] for i in steps for j in steps]
            return torch.stack(near).mean()

        raw = torch.zeros(6, 5, dtype=torch.float64)
        for row in range(6):
            for col in range(5):
                c = int(labels[b, row, col])
                c, (low, high) = (c, ranges[c]) if c < 3 else (3, ANY)
                value = low + (high - low) * part[b, c]
                strength = (0.3 + 0.7 * size[b, c]) * (-1 if sign[b, c] < 0.4 else 1)
                raw[row, col] = value + strength * (gray[row, col] - around(gray, row, col, 8))
        for row in range(6):
            for col in range(5):
                x = raw[row, col] + blur[b, 0, 0] * (around(raw, row, col, 1) - raw[row, col])
                x = x * (0.8 + 0.4 * contrast[b, 0, 0]) + 0.2 * (brightness[b, 0, 0] - 0.5)
                x = x + 0.03 * grain[b, 0, 0] * noise[b, row, col]
                assert made[b, 1, row, col] == pytest.approx(float(2 * min(max(x, 0), 1) - 1), abs=1e-6)


def test_labels_of_any_integer_dtype_and_unlabeled_pixels() -> None:
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.full((1, 8, 8), 11)
    labels[:, :3] = 255
    for dtype in (torch.uint8, torch.int32):
        assert torch.equal(look(images, labels), look(images, labels.to(dtype)))
    other = RandomThermalLook(LOOK.ranges, ignore_index=-1)
    moved = torch.where(labels == 255, -1, labels)
    assert torch.equal(other(images, moved, torch.Generator().manual_seed(0)), look(images, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_of_the_images_stays(dtype: torch.dtype) -> None:
    images = (torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(dtype)
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    made = look(images, labels)
    assert made.dtype == dtype
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-6)
    assert torch.allclose(made.float(), look(images.float(), labels), atol=tolerance)


def test_without_a_generator_torchs_own_draws() -> None:
    images, labels = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    torch.manual_seed(7)
    first, second = LOOK(images, labels), LOOK(images, labels)
    torch.manual_seed(7)
    assert torch.equal(LOOK(images, labels), first)
    assert not torch.equal(first, second)


def test_it_carries_no_gradient_and_leaves_its_input() -> None:
    images = torch.zeros(1, 3, 4, 4, requires_grad=True)
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    made = LOOK(images, labels)
    assert not made.requires_grad
    made.add_(1)  # not a view of one channel
    assert not images.any()


def test_the_module_holds_ranges_by_name() -> None:
    by_hand = RandomThermalLook([KNOWN.get(name, ANY) for name in CITYSCAPES.names])
    assert by_hand.ranges == LOOK.ranges
    assert RandomThermalLook.from_label_space(CITYSCAPES, known={}).ranges == (ANY,) * 19
    assert copy.deepcopy(LOOK).ranges == LOOK.ranges
    assert "ignore_index=255" in repr(LOOK)
    assert torch.equal(
        random_thermal_look(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4).long(), LOOK.ranges, generator=draw(2)),
        LOOK(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4).long(), draw(2)),
    )


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.zeros(1, 1, 4, 4)}, ValueError, "images: expected (B, C, H, W) with C = 3"),
        ({"images": torch.zeros(1, 3, 4, 4).long()}, TypeError, "images: expected a floating-point"),
        ({"labels": torch.zeros(1, 4, 5).long()}, ValueError, "labels: expected"),
        ({"labels": torch.zeros(1, 4, 4)}, TypeError, "labels: expected an integer dtype"),
        ({"labels": torch.full((1, 4, 4), 2)}, ValueError, "labels"),
        ({"ranges": [(0.5, 0.2), (0.0, 1.0)]}, ValueError, "ranges: expected low <= high, got (0.5, 0.2)"),
        ({"ranges": [(float("nan"), 0.2), (0.0, 1.0)]}, ValueError, "ranges: expected low <= high"),
        ({"ranges": [(0.5, 1.2), (0.0, 1.0)]}, ValueError, "ranges: expected values in [0, 1]"),
        ({"ranges": [(0.5, 0.6, 0.7)]}, ValueError, "ranges: expected a pair (low, high) for each class"),
        ({"ignore_index": 1}, ValueError, "ignore_index: expected an id that none of the K = 2 classes has, got 1"),
    ],
)
def test_wrong_input_is_named(change: dict[str, object], error: type[Exception], message: str) -> None:
    arguments: dict[str, object] = {
        "images": torch.zeros(1, 3, 4, 4),
        "labels": torch.zeros(1, 4, 4).long(),
        "ranges": [(0.0, 1.0), (0.0, 1.0)],
    }
    with pytest.raises(error) as caught:
        random_thermal_look(**{**arguments, **change})  # type: ignore[arg-type]
    assert message in str(caught.value)
