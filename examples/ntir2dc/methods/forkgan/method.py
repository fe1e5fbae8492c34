r"""ForkGAN (Zheng et al., ECCV 2020) as the trainer drives it, read straight down.

A generator encodes an image and decodes it twice: as its translation, and, from a slightly noisy code, as itself. The
translation passes the other generator and comes back as the image (cycle) and as itself again (refined). For x_a

.. math::
    \mathcal{L}_a = \mathcal{L}_{adv}(x_{ab}) + \mathcal{L}_{adv}(x_{aa}) + \mathcal{L}_{adv}(x_{abb})
    + \lambda_{cyc} \|x_{aba} - x_a\|_1 + \lambda_{rec} \|x_{aa} - x_a\|_1
    + \lambda_{per}\, \overline{|\bar e_a - \bar e_{ab}|} + \frac{\lambda_{cls}}{2} \mathrm{CE}(C(e_{ab}), B)

with the translation :math:`x_{ab}`, the reconstruction :math:`x_{aa}`, the refined translation :math:`x_{abb}`, the
noisy codes e of x_a and of its translation (:math:`\bar e` their means over channels), least-squares adversarial terms
of discriminators for each of the three kinds of images, a classifier C of codes, and lambdas of 10, 10, 1 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.adversarial import Scores, should_be
from ntir2dc.methods.forkgan.networks import ROLES, Fork, Judges, Networks, describe, translator
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.noise import unit_noise
from ntir2dc.methods.one_phase import Phase, plan, random_crops
from ntir2dc.networks import CrossedDiscriminator
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches

A, B = 0, 1
"""Places of the domains among the classifier's logits."""


class Forked(NamedTuple):
    """What a generator makes of images."""

    translated: Tensor
    reconstructed: Tensor
    code: Tensor


class Seen(NamedTuple):
    """What other pieces take from a direction, without its graph."""

    translated: Tensor
    reconstructed: Tensor
    refined: Tensor
    code: Tensor
    code_of_translated: Tensor


