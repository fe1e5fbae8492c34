"""Pseudo-labels of the thermal images (section 3.3.3): label mining (Eq. 8-9), then denoising (Eq. 5-7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from morn_losses import CITYSCAPES, LabelMiner, SemanticDenoiser
from morn_losses.functional import mine_labels
from ntir2dc.data.images import to_image
from ntir2dc.run.contact_sheet import colorize_labels, contact_sheet
from studies.cards.card import Card, Claim, Table, Values, spread
from studies.cards.labels import dropped, mark_errors
from studies.cards.plots import line_plot
from studies.cards.standins import Standins, run
from studies.cards.streets import Counts, count

SPACE = CITYSCAPES
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SHOWN = (0.3, 0.5, 0.8, 0.95)
MAPS = ("S_B(x_b) alone", "S_A(G_BA(x_b)) alone", "both")
DENOISED = SPACE.ids("sky", "pole", "person", "vegetation")
LOW, HIGH = 0.3, 0.5
"""Foreground and background thresholds. Segmenters this young are never as sure as the paper's 0.95 and 0.99 ask."""


def most_confident(logits: Tensor, number: int, ignore_index: int) -> Tensor:
    """Return the argmax labels of the ``number`` pixels of highest probability; the others are unlabeled."""
    confidence, labels = logits.softmax(1).max(1)
    chosen = torch.zeros(confidence.numel(), dtype=torch.bool)
    chosen[confidence.flatten().argsort(descending=True, stable=True)[:number]] = True
    return torch.where(chosen.view_as(labels), labels, ignore_index)


def study_mining(standins: Sequence[Standins]) -> Card:
    """Measure coverage and precision of mined labels: one map against two, one threshold against two."""
    curves: dict[str, list[list[Counts]]] = {name: [] for name in MAPS}
    matched: list[list[Counts]] = []
    pairs: dict[str, list[Counts]] = {}
    foreground = SPACE.foreground
    for s in standins:
        real, translated = s.logits()
        truth = s.test.labels
        both = [mine_labels(real, translated, t) for t in THRESHOLDS]
        for name, labels in (
            (MAPS[0], [mine_labels(real, real, t) for t in THRESHOLDS]),
            (MAPS[1], [mine_labels(translated, translated, t) for t in THRESHOLDS]),
            (MAPS[2], both),
        ):
            curves[name].append([count(m, truth, len(SPACE)) for m in labels])
        numbers = [int((m != SPACE.ignore_index).sum()) for m in both]
        matched.append([count(most_confident(real, n, SPACE.ignore_index), truth, len(SPACE)) for n in numbers])
        for fg, bg in ((LOW, LOW), (LOW, HIGH), (HIGH, HIGH), (0.95, 0.99)):
            mined = LabelMiner.from_label_space(SPACE, foreground=fg, background=bg)(real, translated)
            pairs.setdefault(f"{fg:g}, {bg:g}", []).append(count(mined, truth, len(SPACE)))

    def along(name: str, measure: str, at: int) -> Values:
        return tuple(getattr(of_set[at], measure)() for of_set in curves[name])

    rows = []
    for threshold in SHOWN:
        at = THRESHOLDS.index(threshold)
        cells = [along(name, measure, at) for name in MAPS for measure in ("coverage", "precision")]
        cells.append(tuple(m[at].precision() for m in matched))
        rows.append((f"{threshold:g}", tuple(cells)))
    heads = tuple(f"{name}: {measure}" for name in MAPS for measure in ("coverage", "precision"))
    background = tuple(c for c in range(len(SPACE)) if c not in foreground)
    everything = range(len(SPACE))
    by_pair = tuple(
        (
            name,
            tuple(
                tuple(getattr(c, measure)(*classes) for c in labels)
                for classes in (foreground, background, everything)
                for measure in ("recall", "precision")
            ),
        )
        for name, labels in pairs.items()
    )
    claims = []
    for threshold in SHOWN:
        at = THRESHOLDS.index(threshold)
        margins = tuple(
            b[at].precision() - max(r[at].precision(), t[at].precision())
            for r, t, b in zip(*(curves[name] for name in MAPS), strict=True)
        )
        text = f"at threshold {threshold:g} both maps together are more precise than either alone"
        claims.append(Claim(text, margins, "points", 100, 1))
    for threshold in SHOWN:
        at = THRESHOLDS.index(threshold)
        margins = tuple(b[at].precision() - m[at].precision() for b, m in zip(curves[MAPS[2]], matched, strict=True))
        text = f"and more precise than as many of S_B's surest pixels ({threshold:g})"
        claims.append(Claim(text, margins, "points", 100, 1))
    two, low, high = (pairs[f"{a:g}, {b:g}"] for a, b in ((LOW, HIGH), (LOW, LOW), (HIGH, HIGH)))
    margins = tuple(a.recall(*foreground) - b.recall(*foreground) for a, b in zip(two, high, strict=True))
    text = f"{LOW:g} for foreground, {HIGH:g} for background: more foreground than with {HIGH:g} for all"
    claims.append(Claim(text, margins, "points of recall", 100, 1))
    margins = tuple(a.precision() - b.precision() for a, b in zip(two, low, strict=True))
    claims.append(Claim(f"and all labels more precise than with {LOW:g} for all", margins, "points", 100, 1))
    return Card(
        "mining",
        "Label mining (Eq. 8-9)",
        f"{len(standins[0].test.labels)} unseen night scenes a set, pixels counted against the true labels. S_B is a "
        "small U-Net trained on other thermal images, S_A one trained on translations of them, both for a short time "
        "and with imperfect labels: fused and denoised as in section 3.3.2, no true ones. G_BA is a stand-in too: a "
        "small U-Net trained on pairs of one scene by day and at night, which real frames do not offer. One map "
        "is mined by giving it twice.",
        (
            Table(
                "one threshold for all classes, %", (*heads, "S_B's surest, as many: precision"), tuple(rows), 100, 1
            ),
            Table(
                "foreground, background threshold, %",
                tuple(
                    f"{group} {measure}"
                    for group in ("foreground", "background", "overall")
                    for measure in ("recall", "precision")
                ),
                by_pair,
                100,
                1,
            ),
        ),
        tuple(claims),
        _curves(curves),
    )


