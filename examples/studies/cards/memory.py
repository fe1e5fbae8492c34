"""Memory-guided sample selection (Eq. 11): does the partner hold what the color image holds?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from morn_losses import CITYSCAPES, LabelFusion, MemoryBank, MemorySampler, SemanticDenoiser
from morn_losses.functional import semantic_descriptor
from ntir2dc.data.images import to_image
from ntir2dc.run.contact_sheet import colorize_labels, contact_sheet
from ntir2dc.seeds import seeded
from studies.cards.card import Card, Claim, Table, share
from studies.cards.plots import line_plot, stack
from studies.cards.streets import (
    MEMORY_DAY,
    MEMORY_NIGHT,
    Options,
    Streets,
    pseudo_labels_of_day,
    render_streets,
)

SPACE = CITYSCAPES
CLASSES = SPACE.small_sample
K = (1, 2, 5, 10, 20, 50)
MINIMUM = 4
"""Feature positions that make a class present for ACA, at a quarter of the image's size."""
MEMORIES = ("memory of true labels", "memory of imperfect labels")


@dataclass(frozen=True)
class Met:
    """How well partners suit: shares of small-sample pixels and classes that meet their own, and how varied they are.

    Args:
        pixels: share of the small-sample pixels of the color images whose class the partner holds anywhere.
        classes: share of the (image, class) pairs with enough positions for ACA whose partner has enough as well.
        favorite: share of all draws that went to the thermal image drawn most often.
        distinct: share of the thermal images that were drawn at all.
    """

    pixels: float
    classes: float
    favorite: float
    distinct: float


