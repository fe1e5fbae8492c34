"""A training step in the manner of the published code, on our networks and losses, so that its waste alone differs.

Written from a description of what that code does, not from the code:

- six passes through the segmenters in every phase, whether the phase uses them or not, one of them without grad;
- a second pass of the same translation for its detached copy;
- the gradients of all weights, also those of frozen segmenters and, in the generators' step, of the discriminators;
- real images scored in both steps;
- the graphs of both directions, of all segmenters and of the other scale held at once, for one backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morn_losses.functional import fill_unlabeled
from ntir2dc.methods.morngan.model import set_requires_grad
from ntir2dc.methods.morngan.schedule import Phase
from ntir2dc.methods.morngan.step import Step, Terms, add_up
from ntir2dc.trainer import Trainer


def training_step(trainer: Trainer, batch: dict[str, Tensor], phase: Phase, epoch: int) -> dict[str, float]:
    """Take a step of a trainer that has segmenters without batch norm; return the terms."""
    model, step = trainer.model, trainer.inputs(batch)
    set_requires_grad([model], True)
    for optimizer in trainer.optimizers.values():
        optimizer.zero_grad(set_to_none=True)
    terms, unused = generator_terms(trainer, step, phase, trainer.scale(epoch))
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    del unused
    trainer.optimizers["generators"].step()
    if Phase.SEGMENT_A <= phase < Phase.COLLABORATE:
        trainer.optimizers["segmenters"].step()

    trainer.optimizers["discriminators"].zero_grad(set_to_none=True)
    step.scores_real_a, step.scores_real_b = model.discriminator_a(step.real_a), model.discriminator_b(step.real_b)
    pooled_a, pooled_b = trainer.pool_a.query(step.fake_a), trainer.pool_b.query(step.fake_b)
    of_discriminators = trainer.objective.discriminator_terms(
        step, model.discriminator_a(pooled_a), model.discriminator_b(pooled_b)
    )
    torch.stack(list(of_discriminators.values())).sum().backward()  # type: ignore[no-untyped-call]
    trainer.optimizers["discriminators"].step()
    return {name: float(value.detach()) for name, value in {**terms, **of_discriminators}.items()}


def generator_terms(trainer: Trainer, step: Step, phase: Phase, scale: float) -> tuple[Terms, list[Tensor]]:
    """Return the terms of the generators' and segmenters' step, and outputs that no term uses but that are kept."""
    model, objective = trainer.model, trainer.objective
    features_a, features_b = model.encoder_a(step.real_a), model.encoder_b(step.real_b)
    step.features_real_a = features_a
    step.fake_b, step.fake_a = model.decoder_b(features_a), model.decoder_a(features_b)
    step.features_fake_a = model.encoder_a(step.fake_a)
    step.cycle_b, step.cycle_a = model.decoder_b(step.features_fake_a), model.decoder_a(model.encoder_b(step.fake_b))
    step.scores_real_a, step.scores_real_b = model.discriminator_a(step.real_a), model.discriminator_b(step.real_b)
    step.scores_fake_a, step.scores_fake_b = model.discriminator_a(step.fake_a), model.discriminator_b(step.fake_b)

    s_a, s_b = model.segmenter_a, model.segmenter_b
    in_a, in_b = (trainer.passes.seen(window) for window in (step.window_a, step.window_b))
    logits_real_a = s_a(step.real_a, in_a)
    with torch.no_grad():
        _, sure_real_a = s_a(step.real_a, in_a, also_without_dropout=True)
    logits_fake_a, sure_fake_a = s_a(step.fake_a, in_b, also_without_dropout=True)
    logits_real_b, sure_real_b = s_b(step.real_b, in_b, also_without_dropout=True)
    logits_fake_b, logits_detached_b = s_b(step.fake_b, in_a), s_b(step.fake_b.detach(), in_a)
    unused = [logits_real_a, logits_fake_a, logits_real_b, logits_fake_b, logits_detached_b]

    if Phase.SEGMENT_A <= phase < Phase.COLLABORATE:
        step.logits_real_a = logits_real_a
    if phase in (Phase.SEGMENT_B, Phase.DISTILL):
        step.filled_a = fill_unlabeled(step.taught_labels_a, sure_real_a, trainer.config.losses.fill_threshold)
    if phase >= Phase.SEGMENT_B:
        step.logits_fake_b = logits_fake_b if phase >= Phase.DISTILL else logits_detached_b
    if phase is Phase.DISTILL:
        step.logits_real_b = logits_real_b
        step.labels_b = trainer.distill(sure_real_b, sure_fake_a, step.real_b)
    if phase >= Phase.COLLABORATE:
        step.logits_fake_a = logits_fake_a
        step.labels_b = trainer.mine(sure_real_b, sure_fake_a, step.real_b)

    parts = [objective.to_night(step, phase), objective.to_day(step, phase), objective.semantic("seg_ra", step, phase)]
    if phase is Phase.SEGMENT_B:
        parts.append(objective.semantic("seg_fb", step, phase))
    if phase is Phase.DISTILL:
        parts.append(objective.semantic("seg_rb", step, phase))
    if phase >= Phase.DISTILL:
        parts.append(objective.other_scale(model.translate_ab, step.real_a, step.fake_b, scale))
        parts.append(objective.other_scale(model.translate_ba, step.real_b, step.fake_a, scale))
    return add_up(parts), unused
