"""Eq. 23: from the tensors of a training step to named, weighted terms, as far as they are on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from morn_losses import (
    ACALoss,
    CGRLoss,
    LabelSpace,
    MonochromaticRegularization,
    ReconstructionLoss,
    SegmentationLoss,
    SGALoss,
    SRLoss,
    TemperatureRegularization,
    TotalVariationLoss,
)
from morn_losses.functional import relativistic_lsgan_loss
from ntir2dc.config import TrainConfig
from ntir2dc.methods.method import Terms
from ntir2dc.methods.morngan.schedule import Active
from ntir2dc.networks import scale_weights

Scores = list[list[Tensor]]
"""The maps of the three discriminators, each from fine to coarse."""


@dataclass
class Step:
    """The tensors of one training step: its inputs, and what the networks have made of them so far.

    ``real_a`` is x_a, ``fake_b`` is G_AB(x_a), ``cycle_a`` is G_BA(G_AB(x_a)); likewise for the other domain.
    ``features_real_a`` is E_A(x_a), without grad, ``features_fake_a`` is E_A(G_BA(x_b)). ``logits_real_a`` is S_A(x_a)
    and so on; None where a phase does not need them. While segmenters learn, the rows of ``logits_real_a``,
    ``filled_a`` and ``logits_fake_b`` after those of the batch belong to the further color crops ``extra_a``
    ``(B, n, 3, H, W)``. A window ``(B, 4)`` says where its image was cut out of its frame, as segmenters take it.
    """

    real_a: Tensor
    real_b: Tensor
    window_a: Tensor
    window_b: Tensor
    edges_a: Tensor
    edges_b: Tensor
    labels_a: Tensor
    extra_a: Tensor
    extra_labels_a: Tensor
    extra_windows_a: Tensor
    fake_a: Tensor = field(init=False)
    fake_b: Tensor = field(init=False)
    cycle_a: Tensor = field(init=False)
    cycle_b: Tensor = field(init=False)
    features_real_a: Tensor = field(init=False)
    features_fake_a: Tensor = field(init=False)
    scores_real_a: Scores = field(init=False)
    scores_real_b: Scores = field(init=False)
    scores_fake_a: Scores = field(init=False)
    scores_fake_b: Scores = field(init=False)
    labels_b: Tensor | None = None
    filled_a: Tensor | None = None
    logits_real_a: Tensor | None = None
    logits_real_b: Tensor | None = None
    logits_fake_a: Tensor | None = None
    logits_fake_b: Tensor | None = None
    logits_look_a: Tensor | None = None
    aca_present: Tensor | None = None
    segmented_side: int | None = None
    """Side to which segmenters see everything resized (published); None as it is."""

    @classmethod
    def of(cls, batch: Mapping[str, Tensor], segmented_side: int | None = None) -> Step:
        """Return the step of a batch, which has not begun; labels of the thermal images may be given."""
        tensors = {name: value for name, value in batch.items() if name != "index_b"}
        return cls(**tensors, segmented_side=segmented_side)

    @property
    def taught_labels_a(self) -> Tensor:
        """The labels of the batch's color images, then those of the further crops, as segmenters see them."""
        labels = torch.cat((self.labels_a, self.extra_labels_a.flatten(0, 1)))
        if self.segmented_side is None:
            return labels
        side = (self.segmented_side,) * 2
        return F.interpolate(labels[:, None].float(), side, mode="nearest")[:, 0].to(labels.dtype)

    def segmented(self, images: Tensor) -> Tensor:
        """Return images as segmenters see them."""
        if self.segmented_side is None:
            return images
        side = (self.segmented_side,) * 2
        return F.interpolate(images, side, mode="bilinear", align_corners=False)


