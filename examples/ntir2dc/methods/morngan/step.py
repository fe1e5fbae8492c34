"""One training step: its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

Scores = list[list[Tensor]]
"""The maps of the three discriminators, each from fine to coarse."""


@dataclass
class Step:
    """The tensors of one training step: its inputs, and what the networks have made of them so far.

    ``real_a`` is x_a, ``fake_b`` is G_AB(x_a), ``cycle_a`` is G_BA(G_AB(x_a)); likewise for the other domain.
    ``features_real_a`` is E_A(x_a), without grad, ``features_fake_a`` is E_A(G_BA(x_b)). ``logits_real_a`` is S_A(x_a)
    and so on; None where a phase does not need them. While segmenters learn, the rows of ``logits_real_a``,
    ``filled_a`` and ``logits_fake_b`` after those of the batch belong to the further color crops ``extra_a``
    ``(B, n, 3, H, W)``. A window ``(B, 4)`` says where its image was cut out of its frame, as segmenters take it.
    """

    real_a: Tensor
    real_b: Tensor
    window_a: Tensor
    window_b: Tensor
    edges_a: Tensor
    edges_b: Tensor
    labels_a: Tensor
    extra_a: Tensor
    extra_labels_a: Tensor
    extra_windows_a: Tensor
    fake_a: Tensor = field(init=False)
    fake_b: Tensor = field(init=False)
    cycle_a: Tensor = field(init=False)
    cycle_b: Tensor = field(init=False)
    features_real_a: Tensor = field(init=False)
    features_fake_a: Tensor = field(init=False)
    scores_real_a: Scores = field(init=False)
    scores_real_b: Scores = field(init=False)
    scores_fake_a: Scores = field(init=False)
    scores_fake_b: Scores = field(init=False)
    labels_b: Tensor | None = None
    filled_a: Tensor | None = None
    logits_real_a: Tensor | None = None
    logits_real_b: Tensor | None = None
    logits_fake_a: Tensor | None = None
    logits_fake_b: Tensor | None = None
    aca_present: Tensor | None = None
    segmented_side: int | None = None
    """Side to which segmenters see everything resized (published); None as it is."""

    @classmethod
    def of(cls, batch: Mapping[str, Tensor], segmented_side: int | None = None) -> Step:
        """Return the step of a batch, which has not begun; labels of the thermal images may be given."""
        tensors = {name: value for name, value in batch.items() if name != "index_b"}
        return cls(**tensors, segmented_side=segmented_side)

    @property
    def taught_labels_a(self) -> Tensor:
        """The labels of the batch's color images, then those of the further crops, as segmenters see them."""
        labels = torch.cat((self.labels_a, self.extra_labels_a.flatten(0, 1)))
        if self.segmented_side is None:
            return labels
        side = (self.segmented_side,) * 2
        return F.interpolate(labels[:, None].float(), side, mode="nearest")[:, 0].to(labels.dtype)

    def segmented(self, images: Tensor) -> Tensor:
        """Return images as segmenters see them."""
        if self.segmented_side is None:
            return images
        side = (self.segmented_side,) * 2
        return F.interpolate(images, side, mode="bilinear", align_corners=False)
