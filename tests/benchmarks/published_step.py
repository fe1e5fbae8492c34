"""A training step in the manner of the published code, on our networks and losses, so that its waste alone differs.

Written from a description of what that code does, not from the code:

- six passes through the segmenters in every phase, whether the phase uses them or not, one of them without grad;
- a second pass of the same translation for its detached copy;
- the gradients of all weights, also those of frozen segmenters and, in the generators' step, of the discriminators;
- the graphs of both directions, of all segmenters and of the other scale held at once, for one backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ntir2dc.methods.method import Terms
from ntir2dc.methods.morngan import MornGAN
from ntir2dc.methods.morngan.objective import Step
from ntir2dc.methods.morngan.schedule import Active
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.trainer import Trainer, add_up


def training_step(trainer: Trainer, batch: dict[str, Tensor], epoch: int) -> dict[str, float]:
    """Take a step of a trainer that has segmenters without batch norm; return the terms."""
    method, optimizers = trainer.method, trainer.optimizers
    assert isinstance(method, MornGAN)
    networks, step, on = method.networks, Step.of(trainer.moved(batch)), method.on(epoch)
    set_requires_grad([networks], True)
    for optimizer in optimizers.values():
        optimizer.zero_grad(set_to_none=True)
    terms, unused = generator_terms(method, step, on, method.scale(trainer.part(batch, epoch)))
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    del unused
    optimizers["generators"].step()
    if on.seg_ra:
        optimizers["segmenters"].step()

    optimizers["discriminators"].zero_grad(set_to_none=True)
    pooled_a, pooled_b = trainer.pools["a"].query(step.fake_a), trainer.pools["b"].query(step.fake_b)
    of_discriminators = method.objective.discriminators(
        step, networks.discriminator_a(pooled_a), networks.discriminator_b(pooled_b)
    )
    torch.stack(list(of_discriminators.values())).sum().backward()  # type: ignore[no-untyped-call]
    optimizers["discriminators"].step()
    return {name: float(value.detach()) for name, value in {**terms, **of_discriminators}.items()}


def generator_terms(method: MornGAN, step: Step, on: Active, scale: float) -> tuple[Terms, list[Tensor]]:
    """Return the terms of the generators' and segmenters' step, and outputs that no term uses but that are kept."""
    networks, objective, forward, labels = method.networks, method.objective, method.forward, method.labels
    features_a, features_b = networks.encoder_a(step.real_a), networks.encoder_b(step.real_b)
    step.features_real_a = features_a
    step.fake_b, step.fake_a = networks.decoder_b(features_a), networks.decoder_a(features_b)
    step.features_fake_a = networks.encoder_a(step.fake_a)
    step.cycle_b = networks.decoder_b(step.features_fake_a)
    step.cycle_a = networks.decoder_a(networks.encoder_b(step.fake_b))
    of_a, of_b = networks.discriminator_a, networks.discriminator_b
    step.scores_real_a, step.scores_real_b = of_a(step.real_a), of_b(step.real_b)
    step.scores_fake_a, step.scores_fake_b = of_a(step.fake_a), of_b(step.fake_b)

    s_a, s_b = networks.segmenters()
    in_a, in_b = (forward.seen(window) for window in (step.window_a, step.window_b))
    logits_real_a = s_a(step.real_a, in_a)
    with torch.no_grad():
        _, sure_real_a = s_a(step.real_a, in_a, also_without_dropout=True)
    logits_fake_a, sure_fake_a = s_a(step.fake_a, in_b, also_without_dropout=True)
    logits_real_b, sure_real_b = s_b(step.real_b, in_b, also_without_dropout=True)
    logits_fake_b, logits_detached_b = s_b(step.fake_b, in_a), s_b(step.fake_b.detach(), in_a)
    unused = [logits_real_a, logits_fake_a, logits_real_b, logits_fake_b, logits_detached_b]

    if on.filling:
        step.filled_a = labels.fill(step.taught_labels_a, sure_real_a)
    step.logits_real_a, step.logits_real_b, step.logits_fake_a = logits_real_a, logits_real_b, logits_fake_a
    step.logits_fake_b = logits_detached_b if on.seg_fb == "detached" else logits_fake_b
    if on.seg_rb:
        step.labels_b = labels.agree(sure_real_b, sure_fake_a, step.real_b)
    if on.frozen:
        step.labels_b = labels.mine(sure_real_b, sure_fake_a, step.real_b, frozen=True)

    parts = [objective.to_night(step, on), objective.to_day(step, on)]
    if on.seg_ra:
        parts.append(objective.semantic("seg_ra", step))
    if on.seg_fb == "detached":
        parts.append(objective.semantic("seg_fb", step))
    if on.seg_rb:
        parts.append(objective.semantic("seg_rb", step))
    if on.scale:
        parts.append(forward.other_scale(networks.translate_ab, step.real_a, step.fake_b, scale))
        parts.append(forward.other_scale(networks.translate_ba, step.real_b, step.fake_a, scale))
    return add_up(parts), unused
