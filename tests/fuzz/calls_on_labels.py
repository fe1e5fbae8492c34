"""Calls of what takes logits, features or descriptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import morn_losses
from fuzz.call import IDS, STRANGE, Call, everywhere, on_image
from fuzz.drawing import DTYPES, Draw, labels, one_of, size, values
from morn_losses import functional


def _segmentation(draw: Draw, function: Callable[..., Any], module: Callable[..., nn.Module], **options: Any) -> Call:
    B, H, W = size(draw)
    K = one_of(draw, (12, 2, 1))
    logits = values(draw, (B, K, H, W), one_of(draw, DTYPES))
    y = labels(draw, (B, H, W), [i for i in IDS if i < K], STRANGE)
    options["ignore_index"] = one_of(draw, (255, 255, -1, 0))
    labeled = (y != options["ignore_index"]) & (y >= 0) & (y < K)
    refused = "labels" if bool((~labeled & (y != options["ignore_index"])).any()) else None
    counted = labeled if options.get("clear_ignored", True) else labeled.flatten(1).any(1)[:, None, None] | labeled
    used = on_image(counted, logits)
    # a class at -inf has probability 0, which is a good answer for any class but the pixel's own
    return Call(function, module, {"logits": logits, "labels": y}, options, {"logits": used}, {}, ("logits",), refused,
                inf_shows=False)  # fmt: skip


def cross_entropy(draw: Draw) -> Call:
    options = {"small_area": one_of(draw, (1 / 64, 0.0, 1.0)), "small_pixels": one_of(draw, (None, 0, 3)),
               "small_weight": one_of(draw, (7.0, 1e-3))}  # fmt: skip
    module = morn_losses.ClassBalancedCrossEntropy
    return _segmentation(draw, functional.class_balanced_cross_entropy, module, **options)


def boundary(draw: Draw) -> Call:
    return _segmentation(draw, functional.boundary_loss, morn_losses.BoundaryLoss,
                         clear_ignored=one_of(draw, (True, False)))  # fmt: skip


def segmentation(draw: Draw) -> Call:
    return _segmentation(draw, functional.segmentation_loss, morn_losses.SegmentationLoss,
                         boundary_weight=one_of(draw, (0.5, 0.0)), small_pixels=one_of(draw, (None, 3)))  # fmt: skip


def aca(draw: Draw) -> Call:
    B, h, w = size(draw)
    C = one_of(draw, (4, 1, 9))
    dtype = one_of(draw, DTYPES)
    real, fake = (values(draw, (B, C, h, w), dtype) for _ in range(2))
    classes = one_of(draw, ((11,), (0, 11), ((0, 1), 11, 2)))
    options = {"n_clusters": one_of(draw, (4, 1, 3)), "metric": one_of(draw, ("euclidean", "cosine")),
               "init": one_of(draw, ("k-means++", "random")), "average": one_of(draw, ("all", "present")),
               "min_positions": one_of(draw, (None, 1)), "n_init": one_of(draw, (1, 2)),
               "max_iter": one_of(draw, (100, 1)), "tol": one_of(draw, (1e-4, 0.0))}  # fmt: skip
    least = options["min_positions"] or options["n_clusters"]
    maps, found, of_class = {}, {}, {}
    for name, x in (("real", real), ("fake", fake)):
        y = labels(draw, (B, *one_of(draw, ((h, w), (2 * h, 2 * w)))), IDS, STRANGE)
        step = y.shape[1] // h
        small, alive = y[:, ::step, ::step], (x != 0).any(1)
        groups = [c if isinstance(c, tuple) else (c,) for c in classes]
        of_class[name] = torch.stack([sum(small == i for i in group).bool() for group in groups])
        found[name] = of_class[name] & alive
        maps[name] = y
    present = (found["real"].sum((2, 3)) >= least) & (found["fake"].sum((2, 3)) >= least)
    used = {name: on_image((found[name] & present[..., None, None]).any(0), x)
            for name, x in (("real", real), ("fake", fake))}  # fmt: skip
    # a zero feature that is no longer zero would count
    inert = {name: on_image(~of_class[name].any(0) | (x != 0).any(1) & ~used[name][:, 0], x)
             for name, x in (("real", real), ("fake", fake))}  # fmt: skip
    broken = bool((used["real"] & ~real.isfinite()).any())

    def loss(*tensors: Tensor, **chosen: Any) -> Any:
        return functional.aca_loss(*tensors, classes, **chosen)

    def module(**chosen: Any) -> nn.Module:
        return morn_losses.ACALoss(classes, **chosen)

    return Call(loss, module, {"features_real": real, "features_fake": fake, "labels_real": maps["real"],
                               "labels_fake": maps["fake"]}, options,
                {"features_real": used["real"], "features_fake": used["fake"]}, {}, ("features_fake",),
                refused="features_real" if broken else None,
                inert={"features_real": inert["real"], "features_fake": inert["fake"]},
                limit={torch.float32: 1e38, torch.float64: 1e307})  # fmt: skip


def similarity(draw: Draw) -> Call:
    a = values(draw, (draw_rows(draw), one_of(draw, (1, 2, 6))), one_of(draw, DTYPES))
    b = values(draw, (draw_rows(draw), a.shape[1]), one_of(draw, DTYPES), extremes=False)
    return Call(functional.descriptor_similarity, None, {"a": a, "b": b}, {}, {"a": everywhere(a)}, {}, ("a",),
                limit={torch.float32: 1e38, torch.float64: 1e307}, reduction=False)  # fmt: skip


def draw_rows(draw: Draw) -> int:
    return int(one_of(draw, (1, 2, 5)))
