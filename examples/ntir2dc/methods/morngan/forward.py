"""The networks' passes of a training step: from its images to the terms of Eq. 23, in pieces that share no graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from morn_losses.pseudo_labels.look import RandomThermalLook
from ntir2dc.config import TrainConfig
from ntir2dc.methods.method import Pool, Terms
from ntir2dc.methods.morngan.networks import Networks
from ntir2dc.methods.morngan.objective import Objective, Scores, Step
from ntir2dc.methods.morngan.pseudo_labels import PseudoLabels
from ntir2dc.methods.morngan.schedule import Active
from ntir2dc.networks import ResidualUNet, Segmenter
from ntir2dc.networks.modes import evaluating, set_requires_grad


@dataclass(frozen=True)
class Forward:
    """What runs the networks.

    Args:
        networks: all of them.
        objective: from what they give to weighted terms.
        labels: from what the segmenters give to labels.
        look: color images as a thermal camera might see them.
        config: of the run.
    """

    networks: Networks
    objective: Objective
    labels: PseudoLabels
    look: RandomThermalLook
    config: TrainConfig

    def begin(self, batch: Mapping[str, Tensor], segmented_side: int | None = None) -> Step:
        """Return the step of a batch."""
        return Step.of(batch, segmented_side)

    def generate(self, step: Step, on: Active, scale: float, look: torch.Generator | None = None) -> Iterator[Terms]:
        """Give Eq. 23 piece by piece; ``look`` draws the looks in which S_B sees color images, if it does.

        Between them the pieces run the networks that the phase needs, each once.
        """
        networks = self.networks
        if on.seg_ra:
            yield self.teach_with_color(step, on)
        if on.seg_la:
            assert look is not None
            yield self.teach_with_looks(step, look)
        if not on.translating:
            return
        yield self.to_night(step, on)
        yield self.to_day(step, on)
        if on.seg_fb == "detached":
            yield self.teach_with_fakes(step)
        if on.seg_rb:
            yield self.teach_with_mined(step)
        if on.scale and self.objective.weights.lambda_sr > 0:
            to_night = nn.Sequential(networks.encoder_a, networks.decoder_b)
            to_day = nn.Sequential(networks.encoder_b, networks.decoder_a)
            yield self.other_scale(to_night, step.real_a, step.fake_b, scale)
            yield self.other_scale(to_day, step.real_b, step.fake_a, scale)

    def discriminate(self, step: Step, pools: Mapping[str, Pool]) -> Terms:
        """The discriminators' side of L_adv, on earlier fakes."""
        networks = self.networks
        set_requires_grad(networks.discriminators(), True)
        pooled_a, pooled_b = pools["a"].query(step.fake_a), pools["b"].query(step.fake_b)
        return self.objective.discriminators(
            step, networks.discriminator_a(pooled_a), networks.discriminator_b(pooled_b)
        )

    def to_night(self, step: Step, on: Active) -> Terms:
        """Translate the color images, and back; what becomes thermal is scored and (Eq. 10) segmented."""
        networks = self.networks
        if self.config.losses.published_fill and (on.filling or on.frozen) and step.filled_a is None:
            with torch.no_grad():
                step.filled_a = self.labels.fill(step.taught_labels_a, networks.segmenter_a(*self._taught(step)))
        features, compared = self.encode_color(step.real_a)
        step.features_real_a = compared.detach()
        step.fake_b = networks.decoder_b(features)
        step.cycle_a = networks.decoder_a(networks.encoder_b(step.fake_b))
        step.scores_real_b, step.scores_fake_b = _scores(networks.discriminator_b, step.real_b, step.fake_b)
        if on.seg_fb == "let in":
            step.logits_fake_b = self._segment_fakes(step.fake_b, step)
        return self.objective.to_night(step, on)

    def to_day(self, step: Step, on: Active) -> Terms:
        """Translate the thermal images, and back; mine their labels once the segmenters are frozen."""
        networks = self.networks
        step.fake_a = networks.decoder_a(networks.encoder_b(step.real_b))
        features, step.features_fake_a = self.encode_color(step.fake_a)
        step.cycle_b = networks.decoder_b(features)
        step.scores_real_a, step.scores_fake_a = _scores(networks.discriminator_a, step.real_a, step.fake_a)
        if on.seg_fa:
            in_b = self.seen(step.window_b)
            # they judge and label as they are, whether they still learn elsewhere in the step or not
            set_requires_grad(networks.segmenters(), False)
            with self.labeling(*networks.segmenters()):
                step.logits_fake_a = networks.segmenter_a(step.fake_a, in_b)
                if step.labels_b is None:
                    with torch.no_grad():
                        logits_b = networks.segmenter_b(step.real_b, in_b)
                    step.labels_b = self.labels.mine(
                        logits_b, step.logits_fake_a.detach(), step.real_b, frozen=on.frozen
                    )
            set_requires_grad(networks.segmenters(), not on.frozen)
        return self.objective.to_day(step, on)

    def encode_color(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of color images, and those that ACA compares."""
        encoder = self.networks.encoder_a
        if self.config.losses.aca_features == "half":
            return encoder.with_half(images)
        features = encoder(images)
        return features, features

    def teach_with_color(self, step: Step, on: Active) -> Terms:
        """L_ra: S_A learns from real color images, their unlabeled pixels filled where it is sure."""
        s_a, (images, window) = self.networks.segmenter_a, self._taught(step)
        assert isinstance(s_a, nn.Module)  # one that is pretrained is not taught
        if on.filling:
            step.logits_real_a, sure = self._also_sure(s_a, images, window)
            step.filled_a = self.labels.fill(step.taught_labels_a, sure)
        else:
            step.logits_real_a = s_a(images, window)
        return self.objective.semantic("seg_ra", step)

    def teach_with_looks(self, step: Step, look: torch.Generator) -> Terms:
        """S_B learns from real color images in a random thermal look."""
        images, window = self._taught(step)
        step.logits_look_a = self.networks.segmenter_b(self.look(images, step.taught_labels_a, look), window)
        return self.objective.semantic("seg_la", step)

    def teach_with_fakes(self, step: Step) -> Terms:
        """L_fb before the generator is let in: S_B learns from translations, which are detached."""
        step.logits_fake_b = self._segment_fakes(step.fake_b.detach(), step)
        return self.objective.semantic("seg_fb", step)

    def teach_with_mined(self, step: Step) -> Terms:
        """L_rb: S_B learns from real thermal images with the labels that it and S_A agree on."""
        s_a, in_b, real_b = self.networks.segmenter_a, self.seen(step.window_b), step.segmented(step.real_b)
        step.logits_real_b, sure = self._also_sure(self.networks.segmenter_b, real_b, in_b)
        if step.labels_b is None:
            with torch.no_grad(), self.labeling(*self.networks.segmenters()):
                logits_a = s_a(step.segmented(step.fake_a), in_b)
            step.labels_b = self.labels.agree(sure, logits_a, real_b)
        return self.objective.semantic("seg_rb", step)

    def other_scale(self, translate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, scale: float) -> Terms:
        """Scale robustness of one direction (Eq. 20-22); ``fake`` is ``translate(real)``."""
        objective = self.objective
        loss = objective.scale_robustness(translate, real, output=fake, scale=scale)
        return {"sr": objective.weights.lambda_sr * loss}

    def mine(self, real_b: Tensor, fake_a: Tensor, window: Tensor | None) -> Tensor:
        """Return the labels of thermal images whose translations are there, by frozen segmenters."""
        in_b = None if window is None else self.seen(window)
        logits_b, logits_a = self.networks.segmenter_b(real_b, in_b), self.networks.segmenter_a(fake_a, in_b)
        return self.labels.mine(logits_b, logits_a, real_b, frozen=True)

    def seen(self, window: Tensor) -> Tensor | None:
        """Return what the segmenters are told of where their crops lie."""
        return window if self.config.networks.segmenter_coordinates == "frame" else None

    def labeling(self, *segmenters: nn.Module) -> AbstractContextManager[None]:
        """Return the context in which segmenters make labels: eval mode, unless dropout stays on (published)."""
        return nullcontext() if self.config.losses.label_with_dropout else evaluating(*segmenters)

    def _taught(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """Return the color images that teach, as segmenters see them, and where they lie in their frames."""
        images = torch.cat((step.real_a, step.extra_a.flatten(0, 1)))
        windows = torch.cat((step.window_a, step.extra_windows_a.flatten(0, 1)))
        return step.segmented(images), self.seen(windows)

    def _also_sure(
        self, segmenter: Segmenter | ResidualUNet, x: Tensor, window: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits to learn from and, without grad, those that may become labels: of eval mode.

        One pass, unless the whole network differs in eval mode. With dropout on (published) both are the same.
        """
        if self.config.losses.label_with_dropout:
            logits = segmenter(x, window)
            return logits, logits.detach()
        if not segmenter.by_batch:
            logits, sure = segmenter(x, window, also_without_dropout=True)
            return logits, sure
        # with grad first: under autocast a pass without grad caches weights without grad
        logits = segmenter(x, window)
        with torch.no_grad(), evaluating(segmenter):
            sure = segmenter(x, window)
        return logits, sure

    def _segment_fakes(self, fake_b: Tensor, step: Step) -> Tensor:
        """Return S_B of the fakes, then of the translations of the further crops, which teach S_B but no generator."""
        extra_a, windows = step.extra_a.flatten(0, 1), step.window_a
        if len(extra_a):
            with torch.no_grad():
                extra_fake_b = self.networks.translate_ab(extra_a)
            fake_b = torch.cat((fake_b, extra_fake_b))
            windows = torch.cat((windows, step.extra_windows_a.flatten(0, 1)))
        logits: Tensor = self.networks.segmenter_b(step.segmented(fake_b), self.seen(windows))
        return logits


def _scores(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Scores, Scores]:
    """Score real and fake images: the former for the discriminator's own step, the latter for the generators alone.

    Apart, since the real images' graph waits for that step; with spectral norm a pass also moves the power iteration.
    """
    set_requires_grad([discriminator], True)
    of_real = discriminator(real)
    set_requires_grad([discriminator], False)
    return of_real, discriminator(fake)
