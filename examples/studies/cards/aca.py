"""Adaptive collaborative attention (Eq. 12-17): where do features go that nothing but this loss moves?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from morn_losses import CITYSCAPES
from morn_losses.functional import aca_loss
from ntir2dc.seeds import seeded
from studies.cards.card import Card, Claim, Table, Values, spread
from studies.cards.memory import draw
from studies.cards.plots import beside, line_plot
from studies.cards.standins import Standins, run
from studies.cards.streets import Options

SPACE = CITYSCAPES
CLUSTERS = (1, 2, 3, 4, 5, 6)
CHANNELS, COMPONENTS, SIDE = 16, 4, 8
SHARES = (0.4, 0.3, 0.2, 0.1)
"""How much of an object each of its components covers."""
NOISE = 0.15
COVERED = 0.8
"""Cosine from which a component counts as covered by a position."""
STEP_SIZE = 0.03
ENOUGH = 8
"""Positions of a class that both images have to hold to be measured."""
BEFORE, LOCAL_ONLY = "before", "4, local term alone"

Found = dict[str, tuple[float, ...]]
"""From the number of clusters to what was measured."""


def optimise(
    real: Tensor, fake: Tensor, labels_real: Tensor, labels_fake: Tensor, classes: Sequence[int], *,
    n_clusters: int, steps: int, seed: int, phi_global: float = 0.9, min_positions: int = ENOUGH,
) -> Tensor:  # fmt: skip
    """Return ``fake`` ``(B, C, h, w)`` after Adam has minimised nothing but the ACA loss over its values."""
    moved = fake.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=STEP_SIZE * float(fake.std()))
    generator = seeded(seed, n_clusters)
    for _ in range(steps):
        loss = aca_loss(
            real, moved, labels_real, labels_fake, list(classes), n_clusters=n_clusters, phi_global=phi_global,
            min_positions=min_positions, reduction="sum", generator=generator,
        )  # fmt: skip
        assert isinstance(loss, Tensor)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return moved.detach()


# ---- known components ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """An object made of known components, and a translation of it that resembles none of them."""

    components: Tensor
    """``(COMPONENTS, CHANNELS)``, orthonormal."""
    real: Tensor
    """``(1, CHANNELS, SIDE, SIDE)``."""
    fake: Tensor


def make_known(seed: int) -> Known:
    """Draw components, positions of the real object around them, and a fake object around one other direction."""
    generator = seeded(seed, 7)
    basis = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=generator)).Q.T
    components, elsewhere = basis[:COMPONENTS], basis[COMPONENTS]
    n = SIDE * SIDE
    ends = (torch.tensor(SHARES).cumsum(0) * n).round().long()
    which = torch.searchsorted(ends, torch.arange(n), right=True)

    def around(centers: Tensor) -> Tensor:
        points = centers + NOISE * torch.randn(n, CHANNELS, generator=generator)
        return points.T.reshape(1, CHANNELS, SIDE, SIDE)

    return Known(components, around(components[which]), around(elsewhere.expand(n, -1)))


def nearest(components: Tensor, features: Tensor) -> tuple[float, float, float]:
    """Return how near positions ``(n, C)`` are to components ``(M, C)``.

    Returns:
        The mean over the positions of the cosine to the nearest component; the mean over the components of the cosine
        to the nearest position (tau against the true components); the share of components covered.
    """
    cosines = F.normalize(components, dim=1) @ F.normalize(features, dim=1).T
    reached = cosines.amax(1)
    return float(cosines.amax(0).mean()), float(reached.mean()), float((reached > COVERED).float().mean())


def _positions(features: Tensor) -> Tensor:
    return features[0].flatten(1).T


def known_components(seed: int, steps: int) -> Found:
    """Measure a translation before and after the optimisation, for every number of clusters."""
    known = make_known(seed)
    everywhere = torch.zeros((1, SIDE, SIDE), dtype=torch.int64)
    shares: Found = {BEFORE: nearest(known.components, _positions(known.fake))}
    for name, n_clusters, phi_global in (*((str(k), k, 0.9) for k in CLUSTERS), (LOCAL_ONLY, 4, 0.0)):
        moved = optimise(
            known.real, known.fake, everywhere, everywhere, [0], n_clusters=n_clusters, steps=steps, seed=seed,
            phi_global=phi_global,
        )  # fmt: skip
        shares[name] = nearest(known.components, _positions(moved))
    return shares


# ---- features of an encoder ------------------------------------------------------------------------------------------


def choose_pairs(
    labels_day: Tensor, labels_night: Tensor, classes: Sequence[int], limit: int = 6
) -> list[tuple[int, int]]:
    """Pair day images with night images by their labels; only those that share enough of a class."""

    def enough(labels: Tensor) -> Tensor:
        coarse = labels[:, ::4, ::4]
        return torch.stack([(coarse == c).flatten(1).sum(1) >= ENOUGH for c in classes], 1)

    partners = draw(labels_day, labels_night, 1, 1, seeded(0, 0))[:, 0].tolist()
    day, night = enough(labels_day), enough(labels_night)
    return [(i, j) for i, j in enumerate(partners) if bool((day[i] & night[j]).any())][:limit]


def alike(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Return the mean cosine of a fake position to its nearest real one, and of a real one to its nearest fake."""
    cosines = F.normalize(real, dim=1) @ F.normalize(fake, dim=1).T
    return float(cosines.amax(0).mean()), float(cosines.amax(1).mean())


