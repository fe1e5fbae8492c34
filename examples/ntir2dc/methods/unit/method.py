r"""UNIT (Liu et al., NIPS 2017) as the trainer drives it, read straight down: the reading of the authors' current code.

.. math::
    \mathcal{L} = \sum_{x \in \{x_a, x_b\}} \mathcal{L}_{adv} + \lambda_{rec} \|Dec(z) - x\|_1
    + \lambda_{kl} \overline{E(x)^2}
    + \lambda_{cyc} \|Dec(z') - x\|_1 + \lambda_{kl'} \overline{E'(x')^2}

with :math:`z = E(x) + n` by the domain's own encoder and decoder, :math:`x' = Dec'(z)` the translation by the other
domain's decoder, :math:`z' = E'(x') + n'` its latent, n and n' from N(0, I), least-squares adversarial terms over three
scales, norms as means over the pixels, and lambdas of 10, 0.01, 10 and 0.01. The same noise serves reconstruction and
translation. The discriminators step first, on translations of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from morn_losses import LabelSpace
from ntir2dc.config import TrainConfig
from ntir2dc.data.folders import TrainingData
from ntir2dc.methods.adversarial import should_be
from ntir2dc.methods.halves import halves_of, translators
from ntir2dc.methods.method import Group, LogNames, Part, Terms, Update
from ntir2dc.methods.noise import unit_noise
from ntir2dc.methods.one_phase import Phase, plan, random_crops
from ntir2dc.methods.unit.networks import Domain, Networks, describe
from ntir2dc.networks import MultiScaleDiscriminator
from ntir2dc.networks.modes import set_requires_grad
from ntir2dc.parallel.microbatches import Microbatches


class Noise(IntEnum):
    """What a draw of noise is for."""

    JUDGED_A = 0
    JUDGED_B = 1
    DIRECT_A = 2
    DIRECT_B = 3
    CYCLE_A = 4
    CYCLE_B = 5


class UNIT:
    """See :class:`ntir2dc.methods.method.Method`."""

    pools: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        space: LabelSpace,
        microbatches: Microbatches,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.data, self.options = config, data, config.unit
        smallest = MultiScaleDiscriminator.minimum_size
        if config.dataset.crop < smallest:
            raise ValueError(f"dataset.crop: expected at least {smallest}, got {config.dataset.crop}")
        self.networks = Networks(config.networks, config.seed).to(microbatches.world.device)
        self.log = LogNames(("adv", "rec", "kl", "cyc", "kl_cyc"), adversaries=("disc_a", "disc_b"))

    @staticmethod
    def needs_labels(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    @staticmethod
    def needs_edges(config: TrainConfig) -> bool:
        """Return that images alone are needed."""
        return False

    def groups(self) -> dict[str, Group]:
        """Return one optimizer for both autoencoders, one for both discriminators."""
        config, networks = self.config, self.networks
        return {
            "generators": Group(list(self.generators().values()), config.lr, config.weight_decay),
            "discriminators": Group(networks.discriminators(), config.lr, config.weight_decay),
        }

    def generators(self) -> nn.ModuleDict:
        """Return encoders and decoders."""
        return halves_of(self.networks)

    def describe(self) -> dict[str, Any]:
        """Return width and depths of the halves."""
        return describe(self.config.networks)

    def translators(self, generators: nn.ModuleDict) -> tuple[nn.Module, nn.Module]:
        """Return G_AB and G_BA, without noise."""
        return translators(generators)

    def label_night(self, real_b: Tensor, fake_a: Tensor) -> None:
        """Return nothing: there are no labels."""

    def held(self) -> Mapping[str, Any]:
        """Return nothing: networks and optimizers are all."""
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
        """Return the discriminators' update, then that of the autoencoders against the updated discriminators."""
        return (Update(("discriminators",), self.discriminate), Update(("generators",), self.generate))

    def discriminate(self, part: Part) -> Iterator[Terms]:
        """Give the discriminators' loss."""
        a, b = self.networks.domains()
        real_a, real_b = part.batch["real_a"], part.batch["real_b"]
        with torch.no_grad():
            fake_b = b.decoder(self.noisy(a.encoder(real_a), part, Noise.JUDGED_A))
            fake_a = a.decoder(self.noisy(b.encoder(real_b), part, Noise.JUDGED_B))
        set_requires_grad(self.networks.discriminators(), True)
        yield {
            "disc_a": should_be(a.discriminator(fake_a), 0) + should_be(a.discriminator(real_a), 1),
            "disc_b": should_be(b.discriminator(fake_b), 0) + should_be(b.discriminator(real_b), 1),
        }

    def generate(self, part: Part) -> Iterator[Terms]:
        """Give all terms of x_a, then all of x_b."""
        a, b = self.networks.domains()
        set_requires_grad(self.networks.discriminators(), False)
        yield self.there_and_back(a, b, part.batch["real_a"], part, (Noise.DIRECT_A, Noise.CYCLE_A))
        yield self.there_and_back(b, a, part.batch["real_b"], part, (Noise.DIRECT_B, Noise.CYCLE_B))

    def there_and_back(self, own: Domain, other: Domain, real: Tensor, part: Part, uses: tuple[Noise, Noise]) -> Terms:
        """Return the terms of the images of one domain."""
        options = self.options
        mean = own.encoder(real)
        latent = self.noisy(mean, part, uses[0])
        fake = other.decoder(latent)
        mean_of_fake = other.encoder(fake)
        cycle = own.decoder(self.noisy(mean_of_fake, part, uses[1]))
        return {
            "adv": should_be(other.discriminator(fake), 1),
            "rec": options.lambda_rec * F.l1_loss(own.decoder(latent), real),
            "kl": options.lambda_kl * mean.square().mean(),
            "cyc": options.lambda_cyc * F.l1_loss(cycle, real),
            "kl_cyc": options.lambda_kl_cyc * mean_of_fake.square().mean(),
        }

    def noisy(self, mean: Tensor, part: Part, use: Noise) -> Tensor:
        """Return a latent: its mean and unit noise."""
        return mean + unit_noise(mean, self.config.seed, part, use)
