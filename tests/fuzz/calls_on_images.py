"""Calls of what takes images, and scores of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import morn_losses
from fuzz.call import IDS, STRANGE, Call, draw_bool, everywhere, image, on_image, value_range
from fuzz.drawing import DTYPES, Draw, generator, gradient_support, labels, mask, one_of, size, values
from morn_losses import functional


def channel_max(draw: Draw) -> Call:
    x = image(draw, *size(draw), channels=(1, 2, 3, 5))
    function = one_of(draw, (functional.channel_max, functional.channel_min))
    return Call(function, None, {"x": x}, takes_part={"x": everywhere(x)}, differentiable=("x",),
                inf_shows=False, reduction=False, keeps_dtype=True)  # fmt: skip


def to_gray(draw: Draw) -> Call:
    x = image(draw, *size(draw))
    return Call(functional.to_gray, None, {"x": x}, takes_part={"x": everywhere(x)}, differentiable=("x",),
                reduction=False)  # fmt: skip


def gradient_magnitude(draw: Draw) -> Call:
    x = image(draw, *size(draw))
    options = {"padding_mode": one_of(draw, ("replicate", "zeros")), "eps": one_of(draw, (1e-6, 1e-12, 1e-60))}
    all_of_it = torch.ones(x.shape[0], *x.shape[2:], dtype=torch.bool)
    used = on_image(gradient_support(all_of_it, options["padding_mode"]), x)
    return Call(functional.gradient_magnitude, None, {"x": x}, options, {"x": used}, differentiable=("x",),
                reduction=False)  # fmt: skip


def monochromatic(draw: Draw) -> Call:
    x = image(draw, *size(draw))
    return Call(functional.monochromatic_regularization, morn_losses.MonochromaticRegularization, {"x": x},
                takes_part={"x": everywhere(x)}, differentiable=("x",))  # fmt: skip


def temperature(draw: Draw) -> Call:
    B, H, W = size(draw)
    x, y = image(draw, B, H, W), labels(draw, (B, H, W), IDS, STRANGE)
    options = {"detach_road": one_of(draw, (True, False)), "eps": one_of(draw, (1e-4, 1e-30)),
               "value_range": value_range(draw)}  # fmt: skip
    road, person = y == 0, y == 11
    both = road.flatten(1).any(1) & person.flatten(1).any(1)
    used = on_image((road | person) & both[:, None, None], x)
    # an infinitely hot person is not the coldest
    return Call(functional.temperature_regularization, morn_losses.TemperatureRegularization,
                {"fake_thermal": x, "labels": y}, options, {"fake_thermal": used}, differentiable=("fake_thermal",),
                inf_shows=False)  # fmt: skip


def _edges(draw: Draw, B: int, H: int, W: int) -> Tensor:
    e = mask(draw, (B, H, W))
    return e * 0.5 if e.is_floating_point() and draw_bool(draw) else e


def _sga_options(draw: Draw) -> dict[str, Any]:
    return {"grid": one_of(draw, (8, 1, 3, 20)), "patches": one_of(draw, ("all", "random")),
            "padding_mode": one_of(draw, ("replicate", "zeros")), "threshold": one_of(draw, (0.8, 0.0, 1.0)),
            "eps": one_of(draw, (1e-6, 1e-12)), "value_range": value_range(draw)}  # fmt: skip


def _near_edges(edges: Tensor, options: dict[str, Any]) -> Tensor:
    """Which pixels enter the gradient in a patch that holds an edge."""
    e = edges.reshape(edges.shape[0], *edges.shape[-2:]) > 0
    h, w = (-(-n // options["grid"]) for n in e.shape[1:])
    holds = torch.zeros_like(e)
    for i in range(0, e.shape[1], h):
        for j in range(0, e.shape[2], w):
            holds[:, i : i + h, j : j + w] = e[:, i : i + h, j : j + w].flatten(1).any(1)[:, None, None]
    return gradient_support(holds, options["padding_mode"])


def sga(draw: Draw) -> Call:
    B, H, W = size(draw)
    x, e, options = image(draw, B, H, W), _edges(draw, B, H, W), _sga_options(draw)
    used = on_image(_near_edges(e, options), x)
    # which patch is drawn, the test does not know
    shows = {"fake": used & (options["patches"] == "all")}
    return Call(functional.sga_loss, morn_losses.SGALoss, {"fake": x, "edges": e}, options, {"fake": used}, shows,
                ("fake",))  # fmt: skip


def sga_plus(draw: Draw) -> Call:
    B, H, W = size(draw)
    x, e, y = image(draw, B, H, W), _edges(draw, B, H, W), labels(draw, (B, H, W), IDS, STRANGE)
    return Call(functional.sga_plus_loss, morn_losses.SGAPlusLoss, {"fake_thermal": x, "edges": e, "labels": y},
                _sga_options(draw), {"fake_thermal": everywhere(x)}, differentiable=("fake_thermal",),
                inf_shows=False)  # fmt: skip


def cgr(draw: Draw) -> Call:
    B, H, W = size(draw)
    real, fake = image(draw, B, H, W), image(draw, B, H, W)
    m = None if draw_bool(draw) else mask(draw, (B, H, W))
    options = {"padding_mode": one_of(draw, ("replicate", "zeros")), "eps": one_of(draw, (1e-6, 1e-12)),
               "value_range": value_range(draw)}  # fmt: skip
    region = torch.ones(B, H, W, dtype=torch.bool) if m is None else m.reshape(B, H, W) != 0
    used = gradient_support(region, options["padding_mode"])
    # of the translation only what lies at the source's strong gradients counts, which the test does not work out
    return Call(functional.cgr_loss, morn_losses.CGRLoss, {"real": real, "fake": fake, "mask": m}, options,
                {"real": on_image(used, real), "fake": on_image(used, fake)},
                {"fake": torch.zeros_like(fake, dtype=torch.bool)}, ("fake",))  # fmt: skip


def total_variation(draw: Draw) -> Call:
    x = image(draw, *size(draw))
    used = everywhere(x) & (x.shape[2] * x.shape[3] > 1)
    return Call(functional.total_variation_loss, morn_losses.TotalVariationLoss, {"x": x}, {}, {"x": used},
                differentiable=("x",))  # fmt: skip


def _distance_options(draw: Draw) -> dict[str, Any]:
    return {"weight_l1": one_of(draw, (10.0, 0.0)), "weight_ssim": one_of(draw, (1.0, 0.0)),
            "window_size": one_of(draw, (3, 3, 5)), "value_range": value_range(draw)}  # fmt: skip


def reconstruction(draw: Draw) -> Call:
    B, H, W = size(draw)
    output = image(draw, B, H, W)
    target = values(draw, output.shape, one_of(draw, DTYPES))
    options = {**_distance_options(draw), "distance": one_of(draw, ("smooth_l1", "l1"))}
    on = options["weight_l1"] + options["weight_ssim"] > 0
    small = options["weight_ssim"] > 0 and min(H, W) < options["window_size"]
    return Call(functional.reconstruction_loss, morn_losses.ReconstructionLoss, {"output": output, "target": target},
                options, {"output": everywhere(output) & on, "target": everywhere(target) & on}, {},
                ("output", "target"), refused="output" if small else None)  # fmt: skip


def sr(draw: Draw) -> Call:
    B, H, W = size(draw)
    output = image(draw, B, H, W)
    h, w = one_of(draw, ((H, W), (max(H // 2, 1), max(W // 2, 1)), (H + 3, W * 2), (H, W + 1), (H + 1, max(W - 1, 1))))
    scaled = values(draw, (B, output.shape[1], h, w), one_of(draw, DTYPES))
    options = {**_distance_options(draw), "detach_target": draw_bool(draw)}
    on = options["weight_l1"] + options["weight_ssim"] > 0
    crossed = (h < H and w > W) or (h > H and w < W)
    small = options["weight_ssim"] > 0 and min(H, W, h, w) < options["window_size"]
    # bilinear resizing skips pixels
    shows = {"output": everywhere(output) & on & (h >= H and w >= W),
             "scaled_output": everywhere(scaled) & on & (h <= H and w <= W)}  # fmt: skip
    return Call(functional.sr_loss, None, {"output": output, "scaled_output": scaled}, options,
                {"output": everywhere(output) & on, "scaled_output": everywhere(scaled) & on}, shows,
                ("scaled_output",) if options["detach_target"] else ("output", "scaled_output"),
                refused="scaled_output" if crossed or small else None)  # fmt: skip


def sr_module(draw: Draw) -> Call:
    B, H, W = (max(n, 4) if i else n for i, n in enumerate(size(draw)))
    x = values(draw, (B, one_of(draw, (1, 3)), H, W), one_of(draw, DTYPES))
    scale = one_of(draw, (None, 0.5, 1.5, 2.0))
    source = generator(draw)

    def loss(x: Tensor, **options: Any) -> Tensor:
        return morn_losses.SRLoss(**options)(torch.tanh, x, scale=scale, generator=source)

    none = torch.zeros_like(x, dtype=torch.bool)
    return Call(loss, None, {"x": x}, {}, {"x": everywhere(x)}, {"x": none}, ("x",))


def lsgan(draw: Draw) -> Call:
    B, H, W = size(draw)
    shape = one_of(draw, ((B, 1, H, W), (B, H), (B, 1)))
    real, fake = values(draw, shape, one_of(draw, DTYPES)), values(draw, shape, one_of(draw, DTYPES))
    side = one_of(draw, ("discriminator", "generator"))
    several = draw_bool(draw)

    def loss(real: Any, fake: Any, **options: Any) -> Tensor:
        if several:
            real, fake = [[real, real], [real]], [[fake, fake], [fake]]
        return functional.relativistic_lsgan_loss(real, fake, side, **options)

    return Call(loss, None, {"real": real, "fake": fake}, {}, {"real": everywhere(real), "fake": everywhere(fake)}, {},
                ("fake",) if side == "generator" else ("real", "fake"))  # fmt: skip
