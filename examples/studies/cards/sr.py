"""Scale robustness (Eq. 20-22): do a resized image and its original translate to the same picture?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from morn_losses.functional import sr_loss
from ntir2dc.data.images import to_image
from ntir2dc.run.contact_sheet import contact_sheet
from studies.cards.card import Card, Claim, Table, Values, spread
from studies.cards.plots import line_plot, stack
from studies.cards.standins import Standins, run
from studies.cards.streets import Options

SCALES = (0.5, 0.75, 1.25, 1.5, 2.0)
TRAINED = (0.5, 1.5)
Translate = Callable[[Tensor], Tensor]


def resize(images: Tensor, scale: float) -> Tensor:
    """Resize ``(B, C, H, W)``, to sides that are multiples of 4."""
    size = [max(round(side * scale / 4), 1) * 4 for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


@torch.no_grad()
def inconsistency(translate: Translate, images: Tensor, scale: float) -> tuple[float, float]:
    """Return how far G(x resized) is from G(x), at the smaller of their sizes.

    Returns:
        Mean absolute difference in gray levels of 255, and 1 - SSIM, which :func:`sr_loss` gives when its distance
        weighs nothing.
    """
    plain, scaled = run(translate, images), run(translate, resize(images, scale))
    structure = float(sr_loss(plain, scaled, weight_l1=0.0))
    if scale < 1:
        plain = F.interpolate(plain, size=scaled.shape[-2:], mode="bilinear", align_corners=False)
    else:
        scaled = F.interpolate(scaled, size=plain.shape[-2:], mode="bilinear", align_corners=False)
    return float((plain - scaled).abs().mean()) * 127.5, structure


def study(options: Options, standins: Sequence[Standins]) -> Card:
    """Measure two generators that differ in nothing but the loss."""
    names = ("without SR", "with SR")
    levels: dict[str, list[list[float]]] = {n: [] for n in names}
    structure: dict[str, list[list[float]]] = {n: [] for n in names}
    errors: dict[str, list[float]] = {n: [] for n in names}
    contrast: dict[str, list[float]] = {n: [] for n in names}
    for s in standins:
        for name, translate in zip(names, (s.plain, s.robust), strict=True):
            of_scales = [inconsistency(translate, s.test.night, scale) for scale in SCALES]
            levels[name].append([a for a, _ in of_scales])
            structure[name].append([b for _, b in of_scales])
            fake = run(translate, s.test.night)
            errors[name].append(float((fake - s.test.day).abs().mean()) * 127.5)
            contrast[name].append(float(fake.std((2, 3)).mean() / s.test.day.std((2, 3)).mean()))

    def column(measured: dict[str, list[list[float]]], name: str, at: int) -> Values:
        return tuple(of_set[at] for of_set in measured[name])

    heads = tuple(f"scale {scale:g}{'' if scale in TRAINED else ' (unseen)'}" for scale in SCALES)
    tables = [
        Table(title, heads, tuple((n, tuple(column(f, n, i) for i in range(len(SCALES)))) for n in names), 1, digits)
        for title, f, digits in (
            ("mean difference between scales, gray levels of 255", levels, 2),
            ("1 - SSIM between scales", structure, 3),
        )
    ]
    tables.append(
        Table(
            "at the original scale",
            ("mean error to the true day image, gray levels", "contrast, as a multiple of the true"),
            tuple((n, (tuple(errors[n]), tuple(contrast[n]))) for n in names),
            1,
            2,
        )
    )
    claims = []
    for at, scale in enumerate(SCALES):
        margins = tuple(a - b for a, b in zip(column(levels, names[0], at), column(levels, names[1], at), strict=True))
        note = "" if scale in TRAINED else ", which the loss never saw"
        claims.append(Claim(f"SR brings translations at scale {scale:g} nearer{note}", margins, "gray levels", 1, 2))
    plot = line_plot(
        {n: (SCALES, [spread(column(levels, n, i))[0] for i in range(len(SCALES))]) for n in names},
        "scale of the input, mean over the sets",
        "difference from the translation at scale 1, gray levels",
    )
    return Card(
        "sr",
        "Scale robustness (section 3.6, Eq. 20-22)",
        f"Two small generators a set, night to day, trained for {options.translator_steps} steps on pairs of one scene "
        "with 10 L1 + 1 - SSIM in place of the adversarial and cycle losses; one of them with the SR loss at weight 1 "
        f"beside it, scales 0.5 and 1.5. Same initial weights, same crops. "
        f"{len(standins[0].test.labels)} unseen scenes.",
        tuple(tables),
        tuple(claims),
        stack((plot, _sheet(standins[0]))),
    )


@torch.no_grad()
def _sheet(s: Standins) -> Image.Image:
    night = s.test.night[:3]
    size = (night.shape[-1], night.shape[-2])
    rows = []
    for i in range(len(night)):
        row = [to_image(night[i]), to_image(s.test.day[i])]
        for translate in (s.plain, s.robust):
            for scale in (0.5, 1.0, 1.5):
                fake = translate(resize(night[i : i + 1], scale))[0]
                row.append(to_image(fake).resize(size, Image.Resampling.NEAREST))
        rows.append(row)
    kinds = [f"{kind}, scale {scale:g}" for kind in ("without SR", "with SR") for scale in (0.5, 1.0, 1.5)]
    return contact_sheet(rows, ("night image", "true day image", *kinds))
