"""Adversarial loss (section 3.2.1): relativistic least squares, over scales and discriminators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from morn_losses._checks import check_choice, check_floating, check_number, check_same_shape
from morn_losses._options import show_options, takes_options_of
from morn_losses._precision import promote
from morn_losses._reduction import Reduction, check_reduction, reduce

Side = Literal["discriminator", "generator"]
Scores = Tensor | Sequence[Tensor] | Sequence[Sequence[Tensor]]
ScaleWeights = Sequence[float] | Sequence[Sequence[float]]


def _score_maps(scores: object, name: str, at: str = "") -> dict[str, Tensor]:
    """Return every score map of nested lists by its position in ``scores``: ``""``, ``"[0]"`` or ``"[0][1]"``."""
    if isinstance(scores, Tensor):
        check_floating(scores, f"{name}{at}")
        if scores.ndim < 1 or scores.numel() < 1:
            raise ValueError(f"{name}{at}: expected (B, ...) without an empty axis, got {tuple(scores.shape)}")
        return {at: scores}
    if not isinstance(scores, (list, tuple)):
        raise TypeError(f"{name}{at}: expected a tensor or a list, got {type(scores).__name__}")
    if not scores:
        raise ValueError(f"{name}{at}: expected at least one score map, got an empty {type(scores).__name__}")
    if at.count("[") == 2:
        raise ValueError(f"{name}{at}: expected a tensor, got a {type(scores).__name__} of {len(scores)}")
    maps: dict[str, Tensor] = {}
    for i, entry in enumerate(scores):
        if isinstance(entry, Tensor) and any(isinstance(other, (list, tuple)) for other in scores):
            raise ValueError(f"{name}{at}[{i}]: expected a list of scales as the other discriminators', got a tensor")
        maps.update(_score_maps(entry, name, f"{at}[{i}]"))
    return maps


def _check_scores(real: object, fake: object) -> None:
    of_real, of_fake = _score_maps(real, "real"), _score_maps(fake, "fake")
    B = next(iter(of_real.values())).shape[0]
    for at, x in of_real.items():
        if at not in of_fake:
            raise ValueError(f"fake{at}: expected a tensor, as real{at} is one; got none there")
        check_same_shape(of_fake[at], f"fake{at}", x, f"real{at}")
        if x.shape[0] != B:
            raise ValueError(f"real{at}: expected B = {B} as the first score map, got {x.shape[0]}")
    for at in of_fake:
        if at not in of_real:
            raise ValueError(f"fake{at}: expected no tensor, as real{at} is none; got one")


def _by_discriminator(scores: Any) -> Sequence[Sequence[Tensor]]:
    """Return checked scores as a list of discriminators that each give a list of scales."""
    if isinstance(scores, Tensor):
        return [[scores]]
    return [scores] if isinstance(scores[0], Tensor) else scores


def _is_nested(scale_weights: object) -> bool:
    """Return whether there is a sequence of weights for each discriminator."""
    return isinstance(scale_weights, (list, tuple)) and all(isinstance(w, (list, tuple)) for w in scale_weights)


def _check_options(scale_weights: Any, reduction: str) -> ScaleWeights | None:
    """Check the options; return the weights as Python's numbers."""
    check_reduction(reduction)
    if scale_weights is None:
        return None
    if not isinstance(scale_weights, (list, tuple)):
        raise TypeError(f"scale_weights: expected a sequence of numbers, got {type(scale_weights).__name__}")
    if not scale_weights or not all(row for row in scale_weights if isinstance(row, (list, tuple))):
        raise ValueError(f"scale_weights: expected at least one for each discriminator, got {scale_weights!r}")

    def numbers(row: Sequence[float]) -> list[float]:
        return [check_number(weight, "scale_weights", minimum=0, exclusive=True) for weight in row]

    return [numbers(row) for row in scale_weights] if _is_nested(scale_weights) else numbers(scale_weights)


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
    weighted mean, ``sum(w_s * L_s) / sum(w_s)``, and several discriminators the mean of theirs.

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
    scale_weights = _check_options(scale_weights, reduction)
    _check_scores(real, fake)
    of_real, of_fake = _by_discriminator(real), _by_discriminator(fake)
    weights = _by_scale(scale_weights, [len(scales) for scales in of_real])
    per_discriminator = []
    for row, real_maps, fake_maps in zip(weights, of_real, of_fake, strict=True):
        total = sum(row)  # divided by before the product, where large weights could overflow
        scales = zip(row, real_maps, fake_maps, strict=True)
        per_discriminator.append(sum((w / total) * _one_scale(r, f, side) for w, r, f in scales))
    return reduce(sum(per_discriminator) / len(per_discriminator), reduction)  # type: ignore[arg-type]


@takes_options_of(relativistic_lsgan_loss)
class RelativisticLSGANLoss(nn.Module):
    """Module of `morn_losses.functional.relativistic_lsgan_loss`; ``forward(real, fake, side)``."""

    def __init__(self, *, scale_weights: ScaleWeights | None = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.scale_weights = _check_options(scale_weights, reduction)
        self.reduction: Reduction = reduction

    def forward(self, real: Scores, fake: Scores, side: Side) -> Tensor:
        """Return the loss; see `morn_losses.functional.relativistic_lsgan_loss`."""
        return relativistic_lsgan_loss(real, fake, side, scale_weights=self.scale_weights, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, as ``repr`` shows them."""
        return show_options(self)
