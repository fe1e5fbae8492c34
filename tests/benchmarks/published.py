"""Baselines of our own in the manner of the published code: loops over classes and patches, batch 1.

Written from a description of what that code does, not from the code; they state no more than how such loops fare.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def kmeans_cosine(x: Tensor, centers: Tensor, limit: int) -> Tensor:
    """k-means as kmeans_pytorch writes it: broadcast distances, one cluster after another, under a limit."""
    centers = centers.clone()
    for _ in range(limit):
        a, b = x[:, None], centers[None]
        distance = 1 - (a / a.norm(dim=-1, keepdim=True) * (b / b.norm(dim=-1, keepdim=True))).sum(-1)
        choice, before = distance.argmin(1), centers.clone()
        for k in range(len(centers)):
            centers[k] = x.index_select(0, (choice == k).nonzero().squeeze(1)).mean(0)
        if (centers - before).square().sum(1).sqrt().sum() ** 2 < 1e-4:
            break
    return centers


def aca(real: Tensor, fake: Tensor, labels_real: Tensor, labels_fake: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Adaptive collaborative attention of one image, class by class, on whole maps with the other positions at 0."""
    total, present = real.new_zeros(()), 0
    C = real.shape[1]
    for c in classes:
        in_real, in_fake = (labels_real == c).float(), (labels_fake == c).float()
        if in_real.sum() <= 4 or in_fake.sum() <= 4:
            continue
        of_real = (real * in_real[:, None]).view(C, -1).T
        of_fake = (fake * in_fake[:, None]).view(C, -1).T
        points = of_real[in_real.view(-1) > 0].detach()
        centers = kmeans_cosine(points, points[torch.randperm(len(points))[:4]], 100)
        unit = F.normalize(centers, dim=1)
        of_real = unit @ F.normalize(of_real.detach(), dim=1).T
        of_fake = unit @ F.normalize(of_fake, dim=1).T
        mu = F.relu(0.9 * of_real.amax(0).sum() / in_real.sum() - of_fake.amax(0).sum() / in_fake.sum())
        tau = F.relu(0.9 * of_real.amax(1).mean() - of_fake.amax(1).mean())
        total = total + mu + tau
        present += 1
    return total / max(present, 1)


def _gray(x: Tensor) -> Tensor:
    x = (x + 1) / 2
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]


def _gradient(gray: Tensor) -> Tensor:
    across = torch.tensor([[0.0, 0, 0], [-1, 0, 1], [0, 0, 0]], device=gray.device)
    gx = F.conv2d(gray, across.view(1, 1, 3, 3), padding=1)
    gy = F.conv2d(gray, across.T.reshape(1, 1, 3, 3), padding=1)
    return (gx**2 + gy**2 + 1e-6).sqrt()


def cgr(real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """Conditional gradient repair; the background is put together class by class."""
    mask = torch.zeros_like(labels, dtype=real.dtype)
    for c in (*range(11), 255):
        mask = mask + (labels == c).float()
    mask = mask[:, None]
    of_real, of_fake = _gradient(_gray(real)) * mask, _gradient(_gray(fake)) * mask
    strong = (of_real > of_real.sum() / mask.sum()).float()
    return F.relu(strong * (of_real - of_fake)).sum() / (strong * of_real).sum()


def sga(fake: Tensor, edges: Tensor, grid: int = 8) -> Tensor:
    """Structured gradient alignment, patch by patch, over all of them."""
    g, e = _gradient(_gray(fake)), edges[:, None]
    h, w = e.shape[2] // grid, e.shape[3] // grid
    total, count = fake.new_zeros(()), 0
    for i in range(grid):
        for j in range(grid):
            ge, ee = (
                g[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w],
                e[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w],
            )
            if ee.sum() > 0:
                total = total + F.relu(0.8 * ee - ge / ge.max()).sum() / (ee.sum() + 1)
                count += 1
    return total / max(count, 1)


def mine_and_denoise(logits_real: Tensor, logits_translated: Tensor, image: Tensor) -> Tensor:
    """Label mining class by class, then the denoising of sky, pole, person and tree with masks and repeated means."""
    p, q = logits_real.softmax(1), logits_translated.softmax(1)
    labels = torch.full_like(p[:, 0], 255)
    for c in range(p.shape[1]):
        threshold = 0.99 if c < 11 else 0.95
        both = (p[:, c] >= threshold).float() * (q[:, c] >= threshold).float()
        labels = labels * (1 - both) + c * both
    for label, others in ((10, (8,)), (5, (10,)), (11, (8,)), (8, (10,))):
        own = (labels == label).float()
        if own.sum() == 0:
            continue
        mean = (image * own[:, None]).sum((2, 3)) / own.sum()
        distance = ((image - mean[:, :, None, None].repeat(1, 1, *own.shape[1:])) ** 2).sum(1) * own
        noise = torch.zeros_like(own)
        for other in others:
            mask = (labels == other).float()
            if mask.sum() == 0:
                continue
            mean = (image * mask[:, None]).sum((2, 3)) / mask.sum()
            far = ((image - mean[:, :, None, None].repeat(1, 1, *own.shape[1:])) ** 2).sum(1) * own
            noise = noise + ((distance - far) > 0).float()
        keep = own * (1 - noise.clamp(max=1))
        labels = labels * (1 - own) + label * keep + 255 * (own - keep)
    return labels.long()


def boundary(logits: Tensor, labels: Tensor) -> Tensor:
    """Boundary loss, class by class."""
    p = logits.softmax(1)
    missed, edge = logits.new_zeros(()), logits.new_zeros(())
    for c in range(logits.shape[1]):
        one = (labels == c).float()[:, None]
        mine = p[:, c : c + 1]
        of_label = (one - F.avg_pool2d(one, 3, stride=1, padding=1)).abs()
        of_output = (mine - F.avg_pool2d(mine, 3, stride=1, padding=1)).abs()
        missed = missed + (of_label - of_output).abs().sum()
        edge = edge + of_label.sum()
    return missed / edge


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Class-balanced cross-entropy; weights are found class by class."""
    weights = logits.new_ones(logits.shape[1])
    for c in range(logits.shape[1]):
        if (labels == c).sum().item() < 32 * 32:
            weights[c] = 7
    return F.cross_entropy(logits, labels, weight=weights, ignore_index=255)
