"""Adversarial loss (section 3.2.1): relativistic least squares, over scales and discriminators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from torch import Tensor, nn

from morn_losses._checks import check_choice, check_floating, check_number, check_same_shape
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce

Side = Literal["discriminator", "generator"]
Scores = Tensor | Sequence[Tensor] | Sequence[Sequence[Tensor]]
ScaleWeights = Sequence[float] | Sequence[Sequence[float]]


def _by_discriminator(scores: object, name: str) -> list[dict[str, Tensor]]:
    """Return the score maps of each discriminator by position in ``scores``: ``""``, ``"[0]"`` or ``"[0][1]"``."""

    def entries(x: object, position: str) -> list[tuple[str, object]]:
        if not isinstance(x, (list, tuple)):
            raise TypeError(f"{name}{position}: expected a tensor or a list, got {type(x).__name__}")
        if not x:
            raise ValueError(f"{name}{position}: expected at least one score map, got an empty {type(x).__name__}")
        return [(f"{position}[{i}]", entry) for i, entry in enumerate(x)]

    def scales(found: list[tuple[str, object]]) -> dict[str, Tensor]:
        maps = {}
        for position, x in found:
            if isinstance(x, (list, tuple)):
                raise ValueError(f"{name}{position}: expected a tensor, got a {type(x).__name__} of {len(x)}")
            x = cast(Tensor, x)
            check_floating(x, f"{name}{position}")
            if x.ndim < 1 or x.numel() < 1:
                raise ValueError(f"{name}{position}: expected (B, ...) without an empty axis, got {tuple(x.shape)}")
            maps[position] = x
        return maps

    if isinstance(scores, Tensor):
        return [scales([("", scores)])]
    outer = entries(scores, "")
    if not any(isinstance(x, (list, tuple)) for _, x in outer):
        return [scales(outer)]
    for position, x in outer:
        if isinstance(x, Tensor):
            raise ValueError(f"{name}{position}: expected a list of scales as the other discriminators', got a tensor")
    return [scales(entries(x, position)) for position, x in outer]


def _check_same_structure(real: list[dict[str, Tensor]], fake: list[dict[str, Tensor]]) -> None:
    of_real = {position: x for maps in real for position, x in maps.items()}
    of_fake = {position: x for maps in fake for position, x in maps.items()}
    for position in of_real:
        if position not in of_fake:
            raise ValueError(f"fake{position}: expected a tensor, as real{position} is one; got none there")
    for position in of_fake:
        if position not in of_real:
            raise ValueError(f"fake{position}: expected no tensor, as real{position} is none; got one")
    B = next(iter(of_real.values())).shape[0]
    for position, x in of_real.items():
        check_same_shape(of_fake[position], f"fake{position}", x, f"real{position}")
        if x.shape[0] != B:
            raise ValueError(f"real{position}: expected B = {B} as the first score map, got {x.shape[0]}")


def _is_nested(scale_weights: object) -> bool:
    """Return whether there is a sequence of weights for each discriminator."""
    return isinstance(scale_weights, (list, tuple)) and all(isinstance(w, (list, tuple)) for w in scale_weights)


def _check_options(scale_weights: object, reduction: str) -> None:
    if scale_weights is not None:
        if not isinstance(scale_weights, (list, tuple)):
            raise TypeError(f"scale_weights: expected a sequence of numbers, got {type(scale_weights).__name__}")
        rows = scale_weights if _is_nested(scale_weights) else [scale_weights]
        if not rows or not all(rows):
            raise ValueError(f"scale_weights: expected at least one for each discriminator, got {scale_weights!r}")
        for row in rows:
            for weight in row:
                check_number(weight, "scale_weights", minimum=0, exclusive=True)
    check_reduction(reduction)


def _by_scale(scale_weights: ScaleWeights | None, counts: list[int]) -> list[list[float]]:
    """Return the weights of each discriminator's scales."""
    if scale_weights is None:
        return [[1.0] * n for n in counts]
    rows: Any = scale_weights if _is_nested(scale_weights) else [scale_weights] * len(counts)
    if len(rows) != len(counts):
        raise ValueError(f"scale_weights: expected one sequence per discriminator = {len(counts)}, got {len(rows)}")
    for d, (row, n) in enumerate(zip(rows, counts, strict=True)):
        if len(row) != n:
            raise ValueError(f"scale_weights: expected {n} for discriminator {d}, one per scale, got {len(row)}")
    return list(rows)


