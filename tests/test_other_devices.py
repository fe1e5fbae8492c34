"""What a device other than the CPU asks of functions on labels and images; the losses' part is in their contract.

Tensors of the meta device have no values: a function that looks at one fails, and so does one that brings a tensor of
the CPU. Without a GPU this says that the host would not wait for it, and nothing of the results.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from morn_losses import CITYSCAPES, LabelFusion, LabelMiner, OnlineSemanticDistillation, SemanticDenoiser
from morn_losses import functional as L
from morn_losses.label_spaces import COCO_TO_CITYSCAPES

Inputs = tuple[Tensor, Tensor, Tensor]
"""Logits ``(B, K, H, W)``, labels ``(B, H, W)`` and an image ``(B, 3, H, W)``."""

DISTILL = OnlineSemanticDistillation(LabelMiner.from_label_space(CITYSCAPES), SemanticDenoiser.thermal(CITYSCAPES))
FUNCTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "mine_labels, sequence": lambda z, _, __: L.mine_labels(z, z.flip(0), (0.9,) * 19),
    "mine_labels, several may qualify": lambda z, _, __: L.mine_labels(z, z.flip(0), 0.01),
    "mine_labels, tensor": lambda z, _, __: L.mine_labels(z, z, torch.full((19,), 0.2, device=z.device)),
    "fill_unlabeled": lambda z, y, _: L.fill_unlabeled(y, z, 0.2),
    "denoise_labels": lambda _, y, x: SemanticDenoiser.visible(CITYSCAPES)(y, x),
    "OnlineSemanticDistillation": lambda z, _, x: DISTILL(4 * z, 4 * z, x),
    "fuse_labels": lambda _, y, __: LabelFusion.visible(CITYSCAPES, published=True)(y, y.flip(1)),
    "LabelSpace.mask": lambda _, y, __: CITYSCAPES.mask(y, CITYSCAPES.stuff),
    "LabelSpace.background": lambda _, y, __: CITYSCAPES.background(y),
    "LabelSpace.remap": lambda _, y, __: CITYSCAPES.remap(y, COCO_TO_CITYSCAPES),
    "semantic_descriptor": lambda _, y, __: L.semantic_descriptor(y, [6, (11, 12), 13]),
    "descriptor_similarity": lambda z, _, __: L.descriptor_similarity(z[:, :, 0, 0], z[:, :, 1, 0]),
    "gradient_magnitude": lambda _, __, x: L.gradient_magnitude(x),
    "to_gray": lambda _, __, x: L.to_gray(x),
    "channel_max": lambda _, __, x: L.channel_max(x),
}
EVERY = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def inputs() -> Inputs:
    labels = torch.randint(0, 20, (2, 16, 24))
    return torch.randn(2, 19, 16, 24), torch.where(labels == 19, 255, labels), torch.rand(2, 3, 16, 24)


@EVERY
def test_it_looks_at_no_value_and_brings_no_tensor_of_the_cpu(function: Callable[..., Tensor]) -> None:
    expected, found = function(*inputs()), function(*(x.to("meta") for x in inputs()))
    assert (found.device.type, found.shape, found.dtype) == ("meta", expected.shape, expected.dtype)


@EVERY
@pytest.mark.gpu
def test_on_cuda_the_host_does_not_wait_and_the_result_is_the_same(function: Callable[..., Tensor]) -> None:
    given = inputs()
    on_device = [x.cuda() for x in given]
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = function(*on_device)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    torch.testing.assert_close(found.cpu(), function(*given))
