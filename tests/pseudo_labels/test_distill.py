from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morn_losses.label_spaces import CITYSCAPES
from morn_losses.pseudo_labels.denoise import SemanticDenoiser, denoise_labels
from morn_losses.pseudo_labels.distill import OnlineSemanticDistillation
from morn_losses.pseudo_labels.mine import LabelMiner, mine_labels


def distillation(ignore_index: int = 255) -> OnlineSemanticDistillation:
    return OnlineSemanticDistillation(
        LabelMiner((0.6, 0.5, 0.7), ignore_index=ignore_index),
        SemanticDenoiser([(0, (1,)), (1, (0, 2))], ignore_index=ignore_index),
    )


def inputs(batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    common = 2 * torch.randn(batch, 3, 7, 9)
    image = common.argmax(1, keepdim=True) + 0.6 * torch.randn(batch, 1, 7, 9)
    return common + 0.5 * torch.randn_like(common), common + 0.5 * torch.randn_like(common), image


def test_it_denoises_what_was_mined() -> None:
    """Section 3.3.3: mining, then denoising."""
    real, translated, image = inputs()
    mined = mine_labels(real, translated, (0.6, 0.5, 0.7))
    expected = denoise_labels(mined, image, [(0, (1,)), (1, (0, 2))])
    value = distillation()(real, translated, image)
    assert torch.equal(value, expected)
    assert not torch.equal(value, mined)
    other = distillation(-1)(real, translated, image)
    assert torch.equal(other, torch.where(expected == 255, -1, expected))


def test_the_modules_of_the_paper_by_hand() -> None:
    # four pixels of a pole, three of sky, and one that only one segmenter is sure of
    labels = torch.tensor([5, 5, 5, 5, 10, 10, 10, 10])
    logits = torch.zeros(1, 19, 1, 8)
    logits[0, labels, 0, torch.arange(8)] = 12.0
    unsure = logits.clone()
    unsure[..., 7] = 0
    # the last one of the pole is as cold as the sky
    image = torch.tensor([0.0, 0.1, 0.0, -0.9, -0.9, -1.0, -0.9, -1.0]).expand(1, 3, 1, 8)
    distill = OnlineSemanticDistillation(LabelMiner.from_label_space(CITYSCAPES), SemanticDenoiser.thermal(CITYSCAPES))
    expected = [[[5, 5, 5, 255, 10, 10, 10, 255]]]
    assert distill(logits, unsure, image).tolist() == expected
    assert distill(unsure, logits, image).tolist() == expected


def test_runs_without_grad_and_has_no_state() -> None:
    real, translated, image = (x.requires_grad_() for x in inputs())
    module = distillation()
    assert not module(real, translated, image).requires_grad
    assert torch.is_grad_enabled()
    assert not module.state_dict()
    assert not list(module.parameters())
    assert "(miner): LabelMiner" in repr(module)
    assert "(denoiser): SemanticDenoiser" in repr(module)


def test_batch_and_compilation_do_not_matter() -> None:
    module = distillation()
    batch = inputs()
    whole = module(*batch)
    for b in range(3):
        assert torch.equal(module(*(x[b : b + 1] for x in batch))[0], whole[b])
    torch.compiler.reset()
    assert torch.equal(torch.compile(module, fullgraph=True, backend="aot_eager")(*batch), whole)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="denoiser: expected the miner's ignore_index = 255, got -1"):
        OnlineSemanticDistillation(LabelMiner(0.9), SemanticDenoiser((), ignore_index=-1))
    real, translated, image = inputs()
    expected = r"logits_real: expected \(B, K, H, W\) of the image's size = \(3, 3, 7, 8\), got \(3, 3, 7, 9\)"
    with pytest.raises(ValueError, match=expected):
        distillation()(real, translated, image[..., 1:])
    with pytest.raises(ValueError, match=r"logits_real: .* got \(2, 3, 7, 9\)"):
        distillation()(real[:2], translated[:2], image)
    with pytest.raises(ValueError, match="logits_real: expected logits, got probabilities"):
        distillation()(real.softmax(1), translated, image)
    with pytest.raises(ValueError, match="logits_translated: expected logits, got probabilities"):
        distillation()(real, translated.softmax(1), image)
    with pytest.raises(ValueError, match="logits_translated"):
        distillation()(real, translated[:1], image)
