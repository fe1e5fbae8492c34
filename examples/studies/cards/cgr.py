"""Conditional gradient repair (Eq. 18-19): does it bring lost background edges back, and what else does it change?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from morn_losses import CITYSCAPES
from morn_losses.functional import cgr_loss, gradient_magnitude, total_variation_loss
from morn_losses.metrics import edge_scores
from ntir2dc.data.images import to_image
from ntir2dc.run.contact_sheet import contact_sheet
from studies.cards.card import Card, Claim, Table, share
from studies.cards.streets import TEST, Options, Streets, render_streets

SPACE = CITYSCAPES
IMAGES = 8
SIGMA = 2.0
STEP_SIZE = 0.02
TV_WEIGHT = 5.0
"""Of total variation in Eq. 23, the term that smooths."""
STATES = ("blurred", "CGR alone", "TV alone", "TV + CGR")


@dataclass(frozen=True)
class Edges:
    """What a translation keeps of its source's gradients.

    Args:
        strong: share of the gradient in strong background edges (Eq. 19) that is kept.
        weak: gradient in the other background pixels, as a multiple of the source's.
        foreground: gradient outside the background, as a multiple of the source's.
        recall: APCE.
        precision: share of the translation's edges that the source has.
        psnr: to the true, sharp day image, in dB.
    """

    strong: float
    weak: float
    foreground: float
    recall: float
    precision: float
    psnr: float


def measure(source: Tensor, fake: Tensor, background: Tensor, day: Tensor) -> Edges:
    """Measure translations ``(B, 3, H, W)`` of night images; ``background`` is bool ``(B, H, W)``."""
    g, f = (gradient_magnitude((x + 1) / 2)[:, 0] for x in (source, fake))
    rho = (g * background).sum((1, 2)) / background.sum((1, 2))
    strong = background & (g > rho[:, None, None])
    weak = background & ~strong
    edges = [edge_scores(s, t) for s, t in zip(source, fake, strict=True)]
    error = float((fake - day).div(2).double().square().mean())

    def ratio(mask: Tensor, kept: Tensor) -> float:
        return share(float((kept * mask).sum()), float((g * mask).sum()))

    return Edges(
        ratio(strong, torch.minimum(f, g)),
        ratio(weak, f),
        ratio(~background, f),
        sum(e.recall for e in edges) / len(edges),
        sum(e.precision for e in edges) / len(edges),
        -10 * math.log10(error) if error else math.inf,
    )


def blur(images: Tensor, sigma: float = SIGMA) -> Tensor:
    """Blur ``(B, 3, H, W)`` with a Gaussian."""
    return torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest"))


def repair(source: Tensor, start: Tensor, background: Tensor, *, steps: int, cgr: float, tv: float) -> Tensor:
    """Return ``start`` after Adam has minimised the weighted sum of CGR and total variation over its pixels."""
    pixels = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=STEP_SIZE)
    for _ in range(steps):
        loss = cgr * cgr_loss(source, pixels, background, reduction="sum")
        loss = loss + tv * total_variation_loss(pixels, reduction="sum")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(-1, 1)
    return pixels.detach()


def background_of(labels: Tensor) -> Tensor:
    """Return the region that CGR guards: stuff."""
    return SPACE.mask(labels, SPACE.stuff)


def states(streets: Streets, steps: int) -> dict[str, Tensor]:
    """Return the translations that are compared."""
    start, background = blur(streets.day), background_of(streets.labels)
    reached = {STATES[0]: start}
    for name, cgr, tv in ((STATES[1], 1.0, 0.0), (STATES[2], 0.0, TV_WEIGHT), (STATES[3], 1.0, TV_WEIGHT)):
        reached[name] = repair(streets.night, start, background, steps=steps, cgr=cgr, tv=tv)
    return reached


def study(options: Options) -> Card:
    """Measure a blurred translation, and what each loss makes of it."""
    measured: dict[str, list[Edges]] = {name: [] for name in STATES}
    picture: list[list[Image.Image]] = []
    for seed in range(options.sets):
        streets = render_streets(seed, TEST, min(IMAGES, options.n_test), options.size)
        reached = states(streets, options.cgr_steps)
        for name, fake in reached.items():
            measured[name].append(measure(streets.night, fake, background_of(streets.labels), streets.day))
        if seed == 0:
            picture = [
                [to_image(x[i]) for x in (streets.night, streets.day, *reached.values())]
                for i in range(min(4, len(streets.day)))
            ]
    heads = (
        "kept in strong background edges", "gradient in weak background", "gradient in foreground", "APCE",
        "edge precision", "PSNR to the day image",
    )  # fmt: skip
    rows = tuple(
        (name, tuple(tuple(getattr(e, part) for e in edges) for part in Edges.__dataclass_fields__))
        for name, edges in measured.items()
    )

    def margin(more: str, less: str, part: str) -> tuple[float, ...]:
        return tuple(getattr(a, part) - getattr(b, part) for a, b in zip(measured[more], measured[less], strict=True))

    blurred, alone, tv, both = STATES
    claims = (
        Claim("CGR alone brings strong background gradients back", margin(alone, blurred, "strong")),
        Claim("CGR keeps strong background gradients against total variation", margin(both, tv, "strong")),
        Claim("CGR keeps more of the source's edges against total variation (APCE)", margin(both, tv, "recall")),
        Claim("edges are as precise with CGR as without, against total variation", margin(both, tv, "precision")),
    )
    return Card(
        "cgr",
        "Conditional gradient repair (section 3.5, Eq. 18-19)",
        f"{min(IMAGES, options.n_test)} night scenes a set. The translation is the true day image blurred by a "
        f"Gaussian of {SIGMA:g} pixels, and Adam changes its pixels for {options.cgr_steps} steps: by CGR alone, by "
        f"total variation with its weight of Eq. 23 ({TV_WEIGHT:g}) alone, and by both. The background is that of the "
        "true labels. What is kept in strong edges is 1 minus the loss; the other columns are no part of it.",
        (Table("", heads, rows),),
        claims,
        contact_sheet(picture, ("night image", "true day image", *STATES)),
    )