def aca_classes(config: TrainConfig, space: LabelSpace) -> tuple[int | tuple[int, ...], ...]:
    """Return the classes that ACA looks at: the small-sample classes, vehicles merged if asked for."""
    if not config.losses.aca_merge_vehicles:
        return space.small_sample
    vehicles = tuple(space.index(name) for name in ("car", "truck", "bus", "train") if name in space.names)
    return (*(c for c in space.small_sample if c not in vehicles), vehicles)


def least_squares_loss(real: list[Tensor], fake: list[Tensor], side: str) -> Tensor:
    """CycleGAN's adversarial loss over the scales of one discriminator, weighted as the relativistic one is.

    The discriminator's side is mean((r - 1)^2) + mean(f^2), halved as in CycleGAN; the generator's mean((f - 1)^2).
    """
    weights = scale_weights(len(real))
    terms = []
    for weight, r, f in zip(weights, real, fake, strict=True):
        loss = ((r - 1).square().mean() + f.square().mean()) / 2 if side == "discriminator" else (f - 1).square().mean()
        terms.append(weight * loss)
    return torch.stack(terms).sum() / sum(weights)


def _weighted(name: str, weight: float, term: Callable[[], Tensor]) -> Terms:
    """Return the term by its name, or nothing, and nothing computed, where its weight is 0."""
    return {name: weight * term()} if weight > 0 else {}


