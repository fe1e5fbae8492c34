"""PearlGAN's two losses on the maps of its encoders' attention, of which the coarsest one is free."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attention_diversity(maps: Tensor) -> Tensor:
    r"""Each place belongs to one of the finer maps.

    .. math::
        \mathcal{L}_{ad} = \frac{1}{2} \left( \frac{1}{4} \overline{\left(\sum_k A_k - 1\right)^2}
            + 1 - \overline{\max_k A_k} \right), \quad k = 2, 3, 4

    Args:
        maps: in [0, 1], ``(B, 4, h, w)``, coarse to fine.
    """
    finer = maps[:, 1:]
    return ((finer.sum(1) - 1).square().mean() / 4 + 1 - finer.amax(1).mean()) / 2


def cross_domain_similarity(features: Tensor, maps: Tensor, others: Tensor, maps_of_others: Tensor) -> Tensor:
    r"""What a map picks out in both domains is more alike than what two maps pick out.

    The vectors :math:`v_k` are means of features, weighted by map k, of length 1; likewise :math:`v'_k`. With
    :math:`S_{kj} = v_k \cdot v'_j` and the largest values :math:`m_k` that map k has in both domains,

    .. math::
        \mathcal{L}_{accs} = \frac{\sum_k m_k (\max_j S_{kj} - S_{kk})}{\sum_k m_k + 10^{-6}}
            + \frac{d(V) + d(V')}{4}, \quad m_k = \min(\max A_k, \max B_k), \quad k = 2, 3, 4

    where d is the sum of the products :math:`v_k \cdot v_j` of two different vectors over 9, if it is positive.

    Args:
        features: of real images, ``(B, C, h, w)``.
        maps: of their attention, in (0, 1), ``(B, 4, h, w)``, coarse to fine.
        others: features, by the same encoder, of images that were translated into its domain.
        maps_of_others: of the attention on what these were translated from.

    Returns:
        The mean over the batch. The features are constants: the gradient reaches the maps alone.
    """
    with torch.autocast(features.device.type, enabled=False):
        A, B = maps[:, 1:], maps_of_others[:, 1:]
        V, W = picked_out(features.detach(), A), picked_out(others.detach(), B)
        S = V @ W.mT
        m = torch.minimum(A.amax((2, 3)), B.amax((2, 3)))
        missed = S.amax(2) - S.diagonal(dim1=1, dim2=2)
        unlike = (m * missed).sum(1) / (m.sum(1) + 1e-6)
        return (unlike + (overlap(V) + overlap(W)) / 4).mean()


def picked_out(features: Tensor, maps: Tensor) -> Tensor:
    """Return the mean of features that each map weights, of length 1, ``(B, K, C)``."""
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    weighted = torch.einsum("bkhw,bchw->bkc", maps, features.to(maps.dtype))
    return F.normalize(weighted / maps.sum((2, 3))[..., None], dim=2)


def overlap(vectors: Tensor) -> Tensor:
    """Return by how much ``(B, K, C)`` vectors resemble each other, ``(B,)``: 0 where they do not on the whole."""
    products = vectors @ vectors.mT
    between = products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))
    return between.mean((1, 2)).relu()
