"""A loss over the positions of classes, image by image and without all other positions: what is left stays in cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Terms = TypeVar("Terms", bound=tuple[Tensor, ...])


def image_by_image(
    terms: Callable[[Tensor, Tensor, Tensor, Tensor, int], Terms],
    least: int,
    real: Tensor,
    in_real: Tensor,
    fake: Tensor,
    in_fake: Tensor,
) -> Terms:
    """Return what ``terms`` gives for features ``(B, C, P)``, of which ``(B, n_classes, P)`` belong to the classes.

    It is called for one image at a time, with the image's number last. A class with fewer than ``least`` positions in
    either image is left out.
    """
    of_images = []
    # split, since the backward of every slice would fill a tensor of the whole batch
    for i, (one_real, one_fake) in enumerate(zip(torch.split(real, 1), torch.split(fake, 1), strict=True)):
        of_real, of_fake = in_real[i : i + 1], in_fake[i : i + 1]
        both = ((of_real.sum(2) >= least) & (of_fake.sum(2) >= least))[..., None]
        of_images.append(terms(*_compact(one_real, of_real & both), *_compact(one_fake, of_fake & both), i))
    return type(of_images[0])(*(torch.cat(values) for values in zip(*of_images, strict=True)))


def _compact(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the positions of one image that belong to a class, at least one so that no axis is empty."""
    positions = masks[0].any(0).nonzero().flatten()
    if len(positions) == 0:
        positions = positions.new_zeros(1)
    # by gather, whose backward is faster along the last axis than that of an index
    return features.gather(2, positions.expand(1, features.shape[1], -1)), masks[:, :, positions]