class ForkGAN:
    """See :class:`ntir2dc.methods.method.Method`."""

    pools: ClassVar[tuple[str, ...]] = tuple(f"{role}_{domain}" for role in ROLES for domain in ("a", "b"))

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.data, self.options = config, data, config.forkgan
        smallest = CrossedDiscriminator.minimum_size
        if config.dataset.crop < smallest:
            raise ValueError(f"dataset.crop: expected at least {smallest}, got {config.dataset.crop}")
        self.networks = Networks(config.networks, config.seed).to(microbatches.world.device)
        self.log = LogNames(
            ("adv", "adv_rec", "adv_ref", "cyc", "rec", "per", "cls"), adversaries=("classifier", "disc_a", "disc_b")
        )

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    def groups(self) -> dict[str, Group]:
        """Return one optimizer for both generators, one for the classifier, one for all discriminators."""
        config, networks = self.config, self.networks
        return {
            "generators": Group(list(self.generators().values()), config.lr, config.weight_decay),
            "classifier": Group([networks.classifier], config.lr, config.weight_decay),
            "discriminators": Group(networks.discriminators(), config.lr, config.weight_decay),
        }

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders."""
        return self.networks.generators()

    def describe(self) -> dict[str, Any]:
        """Return width and depths of the forks, and which of their images is the output."""
        return describe(self.config.networks, self.options.output)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA, without noise."""
        parts, output = dict(generators.items()), self.options.output
        return translator(parts, "ab", "ba", output), translator(parts, "ba", "ab", output)

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> None:
        """Return nothing: there are no labels."""

    def held(self) -> Mapping[str, Any]:
        """Return nothing: networks, optimizers and pools are all."""
        return {}

    def plan(self) -> str:
        """Return the epochs."""
        return plan(self.config)

    def phase(self, epoch: int) -> Phase:
        """Return the only phase."""
        return Phase.TRAIN

    def enter_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def crops(self, epoch: int, length: int) -> Dataset[Any]:
        """Return the crops of an epoch, paired at random."""
        return random_crops(self.config, self.data, epoch, length)

    def updates(self, epoch: int) -> Sequence[Update]:
        """Return the one update: generators and classifier, then discriminators."""
        return (Update(("generators", "classifier", "discriminators"), self.losses),)

    def losses(self, part: Part) -> Iterator[Terms]:
        """Give all terms of x_a, then all of x_b, the classifier's, then the discriminators' of each kind of images."""
        networks = self.networks
        ab, ba = networks.forks()
        d_a, d_b = networks.discriminator_a, networks.discriminator_b
        helpers = (networks.classifier, d_a, d_b)
        real_a, real_b = part.batch["real_a"], part.batch["real_b"]

        set_requires_grad(helpers, False)
        seen: list[Seen] = []
        yield self.generate(ab, ba, d_a, d_b, real_a, B, part, seen)
        yield self.generate(ba, ab, d_b, d_a, real_b, A, part, seen)
        set_requires_grad(helpers, True)
        of_a, of_b = seen
        yield {"classifier": self.classify(of_a, of_b)}
        for role, fake_a, fake_b in (
            ("translated", of_b.translated, of_a.translated),
            ("reconstructed", of_a.reconstructed, of_b.reconstructed),
            ("refined", of_b.refined, of_a.refined),
        ):
            yield {
                "disc_a": judge(d_a, role, real_a, part.pools[f"{role}_a"].query(fake_a)),
                "disc_b": judge(d_b, role, real_b, part.pools[f"{role}_b"].query(fake_b)),
            }

    def generate(
        self,
        there: Fork,
        back: Fork,
        own: Judges,
        other: Judges,
        real: Tensor,
        target: int,
        part: Part,
        seen: list[Seen],
    ) -> Terms:
        """Return the terms of the images of one domain, whose translations go to the domain ``target``.

        What others need is left in ``seen``. ``own`` and ``other`` are the discriminators of both domains.
        """
        options = self.options
        first = self.fork(there, real, part, 2 * target)
        again = self.fork(back, first.translated, part, 2 * target + 1)
        refined = again.reconstructed
        made = Seen(first.translated, first.reconstructed, refined, first.code, again.code)
        seen.append(Seen(*(x.detach() for x in made)))
        return {
            "adv": mean_of_maps(other.scores("translated", first.translated), 1) / 2,
            "adv_rec": mean_of_maps(own.scores("reconstructed", first.reconstructed), 1) / 2,
            "adv_ref": mean_of_maps(other.scores("refined", refined), 1) / 2,
            "cyc": options.lambda_cyc * F.l1_loss(again.translated, real),
            "rec": options.lambda_rec * F.l1_loss(first.reconstructed, real),
            "per": options.lambda_per * F.l1_loss(first.code.mean(1), again.code.mean(1)),
            "cls": options.lambda_cls * self.domain_loss(again.code, target) / 2,
        }

    def fork(self, generator: Fork, x: Tensor, part: Part, number: int) -> Forked:
        """Return both images of a generator and the noisy code, in its pass of that number."""
        code = generator.encoder(x)
        noise, later = (
            self.options.noise * unit_noise(code, self.config.seed, part, 2 * number + use) for use in (0, 1)
        )
        noisy = code + noise
        return Forked(generator.translate(code), generator.reconstruct(noisy, later), noisy)

    def domain_loss(self, code: Tensor, domain: int) -> Tensor:
        """Return the cross-entropy of the classifier's two logits, each by itself, for codes of one domain."""
        logits = self.networks.classifier(code)
        wanted = F.one_hot(torch.tensor(domain, device=logits.device), 2).to(logits.dtype).expand_as(logits)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def classify(self, of_a: Seen, of_b: Seen) -> Tensor:
        """Return the classifier's loss: a translation belongs to the domain of what it was made from."""
        codes_a, codes_b = (of_a.code, of_a.code_of_translated), (of_b.code, of_b.code_of_translated)
        losses = [self.domain_loss(code, A) for code in codes_a] + [self.domain_loss(code, B) for code in codes_b]
        return torch.stack(losses).mean()


def mean_of_maps(scores: Scores, target: float) -> Tensor:
    """Least squares, the mean over the maps of each discriminator, summed over the discriminators."""
    return should_be(scores, target) / len(scores[0])


def judge(judges: Judges, role: str, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminators' loss on images of a kind."""
    return (mean_of_maps(judges.scores(role, real), 1) + mean_of_maps(judges.scores(role, fake), 0)) / 2
