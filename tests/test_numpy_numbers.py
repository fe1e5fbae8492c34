"""Numbers and ids that come from numpy, as from ``np.unique`` or a data frame, are as good as Python's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import morn_losses as m
from morn_losses import functional as L

RANGE = (np.float32(0), np.float32(1))
MADE: list[tuple[type[nn.Module], tuple[Any, ...], dict[str, Any]]] = [
    (m.TemperatureRegularization, (), {"road": 1, "person": 2, "eps": 0.25, "value_range": (0, 1)}),
    (m.SGALoss, (), {"threshold": 0.5, "grid": 2, "eps": 0.25, "value_range": (0, 1)}),
    (m.SGAPlusLoss, (), {"threshold": 0.5, "grid": 2, "eps": 0.25, "road": 1, "person": 2, "temperature_eps": 0.5}),
    (m.CGRLoss, (), {"eps": 0.25, "value_range": (0, 1)}),
    (m.SRLoss, (), {"alpha": 0.25, "beta": 2, "weight_l1": 3, "weight_ssim": 0.5, "window_size": 5}),
    (m.ReconstructionLoss, (), {"weight_l1": 3, "weight_ssim": 0.5, "window_size": 5}),
    (m.RelativisticLSGANLoss, (), {"scale_weights": [1, 2.5]}),
    (m.RelativisticLSGANLoss, (), {"scale_weights": [[1, 2.5], [3, 4]]}),
    (m.ClassBalancedCrossEntropy, (), {"small_area": 0.5, "small_weight": 3, "ignore_index": 7}),
    (m.BoundaryLoss, (), {"ignore_index": -1}),
    (m.SegmentationLoss, (), {"boundary_weight": 2, "small_area": 0.5, "ignore_index": -1}),
    (m.SemanticDenoiser, ([(1, (2, 3)), (2, (1,))],), {"ignore_index": 9}),
    (m.LabelFusion, ((1, 2),), {"aliases": {3: 1}, "overrides": {(1, 2): 3}, "ignore_index": -1}),
    (m.LabelMiner, ((0.5, 0.25),), {"ignore_index": -1}),
    (m.LabelMiner, (0.5,), {}),
    (m.MemoryBank, (4, 3, 2), {}),
    (m.MemorySampler, (m.MemoryBank(2, 2),), {"k": 3}),
]


def as_numpy(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return np.int64(value) if value < 0 else np.uint8(value)
    if isinstance(value, float):
        return np.float32(value)  # those above are exact in it
    if isinstance(value, dict):
        return {as_numpy(k): as_numpy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(as_numpy(v) for v in value)
    return value


@pytest.mark.parametrize(("kind", "given", "options"), MADE, ids=[kind.__name__ for kind, _, _ in MADE])
def test_modules_hold_them_as_pythons(kind: Any, given: tuple[Any, ...], options: dict[str, Any]) -> None:
    plain, made = kind(*given, **options), kind(*as_numpy(given), **as_numpy(options))
    assert repr(made).replace(".0", "") == repr(plain).replace(".0", "")
    assert "np." not in repr(made)


def test_functions_take_them() -> None:
    i, x = np.int64, np.float32
    image, other = torch.rand(2, 1, 3, 8, 8)
    labels, logits = torch.tensor([0, 1, 2, 255]).repeat(1, 8, 2), torch.randn(1, 3, 8, 8)
    pairs = [
        (
            L.cgr_loss(image, other, eps=x(0.25), value_range=RANGE),
            L.cgr_loss(image, other, eps=0.25, value_range=(0, 1)),
        ),
        (
            L.sga_loss(image, labels == 0, threshold=x(0.5), grid=i(2)),
            L.sga_loss(image, labels == 0, threshold=0.5, grid=2),
        ),
        (
            L.temperature_regularization(image, labels, road=i(0), person=i(1)),
            L.temperature_regularization(image, labels, road=0, person=1),
        ),
        (L.gradient_magnitude(image, eps=x(0.25)), L.gradient_magnitude(image, eps=0.25)),
        (
            L.reconstruction_loss(image, other, window_size=i(5), weight_l1=x(0.5)),
            L.reconstruction_loss(image, other, window_size=5, weight_l1=0.5),
        ),
        (L.sr_loss(image, other, window_size=i(5)), L.sr_loss(image, other, window_size=5)),
        (L.segmentation_loss(logits, labels, small_area=x(0.5)), L.segmentation_loss(logits, labels, small_area=0.5)),
        (
            L.relativistic_lsgan_loss([image], [other], "generator", scale_weights=[i(3)]),
            L.relativistic_lsgan_loss([image], [other], "generator"),
        ),
        (L.denoise_labels(labels, image, [(i(0), (i(1),))]), L.denoise_labels(labels, image, [(0, (1,))])),
        (L.fuse_labels(labels, labels.flip(2), (i(1),)), L.fuse_labels(labels, labels.flip(2), (1,))),
        (L.mine_labels(logits, logits, x(0.5)), L.mine_labels(logits, logits, 0.5)),
        (L.mine_labels(logits, logits, [x(0.5)] * 3), L.mine_labels(logits, logits, [0.5] * 3)),
        (L.fill_unlabeled(labels, logits, x(0.5)), L.fill_unlabeled(labels, logits, 0.5)),
        (L.semantic_descriptor(labels, [i(0), (i(1), i(2))]), L.semantic_descriptor(labels, [0, (1, 2)])),
        (m.CITYSCAPES.mask(labels, np.array([0, 2])), m.CITYSCAPES.mask(labels, (0, 2))),
    ]  # fmt: skip
    for found, expected in pairs:
        assert torch.equal(found, expected)


def test_what_is_no_number_is_still_refused() -> None:
    for bad in (np.bool_(True), np.array([2]), np.str_("2"), np.complex64(2)):
        with pytest.raises(TypeError, match="^grid: expected an int, got "):
            m.SGALoss(grid=bad)
        with pytest.raises(TypeError, match="^eps: expected a number, got "):
            m.CGRLoss(eps=bad)
    with pytest.raises(TypeError, match="^grid: expected an int, got float"):
        m.SGALoss(grid=np.float64(2))
    with pytest.raises(ValueError, match=r"^threshold: expected a number in \[0, 1\], got nan"):
        m.SGALoss(threshold=np.float32("nan"))
    with pytest.raises(ValueError, match=r"^k: expected an int >= 1, got 0"):
        m.MemorySampler(m.MemoryBank(2, 2), k=np.int8(0))
    with pytest.raises(TypeError, match="^ids: expected an int, got float"):
        m.CITYSCAPES.mask(torch.zeros(1, dtype=torch.int64), (0.5,))  # type: ignore[arg-type]