def _one_scale(real: Tensor, fake: Tensor, side: Side) -> Tensor:
    real, fake = promote(real), promote(fake)
    error = real - fake - 1 if side == "discriminator" else real.detach() - fake + 1
    return error.square().reshape(error.shape[0], -1).mean(1)


def relativistic_lsgan_loss(
    real: Scores,
    fake: Scores,
    side: Side,
    *,
    scale_weights: ScaleWeights | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Relativistic least-squares adversarial loss of one side of the game.

    .. math::
        \mathcal{L}_{D} = \overline{(D(r) - D(f) - 1)^2}, \qquad
        \mathcal{L}_{G} = \overline{(D(r) - D(f) + 1)^2}

    with the score maps of the real and of the fake image paired position by position. Several scales give their
    weighted mean, :math:`\sum_s w_s \mathcal{L}_s / \sum_s w_s`, and several discriminators the mean of theirs.

    Choice: the paper names the relativistic least-squares loss without its form; scores are compared in pairs, and
    on the generator's side the real scores carry no grad, since no generator reaches them.

    Args:
        real: scores of real images: a tensor ``(B, ...)``, a list of them (scales), or a list of discriminators that
            each give a list of scales. Scales may differ in shape.
        fake: scores of fake images, in the same structure and shapes.
        side: ``"discriminator"`` or ``"generator"``, whose loss this is.
        scale_weights: positive weights of the scales: one sequence for all discriminators, or one for each;
            None is uniform. Only their ratios count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A value of at least 0 per sample; ``(B,)`` for ``reduction="none"``.

    Raises:
        ValueError: structures or shapes that differ (the message names the position), an empty list, a wrong number
            of weights, a weight that is not positive, another reduction.
        TypeError: scores that are no floating-point tensors.

    Example:
        >>> import torch
        >>> real, fake = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.5, 0.0]])
        >>> relativistic_lsgan_loss(real, fake, "discriminator")  # ((-1)^2 + 0^2) / 2
        tensor(0.5000)
        >>> relativistic_lsgan_loss(real, fake, "generator")  # (1^2 + 2^2) / 2
        tensor(2.5000)

    Source: section 3.2.1; Jolicoeur-Martineau (2018); Anoosheh et al. (2019).
    """
    check_choice(side, "side", ("discriminator", "generator"))
    _check_options(scale_weights, reduction)
    of_real, of_fake = _by_discriminator(real, "real"), _by_discriminator(fake, "fake")
    _check_same_structure(of_real, of_fake)
    weights = _by_scale(scale_weights, [len(maps) for maps in of_real])
    per_discriminator = []
    for real_maps, fake_maps, row in zip(of_real, of_fake, weights, strict=True):
        scales = [_one_scale(r, f, side) for r, f in zip(real_maps.values(), fake_maps.values(), strict=True)]
        total = sum(row)
        # normalised before the product, where large weights could overflow
        per_discriminator.append(sum((w / total) * value for w, value in zip(row, scales, strict=True)))
    return reduce(sum(per_discriminator) / len(per_discriminator), reduction)  # type: ignore[arg-type]


class RelativisticLSGANLoss(nn.Module):
    """Module of :func:`morn_losses.functional.relativistic_lsgan_loss`; ``forward(real, fake, side)``."""

    def __init__(self, *, scale_weights: ScaleWeights | None = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        _check_options(scale_weights, reduction)
        self.scale_weights = scale_weights
        self.reduction: Reduction = reduction

    def forward(self, real: Scores, fake: Scores, side: Side) -> Tensor:
        """Return the loss; see :func:`morn_losses.functional.relativistic_lsgan_loss`."""
        return relativistic_lsgan_loss(real, fake, side, scale_weights=self.scale_weights, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return f"scale_weights={self.scale_weights}, reduction={self.reduction!r}"
