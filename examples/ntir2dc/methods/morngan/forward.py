"""The networks' passes of a training step: from its images to the terms of Eq. 23, in pieces that share no graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from morn_losses import OnlineSemanticDistillation
from morn_losses.functional import fill_unlabeled, semantic_descriptor
from ntir2dc.methods.morngan.model import MornGAN, evaluating, set_requires_grad
from ntir2dc.methods.morngan.objective import Objective
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.methods.morngan.step import Scores, Step, Terms
from ntir2dc.networks import Segmenter

Mine = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the logits of S_B(x_b), of S_A(G_BA(x_b)), and x_b to pseudo-labels ``(B, H, W)``."""


@dataclass(frozen=True)
class Passes:
    """What runs the networks.

    Args:
        model: the networks.
        objective: from what they give to weighted terms.
        distill: gives the pseudo-labels of thermal images while the segmenters learn.
        mine: the same once they are frozen.
    """

    model: MornGAN
    objective: Objective
    distill: OnlineSemanticDistillation
    mine: Mine

    def pieces(self, step: Step, phase: Phase, scale: float) -> list[Callable[[], Terms]]:
        """Return Eq. 23 in pieces, to be called in their order: each runs its networks and returns its terms.

        Between them they run the networks that the phase needs, each once. The graphs of two pieces share nothing: one
        is back-propagated, and thereby freed, before the next is made, so that only the largest takes memory.
        """
        objective, model, config = self.objective, self.model, self.objective.config
        pieces: list[Callable[[], Terms]] = [partial(self.to_night, step, phase), partial(self.to_day, step, phase)]
        if config.modules.sc and Phase.SEGMENT_A <= phase < Phase.COLLABORATE:
            pieces.append(partial(self.teach_with_color, step, phase))
        if config.modules.sc and phase is Phase.SEGMENT_B:
            pieces.append(partial(self.teach_with_fakes, step, phase))
        if config.modules.sc and phase is Phase.DISTILL:
            pieces.append(partial(self.teach_with_mined, step, phase))
        if config.modules.sr and phase >= Phase.DISTILL and config.losses.lambda_sr > 0:
            pieces.append(lambda: objective.other_scale(model.translate_ab, step.real_a, step.fake_b, scale))
            pieces.append(lambda: objective.other_scale(model.translate_ba, step.real_b, step.fake_a, scale))
        return pieces

    def to_night(self, step: Step, phase: Phase) -> Terms:
        """Translate the color images, and back; what becomes thermal is scored and (Eq. 10) segmented."""
        model = self.model
        features = model.encoder_a(step.real_a)
        step.features_real_a = features.detach()
        step.fake_b = model.decoder_b(features)
        step.cycle_a = model.decoder_a(model.encoder_b(step.fake_b))
        step.scores_real_b, step.scores_fake_b = _scores(model.discriminator_b, step.real_b, step.fake_b)
        if self.objective.config.modules.sc and phase >= Phase.DISTILL:
            step.logits_fake_b = self._segment_fakes(step.fake_b, step)
        return self.objective.to_night(step, phase)

    def to_day(self, step: Step, phase: Phase) -> Terms:
        """Translate the thermal images, and back; mine their labels once the segmenters are frozen."""
        model = self.model
        step.fake_a = model.decoder_a(model.encoder_b(step.real_b))
        step.features_fake_a = model.encoder_a(step.fake_a)
        step.cycle_b = model.decoder_b(step.features_fake_a)
        step.scores_real_a, step.scores_fake_a = _scores(model.discriminator_a, step.real_a, step.fake_a)
        if self.objective.config.modules.sc and phase >= Phase.COLLABORATE:
            in_b = self.seen(step.window_b)
            step.logits_fake_a = model.segmenter_a(step.fake_a, in_b)
            with torch.no_grad():
                logits_b = model.segmenter_b(step.real_b, in_b)
                step.labels_b = self.mine(logits_b, step.logits_fake_a.detach(), step.real_b)
        return self.objective.to_day(step, phase)

    def teach_with_color(self, step: Step, phase: Phase) -> Terms:
        """L_ra: S_A learns from real color images, their unlabeled pixels filled where it is sure."""
        s_a, images = self.model.segmenter_a, torch.cat((step.real_a, step.extra_a.flatten(0, 1)))
        window = self.seen(torch.cat((step.window_a, step.extra_windows_a.flatten(0, 1))))
        if phase >= Phase.SEGMENT_B:
            step.logits_real_a, sure = _also_without_dropout(s_a, images, window)
            step.filled_a = fill_unlabeled(step.taught_labels_a, sure, self.objective.config.losses.fill_threshold)
        else:
            step.logits_real_a = s_a(images, window)
        return self.objective.semantic("seg_ra", step, phase)

    def teach_with_fakes(self, step: Step, phase: Phase) -> Terms:
        """L_fb before the generator is let in: S_B learns from translations, which are detached."""
        step.logits_fake_b = self._segment_fakes(step.fake_b.detach(), step)
        return self.objective.semantic("seg_fb", step, phase)

    def teach_with_mined(self, step: Step, phase: Phase) -> Terms:
        """L_rb: S_B learns from real thermal images with the labels that it and S_A agree on."""
        s_a, in_b = self.model.segmenter_a, self.seen(step.window_b)
        step.logits_real_b, sure = _also_without_dropout(self.model.segmenter_b, step.real_b, in_b)
        with torch.no_grad(), evaluating(s_a):
            step.labels_b = self.distill(sure, s_a(step.fake_a, in_b), step.real_b)
        return self.objective.semantic("seg_rb", step, phase)

    def describe(self, real_b: Tensor, windows: Tensor) -> Tensor:
        """Return what the memory stores of thermal crops: a descriptor of their mined labels (section 3.4.1)."""
        model, window = self.model, self.seen(windows)
        logits_a = model.segmenter_a(model.translate_ba(real_b), window)
        labels = self.mine(model.segmenter_b(real_b, window), logits_a, real_b)
        return semantic_descriptor(labels, self.objective.space.small_sample)

    def seen(self, window: Tensor) -> Tensor | None:
        """Return what the segmenters are told of where their crops lie."""
        return window if self.objective.config.networks.segmenter_coordinates == "frame" else None

    def _segment_fakes(self, fake_b: Tensor, step: Step) -> Tensor:
        """Return S_B of the fakes, then of the translations of the further crops, which teach S_B but no generator."""
        extra_a, windows = step.extra_a.flatten(0, 1), step.window_a
        if len(extra_a):
            with torch.no_grad():
                extra_fake_b = self.model.translate_ab(extra_a)
            fake_b = torch.cat((fake_b, extra_fake_b))
            windows = torch.cat((windows, step.extra_windows_a.flatten(0, 1)))
        logits: Tensor = self.model.segmenter_b(fake_b, self.seen(windows))
        return logits


def _scores(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Scores, Scores]:
    """Score real and fake images: the former for the discriminator's own step, the latter for the generators alone.

    Apart, since the real images' graph waits for that step; with spectral norm a pass also moves the power iteration.
    """
    set_requires_grad([discriminator], True)
    of_real = discriminator(real)
    set_requires_grad([discriminator], False)
    return of_real, discriminator(fake)


def _also_without_dropout(segmenter: Segmenter, x: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return logits to learn from and, without grad, those of eval mode, which may become labels.

    One pass, unless the whole network differs in eval mode.
    """
    if not segmenter.by_batch:
        logits, sure = segmenter(x, window, also_without_dropout=True)
        return logits, sure
    # with grad first: under autocast a pass without grad caches weights without grad
    logits = segmenter(x, window)
    with torch.no_grad(), evaluating(segmenter):
        sure = segmenter(x, window)
    return logits, sure