def encoder_features(s: Standins, steps: int) -> Found:
    """Measure E_A(G_BA(x_b)) against E_A(x_a) within each shared class, before and after the optimisation."""
    classes = (*SPACE.small_sample, SPACE.index("car"))
    half = len(s.test.labels) // 2
    labels_day, labels_night = s.test.labels[:half], s.test.labels[half:]
    pairs = choose_pairs(labels_day, labels_night, classes)
    if not pairs:
        nothing = (float("nan"), float("nan"))
        return dict.fromkeys((BEFORE, *map(str, CLUSTERS)), nothing)
    days, nights = (list(x) for x in zip(*pairs, strict=True))
    encode = s.to_night.encoder
    real = run(encode, s.test.day[:half][days])
    fake = run(encode, run(s.to_day, s.test.night[half:][nights]))
    y_real, y_fake = labels_day[days], labels_night[nights]

    def compare(features: Tensor) -> tuple[float, ...]:
        cosines = []
        for r, f, yr, yf in zip(real, features, y_real[:, ::4, ::4], y_fake[:, ::4, ::4], strict=True):
            for c in classes:
                if int((yr == c).sum()) >= ENOUGH and int((yf == c).sum()) >= ENOUGH:
                    cosines.append(alike(r[:, yr == c].T, f[:, yf == c].T))
        return tuple(torch.tensor(cosines).mean(0).tolist())

    result: Found = {BEFORE: compare(fake)}
    for k in CLUSTERS:
        moved = optimise(real, fake, y_real, y_fake, classes, n_clusters=k, steps=steps, seed=s.seed)
        result[str(k)] = compare(moved)
    return result


# ---- the card --------------------------------------------------------------------------------------------------------


def study(options: Options, standins: Sequence[Standins]) -> Card:
    """Measure both for K = 1 to 6."""
    known = [known_components(seed, options.aca_steps) for seed in range(options.sets)]
    encoded = [encoder_features(s, options.aca_steps) for s in standins]

    def cells(sets: Sequence[Found], name: str) -> tuple[Values, ...]:
        return tuple(zip(*(of_set[name] for of_set in sets), strict=True))

    def rows(sets: Sequence[Found]) -> tuple[tuple[str, tuple[Values, ...]], ...]:
        return tuple((name if name == BEFORE else f"K = {name}", cells(sets, name)) for name in sets[0])

    def margin(sets: Sequence[Found], more: str, less: str, part: int) -> Values:
        return tuple(of_set[more][part] - of_set[less][part] for of_set in sets)

    claims = [
        Claim("known components: K = 4 brings positions nearer to components", margin(known, "4", BEFORE, 0)),
        Claim("known components: K = 4 covers more components than K = 1", margin(known, "4", "1", 2), "", 1, 2),
        Claim("known components: the global term covers components that the local one does not",
              margin(known, "4", LOCAL_ONLY, 2), "", 1, 2),
        Claim("encoder features: K = 4 brings fake positions nearer to real ones", margin(encoded, "4", BEFORE, 0)),
        Claim("encoder features: K = 4 brings real positions a nearer fake one", margin(encoded, "4", BEFORE, 1)),
        Claim("encoder features: K = 4 brings fake positions nearer than K = 1 does", margin(encoded, "4", "1", 0)),
        Claim("encoder features: K = 4 brings a nearer fake position than K = 1 does", margin(encoded, "4", "1", 1)),
    ]  # fmt: skip
    return Card(
        "aca",
        "Adaptive collaborative attention (section 3.4.2, Eq. 12-17)",
        f"Adam moves features by the ACA loss alone for {options.aca_steps} steps; they are free tensors, no network "
        f"holds them together. Known components: an object of {SIDE * SIDE} positions around {COMPONENTS} orthogonal "
        f"directions that cover {', '.join(f'{x:.0%}' for x in SHARES)} of it; the fake object starts around another "
        f"direction; a component is covered when a position has a cosine over {COVERED:g} to it. Encoder features: "
        "E_A(x_a) and E_A(G_BA(x_b)) of the stand-in networks for pairs that the memory draws, within true labels, of "
        f"small-sample classes and cars that both hold {ENOUGH} positions of; positions are compared with positions, "
        "so that no K is favored.",
        (
            Table(
                "known components",
                ("cosine to the nearest component", "cosine of a component's nearest position", "components covered"),
                rows(known),
                1,
                3,
            ),
            Table(
                "encoder features", ("cosine of fake to nearest real", "cosine of real to nearest fake"), rows(encoded)
            ),
        ),
        tuple(claims),
        _picture(known, encoded),
    )


def _picture(known: Sequence[Found], encoded: Sequence[Found]) -> Image.Image:
    def means(sets: Sequence[Found], part: int) -> tuple[list[float], list[float]]:
        # K = 0 is the state before
        names = (BEFORE, *map(str, CLUSTERS))
        return [0.0, *map(float, CLUSTERS)], [spread([s[n][part] for s in sets])[0] for n in names]

    label = "clusters K (0: before the optimisation)"
    return beside(
        (
            line_plot(
                {
                    "position to nearest component (cosine)": means(known, 0),
                    "component to nearest position (cosine)": means(known, 1),
                    f"components covered (cosine > {COVERED:g})": means(known, 2),
                },
                label,
                "known components",
            ),
            line_plot(
                {
                    "fake to nearest real (cosine)": means(encoded, 0),
                    "real to nearest fake (cosine)": means(encoded, 1),
                },
                label,
                "encoder features",
            ),
        )
    )
