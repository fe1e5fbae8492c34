"""Section 3.3: which labels a step learns from, of color images (filled) and of thermal ones (mined and denoised)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morn_losses import LabelMiner, LabelSpace, OnlineSemanticDistillation, SemanticDenoiser
from morn_losses.functional import fill_unlabeled
from ntir2dc.config import LossOptions, TrainConfig


def make_miner(
    losses: LossOptions, space: LabelSpace, *, foreground: float, background: float, frozen: bool
) -> LabelMiner:
    """Return a miner with the threshold of each class: its own where ``losses.theta`` has one.

    Raises:
        ValueError: a name that is no class.
    """
    own = losses.thresholds(frozen=frozen)
    if unknown := own.keys() - set(space.names):
        raise ValueError(f"losses.theta: expected names of classes, got {', '.join(sorted(unknown))}")
    levels = [own.get(name, foreground if c in space.foreground else background) for c, name in enumerate(space.names)]
    return LabelMiner(tuple(levels), ignore_index=space.ignore_index)


def make_distillation(
    config: TrainConfig, space: LabelSpace, *, alone: bool = False, frozen: bool = False
) -> OnlineSemanticDistillation:
    """Return the miner and the denoiser of section 3.3.3; without SDP nothing is denoised.

    Args:
        config: of the run.
        space: the label space.
        alone: for labels that S_B mines alone, for which the published code has one threshold.
        frozen: for the time after the segmenters are frozen.
    """
    losses = config.losses
    background = losses.theta_fg if alone else losses.theta_bg
    miner = make_miner(losses, space, foreground=losses.theta_fg, background=background, frozen=frozen)
    denoiser = SemanticDenoiser.thermal(space) if config.modules.sdp else SemanticDenoiser(())
    return OnlineSemanticDistillation(miner, denoiser)


class PseudoLabels(nn.Module):
    """What segmenters know, as labels; nothing of it has a gradient.

    Args:
        config: of the run.
        space: the label space.
    """

    def __init__(self, config: TrainConfig, space: LabelSpace) -> None:
        super().__init__()
        self.losses = config.losses
        self.distill = make_distillation(config, space)
        alone = self.losses.mine_frozen_alone
        self.by_learning = make_distillation(config, space, alone=alone)
        self.by_frozen = make_distillation(config, space, alone=alone, frozen=True)

    def fill(self, labels_a: Tensor, logits_a: Tensor) -> Tensor:
        """Return M^A with its unlabeled pixels filled where S_A(x_a) is sure."""
        return fill_unlabeled(labels_a, logits_a, self.losses.fill_threshold)

    def agree(self, logits_b: Tensor, logits_a: Tensor, real_b: Tensor) -> Tensor:
        """Return M^B where S_B(x_b) and S_A(G_BA(x_b)) agree (Eq. 8-9), denoised: what S_B learns from."""
        labels: Tensor = self.distill(logits_b, logits_a, real_b)
        return labels

    @torch.no_grad()
    def mine(self, logits_b: Tensor, logits_a: Tensor, real_b: Tensor, *, frozen: bool) -> Tensor:
        """Return M^B for ACA, CGR, L_fa and the memory, by segmenters that are frozen or still learn."""
        if self.losses.mine_frozen_alone:
            logits_a = logits_b
        labels: Tensor = (self.by_frozen if frozen else self.by_learning)(logits_b, logits_a, real_b)
        return labels
