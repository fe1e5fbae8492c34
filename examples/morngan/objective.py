"""Eq. 23: from the tensors of a training step to named, weighted terms. Which of them are on is the phase's matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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

Scores = list[list[Tensor]]
"""The maps of the three discriminators, each from fine to coarse."""


@dataclass
class Step:
    """The tensors of one training step; what a phase does not need is None and has not been computed.

    ``real_a`` is x_a, ``fake_b`` is G_AB(x_a), ``cycle_a`` is G_BA(G_AB(x_a)); likewise for the other domain.
    ``features_real_a`` is E_A(x_a), ``features_fake_a`` is E_A(G_BA(x_b)). ``logits_real_a`` is S_A(x_a) and so on;
    while segmenters learn, the rows of ``logits_real_a``, ``filled_a`` and ``logits_fake_b`` after those of the batch
    belong to the further color crops ``extra_a`` ``(B, n, 3, H, W)``. A window ``(B, 4)`` says where its image was cut
    out of its frame, as segmenters take it.
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
    fake_a: Tensor
    fake_b: Tensor
    cycle_a: Tensor
    cycle_b: Tensor
    features_real_a: Tensor
    features_fake_a: Tensor
    scores_real_a: Scores
    scores_real_b: Scores
    scores_fake_a: Scores
    scores_fake_b: Scores
    labels_b: Tensor | None = None
    filled_a: Tensor | None = None
    logits_real_a: Tensor | None = None
    logits_real_b: Tensor | None = None
    logits_fake_a: Tensor | None = None
    logits_fake_b: Tensor | None = None
    aca_present: Tensor | None = None

    @property
    def taught_labels_a(self) -> Tensor:
        """The labels of the batch's color images, then those of the further crops."""
        return torch.cat((self.labels_a, self.extra_labels_a.flatten(0, 1)))


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


class Objective:
    """The terms of Eq. 23 for one configuration."""

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

    def __call__(
        self,
        step: Step,
        phase: Phase,
        scale: float,
        translate_ab: Callable[[Tensor], Tensor],
        translate_ba: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """Return the weighted terms that are on; their sum is L_all."""
        weights, modules = self.config.losses, self.config.modules
        terms: dict[str, Tensor] = {}

        def add(name: str, weight: float, *parts: Callable[[], Tensor]) -> None:
            if weight > 0:
                terms[name] = weight * torch.stack([part() for part in parts]).sum()

        add(
            "adv",
            1.0,
            lambda: self.adversarial(step.scores_real_a, step.scores_fake_a, "generator"),
            lambda: self.adversarial(step.scores_real_b, step.scores_fake_b, "generator"),
        )
        cycle = self.cycle if phase >= Phase.STRUCTURE else self.cycle_without_ssim
        add("cyc", 1.0, lambda: cycle(step.cycle_a, step.real_a), lambda: cycle(step.cycle_b, step.real_b))
        add(
            "tv",
            weights.lambda_tv,
            lambda: self.total_variation(step.fake_a),
            lambda: self.total_variation(step.fake_b),
        )

        # Eq. 4: the SGA of both directions and two terms of the fake thermal image
        add(
            "sga",
            weights.lambda_sga,
            lambda: self.sga(step.fake_a, step.edges_b),
            lambda: self.sga(step.fake_b, step.edges_a),
        )
        add("mono", weights.lambda_thermal, lambda: self.monochromatic(step.fake_b))
        if phase >= Phase.STRUCTURE:
            add("temp", weights.lambda_thermal, lambda: self.temperature(step.fake_b, step.labels_a))

        # Eq. 10: a binary weight is 1 if the phase has made the logits
        batch = step.real_a.shape[0]
        taught_a = step.taught_labels_a
        supervise_a = self.segmentation_with_boundary if phase >= Phase.SEGMENT_B else self.segmentation
        for name, supervise, made, target in (
            ("seg_ra", supervise_a, step.logits_real_a, taught_a if step.filled_a is None else step.filled_a),
            ("seg_fb", self.segmentation, step.logits_fake_b, taught_a),
            ("seg_rb", self.segmentation, step.logits_real_b, step.labels_b),
            ("seg_fa", self.segmentation, step.logits_fake_a, step.labels_b),
        ):
            if made is not None and target is not None:
                add(name, weights.lambda_seg / batch, partial(supervise, made, target))

        if phase >= Phase.COLLABORATE and modules.mgca:
            add("aca", weights.lambda_aca, lambda: self.collaborative_attention(step))
        if phase >= Phase.COLLABORATE and modules.cgr:
            add("cgr", weights.lambda_cgr, lambda: self.cgr(step.real_b, step.fake_a, self.background_b(step)))
        if phase >= Phase.DISTILL and modules.sr:
            add(
                "sr",
                weights.lambda_sr,
                lambda: self.scale_robustness(translate_ab, step.real_a, output=step.fake_b, scale=scale),
                lambda: self.scale_robustness(translate_ba, step.real_b, output=step.fake_a, scale=scale),
            )
        return terms

    def collaborative_attention(self, step: Step) -> Tensor:
        """Return the ACA loss and note in the step which classes both images hold."""
        assert step.labels_b is not None  # made in every phase that comes here
        loss, found = self.aca(step.features_real_a, step.features_fake_a, step.labels_a, step.labels_b)
        step.aca_present = found.present
        return loss  # type: ignore[no-any-return]


def term_names() -> tuple[str, ...]:
    """Return every term that can appear, in the order of the log."""
    return ("adv", "cyc", "tv", "sga", "mono", "temp", "seg_ra", "seg_fb", "seg_rb", "seg_fa", "aca", "cgr", "sr")