def _curves(curves: dict[str, list[list[Counts]]]) -> Image.Image:
    lines = {}
    for name, sets in curves.items():
        means = [
            [spread([getattr(of_set[i], measure)() for of_set in sets])[0] for i in range(len(THRESHOLDS))]
            for measure in ("coverage", "precision")
        ]
        lines[name] = (means[0], means[1])
    label = f"coverage at thresholds {THRESHOLDS[-1]:g} (left) to {THRESHOLDS[0]:g}, mean over the sets"
    return line_plot(lines, label, "precision")


def study_denoising(standins: Sequence[Standins]) -> Card:
    """Measure mined and predicted labels of thermal images before and after denoising."""
    sources = ("mined", "S_B's argmax", "second prediction")
    counts: dict[str, list[tuple[Counts, Counts]]] = {name: [] for name in sources}
    losses: dict[str, list[dict[int, tuple[float, float, float]]]] = {name: [] for name in sources}
    denoise = SemanticDenoiser.thermal(SPACE)
    miner = LabelMiner.from_label_space(SPACE, foreground=LOW, background=HIGH)
    shown: list[list[Image.Image]] = []
    for s in standins:
        real, translated = s.logits()
        for name, before in zip(sources, (miner(real, translated), real.argmax(1), s.test.secondary), strict=True):
            after = denoise(before, s.test.night)
            counts[name].append((count(before, s.test.labels, len(SPACE)), count(after, s.test.labels, len(SPACE))))
            shares = {c: dropped(before, after, s.test.labels, c) for c in DENOISED}
            losses[name].append({c: (d.dropped, d.wrong_of_dropped, d.wrong_of_kept) for c, d in shares.items()})
            if s is standins[0] and name == sources[0]:
                shown = _rows(s, real, translated, before, after)
    heads = ("precision before", "after", "recall before", "after ", "labels dropped", "wrong among the dropped")
    rows = []
    for name in sources:
        for c in DENOISED:
            cells = [
                tuple(getattr(pair[i], measure)(c) for pair in counts[name])
                for measure in ("precision", "recall")
                for i in (0, 1)
            ]
            cells += [tuple(of_set[c][part] for of_set in losses[name]) for part in (0, 1)]
            rows.append((f"{SPACE.names[c]}, {name}", tuple(cells)))
    claims = []
    for name in sources:
        for c in DENOISED:
            margins = tuple(after.precision(c) - before.precision(c) for before, after in counts[name])
            claims.append(Claim(f"{SPACE.names[c]}, {name}: becomes more precise", margins, "points", 100, 1))
    return Card(
        "denoising",
        "Semantic denoising of thermal pseudo-labels (section 3.3.3, Eq. 5-7)",
        f"The same networks and scenes as for label mining. Mined: Eq. 8 on both maps at {LOW:g} for "
        f"foreground and {HIGH:g} for background classes. S_B's argmax: "
        "all its predictions, sure or not. Second prediction: the scenes' own imperfect labels that see persons in "
        "poles and trees, the error that the rule for persons is made for. Denoising is `SemanticDenoiser.thermal` as "
        "it comes.",
        (Table("class, labels, %", heads, tuple(rows), 100, 1),),
        tuple(claims),
        contact_sheet(
            shown,
            ("night image", "true labels", "S_B(x_b)", "G_BA(x_b)", "S_A(G_BA(x_b))", "mined", "denoised", "errors"),
        ),
    )


def _rows(s: Standins, real: Tensor, translated: Tensor, mined: Tensor, denoised: Tensor) -> list[list[Image.Image]]:
    n = min(4, len(mined))
    fake = run(s.to_day, s.test.night[:n])
    return [
        [
            to_image(s.test.night[i]),
            colorize_labels(s.test.labels[i], SPACE),
            colorize_labels(real[i].argmax(0), SPACE),
            to_image(fake[i]),
            *(colorize_labels(m[i], SPACE) for m in (translated.argmax(1), mined, denoised)),
            mark_errors(mined[i], denoised[i], s.test.labels[i]),
        ]
        for i in range(n)
    ]
