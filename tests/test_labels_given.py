"""Label maps as files and transforms give them: any integer dtype means the same, nothing else passes in silence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from morn_losses import CITYSCAPES, LabelFusion, LabelSpace, SemanticDenoiser
from morn_losses import functional as L
from morn_losses.label_spaces import COCO_TO_CITYSCAPES, LABEL_IDS_TO_CITYSCAPES

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.rand(2, 3, 12, 16, generator=GENERATOR) * 2 - 1
LOGITS = 4 * torch.randn(2, 19, 12, 16, generator=GENERATOR)
EDGES = torch.rand(2, 12, 16, generator=GENERATOR).round()
LABELS = torch.tensor([0, 5, 8, 10, 11, 13, 255])[torch.randint(7, (2, 12, 16), generator=GENERATOR)]

FUNCTIONS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "class_balanced_cross_entropy": ("labels", lambda y: L.class_balanced_cross_entropy(LOGITS, y)),
    "boundary_loss": ("labels", lambda y: L.boundary_loss(LOGITS, y)),
    "segmentation_loss": ("labels", lambda y: L.segmentation_loss(LOGITS, y)),
    "temperature_regularization": ("labels", lambda y: L.temperature_regularization(IMAGE, y)),
    "sga_plus_loss": ("labels", lambda y: L.sga_plus_loss(IMAGE, EDGES, y)),
    "aca_loss, real": ("labels_real", lambda y: L.aca_loss(LOGITS, LOGITS.flip(0), y, LABELS, [11], n_clusters=1)),  # type: ignore[dict-item, return-value]
    "aca_loss, fake": ("labels_fake", lambda y: L.aca_loss(LOGITS, LOGITS.flip(0), LABELS, y, [11], n_clusters=1)),  # type: ignore[dict-item, return-value]
    "denoise_labels": ("labels", lambda y: SemanticDenoiser.thermal(CITYSCAPES)(y, IMAGE)),
    "fuse_labels, primary": ("primary", lambda y: LabelFusion.visible(CITYSCAPES)(y, LABELS.flip(0))),
    "fuse_labels, secondary": ("secondary", lambda y: LabelFusion.visible(CITYSCAPES)(LABELS.flip(0), y)),
    "fill_unlabeled": ("labels", lambda y: L.fill_unlabeled(y, LOGITS, 0.5)),
    "semantic_descriptor": ("labels", lambda y: L.semantic_descriptor(y, (11, (10, 13)))),
    "LabelSpace.mask": ("labels", lambda y: CITYSCAPES.mask(y, CITYSCAPES.stuff)),
    "LabelSpace.background": ("labels", lambda y: CITYSCAPES.background(y)),
    "LabelSpace.remap": ("labels", lambda y: CITYSCAPES.remap(y, COCO_TO_CITYSCAPES)),
}
OF_ANY_SHAPE = ("LabelSpace.mask", "LabelSpace.background", "LabelSpace.remap")
EVERY = pytest.mark.parametrize(("name", "function"), FUNCTIONS.values(), ids=FUNCTIONS)


@EVERY
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.uint16])
def test_any_integer_dtype_means_the_same(name: str, function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    expected, found = function(LABELS), function(LABELS.to(dtype))
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@EVERY
def test_a_float_map_is_refused_and_the_message_says_what_to_do(
    name: str, function: Callable[[Tensor], Tensor]
) -> None:
    for map_of_floats in (LABELS.float(), LABELS[:, None] / 255, LABELS.half()):
        with pytest.raises(TypeError, match=rf"^{name}: expected an integer dtype, got torch.float") as caught:
            function(map_of_floats)
        assert ".long()" in str(caught.value)
        assert "a PNG of 0..255 is read by torch.from_numpy" in str(caught.value)
        assert "not by ToTensor" in str(caught.value)
    with pytest.raises(TypeError, match=rf"^{name}: expected an integer dtype, got torch.bool$"):
        function(LABELS == 11)
    with pytest.raises(TypeError, match=rf"^{name}: expected a torch.Tensor, got ndarray"):
        function(LABELS.numpy())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"^{name}: expected a torch.Tensor, got MaskedArray"):
        function(np.ma.masked_equal(LABELS.numpy(), 255))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "function"), [FUNCTIONS[n] for n in FUNCTIONS if n not in OF_ANY_SHAPE],
    ids=[n for n in FUNCTIONS if n not in OF_ANY_SHAPE],
)  # fmt: skip
def test_a_channel_axis_is_refused_and_the_message_says_what_to_do(
    name: str, function: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected \(B, H, W\), got \(2, 1, 12, 16\); .*squeeze\(1\)"):
        function(LABELS[:, None])
    with pytest.raises(ValueError, match=rf"^{name}: expected \(B, H, W\), got \(12, 16\)$"):
        function(LABELS[0])


@pytest.mark.parametrize("function", ["class_balanced_cross_entropy", "boundary_loss", "fill_unlabeled", "background"])
def test_ids_of_another_space_are_refused_and_the_message_says_how_to_map_them(function: str) -> None:
    call = FUNCTIONS["LabelSpace.background" if function == "background" else function][1]
    label_ids = LABELS.clone()
    label_ids[0, 0, :3] = torch.tensor([26, 33, 24])
    with pytest.raises(ValueError, match=r"^labels: .*\[0, 19\) or 255, got \[24, 26, 33\]; .*labelIds.*trainIds") as e:
        call(label_ids)
    assert "CITYSCAPES.remap(labels, LABEL_IDS_TO_CITYSCAPES)" in str(e.value)


def test_ignored_by_minus_one_everywhere() -> None:
    minus = torch.where(LABELS == 255, -1, LABELS).to(torch.int8)
    for loss in (L.class_balanced_cross_entropy, L.boundary_loss, L.segmentation_loss):
        assert loss(LOGITS, minus, ignore_index=-1).item() == loss(LOGITS, LABELS).item()
    space = LabelSpace(CITYSCAPES.names, (11,), (11,), tuple(range(11)), ignore_index=-1)

    def same(found: Tensor, expected: Tensor) -> bool:
        return torch.equal(found, torch.where(expected == 255, -1, expected))

    assert torch.equal(space.background(minus), CITYSCAPES.background(LABELS))
    assert same(space.remap(minus, COCO_TO_CITYSCAPES), CITYSCAPES.remap(LABELS, COCO_TO_CITYSCAPES))
    assert same(SemanticDenoiser.thermal(space)(minus, IMAGE), SemanticDenoiser.thermal(CITYSCAPES)(LABELS, IMAGE))
    fused = LabelFusion.visible(CITYSCAPES)(LABELS, LABELS.flip(0))
    assert same(LabelFusion.visible(space)(minus, minus.flip(0)), fused)
    assert same(L.fill_unlabeled(minus, LOGITS, 0.9, ignore_index=-1), L.fill_unlabeled(LABELS, LOGITS, 0.9))
    assert same(L.mine_labels(LOGITS, LOGITS, 0.9, ignore_index=-1), L.mine_labels(LOGITS, LOGITS, 0.9))
    assert torch.equal(L.temperature_regularization(IMAGE, minus), L.temperature_regularization(IMAGE, LABELS))
    assert torch.equal(L.semantic_descriptor(minus, (11, 13)), L.semantic_descriptor(LABELS, (11, 13)))


def test_cityscapes_label_ids_become_its_train_ids() -> None:
    # the order of the data set's table: what is not evaluated has the train id 255, or -1 for the license plate
    evaluated = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    label_ids = torch.arange(-1, 34)
    found = CITYSCAPES.remap(label_ids, LABEL_IDS_TO_CITYSCAPES)
    assert found[label_ids >= 0][evaluated].tolist() == list(range(19))
    assert (found == 255).sum() == 35 - 19
    assert {CITYSCAPES.names[t]: i for i, t in LABEL_IDS_TO_CITYSCAPES.items()}["train"] == 31


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_probabilities_in_the_place_of_logits_are_refused(dtype: torch.dtype) -> None:
    probabilities = LOGITS.softmax(1).to(dtype)
    for call, name in (
        (lambda p: L.mine_labels(p, LOGITS.to(dtype), 0.5), "logits_real"),
        (lambda p: L.mine_labels(LOGITS.to(dtype), p, 0.5), "logits_translated"),
        (lambda p: L.fill_unlabeled(LABELS, p), "logits"),
    ):
        for p in (probabilities, torch.nn.functional.one_hot(LABELS % 19, 19).movedim(3, 1).to(dtype)):
            with pytest.raises(ValueError, match=rf"^{name}: expected logits, got probabilities .*from_logits=False"):
                call(p)
    L.mine_labels(probabilities, probabilities, 0.5, from_logits=False)
    L.fill_unlabeled(LABELS, probabilities, from_logits=False)


def test_logits_that_only_look_like_probabilities_somewhere_pass() -> None:
    logits = LOGITS.softmax(1)
    logits[1, :, -1, -1] *= 3
    L.mine_labels(logits, logits, 0.5)
    zeros = torch.zeros_like(LOGITS)
    assert (L.mine_labels(zeros, zeros, 0.5) == 255).all()
    # the softmax of one class is 1 whatever its logit
    assert (L.mine_labels(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 0.5) == 0).all()
    nothing = torch.full_like(LOGITS, torch.nan)
    assert (L.mine_labels(nothing, nothing, 0.5) == 255).all()
