"""Eq. 23: from the tensors of a training step to named, weighted terms. Which of them are on is the phase's matter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from morn_losses import (
    ACALoss,
    CGRLoss,
    LabelMiner,
    LabelSpace,
    MonochromaticRegularization,
    OnlineSemanticDistillation,
    ReconstructionLoss,
    SegmentationLoss,
    SemanticDenoiser,
    SGALoss,
    SRLoss,
    TemperatureRegularization,
    TotalVariationLoss,
)
from morn_losses.functional import relativistic_lsgan_loss
from morngan.config import TrainConfig
from morngan.networks import scale_weights
from morngan.schedule import Phase
from morngan.step import Scores, Step, Terms


def aca_classes(config: TrainConfig, space: LabelSpace) -> tuple[int | tuple[int, ...], ...]:
    """Return the classes that ACA looks at: the small-sample classes, vehicles merged if asked for."""
    if not config.losses.aca_merge_vehicles:
        return space.small_sample
    vehicles = tuple(space.index(name) for name in ("car", "truck", "bus", "train") if name in space.names)
    return (*(c for c in space.small_sample if c not in vehicles), vehicles)


def make_distillation(config: TrainConfig, space: LabelSpace) -> OnlineSemanticDistillation:
    """Return the miner and the denoiser of section 3.3.3; without SDP nothing is denoised."""
    losses = config.losses
    miner = LabelMiner.from_label_space(space, foreground=losses.theta_fg, background=losses.theta_bg)
    denoiser = SemanticDenoiser.thermal(space) if config.modules.sdp else SemanticDenoiser(())
    return OnlineSemanticDistillation(miner, denoiser)


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
        self.config = config
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
        self.segmentation = SegmentationLoss(boundary_weight=0.0, reduction="sum")
        self.segmentation_with_boundary = SegmentationLoss(boundary_weight=losses.boundary_weight, reduction="sum")
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
            if self.config.losses.adversarial == "relativistic":
                loss = relativistic_lsgan_loss(r, f, side, scale_weights=scale_weights(len(r)))  # type: ignore[arg-type]
            else:
                loss = least_squares_loss(r, f, side)
            terms.append(loss / len(r) if self.config.losses.published_adversarial else loss)
        return torch.stack(terms).mean()

    def discriminator_terms(self, step: Step, pooled_a: Scores, pooled_b: Scores) -> dict[str, Tensor]:
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

    def to_night(self, step: Step, phase: Phase) -> Terms:
        """The weighted terms of x_a, G_AB(x_a) and the way back, as far as the phase has them."""
        thermal = self.config.losses.lambda_thermal
        return {
            **self._translation(phase, step.real_a, step.fake_b, step.cycle_a, step.edges_a),
            "adv": self.adversarial(step.scores_real_b, step.scores_fake_b, "generator"),
            # Eq. 4: beside the SGA of both directions, two terms of the fake thermal image
            **_weighted("mono", thermal, lambda: self.monochromatic(step.fake_b)),
            **_weighted(
                "temp",
                thermal if phase >= Phase.STRUCTURE else 0.0,
                lambda: self.temperature(step.fake_b, step.labels_a),
            ),
            **(self.semantic("seg_fb", step, phase) if phase >= Phase.DISTILL else {}),
        }

    def to_day(self, step: Step, phase: Phase) -> Terms:
        """The weighted terms of x_b, G_BA(x_b) and the way back, as far as the phase has them."""
        weights, modules = self.config.losses, self.config.modules
        terms = {
            **self._translation(phase, step.real_b, step.fake_a, step.cycle_b, step.edges_b),
            "adv": self.adversarial(step.scores_real_a, step.scores_fake_a, "generator"),
        }
        if phase >= Phase.COLLABORATE:
            terms |= self.semantic("seg_fa", step, phase)
            if modules.mgca:
                terms |= _weighted("aca", weights.lambda_aca, lambda: self.collaborative_attention(step))
            if modules.cgr:
                background = self.background_b(step)
                terms |= _weighted("cgr", weights.lambda_cgr, lambda: self.cgr(step.real_b, step.fake_a, background))
        return terms

    def _translation(self, phase: Phase, real: Tensor, fake: Tensor, cycle: Tensor, edges: Tensor) -> Terms:
        """The terms that both directions have."""
        weights = self.config.losses
        distance = self.cycle if phase >= Phase.STRUCTURE else self.cycle_without_ssim
        return {
            "cyc": distance(cycle, real),
            **_weighted("tv", weights.lambda_tv, lambda: self.total_variation(fake)),
            **_weighted("sga", weights.lambda_sga, lambda: self.sga(fake, edges)),
        }

    def semantic(self, name: str, step: Step, phase: Phase) -> Terms:
        """One term of Eq. 10, whose binary weight is 1 if the step has the logits and the labels."""
        taught_a = step.taught_labels_a
        made, target = {
            "seg_ra": (step.logits_real_a, taught_a if step.filled_a is None else step.filled_a),
            "seg_fb": (step.logits_fake_b, taught_a),
            "seg_rb": (step.logits_real_b, step.labels_b),
            "seg_fa": (step.logits_fake_a, step.labels_b),
        }[name]
        if made is None or target is None:
            return {}
        bounded = name == "seg_ra" and phase >= Phase.SEGMENT_B
        supervise = self.segmentation_with_boundary if bounded else self.segmentation
        weight = self.config.losses.lambda_seg / step.real_a.shape[0]
        return _weighted(name, weight, lambda: supervise(made, target))

    def other_scale(self, translate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, scale: float) -> Terms:
        """The term of scale robustness of one direction; ``fake`` is ``translate(real)``."""
        weight = self.config.losses.lambda_sr
        return _weighted("sr", weight, lambda: self.scale_robustness(translate, real, output=fake, scale=scale))

    def collaborative_attention(self, step: Step) -> Tensor:
        """Return the ACA loss and note in the step which classes both images hold."""
        assert step.labels_b is not None  # made in every phase that comes here
        loss, found = self.aca(step.features_real_a, step.features_fake_a, step.labels_a, step.labels_b)
        step.aca_present = found.present
        return loss
