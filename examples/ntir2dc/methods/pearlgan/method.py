r"""PearlGAN (Luo et al., IEEE TITS 2022) as the trainer drives it, read straight down.

.. math::
    \mathcal{L} = \sum_{x \in \{x_a, x_b\}} \mathcal{L}_{adv} + \lambda_{cyc}\, d(x'', x)
    + \lambda_{ssim} (1 - \mathrm{SSIM}(x'', x)) + \lambda_{tv}\, \mathrm{TV}(x') + \lambda_{sga} \mathcal{L}_{sga}(x')
    + \lambda_{ad} \mathcal{L}_{ad}(x) + \lambda_{accs} \mathcal{L}_{accs}(x)

with the translation x', what it is translated back to x'', relativistic least squares over three discriminators a
domain, smooth L1 as the distance d, structured gradient alignment at a random patch with edges, the two losses of
:mod:`ntir2dc.methods.pearlgan.attention_losses`, and lambdas of 10, 1, 5, 0.5, 1 and 1. The SSIM and the last term come
in later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from morn_losses import LabelSpace, ReconstructionLoss, SGALoss
from morn_losses.functional import total_variation_loss
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.adversarial import Scores, relativistic_loss
from ntir2dc.methods.halves import halves_of, translators
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.morngan.networks import describe
from ntir2dc.methods.one_phase import random_crops
from ntir2dc.methods.pearlgan.attention_losses import attention_diversity, cross_domain_similarity
from ntir2dc.methods.pearlgan.networks import Domain, Networks
from ntir2dc.networks import AttentiveEncoder
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches
from ntir2dc.seeds import Stream, seeded


class Phase(IntEnum):
    """The phases in their order."""

    BASELINE = 1
    SIMILARITY = 2
    """With SSIM and the similarity across the domains."""


class Seen(NamedTuple):
    """What other pieces take from a direction, without its graph."""

    fake: Tensor
    features: Tensor
    features_of_fake: Tensor


class PearlGAN:
    """See :class:`ntir2dc.methods.method.Method`."""

    pools: ClassVar[tuple[str, ...]] = ("a", "b")

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.data, self.options = config, data, config.pearlgan
        smallest = AttentiveEncoder.minimum_size
        if config.dataset.crop < smallest:
            raise ValueError(f"dataset.crop: expected at least {smallest}, got {config.dataset.crop}")
        self.first_of_similarity = self.options.first_of_similarity(config.epochs)
        self.networks = Networks(config.networks, config.seed).to(microbatches.world.device)
        self.cycle, self.cycle_without_ssim = (
            ReconstructionLoss(distance="smooth_l1", weight_l1=self.options.lambda_cyc, weight_ssim=weight)
            for weight in (self.options.lambda_ssim, 0.0)
        )
        self.sga = SGALoss(threshold=self.options.sga_threshold, patches="random", padding_mode="zeros")
        self.log = LogNames(("adv", "cyc", "tv", "sga", "ad", "accs"), adversaries=("disc_a", "disc_b"))

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that images and edges are enough."""
        return False

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that SGA needs edges."""
        return config.pearlgan.lambda_sga > 0

    def groups(self) -> dict[str, Group]:
        """Return one optimizer for all halves, one for all discriminators: Adam moves each number by itself."""
        config, networks = self.config, self.networks
        return {
            "generators": Group(list(self.generators().values()), config.lr, config.weight_decay),
            "discriminators": Group(networks.discriminators(), config.lr, config.weight_decay),
        }

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders."""
        return halves_of(self.networks)

    def describe(self) -> dict[str, Any]:
        """Return width, depths and norm of the halves."""
        return describe(self.config.networks)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA."""
        return translators(generators)

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> None:
        """Return nothing: there are no labels."""

    def held(self) -> Mapping[str, Any]:
        """Return nothing: networks, optimizers and pools are all."""
        return {}

    def plan(self) -> str:
        """Return the epochs of both phases."""
        spans = {phase: [e for e in range(self.config.epochs) if self.phase(e) is phase] for phase in Phase}
        named = (
            f"{phase.name.lower()} {f'{epochs[0]}-{epochs[-1]}' if epochs else 'none'}"
            for phase, epochs in spans.items()
        )
        return f"epochs by phase: {', '.join(named)}"

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch."""
        return Phase.SIMILARITY if epoch >= self.first_of_similarity else Phase.BASELINE

    def enter_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def crops(self, epoch: int, length: int) -> Dataset[Any]:
        """Return the crops of an epoch, paired at random."""
        return random_crops(self.config, self.data, epoch, length)

    def updates(self, epoch: int) -> Sequence[Update]:
        """Return the one update: generators, then discriminators."""
        return (Update(("generators", "discriminators"), self.losses),)

    def losses(self, part: Part) -> Iterator[Terms]:
        """Give the terms of x_a, those of x_b, that of both, then the discriminators'; real images are scored once."""
        a, b = self.networks.domains()
        real_a, real_b = part.batch["real_a"], part.batch["real_b"]

        set_requires_grad((a.discriminator, b.discriminator), True)
        scores_a, scores_b = a.discriminator(real_a), b.discriminator(real_b)
        set_requires_grad((a.discriminator, b.discriminator), False)
        seen: list[Seen] = []
        yield self.generate(a, b, "a", part, scores_b, seen)
        yield self.generate(b, a, "b", part, scores_a, seen)
        of_a, of_b = seen
        if self.phase(part.epoch) is Phase.SIMILARITY:
            yield self.compare(a, b, part, of_a, of_b)

        set_requires_grad((a.discriminator, b.discriminator), True)
        pooled_a, pooled_b = part.pools["a"].query(of_b.fake), part.pools["b"].query(of_a.fake)
        yield {
            "disc_a": relativistic_loss(scores_a, a.discriminator(pooled_a), "discriminator") / 2,
            "disc_b": relativistic_loss(scores_b, b.discriminator(pooled_b), "discriminator") / 2,
        }

    def generate(
        self, own: Domain, other: Domain, name: Literal["a", "b"], part: Part, scores: Scores, seen: list[Seen]
    ) -> Terms:
        """Return the terms of the images of one domain, and leave what others need in ``seen``.

        ``scores`` are the other discriminator's of the real images that the translation is compared with.
        """
        options, real = self.options, part.batch[f"real_{name}"]
        features, maps = own.encoder.attend(real)
        fake = other.decoder(features)
        features_of_fake = other.encoder(fake)
        seen.append(Seen(fake.detach(), features.detach(), features_of_fake.detach()))
        distance = self.cycle if self.phase(part.epoch) is Phase.SIMILARITY else self.cycle_without_ssim
        return {
            "adv": relativistic_loss(scores, other.discriminator(fake), "generator"),
            "cyc": distance(own.decoder(features_of_fake), real),
            "tv": options.lambda_tv * total_variation_loss(fake),
            "sga": options.lambda_sga * self.align(fake, part, name),
            "ad": options.lambda_ad * attention_diversity(maps),
        }

    def align(self, fake: Tensor, part: Part, name: Literal["a", "b"]) -> Tensor:
        """Return SGA by a patch of each image, whose draw depends on seed, step and its place alone."""
        edges, terms = part.batch[f"edges_{name}"], []
        for i in range(len(fake)):
            draw = seeded(self.config.seed, Stream.PATCH, part.step, part.first + i, "ab".index(name))
            terms.append(self.sga(fake[i : i + 1], edges[i : i + 1], draw))
        return torch.stack(terms).mean()

    def compare(self, a: Domain, b: Domain, part: Part, of_a: Seen, of_b: Seen) -> Terms:
        """Return the term that holds the maps of both domains together; they are made anew, up to the attention."""
        _, maps_a = a.encoder.begin(part.batch["real_a"])
        _, maps_b = b.encoder.begin(part.batch["real_b"])
        by_a = cross_domain_similarity(of_a.features, maps_a, of_b.features_of_fake, maps_b)
        by_b = cross_domain_similarity(of_b.features, maps_b, of_a.features_of_fake, maps_a)
        return {"accs": self.options.lambda_accs * (by_a + by_b)}
