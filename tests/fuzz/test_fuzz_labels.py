"""Label maps, memory and edges under fire: the result is made of known values, and a broken pixel spoils no other."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fuzz.call import IDS, STRANGE
from fuzz.counts import COUNTS, examples, no_hang
from fuzz.drawing import DTYPES, LAYOUTS, Draw, arrange, generator, labels, one_of, size, values
from morn_losses import (
    CITYSCAPES,
    LabelFusion,
    LabelMiner,
    MemoryBank,
    MemorySampler,
    OnlineSemanticDistillation,
    PseudoLabeler,
)
from morn_losses import SemanticDenoiser as Denoiser
from morn_losses.edges import canny_edges, soft_edges
from morn_losses.functional import (
    denoise_labels,
    descriptor_similarity,
    fill_unlabeled,
    fuse_labels,
    mine_labels,
    semantic_descriptor,
)
from morn_losses.metrics import apce, edge_scores
from morn_losses.pseudo_labels.look import random_thermal_look

ANY = (*IDS, *STRANGE, 255)


def denoise(draw: Draw) -> str:
    B, H, W = size(draw)
    y = labels(draw, (B, H, W), IDS, STRANGE)
    image = values(draw, (B, one_of(draw, (1, 3)), H, W), one_of(draw, DTYPES))
    rules = one_of(draw, (((0, (11,)),), ((0, (1, 2)), (1, (0,))), ()))
    ignore = one_of(draw, (255, -1))
    found = denoise_labels(y, arrange(image, one_of(draw, LAYOUTS)), rules, ignore_index=ignore)
    assert ((found == y) | (found == ignore)).all()
    involved = {i for label, others in rules for i in (label, *others)}
    inside = torch.isin(y, torch.tensor([*involved, 10**9]))
    assert (found == y)[~torch.isin(y, torch.tensor([*(label for label, _ in rules), 10**9]))].all()
    poisoned = torch.where(inside[:, None], image, math.nan)
    assert torch.equal(denoise_labels(y, poisoned, rules, ignore_index=ignore), found)
    return "labels"


def fuse(draw: Draw) -> str:
    shape = size(draw)
    p, s = (labels(draw, shape, IDS, STRANGE) for _ in range(2))
    options = {"aliases": one_of(draw, (None, {1: 11}, {0: 1, 1: 0})), "overrides": one_of(draw, (None, {(0, 11): 2})),
               "alias_secondary": one_of(draw, (True, False))}  # fmt: skip
    agree = one_of(draw, ((), (11,), (0, 11, 300)))
    layout = one_of(draw, LAYOUTS)
    found = fuse_labels(arrange(p, layout), arrange(s, layout), agree, **options)
    assert torch.equal(found, LabelFusion(agree, **options)(p, s))
    assert torch.isin(found, torch.tensor([*ANY])).all()
    return "labels"


def mine(draw: Draw) -> str:
    B, H, W = size(draw)
    K = one_of(draw, (1, 2, 12))
    real, translated = (values(draw, (B, K, H, W), one_of(draw, DTYPES)) for _ in range(2))
    thresholds = one_of(draw, (0.0, 0.5, 1, 0.95, [0.5] * K))
    layout = one_of(draw, LAYOUTS)
    found = mine_labels(arrange(real, layout), arrange(translated, layout), thresholds)
    assert torch.equal(found, LabelMiner(thresholds)(real, translated))
    assert (((found >= 0) & (found < K)) | (found == 255)).all()
    broken = (real.isnan() | translated.isnan()).any(1)
    assert (found[broken] == 255).all()
    spoiled = real.clone()
    spoiled[:, :, 0, 0] = math.nan
    again = mine_labels(spoiled, translated, thresholds)
    assert (again[:, 0, 0] == 255).all()
    again[:, 0, 0] = found[:, 0, 0]
    assert torch.equal(again, found)
    return "labels"


def fill(draw: Draw) -> str:
    B, H, W = size(draw)
    K = one_of(draw, (1, 2, 12))
    y = labels(draw, (B, H, W), [i for i in IDS if i < K], STRANGE)
    logits = values(draw, (B, K, H, W), one_of(draw, DTYPES))
    if bool((((y < 0) | (y >= K)) & (y != 255)).any()):
        with pytest.raises(ValueError, match=r"labels: expected class ids"):
            fill_unlabeled(y, logits)
        return "refused"
    found = fill_unlabeled(y, arrange(logits, one_of(draw, LAYOUTS)), one_of(draw, (0.0, 0.5, 1)))
    assert (((found >= 0) & (found < K)) | (found == 255)).all()
    assert torch.equal(found[y != 255], y[y != 255])
    assert (found[(y == 255) & logits.isnan().any(1)] == 255).all()
    return "labels"


def distill(draw: Draw) -> str:
    B, H, W = size(draw)
    module = OnlineSemanticDistillation(LabelMiner(one_of(draw, (0.0, 0.3, 0.9))), Denoiser.thermal(CITYSCAPES))
    logits = [values(draw, (B, 19, H, W), one_of(draw, DTYPES)) for _ in range(2)]
    found = module(*logits, values(draw, (B, one_of(draw, (1, 3)), H, W), one_of(draw, DTYPES)))
    assert (((found >= 0) & (found < 19)) | (found == 255)).all()
    return "labels"


def pseudo_labels(draw: Draw) -> str:
    B, H, W = size(draw)
    K, C, stride = one_of(draw, (1, 2, 5)), one_of(draw, (1, 3)), one_of(draw, (1, 2))

    class Network(nn.Module):
        """Logits of any value, at all or a half of the size, and a weight that takes part."""

        def __init__(self) -> None:
            super().__init__()
            shape = (B, K, -(-H // stride), -(-W // stride))
            self.register_buffer("logits", values(draw, shape, one_of(draw, DTYPES)))
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> Any:
            found = SimpleNamespace(logits=self.scale * self.logits)
            return found if stride == 2 else found.logits

    rules = [(0, (1,))] if K > 1 else []
    label = PseudoLabeler(
        Network(),
        OnlineSemanticDistillation(LabelMiner(one_of(draw, (0.0, 0.9))), Denoiser(rules)),
        student=Network(),
        agree=one_of(draw, (True, False)),
    )
    image = values(draw, (B, C, H, W), one_of(draw, DTYPES))
    known = labels(draw, (B, H, W), [i for i in IDS if i < K])
    found, loss = label(image, image.flip(0)), label.student_loss(image, known)
    assert (((found >= 0) & (found < K)) | (found == 255)).all()
    assert not found.requires_grad
    assert label.student.training
    if loss.isfinite():
        loss.backward()
    elif label.student.logits.isfinite().all() and label.student.logits.abs().max() < 1e30:
        raise AssertionError("a loss that is not finite from logits that are")
    return "labels"


def looks(draw: Draw) -> str:
    B, H, W = size(draw)
    images = values(draw, (B, 3, H, W), one_of(draw, DTYPES))
    y = labels(draw, (B, H, W), [i for i in IDS if i < 19], STRANGE)
    if bool((((y < 0) | (y >= 19)) & (y != 255)).any()):
        with pytest.raises(ValueError, match=r"labels: expected class ids"):
            random_thermal_look(images, y, [(0.0, 1.0)] * 19)
        return "refused"
    found = random_thermal_look(arrange(images, one_of(draw, LAYOUTS)), y, [(0.0, 1.0)] * 19)
    assert found.dtype == images.dtype
    if images.isfinite().all() and images.abs().max() < 1e30:
        assert (found.abs() <= 1).all()
    return "looks"


def descriptor(draw: Draw) -> str:
    y = labels(draw, size(draw), IDS, STRANGE)
    classes = one_of(draw, ((11,), (0, 11, 1), ((0, 1), 2), CITYSCAPES.small_sample))
    found = semantic_descriptor(arrange(y, one_of(draw, LAYOUTS)), classes)
    assert found.shape == (len(y), len(classes))
    assert found.dtype == torch.float32
    assert (found.abs() <= 1).all()
    assert CITYSCAPES.mask(y, (0, 11)).sum() == (y == 0).sum() + (y == 11).sum()
    return "finite"


def memory(draw: Draw) -> str:
    n, capacity = one_of(draw, (1, 2, 6)), one_of(draw, (1, 3, 20))
    bank = MemoryBank(capacity, n)
    sampler = MemorySampler(bank, k=one_of(draw, (1, 2, 10)))
    query = values(draw, (one_of(draw, (1, 3)), n), one_of(draw, DTYPES))
    ended = "drawn"
    for _ in range(draw(st.integers(0, 3))):
        count = draw(st.integers(0, capacity))
        ids = torch.randperm(capacity, generator=generator(draw))[:count]
        written = values(draw, (count, n), one_of(draw, DTYPES)) if count else torch.zeros(0, n)
        before = bank.descriptors.clone(), bank.filled.clone()
        if not written.float().isfinite().all():
            with pytest.raises(ValueError, match="descriptors"):
                bank.write(ids, written)
            assert torch.equal(bank.descriptors, before[0])
            assert torch.equal(bank.filled, before[1])
        else:
            bank.write(ids, written)
            assert bank.filled[ids].all()
    if not query.isfinite().all():
        with pytest.raises(ValueError, match="descriptors"):
            sampler(query)
        ended = "refused"
    elif len(bank) == 0:
        with pytest.raises(RuntimeError, match="bank"):
            sampler(query)
        ended = "refused"
    else:
        found = sampler(query, generator=generator(draw))
        assert bank.filled[found].all()
        similarity = descriptor_similarity(query, bank.descriptors).masked_fill(~bank.filled, -2)
        last = similarity.topk(min(sampler.k, len(bank)), 1).values[:, -1:]
        assert (similarity.gather(1, found[:, None]) >= last - 2e-6).all()
    assert bank.descriptors.isfinite().all()
    return ended


def edges(draw: Draw) -> str:
    _, H, W = size(draw)
    dtype = one_of(draw, (np.float64, np.float32, np.float16, np.uint8, np.int64, bool))
    image = values(draw, (H, W), torch.float64).numpy() * one_of(draw, (1, 1e-290, 1e270))
    if dtype not in (np.float64, np.float32, np.float16):
        image = np.nan_to_num(image, posinf=0, neginf=0).clip(0, 200)
    with np.errstate(over="ignore"):
        image = image.astype(dtype)
    other = image[::-1].copy()
    if not np.isfinite(image).all():
        with pytest.raises(ValueError, match="gray: expected finite"):
            canny_edges(image, 0.1, 0.2)
        with pytest.raises(ValueError, match="source: expected finite"):
            apce(image, other, thresholds=5)
        return "refused"
    found = canny_edges(image, *one_of(draw, ((0.1, 0.2), (0, 0), (1, 1))), sigma=one_of(draw, (1.4, 0.1, 30)))
    assert found.shape == (H, W)
    assert found.dtype == bool
    batch = torch.from_numpy(np.stack((image, other)).astype(np.float64))[:, None]
    assert (canny_edges(batch, 0.1, 0.2)[0, 0].numpy() == canny_edges(image, 0.1, 0.2)).all()
    x = batch.clone().requires_grad_()
    soft = soft_edges(x, *one_of(draw, ((0.1, 0.2), (1e-6, 1))), softness=one_of(draw, (1e-3, 0.5, 100)))
    soft.sum().backward()
    assert ((soft >= 0) & (soft <= 1)).all()
    assert x.grad is not None
    # per unit of an image's values, which may be tiny
    assert (x.grad * x.detach().abs().amax((1, 2, 3), keepdim=True)).isfinite().all()
    result = apce(image, other, thresholds=5)
    scores = edge_scores(image, image, thresholds=5)
    assert math.isnan(result.value) or 0 <= result.value <= 1
    assert math.isnan(scores.f1) or scores.f1 == 1
    return "edges"


FUNCTIONS: dict[str, Any] = {
    "denoise_labels": denoise,
    "fuse_labels": fuse,
    "mine_labels": mine,
    "fill_unlabeled": fill,
    "OnlineSemanticDistillation": distill,
    "PseudoLabeler": pseudo_labels,
    "random_thermal_look": looks,
    "semantic_descriptor": descriptor,
    "MemoryBank, MemorySampler": memory,
    "canny_edges, soft_edges, apce, edge_scores": edges,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_labels_memory_and_edges_under_fire(name: str) -> None:
    @examples(short=12, full=600)
    @given(st.data())
    def fire(data: st.DataObject) -> None:
        with no_hang():
            try:
                ended = FUNCTIONS[name](data.draw)
            except ValueError as error:  # a pixel or two may happen to be at least 0 and of sum 1
                if "expected logits, got probabilities" not in str(error):
                    raise
                ended = "refused as probabilities"
        COUNTS[name][ended] += 1

    fire()
