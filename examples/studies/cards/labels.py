"""Pseudo-labels of the day images (section 3.3.2, Eq. 5-7): two predictions, their fusion, its denoising."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from morn_losses import CITYSCAPES, LabelFusion, SemanticDenoiser
from ntir2dc.data.images import to_image
from ntir2dc.run.contact_sheet import colorize_labels, contact_sheet
from studies.cards.card import Card, Claim, Table, Values, share
from studies.cards.streets import TEST, Counts, Options, Streets, count, render_streets

SPACE = CITYSCAPES
AGREE = SPACE.ids("person", "car", "building")
DENOISED = SPACE.ids("vegetation", "pole", "sky")
STAGES = ("first prediction", "second prediction", "fused", "fused, denoised")


@dataclass(frozen=True)
class Dropped:
    """What a step unlabeled, of one class: how much of the class, and how much of either part was wrong."""

    dropped: float
    wrong_of_dropped: float
    wrong_of_kept: float


def dropped(before: Tensor, after: Tensor, truth: Tensor, class_id: int) -> Dropped:
    """Compare the labels of a class before and after a step that only removes labels."""
    own = before == class_id
    kept = own & (after == class_id)
    gone, wrong = own & ~kept, truth != class_id

    def total(mask: Tensor) -> float:
        return float(mask.sum())

    return Dropped(
        share(total(gone), total(own)),
        share(total(gone & wrong), total(gone)),
        share(total(kept & wrong), total(kept)),
    )


def label_stages(streets: Streets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the label maps of the four stages."""
    fused = LabelFusion.visible(SPACE)(streets.primary, streets.secondary)
    denoised = SemanticDenoiser.visible(SPACE)(fused, streets.day)
    return streets.primary, streets.secondary, fused, denoised


def study(options: Options) -> Card:
    """Measure every stage against the truth."""
    sets = [render_streets(seed, TEST, options.n_test, options.size) for seed in range(options.sets)]
    stages = [label_stages(streets) for streets in sets]
    counts = [
        [count(maps, s.labels, len(SPACE)) for maps in maps_of_set] for s, maps_of_set in zip(sets, stages, strict=True)
    ]
    by_fusion, by_denoising = (
        {
            c: [dropped(maps[before], maps[after], s.labels, c) for s, maps in zip(sets, stages, strict=True)]
            for c in classes
        }
        for before, after, classes in ((0, 2, AGREE), (2, 3, DENOISED))
    )

    def rates(name: str, *classes: int) -> tuple[Values, ...]:
        return tuple(tuple(getattr(of_set[i], name)(*classes) for of_set in counts) for i in range(len(STAGES)))

    chosen = (*AGREE, *DENOISED)
    tables = [
        Table(
            f"{name}, %",
            STAGES,
            (*((SPACE.names[c], rates(name, c)) for c in chosen), ("all classes", rates(name))),
            100,
            1,
        )
        for name in ("precision", "recall")
    ]
    heads = ("of its labels dropped", "wrong among the dropped", "wrong among the kept")
    rows = tuple(
        (
            f"{SPACE.names[c]} ({step})",
            tuple(tuple(getattr(d, part) for d in maps_of_set[c]) for part in Dropped.__dataclass_fields__),
        )
        for step, maps_of_set in (("fusion", by_fusion), ("denoising", by_denoising))
        for c in maps_of_set
    )
    tables.append(Table("what is dropped, %", heads, rows, 100, 1))
    return Card(
        "labels",
        "Pseudo-labels of day images: fusion and semantic denoising (section 3.3.2, Eq. 5-7)",
        f"{options.n_test} scenes a set, pixels counted against the true labels. The two predictions are the scenes' "
        "own imperfect ones: the first knows the classes but its edges are smooth and inflated, trees and poles into "
        "the sky above all; the second has good contours and mixes up classes. Fusion and denoising are "
        "`LabelFusion.visible` and `SemanticDenoiser.visible` as they come.",
        tuple(tables),
        _claims(counts, by_denoising),
        _picture(sets[0], stages[0]),
    )


def _claims(counts: list[list[Counts]], by_denoising: dict[int, list[Dropped]]) -> tuple[Claim, ...]:
    claims = []
    for c in AGREE:
        margins = tuple(s[2].precision(c) - max(s[0].precision(c), s[1].precision(c)) for s in counts)
        claims.append(
            Claim(f"fusion: {SPACE.names[c]} is more precise than in either prediction", margins, "points", 100, 1)
        )
    for c in DENOISED:
        margins = tuple(s[3].precision(c) - s[2].precision(c) for s in counts)
        claims.append(Claim(f"denoising: {SPACE.names[c]} becomes more precise", margins, "points", 100, 1))
    for c, shares in by_denoising.items():
        margins = tuple(d.wrong_of_dropped - 0.5 for d in shares)
        text = f"denoising: most of the dropped {SPACE.names[c]} labels are wrong"
        claims.append(Claim(text, margins, "points over half", 100, 1))
    return tuple(claims)


def _picture(streets: Streets, stages: tuple[Tensor, ...]) -> Image.Image:
    rows = []
    for i in range(min(4, len(streets.labels))):
        maps = (streets.labels[i], *(stage[i] for stage in stages))
        last = stages[-1][i]
        rows.append(
            [
                to_image(streets.day[i]),
                *(colorize_labels(m, SPACE) for m in maps),
                mark_errors(stages[0][i], last, streets.labels[i]),
            ]
        )
    return contact_sheet(rows, ("day image", "true labels", *STAGES, "errors"))


def mark_errors(before: Tensor, after: Tensor, truth: Tensor) -> Image.Image:
    """Show what became of labels ``(H, W)``: wrong ones dropped green and kept red, right ones dropped yellow."""
    was_wrong, is_labeled = before != truth, after != SPACE.ignore_index
    was_labeled = before != SPACE.ignore_index
    colors = torch.full((*truth.shape, 3), 225, dtype=torch.uint8)
    colors[~was_labeled] = 120
    colors[was_labeled & was_wrong & ~is_labeled] = torch.tensor((40, 160, 70), dtype=torch.uint8)
    colors[was_labeled & ~was_wrong & ~is_labeled] = torch.tensor((235, 200, 60), dtype=torch.uint8)
    colors[is_labeled & (after != truth)] = torch.tensor((205, 50, 50), dtype=torch.uint8)
    return Image.fromarray(colors.numpy())
