"""One call of each public function for the fuzz tests, and which of its inputs' values take part in the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import morn_losses
from fuzz.drawing import DTYPES, Draw, generator, gradient_support, labels, mask, one_of, size, values
from morn_losses import functional

IDS = (0, 1, 2, 11)
STRANGE = (-1, -7, 19, 254, 256, 2**40, -(2**63))


@dataclass
class Call:
    """A call with tensors by parameter name, in order.

    ``takes_part`` says of each float tensor which values may enter the result of their sample; of those, a NaN has to
    show in the result where ``shows`` is True (everywhere, if it is left out), and so has an infinity if
    ``inf_shows``. Values of more than ``limit`` may leave the range of the dtype on the way. Where ``inert`` is True
    (by default wherever nothing takes part) any other value gives the same result.
    """

    function: Callable[..., Any]
    module: Callable[..., nn.Module] | None
    tensors: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    takes_part: dict[str, Tensor] = field(default_factory=dict)
    shows: dict[str, Tensor] = field(default_factory=dict)
    differentiable: tuple[str, ...] = ()
    refused: str | None = None
    inf_shows: bool = True
    limit: dict[torch.dtype, float] = field(default_factory=lambda: {torch.float32: 1e15, torch.float64: 1e150})
    reduction: bool = True
    keeps_dtype: bool = False
    inert: dict[str, Tensor] = field(default_factory=dict)


def everywhere(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def image(draw: Draw, B: int, H: int, W: int, channels: tuple[int, ...] = (1, 3)) -> Tensor:
    return values(draw, (B, one_of(draw, channels), H, W), one_of(draw, DTYPES))


def on_image(region: Tensor, x: Tensor) -> Tensor:
    """A ``(B, H, W)`` region as a mask of every channel of ``x``."""
    return region[:, None].expand(x.shape)


def value_range(draw: Draw) -> tuple[float, float]:
    return one_of(draw, ((-1.0, 1.0), (0.0, 1.0), (0, 255)))


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


def draw_bool(draw: Draw) -> bool:
    return bool(one_of(draw, (False, True)))


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


def _segmentation(draw: Draw, function: Callable[..., Any], module: Callable[..., nn.Module], **options: Any) -> Call:
    B, H, W = size(draw)
    K = one_of(draw, (12, 2, 1))
    logits = values(draw, (B, K, H, W), one_of(draw, DTYPES))
    y = labels(draw, (B, H, W), [i for i in IDS if i < K], STRANGE)
    options["ignore_index"] = one_of(draw, (255, 255, -1, 0))
    labeled = (y != options["ignore_index"]) & (y >= 0) & (y < K)
    refused = "labels" if bool((~labeled & (y != options["ignore_index"])).any()) else None
    used = on_image(labeled, logits)
    # a class at -inf has probability 0, which is a good answer for any class but the pixel's own
    return Call(function, module, {"logits": logits, "labels": y}, options, {"logits": used}, {}, ("logits",), refused,
                inf_shows=False)  # fmt: skip


def cross_entropy(draw: Draw) -> Call:
    options = {"small_area": one_of(draw, (1 / 64, 0.0, 1.0)), "small_weight": one_of(draw, (7.0, 1e-3))}
    module = morn_losses.ClassBalancedCrossEntropy
    return _segmentation(draw, functional.class_balanced_cross_entropy, module, **options)


def boundary(draw: Draw) -> Call:
    return _segmentation(draw, functional.boundary_loss, morn_losses.BoundaryLoss)


def segmentation(draw: Draw) -> Call:
    return _segmentation(draw, functional.segmentation_loss, morn_losses.SegmentationLoss,
                         boundary_weight=one_of(draw, (0.5, 0.0)))  # fmt: skip


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


def sr_module(draw: Draw) -> Call:
    B, H, W = (max(n, 4) if i else n for i, n in enumerate(size(draw)))
    x = values(draw, (B, one_of(draw, (1, 3)), H, W), one_of(draw, DTYPES))
    scale = one_of(draw, (None, 0.5, 1.5, 2.0))
    source = generator(draw)

    def loss(x: Tensor, **options: Any) -> Tensor:
        return morn_losses.SRLoss(**options)(torch.tanh, x, scale=scale, generator=source)

    none = torch.zeros_like(x, dtype=torch.bool)
    return Call(loss, None, {"x": x}, {}, {"x": everywhere(x)}, {"x": none}, ("x",))


LOSSES: dict[str, Callable[[Draw], Call]] = {
    "channel_max, channel_min": channel_max,
    "to_gray": to_gray,
    "gradient_magnitude": gradient_magnitude,
    "monochromatic_regularization": monochromatic,
    "temperature_regularization": temperature,
    "sga_loss": sga,
    "sga_plus_loss": sga_plus,
    "cgr_loss": cgr,
    "total_variation_loss": total_variation,
    "reconstruction_loss": reconstruction,
    "sr_loss": sr,
    "SRLoss": sr_module,
    "relativistic_lsgan_loss": lsgan,
    "class_balanced_cross_entropy": cross_entropy,
    "boundary_loss": boundary,
    "segmentation_loss": segmentation,
    "aca_loss": aca,
    "descriptor_similarity": similarity,
}