class Objective:
    """The terms of Eq. 23 for one configuration, in functions whose graphs share nothing.

    The two directions share parameters, but no tensor with grad: what one takes from the other is detached.
    """

    def __init__(self, config: TrainConfig, space: LabelSpace) -> None:
        losses = config.losses
        self.weights = losses
        self.space = space
        self.cycle_without_ssim = ReconstructionLoss(
            distance=losses.cycle_distance, weight_l1=losses.lambda_cyc, weight_ssim=0.0
        )
        self.cycle = ReconstructionLoss(distance=losses.cycle_distance, weight_l1=losses.lambda_cyc)
        self.total_variation = TotalVariationLoss()
        self.sga = SGALoss(
            threshold=losses.sga_threshold, patches=losses.sga_patches, padding_mode=losses.gradient_padding
        )
        self.monochromatic = MonochromaticRegularization()
        self.temperature = TemperatureRegularization(road=space.index("road"), person=space.index("person"))
        # one value per crop: a sum over those that an image of the batch brings, a mean over the batch
        self.segmentation, self.segmentation_with_boundary = (
            SegmentationLoss(
                boundary_weight=boundary_weight,
                small_pixels=losses.small_pixels or None,
                clear_ignored=losses.clear_ignored,
                reduction="sum",
            )
            for boundary_weight in (0.0, losses.boundary_weight)
        )
        self.aca = ACALoss(
            aca_classes(config, space),
            n_clusters=losses.aca_clusters,
            phi_local=losses.aca_phi_local,
            phi_global=losses.aca_phi_global,
            metric=losses.aca_metric,
            init=losses.aca_init,
            average=losses.aca_average,
            min_positions=losses.aca_clusters + 1 if config.variant == "published" else None,
            return_terms=True,
        )
        self.cgr = CGRLoss(padding_mode=losses.gradient_padding)
        self.scale_robustness = SRLoss(alpha=losses.sr_alpha, beta=losses.sr_beta)

    def adversarial(self, real: Scores, fake: Scores, side: str) -> Tensor:
        """Relativistic (or CycleGAN's) least-squares loss over the three discriminators of a domain."""
        terms = []
        for r, f in zip(real, fake, strict=True):
            if self.weights.adversarial == "relativistic":
                loss = relativistic_lsgan_loss(r, f, side, scale_weights=scale_weights(len(r)))  # type: ignore[arg-type]
            else:
                loss = least_squares_loss(r, f, side)
            terms.append(loss / len(r) if self.weights.published_adversarial else loss)
        return torch.stack(terms).mean()

    def discriminators(self, step: Step, pooled_a: Scores, pooled_b: Scores) -> Terms:
        """The discriminators' side of the adversarial loss, on fakes from the pools."""
        return {
            "disc_a": self.adversarial(step.scores_real_a, pooled_a, "discriminator"),
            "disc_b": self.adversarial(step.scores_real_b, pooled_b, "discriminator"),
        }

    def background_b(self, step: Step) -> Tensor | None:
        """The background region of the thermal image for CGR: stuff and unlabeled pixels; None is everywhere."""
        if step.labels_b is None:
            return None
        return self.space.background(step.labels_b)

    def to_night(self, step: Step, on: Active) -> Terms:
        """The weighted terms of x_a, G_AB(x_a) and the way back."""
        thermal = self.weights.lambda_thermal
        return {
            **self._translation(on, step.real_a, step.fake_b, step.cycle_a, step.edges_a),
            "adv": self.adversarial(step.scores_real_b, step.scores_fake_b, "generator"),
            # Eq. 4: beside the SGA of both directions, two terms of the fake thermal image
            **_weighted("mono", thermal, lambda: self.monochromatic(step.fake_b)),
            **_weighted("temp", thermal * on.temperature, lambda: self.temperature(step.fake_b, step.labels_a)),
            **(self.semantic("seg_fb", step) if on.seg_fb == "let in" else {}),
        }

    def to_day(self, step: Step, on: Active) -> Terms:
        """The weighted terms of x_b, G_BA(x_b) and the way back."""
        weights = self.weights
        return {
            **self._translation(on, step.real_b, step.fake_a, step.cycle_b, step.edges_b),
            "adv": self.adversarial(step.scores_real_a, step.scores_fake_a, "generator"),
            **(self.semantic("seg_fa", step) if on.seg_fa else {}),
            **_weighted("aca", weights.lambda_aca * on.aca, lambda: self.collaborative_attention(step)),
            **_weighted(
                "cgr", weights.lambda_cgr * on.cgr, lambda: self.cgr(step.real_b, step.fake_a, self.background_b(step))
            ),
        }

    def _translation(self, on: Active, real: Tensor, fake: Tensor, cycle: Tensor, edges: Tensor) -> Terms:
        """The terms that both directions have."""
        distance = self.cycle if on.ssim else self.cycle_without_ssim
        return {
            "cyc": distance(cycle, real),
            **_weighted("tv", self.weights.lambda_tv, lambda: self.total_variation(fake)),
            **_weighted("sga", self.weights.lambda_sga, lambda: self.sga(fake, edges)),
        }

    def semantic(self, name: Literal["seg_ra", "seg_la", "seg_fb", "seg_rb", "seg_fa"], step: Step) -> Terms:
        """One term of Eq. 10. With filled labels S_A also learns boundaries."""
        taught_a, bounded = step.taught_labels_a, name == "seg_ra" and step.filled_a is not None
        filled_a = taught_a if step.filled_a is None else step.filled_a
        logits, labels = {
            "seg_ra": (step.logits_real_a, filled_a),
            "seg_la": (step.logits_look_a, taught_a),
            "seg_fb": (step.logits_fake_b, filled_a if self.weights.published_fill else taught_a),
            "seg_rb": (step.logits_real_b, step.labels_b),
            "seg_fa": (step.logits_fake_a, step.labels_b),
        }[name]
        supervise = self.segmentation_with_boundary if bounded else self.segmentation
        weight = self.weights.lambda_seg / step.real_a.shape[0]
        return _weighted(name, weight, lambda: supervise(logits, labels))

    def collaborative_attention(self, step: Step) -> Tensor:
        """Return the ACA loss and note in the step which classes both images hold."""
        assert step.labels_b is not None  # made in every phase that comes here
        # filled in the last phase by the published reading alone
        labels_a = step.labels_a if step.filled_a is None else step.filled_a
        loss, terms = self.aca(step.features_real_a, step.features_fake_a, labels_a, step.labels_b)
        step.aca_present = terms.present
        return loss