def holdings(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return pixels of each small-sample class ``(N, n)`` and its positions at a quarter of the size ``(N, n)``."""
    coarse = labels[:, ::4, ::4]
    pixels, positions = (torch.stack([(x == c).flatten(1).sum(1) for c in CLASSES], 1) for x in (labels, coarse))
    return pixels, positions


def measure(day: Tensor, night: Tensor, partners: Tensor) -> Met:
    """Measure draws of partners.

    Args:
        day: true labels of the color images ``(Na, H, W)``.
        night: true labels of the thermal images ``(Nb, H, W)``.
        partners: ids of thermal images ``(Na, draws)``.
    """
    pixels_a, positions_a = holdings(day)
    pixels_b, positions_b = holdings(night)
    there = (pixels_b > 0)[partners]
    meets = (pixels_a[:, None] * there).sum()
    usable = (positions_a >= MINIMUM)[:, None].expand_as(there)
    comparable = usable & (positions_b >= MINIMUM)[partners]
    drawn = torch.bincount(partners.flatten(), minlength=len(night))
    return Met(
        share(float(meets), float(pixels_a.sum() * partners.shape[1])),
        share(float(comparable.sum()), float(usable.sum())),
        share(float(drawn.max()), float(drawn.sum())),
        share(float((drawn > 0).sum()), len(night)),
    )


def draw(queries: Tensor, memory: Tensor, k: int, draws: int, generator: torch.Generator) -> Tensor:
    """Write the label maps ``memory`` into a bank and draw partners for ``queries``; int64 ``(Na, draws)``."""
    bank = MemoryBank(len(memory), len(CLASSES))
    bank.write(torch.arange(len(memory)), semantic_descriptor(memory, CLASSES))
    descriptors = semantic_descriptor(queries, CLASSES).repeat_interleave(draws, 0)
    partners: Tensor = MemorySampler(bank, k)(descriptors, generator=generator)
    return partners.view(-1, draws)


def imperfect_labels_of_night(streets: Streets) -> Tensor:
    """Return what stands for mined labels: the intersection of two imperfect predictions, denoised by temperature."""
    fused = LabelFusion(range(len(SPACE)))(streets.primary, streets.secondary)
    labels: Tensor = SemanticDenoiser.thermal(SPACE)(fused, streets.night)
    return labels


def study(options: Options) -> Card:
    """Measure partners for k = 1 to 50 against random ones."""
    names = (*(f"k = {k}" for k in K), "random")
    met: dict[str, dict[str, list[Met]]] = {m: {n: [] for n in names} for m in MEMORIES}
    picture: list[list[Image.Image]] = []
    for seed in range(options.sets):
        day = render_streets(seed, MEMORY_DAY, options.n_day, options.size)
        night = render_streets(seed, MEMORY_NIGHT, options.n_night, options.size)
        asks = holdings(day.labels)[0].sum(1) > 0
        queries, truth = pseudo_labels_of_day(day)[asks], day.labels[asks]
        for memory, remembered in zip(MEMORIES, (night.labels, imperfect_labels_of_night(night)), strict=True):
            for name, k in zip(names, (*K, options.n_night), strict=True):
                partners = draw(queries, remembered, k, options.draws, seeded(seed, k))
                if name == "random":
                    # also for an image whose pseudo-labels hold no small class: what a trainer without memory does
                    partners = torch.randint(len(remembered), partners.shape, generator=seeded(seed, 0))
                met[memory][name].append(measure(truth, night.labels, partners))
                if seed == 0 and memory == MEMORIES[1] and k == 10:
                    picture = _rows(day.day[asks], truth, night, partners)
    heads = ("pixels that meet their class", "classes ACA can compare", "draws of the favorite", "images drawn")
    tables = tuple(
        Table(
            f"{memory}, %",
            heads,
            tuple(
                (n, tuple(tuple(getattr(m, part) for m in mets) for part in Met.__dataclass_fields__))
                for n, mets in of_memory.items()
            ),
            100,
            1,
        )
        for memory, of_memory in met.items()
    )
    claims = []
    for memory in MEMORIES:
        for part, what in (("pixels", "pixels meet their class"), ("classes", "classes can be compared")):
            chosen, random = met[memory]["k = 10"], met[memory]["random"]
            margins = tuple(getattr(a, part) - getattr(b, part) for a, b in zip(chosen, random, strict=True))
            claims.append(Claim(f"{memory}: more {what} at k = 10 than at random", margins, "points", 100, 1))
        one, ten = met[memory]["k = 1"], met[memory]["k = 10"]
        margins = tuple(a.favorite - b.favorite for a, b in zip(one, ten, strict=True))
        text = f"{memory}: k = 1 asks for its favorite image more often than k = 10"
        claims.append(Claim(text, margins, "points", 100, 1))
    lines = {}
    for memory in MEMORIES:
        for part, what in (("pixels", "pixels"), ("classes", "classes for ACA")):
            ys = [sum(getattr(m, part) for m in met[memory][f"k = {k}"]) / options.sets for k in K]
            lines[f"{what}, {memory}"] = (K, ys)
    for part, what in (("pixels", "pixels"), ("classes", "classes for ACA")):
        level = sum(getattr(m, part) for m in met[MEMORIES[0]]["random"]) / options.sets
        lines[f"{what}, random pairs"] = (K, [level] * len(K))
    plot = line_plot(lines, "k (logarithmic), mean over the sets", "share that meets its own class", log_x=True)
    titles = (
        "day image",
        "its small classes",
        "partner, k = 10",
        "its small classes",
        "random partner",
        "its small classes",
    )
    return Card(
        "memory",
        "Memory-guided sample selection (section 3.4.1, Eq. 11)",
        f"{options.n_day} color and {options.n_night} thermal scenes a set; color images without a small-sample class "
        f"({', '.join(SPACE.names[c] for c in CLASSES)}) ask nothing and are left out. Each asks {options.draws} times "
        "with its fused and denoised pseudo-labels. The memory holds true labels, or imperfect ones that stand for "
        "mined labels: the intersection of two predictions, denoised. Whether partners suit is read from true labels. "
        f"A class can be compared by ACA where both images have {MINIMUM} positions of it at a quarter of the size.",
        tables,
        tuple(claims),
        stack((plot, contact_sheet(picture, titles))),
    )


def _rows(day: Tensor, truth: Tensor, night: Streets, partners: Tensor) -> list[list[Image.Image]]:
    def small(labels: Tensor) -> Image.Image:
        return colorize_labels(torch.where(SPACE.mask(labels, CLASSES), labels, SPACE.ignore_index), SPACE)

    random = torch.randint(len(night.labels), (len(day),), generator=seeded(0, 0)).tolist()
    rows = []
    for i in range(min(4, len(day))):
        chosen = int(partners[i, 0])
        row = [to_image(day[i]), small(truth[i])]
        for j in (chosen, random[i]):
            row += [to_image(night.night[j]), small(night.labels[j])]
        rows.append(row)
    return rows
